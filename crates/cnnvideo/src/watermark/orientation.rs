// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mirrored and turned pictures ([`Orientation`]).

use std::{fmt, sync::Arc};

use ndarray::{Array2, ArrayView2, s};

use super::{
    collect::{ReceivedPicture, ResidualGroup, Window},
    geometry::Geometry,
    search::Linear,
    transforms::product,
};

/// How a picture was mirrored or turned by a multiple of 90 degrees after embedding.
///
/// Displayed as the values of GStreamer's property `video-direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orientation {
    /// Whether rows have become columns.
    transposed: bool,
    /// Whether the picture, after it is transposed back, is mirrored across and down.
    mirrored: [bool; 2],
}

impl Orientation {
    /// The names in the order of the bits transposed, mirrored across, mirrored down.
    const NAMES: [&str; 8] = ["identity", "ul-lr", "horiz", "90l", "vert", "90r", "180", "ur-ll"];

    /// Returns all orientations, upright first.
    fn all() -> impl Iterator<Item = Self> {
        (0..Self::NAMES.len()).map(Self::from_bits)
    }

    /// Returns all orientations but the upright one.
    pub(super) fn changed() -> impl Iterator<Item = Self> {
        Self::all().skip(1)
    }

    fn from_bits(bits: usize) -> Self {
        let is_set = |bit: usize| bits >> bit & 1 == 1;
        Self { transposed: is_set(0), mirrored: [is_set(1), is_set(2)] }
    }

    /// Returns the orientation with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|known| *known == name).map(Self::from_bits)
    }

    /// Returns the name.
    pub fn name(self) -> &'static str {
        let [across, down] = self.mirrored;
        let bits = [self.transposed, across, down].into_iter().enumerate();
        Self::NAMES[bits.map(|(bit, is_set)| usize::from(is_set) << bit).sum::<usize>()]
    }

    /// Returns whether rows have become columns.
    pub(super) fn is_transposed(self) -> bool {
        self.transposed
    }

    /// Returns whether the picture, after it is transposed back, is mirrored across and down.
    pub(super) fn mirrored(self) -> [bool; 2] {
        self.mirrored
    }

    /// Returns whether the picture was neither mirrored nor turned.
    pub fn is_upright(self) -> bool {
        self == Self::default()
    }

    /// Returns the nearest orientation of a geometry, and the geometry of the pictures after they
    /// are turned back from it. `dim` is their number of rows and columns as received.
    pub(super) fn split(geometry: &Geometry, dim: (usize, usize)) -> (Self, Geometry) {
        let trace = |[[a, _], [_, d]]: &Linear| a + d;
        let (orientation, matrix) = Self::all()
            .map(|orientation| (orientation, product(&geometry.matrix, &orientation.matrix())))
            .filter(|(_, [[a, b], [c, d]])| a * d - b * c > 0.0)
            .max_by(|a, b| trace(&a.1).total_cmp(&trace(&b.1)))
            .unwrap_or((Self::default(), geometry.matrix));
        let centre = orientation.upright_point(geometry.centre, dim);
        (orientation, Geometry { matrix, centre, ..*geometry })
    }

    /// Returns the linear map from the picture as it was before to the received one.
    fn matrix(self) -> Linear {
        let [across, down] = self.mirrored.map(|mirrored| if mirrored { -1.0 } else { 1.0 });
        if self.transposed { [[0.0, down], [across, 0.0]] } else { [[across, 0.0], [0.0, down]] }
    }

    /// Returns the place of a point of a received picture of `dim` rows and columns before.
    fn upright_point(self, [x, y]: [f64; 2], (rows, columns): (usize, usize)) -> [f64; 2] {
        let (x, y, columns, rows) =
            if self.transposed { (y, x, rows, columns) } else { (x, y, columns, rows) };
        let [across, down] = self.mirrored;
        let back =
            |v: f64, count: usize, mirrored| if mirrored { count as f64 - 1.0 - v } else { v };
        [back(x, columns, across), back(y, rows, down)]
    }

    /// Returns an array of a picture in this orientation as it was before.
    fn upright<T: Copy>(self, received: ArrayView2<'_, T>) -> Array2<T> {
        let mut view = if self.transposed { received.reversed_axes() } else { received };
        let [across, down] = self.mirrored;
        if across {
            view.slice_collapse(s![.., ..;-1]);
        }
        if down {
            view.slice_collapse(s![..;-1, ..]);
        }
        view.as_standard_layout().into_owned()
    }

    /// Returns a window of pictures in this orientation as it was before.
    pub(super) fn upright_window(self, window: &Window) -> Window {
        let groups = window.groups.iter().map(|group| {
            let dim = group.residual_sum.dim();
            let pictures = group.pictures.iter().map(|picture| ReceivedPicture {
                residual: self.upright_residual(&picture.residual, dim),
                luma: picture.luma.map(|cells| self.upright(cells)),
            });
            Arc::new(ResidualGroup {
                residual_sum: self.upright(group.residual_sum.view()),
                pictures: pictures.collect(),
            })
        });
        let (width, height) = window.size;
        let size = if self.transposed { (height, width) } else { (width, height) };
        Window { groups: groups.collect(), size }
    }

    fn upright_residual(self, residual: &[i8], dim: (usize, usize)) -> Vec<i8> {
        let residual = ArrayView2::from_shape(dim, residual)
            .expect("a residual has as many samples as the sum of residuals");
        self.upright(residual).into_raw_vec_and_offset().0
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn orientations_are_undone() {
        let upright = array![[1, 2, 3], [4, 5, 6]];
        let received = [
            ("identity", array![[1, 2, 3], [4, 5, 6]]),
            ("horiz", array![[3, 2, 1], [6, 5, 4]]),
            ("vert", array![[4, 5, 6], [1, 2, 3]]),
            ("180", array![[6, 5, 4], [3, 2, 1]]),
            ("90r", array![[4, 1], [5, 2], [6, 3]]),
            ("90l", array![[3, 6], [2, 5], [1, 4]]),
            ("ul-lr", array![[1, 4], [2, 5], [3, 6]]),
            ("ur-ll", array![[6, 3], [5, 2], [4, 1]]),
        ];
        for (name, received) in received {
            let orientation = Orientation::from_name(name).unwrap();
            assert_eq!(orientation.name(), name);
            assert_eq!(orientation.upright(received.view()), upright, "{name}");
        }
        assert_eq!(Orientation::from_name("auto"), None);
    }

    #[test]
    fn split_geometries_map_points_as_before() {
        let (rows, columns) = (30, 50);
        let picture = Array2::from_shape_fn((rows, columns), |(y, x)| (x, y));
        for orientation in Orientation::all() {
            // A map that first turns the picture back, then rotates it by a few degrees.
            let turn = product(&[[0.9, 0.1], [-0.1, 0.9]], &invert(orientation.matrix()));
            let geometry = Geometry { matrix: turn, centre: [25.0, 15.0], origin: [300.0, 100.0] };
            let (found, upright) = Orientation::split(&geometry, (rows, columns));
            assert_eq!(found, orientation);
            let before = orientation.upright(picture.view());
            for ((y, x), (received_x, received_y)) in before.indexed_iter() {
                let a = geometry.apply([*received_x as f64, *received_y as f64]);
                let b = upright.apply([x as f64, y as f64]);
                assert!((a[0] - b[0]).abs() < 1e-9 && (a[1] - b[1]).abs() < 1e-9, "{orientation}");
            }
        }
    }

    /// Inverts the matrix of an orientation, which is orthogonal.
    fn invert([[a, b], [c, d]]: Linear) -> Linear {
        [[a, c], [b, d]]
    }
}
