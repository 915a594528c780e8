// SPDX-License-Identifier: MIT OR Apache-2.0

//! Affine geometry of a received picture relative to the canonical plane of its watermark.

use ndarray::{Array2, ArrayView2};
use rustfft::num_complex::Complex32;

use super::plane::{PLANE_HEIGHT, PLANE_WIDTH, fold};
use crate::simd::vectorise;

/// Affine map from the canonical raster of a received picture to the canonical plane on which its
/// watermark was made: `q = matrix (p - centre) + origin`. Coordinates are (x, y) in canonical
/// pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Geometry {
    /// Linear part, by rows.
    pub matrix: [[f64; 2]; 2],
    /// Point of the received picture that is mapped to `origin`.
    pub centre: [f64; 2],
    /// Point of the plane that `centre` is mapped to.
    pub origin: [f64; 2],
}

impl Geometry {
    /// The geometry of a picture that is whole and upright, at any size.
    pub(super) const IDENTITY: Self =
        Self { matrix: [[1.0, 0.0], [0.0, 1.0]], centre: [0.0; 2], origin: [0.0; 2] };

    /// Returns the factor by which the picture was enlarged after embedding.
    pub(super) fn scale(&self) -> f64 {
        1.0 / self.determinant().abs().sqrt().max(1e-6)
    }

    /// Returns the clockwise rotation of the picture after embedding, in degrees.
    pub(super) fn angle(&self) -> f64 {
        let [[a, b], [c, d]] = self.matrix;
        (b - c).atan2(a + d).to_degrees()
    }

    /// Returns the position of the picture's top left corner on the plane, in canonical pixels.
    ///
    /// The plane is periodic; this is the position nearest to zero.
    pub(super) fn offset(&self) -> [f64; 2] {
        let [x, y] = self.apply([0.0, 0.0]);
        let near = |v: f64, period: usize| v - (v / period as f64).round() * period as f64;
        [near(x, PLANE_WIDTH), near(y, PLANE_HEIGHT)]
    }

    fn determinant(&self) -> f64 {
        let [[a, b], [c, d]] = self.matrix;
        a * d - b * c
    }

    /// Returns the inverse of the linear part, or `None` if the picture collapses.
    pub(super) fn inverse(&self) -> Option<[[f64; 2]; 2]> {
        let determinant = self.determinant();
        if determinant.is_nan() || determinant.abs() < 1e-3 {
            return None;
        }
        let [[a, b], [c, d]] = self.matrix;
        Some([[d / determinant, -b / determinant], [-c / determinant, a / determinant]])
    }

    /// Returns the point of the plane at a point of the received picture.
    pub(super) fn apply(&self, p: [f64; 2]) -> [f64; 2] {
        let d = [p[0] - self.centre[0], p[1] - self.centre[1]];
        [0, 1].map(|i| self.matrix[i][0] * d[0] + self.matrix[i][1] * d[1] + self.origin[i])
    }

    /// Returns the frequency at which a wave of the plane appears in the received picture.
    pub(super) fn received_frequency(&self, frequency: (f32, f32)) -> (f64, f64) {
        let (x, y) = (f64::from(frequency.0), f64::from(frequency.1));
        let [[a, b], [c, d]] = self.matrix;
        (a * x + c * y, b * x + d * y)
    }

    /// Resamples a received picture to the periodic plane by linear interpolation.
    ///
    /// `write` gets the index of a sample of the plane and the value to add there.
    pub(super) fn resample_to_plane(
        &self,
        picture: &ArrayView2<'_, f32>,
        mut write: impl FnMut(usize, f32),
    ) {
        if *self == Self::IDENTITY {
            return fold(picture, write);
        }
        let Some(inverse) = self.inverse() else { return };
        let (height, width) = picture.dim();
        let (right, bottom) = (width as f64 - 1.0, height as f64 - 1.0);
        let corners =
            [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]].map(|p| self.apply(p));
        let range = |i: usize| {
            let values = corners.map(|c| c[i]);
            let low = values.iter().copied().fold(f64::MAX, f64::min).floor() as i64;
            low..=values.iter().copied().fold(f64::MIN, f64::max).ceil() as i64
        };
        for v in range(1) {
            let row = v.rem_euclid(PLANE_HEIGHT as i64) as usize * PLANE_WIDTH;
            for u in range(0) {
                let q = [u as f64 - self.origin[0], v as f64 - self.origin[1]];
                let x = inverse[0][0] * q[0] + inverse[0][1] * q[1] + self.centre[0];
                let y = inverse[1][0] * q[0] + inverse[1][1] * q[1] + self.centre[1];
                if !(0.0..=right).contains(&x) || !(0.0..=bottom).contains(&y) {
                    continue;
                }
                let (x0, y0) = (x as usize, y as usize);
                let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
                let (tx, ty) = ((x - x0 as f64) as f32, (y - y0 as f64) as f32);
                let between =
                    |y: usize| picture[[y, x0]] + tx * (picture[[y, x1]] - picture[[y, x0]]);
                let (above, below) = (between(y0), between(y1));
                write(
                    row + u.rem_euclid(PLANE_WIDTH as i64) as usize,
                    above + ty * (below - above),
                );
            }
        }
    }
}

/// Returns the complex amplitude of a single frequency in a plane, with its phase relative to
/// `centre`. `frequency` is in cycles per canonical pixel.
pub(super) fn wave_amplitude(
    plane: &Array2<f32>,
    frequency: (f64, f64),
    centre: [f64; 2],
) -> Complex32 {
    let (height, width) = plane.dim();
    let phasor = |frequency: f64, at: f64| {
        Complex32::from_polar(1.0, (-std::f64::consts::TAU * frequency * at) as f32)
    };
    // Along columns first, because rows are contiguous in memory.
    let (mut real, mut imaginary) = (vec![0.0f32; width], vec![0.0f32; width]);
    for y in 0..height {
        let factor = phasor(frequency.1, y as f64 - centre[1]);
        let row = plane.row(y);
        let row = row.as_slice().expect("rows of the plane are contiguous");
        vectorise(
            #[inline(always)]
            || {
                for ((real, imaginary), v) in real.iter_mut().zip(&mut imaginary).zip(row) {
                    *real += factor.re * v;
                    *imaginary += factor.im * v;
                }
            },
        );
    }
    let columns = real.iter().zip(&imaginary).enumerate();
    columns
        .map(|(x, (re, im))| Complex32::new(*re, *im) * phasor(frequency.0, x as f64 - centre[0]))
        .sum()
}
