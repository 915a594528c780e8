// SPDX-License-Identifier: MIT OR Apache-2.0

//! Analytic perceptual mask of the watermark: luminance adaptation and texture masking.
//!
//! After Chou and Li, "A Perceptually Tuned Subband Image Coder Based on the Measure of
//! Just-Noticeable-Distortion Profile", IEEE Transactions on Circuits and Systems for Video
//! Technology 5(6), 1995. The mask has one amplitude per cell, a square block of pixels.

use ndarray::{Array2, Zip};

/// Radius, in cells, over which texture is averaged.
const TEXTURE_RADIUS: usize = 1;
/// Radius, in cells, of the minimum filter applied to averaged texture, so that a flat area next to
/// an edge counts as flat.
const MINIMUM_RADIUS: usize = 1;
/// Amplitude of flat mid-grey.
pub(super) const FLAT_AMPLITUDE: f32 = 0.55;
/// Amplitude added per 8-bit unit of texture standard deviation.
const TEXTURE_GAIN: f32 = 0.35;
/// Standard deviation of texture, in 8-bit units, above which masking does not increase.
const MAX_TEXTURE_SIGMA: f32 = 30.0;

/// Sums over the luma of the pixels of a cell, in 8-bit units.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LumaSums {
    /// Number of pixels.
    pub count: f32,
    /// Sum of luma.
    pub sum: f32,
    /// Sum of squared luma.
    pub squares: f32,
}

impl LumaSums {
    /// Returns mean and standard deviation of luma.
    pub(super) fn statistics(&self) -> (f32, f32) {
        let mean = self.sum / self.count;
        (mean, (self.squares / self.count - mean * mean).max(0.0).sqrt())
    }
}

/// Amplitudes of the watermark for a grid of cells. Only their ratios matter.
#[derive(Debug, Default)]
pub(super) struct PerceptualMask {
    /// Standard deviation of luma in each cell.
    sigmas: Array2<f32>,
    /// Average of `sigmas` over neighbouring cells.
    averages: Array2<f32>,
    /// Amplitude of each cell, rows by columns.
    pub amplitudes: Array2<f32>,
}

impl PerceptualMask {
    /// Allocates the arrays for a grid of cells of this size, if it is a new one.
    pub(super) fn resize(&mut self, dim: (usize, usize)) {
        if self.amplitudes.dim() != dim {
            for plane in [&mut self.sigmas, &mut self.averages, &mut self.amplitudes] {
                *plane = Array2::zeros(dim);
            }
        }
    }

    /// Computes the amplitudes with the analytic model.
    pub(super) fn compute(&mut self, cells: &Array2<LumaSums>) {
        self.resize(cells.dim());
        Zip::from(&mut self.sigmas).and(cells).for_each(|to, cell| {
            *to = cell.statistics().1;
        });
        window_filter(&self.sigmas, &mut self.averages, TEXTURE_RADIUS, |part| {
            part.sum() / part.len() as f32
        });
        window_filter(&self.averages, &mut self.amplitudes, MINIMUM_RADIUS, |part| {
            part.iter().copied().fold(f32::MAX, f32::min)
        });
        Zip::from(&mut self.amplitudes).and(cells).for_each(|amplitude, cell| {
            let mean = cell.sum / cell.count;
            *amplitude = FLAT_AMPLITUDE * luminance_threshold(mean)
                + TEXTURE_GAIN * amplitude.min(MAX_TEXTURE_SIGMA);
        });
    }
}

/// Returns the visibility threshold at a background luma, relative to that of mid-grey (Chou and
/// Li, equation 3).
fn luminance_threshold(luma: f32) -> f32 {
    let threshold = if luma <= 127.0 {
        17.0 * (1.0 - (luma.max(0.0) / 127.0).sqrt()) + 3.0
    } else {
        3.0 / 128.0 * (luma - 127.0) + 3.0
    };
    // The model was fitted to cathode-ray tubes; current screens show noise in dark areas more than
    // it predicts, so the threshold is limited.
    (threshold / 3.0).min(1.3)
}

/// Applies `take` to the window of `reach` cells to each side of every cell.
fn window_filter(
    from: &Array2<f32>,
    to: &mut Array2<f32>,
    reach: usize,
    take: impl Fn(ndarray::ArrayView2<'_, f32>) -> f32,
) {
    let (height, width) = from.dim();
    for ((y, x), to) in to.indexed_iter_mut() {
        let rows = y.saturating_sub(reach)..(y + reach + 1).min(height);
        let columns = x.saturating_sub(reach)..(x + reach + 1).min(width);
        *to = take(from.slice(ndarray::s![rows, columns]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn analytic_mask_gives_texture_more_amplitude_than_flat_areas_and_edges() {
        // Texture on the left; flat on the right, with one edge in it.
        let cells = Array2::from_shape_fn((20, 60), |(_, x)| {
            let (mean, sigma) = match x {
                0..20 => (120.0, 12.0f32),
                40 => (120.0, 40.0),
                _ => (120.0, 0.0),
            };
            LumaSums {
                count: 16.0,
                sum: 16.0 * mean,
                squares: 16.0 * (mean * mean + sigma * sigma),
            }
        });
        let mut mask = PerceptualMask::default();
        mask.compute(&cells);
        let at = |x: usize| mask.amplitudes[[10, x]];
        assert!(at(10) > 3.0 * at(30), "{} {}", at(10), at(30));
        assert!((at(38) - at(30)).abs() < 1e-3);
        assert!(
            luminance_threshold(10.0) > luminance_threshold(127.0)
                && luminance_threshold(255.0) > luminance_threshold(127.0)
        );
    }
}
