// SPDX-License-Identifier: MIT OR Apache-2.0

//! Description of a picture: one keyed sign per tile, by which the carriers of the tile are
//! multiplied.
//!
//! The sign is that of the difference between the luma of two blurred points near the tile. Key,
//! key epoch and hop label choose the points. An attacker without the key cannot compute the signs
//! of a picture, and a mark taken from one picture has unrelated signs in another. This is the
//! countermeasure to the copy attack of Kutter, Voloshynovskiy and Herrigel, "The Watermark Copy
//! Attack", Proceedings of SPIE 3971, 2000.

use ndarray::{Array2, ArrayView2};

use super::{
    key::Key,
    tiles::{TILE, TILES},
};
use crate::frame::box_mean::box_mean;

/// Largest distance, along each axis, of the middle of the two points from the centre of the tile,
/// in canonical pixels.
const MIDDLE_REACH: f64 = 5.0;
/// Shortest and longest distance between the two points, in canonical pixels.
const DISTANCE: (f64, f64) = (14.0, 28.0);
/// Differences, in 8-bit units, at which a tile starts to be described and is described fully.
const DIFFERENCES: (f32, f32) = (0.5, 2.0);
/// Side, in canonical pixels, of the cells of the detector's blurred luma.
pub(super) const RECEIVED_CELL: usize = 4;
/// Distance, in cells, beyond the border of a picture to which its luma is continued.
const BEYOND_BORDER: f32 = 2.0;

/// Blurred luma of a picture on a grid of cells.
#[derive(Debug, Clone, Default)]
pub(super) struct BlurredLuma(Array2<f32>);

impl BlurredLuma {
    /// Blurs the means of cells; `radius` is that of a box filter which is applied twice.
    pub(super) fn new(mut means: Array2<f32>, radius: usize) -> Self {
        let (mut rows, mut blurred) = (Array2::zeros(means.dim()), Array2::zeros(means.dim()));
        box_mean(&means, radius, &mut rows, &mut blurred);
        box_mean(&blurred, radius, &mut rows, &mut means);
        Self(means)
    }

    /// Returns the blurred luma of a canonical picture, in cells of [`RECEIVED_CELL`].
    pub(super) fn of_canonical(picture: &Array2<f32>) -> Self {
        let (height, width) = picture.dim();
        let mut means =
            Array2::<f32>::zeros((height.div_ceil(RECEIVED_CELL), width.div_ceil(RECEIVED_CELL)));
        for (y, row) in picture.rows().into_iter().enumerate() {
            let rows = RECEIVED_CELL.min(height - y / RECEIVED_CELL * RECEIVED_CELL) as f32;
            let row = row.to_slice().expect("rows of own planes are contiguous");
            let means = means.row_mut(y / RECEIVED_CELL);
            for (to, cell) in means.into_iter().zip(row.chunks(RECEIVED_CELL)) {
                *to += cell.iter().sum::<f32>() / (cell.len() as f32 * rows);
            }
        }
        Self::new(means, 1)
    }

    /// Returns the luma with its cells rearranged.
    pub(super) fn map(&self, rearrange: impl Fn(ArrayView2<'_, f32>) -> Array2<f32>) -> Self {
        Self(rearrange(self.0.view()))
    }

    /// Returns the luma at a point in cells, interpolated linearly; `None` outside of the picture.
    pub(super) fn at(&self, x: f32, y: f32) -> Option<f32> {
        let (rows, columns) = self.0.dim();
        let inside = |v: f32, count: usize| {
            let last = count as f32 - 1.0;
            (v >= -BEYOND_BORDER && v <= last + BEYOND_BORDER).then(|| v.clamp(0.0, last))
        };
        let (x, y) = (inside(x, columns)?, inside(y, rows)?);
        let (x0, y0) = (x as usize, y as usize);
        let (x1, y1) = ((x0 + 1).min(columns - 1), (y0 + 1).min(rows - 1));
        let (tx, ty) = (x - x0 as f32, y - y0 as f32);
        let between = |y: usize| self.0[[y, x0]] + tx * (self.0[[y, x1]] - self.0[[y, x0]]);
        let above = between(y0);
        Some(above + ty * (between(y1) - above))
    }
}

/// The two points whose luma describes a tile, as offsets from its centre in canonical pixels.
pub(super) type PointPair = [[f64; 2]; 2];

/// The keyed points of all tiles for one hop label.
pub(super) struct Description {
    points: Vec<PointPair>,
}

impl Description {
    /// Chooses the points of a key and key epoch.
    pub(super) fn new(key: &Key, epoch: u32, label: usize) -> Self {
        let mut rng = key.rng("description", &[epoch, label as u32]);
        let mut between = |low: f64, high: f64| low + (high - low) * rng.uniform();
        let pair = |_| {
            let middle = [(); 2].map(|()| between(-MIDDLE_REACH, MIDDLE_REACH));
            let (sin, cos) = between(0.0, std::f64::consts::TAU).sin_cos();
            let half = 0.5 * between(DISTANCE.0, DISTANCE.1);
            [half, -half].map(|d| [middle[0] + d * cos, middle[1] + d * sin])
        };
        Self { points: (0..TILES).map(pair).collect() }
    }

    /// Returns the weight of a tile, from -1 to 1: its sign, and how sure it is.
    ///
    /// `luma` returns the luma at an offset from the centre of the tile, and `None` outside of the
    /// picture.
    pub(super) fn weight(&self, tile: usize, luma: impl Fn([f64; 2]) -> Option<f32>) -> f32 {
        let [a, b] = self.points[tile].map(luma);
        let difference = a.zip(b).map_or(0.0, |(a, b)| a - b);
        let (start, full) = DIFFERENCES;
        let sure = ((difference.abs() - start) / (full - start)).clamp(0.0, 1.0);
        sure.copysign(difference)
    }
}

/// Returns the centre of a tile of the endless plane, by column and row, in canonical pixels.
pub(super) fn tile_centre(column: i32, row: i32) -> [f64; 2] {
    [column, row].map(|i| (f64::from(i) + 0.5) * TILE as f64 - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the weights of all tiles of a picture.
    fn weights(key: u8, luma: impl Fn(f64, f64) -> f64) -> Vec<f32> {
        let description = Description::new(&Key::new([key; 32]), 0, 0);
        (0..TILES).map(|tile| description.weight(tile, |[x, y]| Some(luma(x, y) as f32))).collect()
    }

    fn agreement(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / TILES as f32
    }

    #[test]
    fn signs_survive_brightness_and_depend_on_key_and_picture() {
        let picture = weights(1, |x, y| x + 0.3 * y);
        assert!(agreement(&picture, &weights(1, |x, y| 40.0 + 0.6 * x + 0.18 * y)) > 0.8);
        assert!(agreement(&picture, &weights(1, |x, y| 0.3 * x - y)).abs() < 0.1);
        assert!(agreement(&picture, &weights(2, |x, y| x + 0.3 * y)).abs() < 0.1);
        assert!(weights(1, |_, _| 90.0).iter().all(|weight| *weight == 0.0));
    }

    #[test]
    fn blurred_luma_follows_a_ramp() {
        let ramp = Array2::from_shape_fn((62, 83), |(y, x)| (x + 2 * y) as f32);
        let blurred = BlurredLuma::of_canonical(&ramp);
        let cells = |v: f32| (v + 0.5) / RECEIVED_CELL as f32 - 0.5;
        let at = |x: f32, y: f32| blurred.at(cells(x), cells(y));
        assert!((at(40.0, 30.0).unwrap() - 100.0).abs() < 0.01);
        assert!((at(33.5, 20.25).unwrap() - 74.0).abs() < 0.01);
        assert_eq!((at(-20.0, 30.0), at(40.0, 90.0)), (None, None));
    }
}
