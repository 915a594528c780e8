// SPDX-License-Identifier: MIT OR Apache-2.0

//! Residuals of received pictures, in which the detector searches for the watermark.
//!
//! To the detector the picture itself is noise. A high-pass removes smooth content, and division by
//! the local energy reduces the weight of strong texture.

use ndarray::{Array2, Zip};

use crate::frame::box_mean::box_mean;

/// Radius, in canonical pixels, of the box filter whose two-fold mean is subtracted.
const HIGH_PASS_RADIUS: usize = 4;
/// Radius, in canonical pixels, of the box filter of the energy by which values are divided.
const ENERGY_RADIUS: usize = 7;
/// Weight of the part of the residual that is not emphasised, see [`emphasise`].
const PLAIN_SHARE: f32 = 0.15;
/// Gain of the emphasised part.
const EMPHASIS: f32 = 4.0 / 3.0;
/// Added to the root of that energy, in 8-bit units, so that rounding noise is not amplified.
const ENERGY_FLOOR: f32 = 0.7;
/// Limit of the residual's magnitude after the division.
const MAX_RESIDUAL: f32 = 3.0;

/// Reason why rows of planes can be viewed as slices.
const CONTIGUOUS: &str = "rows of own planes are contiguous";

/// Computes residuals of pictures; keeps its buffers between them.
#[derive(Debug, Default)]
pub(super) struct ResidualFilter {
    /// Buffer of [`box_mean`] and [`emphasise`].
    rows: Array2<f32>,
    /// Mean of the picture, then the square of its high-pass.
    mean: Array2<f32>,
    /// Two-fold mean of the picture, then the local energy of its high-pass.
    smoothed: Array2<f32>,
}

impl ResidualFilter {
    /// Replaces a picture at canonical size by its residual.
    pub(super) fn run(&mut self, plane: &mut Array2<f32>) {
        if self.mean.dim() != plane.dim() {
            for buffer in [&mut self.rows, &mut self.mean, &mut self.smoothed] {
                *buffer = Array2::zeros(plane.dim());
            }
        }
        box_mean(plane, HIGH_PASS_RADIUS, &mut self.rows, &mut self.mean);
        box_mean(&self.mean, HIGH_PASS_RADIUS, &mut self.rows, &mut self.smoothed);
        Zip::from(&mut *plane).and(&self.smoothed).for_each(|v, mean| *v -= mean);
        emphasise(plane, &mut self.rows);
        Zip::from(&mut self.mean).and(&*plane).for_each(|square, v| *square = v * v);
        box_mean(&self.mean, ENERGY_RADIUS, &mut self.rows, &mut self.smoothed);
        Zip::from(plane).and(&self.smoothed).for_each(|v, energy| {
            *v = (*v / (energy.max(0.0).sqrt() + ENERGY_FLOOR)).clamp(-MAX_RESIDUAL, MAX_RESIDUAL);
        });
    }
}

/// Emphasises high frequencies, which levels the falling spectrum of pictures. What remains uneven
/// would spread over all frequencies when the signs of the tiles are applied.
///
/// The emphasised part is the difference from the binomial mean of 3x3 samples. `rows` is scratch
/// memory of the size of `plane`.
fn emphasise(plane: &mut Array2<f32>, rows: &mut Array2<f32>) {
    let (height, width) = plane.dim();
    for (from, to) in plane.rows().into_iter().zip(rows.rows_mut()) {
        let from = from.to_slice().expect(CONTIGUOUS);
        let to = to.into_slice().expect(CONTIGUOUS);
        let mean = |x: usize| {
            0.25 * (from[x.saturating_sub(1)] + 2.0 * from[x] + from[(x + 1).min(width - 1)])
        };
        for x in [0, width - 1] {
            to[x] = mean(x);
        }
        for (to, part) in to.iter_mut().skip(1).zip(from.windows(3)) {
            *to = 0.25 * (part[0] + 2.0 * part[1] + part[2]);
        }
    }
    for (y, row) in plane.rows_mut().into_iter().enumerate() {
        let [above, here, below] = [y.saturating_sub(1), y, (y + 1).min(height - 1)]
            .map(|y| rows.row(y).to_slice().expect(CONTIGUOUS));
        let means = above.iter().zip(here).zip(below);
        row.into_slice().expect(CONTIGUOUS).iter_mut().zip(means).for_each(
            |(v, ((above, here), below))| {
                let mean = 0.25 * (above + 2.0 * here + below);
                *v = EMPHASIS * (*v - mean) + PLAIN_SHARE * *v;
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_ramps_and_normalises_waves() {
        let energy = |amplitude: f32| {
            let mut plane = Array2::from_shape_fn((60, 80), |(y, x)| {
                y as f32 + amplitude * (x as f32 * 0.9).sin()
            });
            ResidualFilter::default().run(&mut plane);
            plane.slice(ndarray::s![20..40, 20..60]).iter().map(|v| v * v).sum::<f32>() / 800.0
        };
        assert!(energy(0.0) < 1e-3);
        assert!((energy(20.0) / energy(80.0) - 1.0).abs() < 0.2);
    }
}
