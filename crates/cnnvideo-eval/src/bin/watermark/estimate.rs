// SPDX-License-Identifier: MIT OR Apache-2.0

//! Estimates of a mark that an attacker without the key makes from marked frames.

use cnnvideo::quality::psnr;
use ndarray::{Array1, Array2, Zip};

/// Radius of the box filters that smooth a frame.
const SMOOTHING_RADIUS: usize = 8;
/// Radius of the box filter of the local energy.
const ENERGY_RADIUS: usize = 7;
/// Radius of the box filter that leaves the frequencies of the mark.
const BAND_RADIUS: usize = 1;

/// An estimate of a mark, of variance 1 unless it is zero.
pub(crate) struct Estimate(Array2<f32>);

impl Estimate {
    /// Returns the mark of flat frames: what differs from their mean.
    pub(crate) fn of_flat(frames: &[Array2<u8>]) -> Self {
        let mut sum = Array2::<f32>::zeros(frames[0].dim());
        for frame in frames {
            sum.zip_mut_with(frame, |to, v| *to += f32::from(*v));
        }
        let mean = sum.sum() / sum.len() as f32;
        Self::normalised(sum - mean)
    }

    /// Returns the mean residual of frames: luma without its smooth part, divided by its local
    /// energy.
    pub(crate) fn of_frames<'a>(frames: impl Iterator<Item = &'a Array2<u8>>) -> Self {
        let mut sum: Option<Array2<f32>> = None;
        for frame in frames {
            let luma = frame.map(|v| f32::from(*v));
            let mut residual =
                &luma - &box_mean(&box_mean(&luma, SMOOTHING_RADIUS), SMOOTHING_RADIUS);
            let energy = box_mean(&residual.map(|v| v * v), ENERGY_RADIUS);
            residual.zip_mut_with(&energy, |v, energy| {
                *v = (*v / (energy.max(0.0).sqrt() + 0.7)).clamp(-3.0, 3.0);
            });
            match &mut sum {
                Some(sum) => *sum += &residual,
                none => *none = Some(residual),
            }
        }
        let sum = sum.expect("an estimate needs frames");
        Self::normalised(box_mean(&sum, BAND_RADIUS))
    }

    fn normalised(values: Array2<f32>) -> Self {
        let power = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        Self(values / power.sqrt().max(1e-9))
    }

    /// Returns the estimate with the opposite sign.
    pub(crate) fn negated(&self) -> Self {
        Self(-&self.0)
    }
}

/// Returns the amplitude at which an attacker adds an estimate to each pixel: more where there is
/// texture.
pub(crate) fn amplitudes(frame: &Array2<u8>) -> Array2<f32> {
    let luma = frame.map(|v| f32::from(*v));
    let mut amplitudes = box_mean(&luma.map(|v| v * v), 4);
    amplitudes.zip_mut_with(&box_mean(&luma, 4), |square, mean| {
        *square = 0.55 + 0.35 * (*square - mean * mean).max(0.0).sqrt().min(30.0);
    });
    amplitudes
}

/// Adds an estimate to a frame at a PSNR, with the frame's [`amplitudes`].
pub(crate) fn add(
    frame: &Array2<u8>,
    amplitudes: &Array2<f32>,
    estimate: &Estimate,
    psnr: f32,
) -> Array2<u8> {
    let mut change = amplitudes * &estimate.0;
    let power = change.iter().map(|v| v * v).sum::<f32>() / change.len() as f32;
    let gain = 255.0 * 10.0f32.powf(-psnr / 20.0) / power.sqrt().max(1e-9);
    change *= gain;
    let mut forged = frame.clone();
    forged.zip_mut_with(&change, |v, change| *v = rounded(f32::from(*v) + change));
    forged
}

/// Subtracts the projection of a frame's residual on an estimate, in windows of `side` pixels.
pub(crate) fn block_projection(frame: &Array2<u8>, estimate: &Estimate, side: usize) -> Array2<u8> {
    let luma = frame.map(|v| f32::from(*v));
    let residual = &luma - &box_mean(&box_mean(&luma, 5), 5);
    let products = box_mean(&(&residual * &estimate.0), side / 2);
    let squares = box_mean(&estimate.0.map(|v| v * v), side / 2);
    let mut cleaned = frame.clone();
    Zip::from(&mut cleaned).and(&products).and(&squares).and(&estimate.0).for_each(
        |v, product, square, estimate| {
            *v = rounded(f32::from(*v) - product / square.max(1e-6) * estimate);
        },
    );
    cleaned
}

/// Returns the PSNR of luma between two frames in dB.
pub(crate) fn luma_psnr(a: &Array2<u8>, b: &Array2<u8>) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    psnr(squares.sum::<f64>() / a.len() as f64)
}

fn rounded(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Returns the means of windows of `radius` cells to each side; windows shrink at the border.
fn box_mean(from: &Array2<f32>, radius: usize) -> Array2<f32> {
    let (height, width) = from.dim();
    let mut means = Array2::zeros((height, width));
    let mut columns = Array1::<f32>::zeros(width);
    (0..radius.min(height)).for_each(|y| columns += &from.row(y));
    let mut sums = vec![0.0f64; width + 1];
    for (y, to) in means.rows_mut().into_iter().enumerate() {
        if y + radius < height {
            columns += &from.row(y + radius);
        }
        if y > radius {
            columns -= &from.row(y - radius - 1);
        }
        let rows = (y + radius + 1).min(height) - y.saturating_sub(radius);
        for (x, v) in columns.iter().enumerate() {
            sums[x + 1] = sums[x] + f64::from(*v);
        }
        for (x, to) in to.into_iter().enumerate() {
            let (start, end) = (x.saturating_sub(radius), (x + radius + 1).min(width));
            *to = ((sums[end] - sums[start]) / ((end - start) * rows) as f64) as f32;
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_estimate_is_projected_out() {
        let noise = |x: usize, y: usize| ((x * 7 + y * 13) * (x + 3 * y) % 23) as f32 - 11.0;
        let estimate = Estimate::normalised(Array2::from_shape_fn((90, 120), |(y, x)| noise(x, y)));
        let frame = Array2::from_shape_fn((90, 120), |(y, x)| (40 + x + y / 2) as u8);
        let forged = add(&frame, &amplitudes(&frame), &estimate, 40.0);
        assert!((luma_psnr(&forged, &frame) - 40.0).abs() < 0.5);
        let cleaned = block_projection(&forged, &estimate, 32);
        assert!(luma_psnr(&cleaned, &frame) > 46.0);
    }
}
