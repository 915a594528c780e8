//! Analytic perceptual mask of the watermark: luminance adaptation and texture masking.
//!
//! After Chou and Li, "A Perceptually Tuned Subband Image Coder Based on the Measure of
//! Just-Noticeable-Distortion Profile", IEEE Transactions on Circuits and Systems for Video
//! Technology 5(6), 1995. The mask has one amplitude per cell, a square block of pixels.

use ndarray::{Array2, Zip};

/// Radius, in cells, over which texture is averaged.
const AVERAGE: usize = 1;
/// Radius, in cells, of the minimum filter applied to averaged texture, so that a flat area next to
/// an edge counts as flat.
const LEAST: usize = 1;
/// Amplitude of flat mid-grey.
pub(super) const FLAT: f32 = 0.55;
/// Amplitude added per 8-bit unit of texture standard deviation.
const TEXTURE: f32 = 0.35;
/// Standard deviation of texture, in 8-bit units, above which masking does not increase.
const MOST_TEXTURE: f32 = 30.0;

/// Sums over the luma of the pixels of a cell, in 8-bit units.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    /// Number of pixels.
    pub count: f32,
    /// Sum of luma.
    pub sum: f32,
    /// Sum of squared luma.
    pub squares: f32,
}

impl Cell {
    /// Returns mean and standard deviation of luma.
    pub fn statistics(&self) -> (f32, f32) {
        let mean = self.sum / self.count;
        (mean, (self.squares / self.count - mean * mean).max(0.0).sqrt())
    }
}

/// Amplitudes of the watermark for a grid of cells. Only their ratios matter.
#[derive(Debug, Default)]
pub(super) struct Mask {
    deviations: Array2<f32>,
    averages: Array2<f32>,
    /// Amplitude of each cell, rows by columns.
    pub amplitudes: Array2<f32>,
}

impl Mask {
    /// Allocates the arrays for a grid of cells of this size, if it is a new one.
    pub fn resize(&mut self, dim: (usize, usize)) {
        if self.amplitudes.dim() != dim {
            for plane in [&mut self.deviations, &mut self.averages, &mut self.amplitudes] {
                *plane = Array2::zeros(dim);
            }
        }
    }

    /// Computes the amplitudes with the analytic model.
    pub fn analytic(&mut self, cells: &Array2<Cell>) {
        self.resize(cells.dim());
        Zip::from(&mut self.deviations).and(cells).for_each(|to, cell| {
            *to = cell.statistics().1;
        });
        around(&self.deviations, &mut self.averages, AVERAGE, |part| {
            part.sum() / part.len() as f32
        });
        around(&self.averages, &mut self.amplitudes, LEAST, |part| {
            part.iter().copied().fold(f32::MAX, f32::min)
        });
        Zip::from(&mut self.amplitudes).and(cells).for_each(|amplitude, cell| {
            let mean = cell.sum / cell.count;
            *amplitude = FLAT * adaptation(mean) + TEXTURE * amplitude.min(MOST_TEXTURE);
        });
    }
}

/// Returns the visibility threshold at a background luma, relative to that of mid-grey (Chou and
/// Li, equation 3).
fn adaptation(level: f32) -> f32 {
    let threshold = if level <= 127.0 {
        17.0 * (1.0 - (level.max(0.0) / 127.0).sqrt()) + 3.0
    } else {
        3.0 / 128.0 * (level - 127.0) + 3.0
    };
    // The model was fitted to cathode-ray tubes; current screens show noise in dark areas more than
    // it predicts, so the threshold is limited.
    (threshold / 3.0).min(1.3)
}

/// Applies `take` to the window of `reach` cells to each side of every cell.
fn around(
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
    fn texture_hides_more_than_flat_ground_and_edges_do_not() {
        // Texture on the left; flat on the right, with one edge in it.
        let cells = Array2::from_shape_fn((20, 60), |(_, x)| {
            let (mean, deviation) = match x {
                0..20 => (120.0, 12.0f32),
                40 => (120.0, 40.0),
                _ => (120.0, 0.0),
            };
            Cell {
                count: 16.0,
                sum: 16.0 * mean,
                squares: 16.0 * (mean * mean + deviation * deviation),
            }
        });
        let mut mask = Mask::default();
        mask.analytic(&cells);
        let at = |x: usize| mask.amplitudes[[10, x]];
        assert!(at(10) > 3.0 * at(30), "{} {}", at(10), at(30));
        assert!((at(38) - at(30)).abs() < 1e-3);
        assert!(adaptation(10.0) > adaptation(127.0) && adaptation(255.0) > adaptation(127.0));
    }
}
