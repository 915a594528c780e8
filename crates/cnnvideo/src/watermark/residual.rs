// SPDX-License-Identifier: MIT OR Apache-2.0

//! Residuals of received pictures, in which the detector searches for the watermark.
//!
//! To the detector the picture itself is noise. A high-pass removes smooth content, and division by
//! the local energy reduces the weight of strong texture.

use ndarray::{Array2, Zip};

/// Radius, in canonical pixels, of the box filter whose two-fold mean is subtracted.
const HIGH_PASS_RADIUS: usize = 4;
/// Radius, in canonical pixels, of the box filter of the energy by which values are divided.
const ENERGY_RADIUS: usize = 7;
/// Added to the root of that energy, in 8-bit units, so that rounding noise is not amplified.
const ENERGY_FLOOR: f32 = 0.7;
/// Limit of the residual's magnitude after the division.
const MAX_RESIDUAL: f32 = 3.0;

/// Computes residuals of pictures; keeps its buffers between them.
#[derive(Debug, Default)]
pub(super) struct ResidualFilter {
    /// Buffer of [`box_mean`].
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
        Zip::from(&mut self.mean).and(&*plane).for_each(|square, v| *square = v * v);
        box_mean(&self.mean, ENERGY_RADIUS, &mut self.rows, &mut self.smoothed);
        Zip::from(plane).and(&self.smoothed).for_each(|v, energy| {
            *v = (*v / (energy.max(0.0).sqrt() + ENERGY_FLOOR)).clamp(-MAX_RESIDUAL, MAX_RESIDUAL);
        });
    }
}

/// Computes the mean over `radius` values to each side along both axes, with replicated borders.
///
/// `rows` is a buffer of the same size.
pub(super) fn box_mean(
    from: &Array2<f32>,
    radius: usize,
    rows: &mut Array2<f32>,
    to: &mut Array2<f32>,
) {
    let (height, width) = from.dim();
    let scale = 1.0 / (2 * radius + 1) as f32;
    for (from, mut to) in from.rows().into_iter().zip(rows.rows_mut()) {
        let from = from.to_slice().expect("rows of the plane are contiguous");
        let to = to.as_slice_mut().expect("rows of the buffer are contiguous");
        let last = from[width - 1];
        let at = |x: usize| from.get(x).copied().unwrap_or(last);
        let mut sum = from[0] * radius as f32 + (0..=radius).map(at).sum::<f32>();
        for (x, to) in to.iter_mut().enumerate() {
            *to = sum * scale;
            sum += at(x + radius + 1) - from[x.saturating_sub(radius)];
        }
    }
    let mut sum: ndarray::Array1<f32> = &rows.row(0) * radius as f32;
    for y in 0..=radius {
        sum += &rows.row(y.min(height - 1));
    }
    for y in 0..height {
        Zip::from(to.row_mut(y)).and(&sum).for_each(|to, sum| *to = sum * scale);
        let (entering, leaving) =
            (rows.row((y + radius + 1).min(height - 1)), rows.row(y.saturating_sub(radius)));
        Zip::from(&mut sum).and(&entering).and(&leaving).for_each(|sum, entering, leaving| {
            *sum += entering - leaving;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_mean_matches_direct_sum() {
        for (height, width) in [(1, 1), (3, 5), (9, 4), (20, 31)] {
            let plane =
                Array2::from_shape_fn((height, width), |(y, x)| ((x * 7 + y * 13) % 11) as f32);
            let (mut rows, mut mean) = (Array2::zeros(plane.dim()), Array2::zeros(plane.dim()));
            box_mean(&plane, 2, &mut rows, &mut mean);
            for ((y, x), v) in mean.indexed_iter() {
                let clamped = |i: i32, n: usize| i.clamp(0, n as i32 - 1) as usize;
                let near = (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dy, dx)));
                let sum: f32 = near
                    .map(|(dy, dx)| {
                        plane[[clamped(y as i32 + dy, height), clamped(x as i32 + dx, width)]]
                    })
                    .sum();
                assert!((v - sum / 25.0).abs() < 1e-4);
            }
        }
    }

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
        assert!((energy(10.0) / energy(40.0) - 1.0).abs() < 0.2);
    }
}
