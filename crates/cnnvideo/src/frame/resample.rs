// SPDX-License-Identifier: MIT OR Apache-2.0

//! Resampling of pictures: area averaging when reducing, linear interpolation when enlarging.

use ndarray::Array2;

/// Resampling filter along one axis.
#[derive(Debug, Clone, Default)]
struct AxisFilter {
    /// First source sample and weights, for each output sample.
    taps: Vec<(usize, Vec<f32>)>,
}

impl AxisFilter {
    /// Creates the filter for `samples` source samples: means over the area of each output sample
    /// if `scale` is below 1, else linear interpolation.
    fn new(samples: usize, scale: f64) -> Self {
        let count = ((samples as f64 * scale + 1e-6) as usize).max(1);
        let radius = (0.5 / scale).max(0.5);
        let taps = (0..count).map(|i| {
            let centre = (i as f64 + 0.5) / scale;
            let (low, high) = (centre - radius, centre + radius);
            let first = low.floor().max(0.0) as usize;
            let last = (high.ceil() as usize).clamp(first + 1, samples.max(first + 1));
            let overlap = |k: usize| ((k as f64 + 1.0).min(high) - (k as f64).max(low)).max(0.0);
            let weights: Vec<f64> = (first..last).map(overlap).collect();
            let sum = weights.iter().sum::<f64>().max(1e-9);
            let first = first.min(samples - 1);
            (first, weights.into_iter().take(samples - first).map(|w| (w / sum) as f32).collect())
        });
        Self { taps: taps.collect() }
    }
}

/// Resampler; keeps its filters while size and scale stay the same.
#[derive(Debug, Default)]
pub(crate) struct Resampler {
    size: (usize, usize),
    scale: [f64; 2],
    x: AxisFilter,
    y: AxisFilter,
    /// One source row.
    row: Vec<f32>,
}

impl Resampler {
    /// Resamples a picture of `(width, height)` by `scale` (horizontal, vertical) into `to`, which
    /// it resizes. `add(y, row, weight)` adds row `y` of the picture, times `weight`, to `row`.
    pub(crate) fn resample(
        &mut self,
        (width, height): (usize, usize),
        scale: [f64; 2],
        to: &mut Array2<f32>,
        mut add: impl FnMut(usize, &mut [f32], f32),
    ) {
        if self.size != (width, height) || self.scale != scale {
            (self.x, self.y) =
                (AxisFilter::new(width, scale[0]), AxisFilter::new(height, scale[1]));
            (self.size, self.scale) = ((width, height), scale);
            self.row = vec![0.0; width];
        }
        let dim = (self.y.taps.len(), self.x.taps.len());
        if to.dim() != dim {
            *to = Array2::zeros(dim);
        }
        for ((first, weights), mut to) in self.y.taps.iter().zip(to.rows_mut()) {
            let row = &mut self.row;
            row.fill(0.0);
            for (y, weight) in (*first..).zip(weights) {
                add(y, row, *weight);
            }
            for ((first, weights), to) in self.x.taps.iter().zip(&mut to) {
                *to = row[*first..].iter().zip(weights).map(|(v, w)| v * w).sum();
            }
        }
    }
}
