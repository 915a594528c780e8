// SPDX-License-Identifier: MIT OR Apache-2.0

//! Resampling of pictures: area averaging when reducing, linear interpolation when enlarging.

use ndarray::{Array2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use crate::simd::vectorise;

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

/// Rows that one band works with.
#[derive(Debug, Default)]
struct BandRows {
    /// A source row.
    source: Vec<f32>,
    /// Number of this row.
    number: Option<usize>,
    /// Weighted sum of source rows.
    sum: Vec<f32>,
}

impl BandRows {
    /// Adds a source row, times `weight`, to the sum. Neighbouring output rows may share a source
    /// row, which is then read once.
    fn add(&mut self, y: usize, weight: f32, read_row: &impl Fn(usize, &mut [f32])) {
        if self.number.replace(y) != Some(y) {
            read_row(y, &mut self.source);
        }
        let Self { source, sum, .. } = self;
        vectorise(
            #[inline(always)]
            || sum.iter_mut().zip(&*source).for_each(|(sum, v)| *sum += weight * v),
        );
    }
}

/// Resampler; keeps its filters while size and scale stay the same.
#[derive(Debug, Default)]
pub(crate) struct Resampler {
    size: (usize, usize),
    scale: [f64; 2],
    x: AxisFilter,
    y: AxisFilter,
    bands: Vec<BandRows>,
}

impl Resampler {
    /// Resamples a picture of `(width, height)` by `scale` (horizontal, vertical) into `to`, which
    /// it resizes. `read_row` fills a row of the picture. More than one of the `bands`, horizontal
    /// parts of `to`, are computed in parallel, on the threads of the current pool; their number
    /// does not change the result.
    pub(crate) fn resample(
        &mut self,
        (width, height): (usize, usize),
        scale: [f64; 2],
        to: &mut Array2<f32>,
        bands: usize,
        read_row: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        if self.size != (width, height) || self.scale != scale {
            (self.x, self.y) =
                (AxisFilter::new(width, scale[0]), AxisFilter::new(height, scale[1]));
            (self.size, self.scale) = ((width, height), scale);
            self.bands.clear();
        }
        self.bands.resize_with(bands.max(1), || BandRows {
            source: vec![0.0; width],
            number: None,
            sum: vec![0.0; width],
        });
        let dim = (self.y.taps.len(), self.x.taps.len());
        if to.dim() != dim {
            *to = Array2::zeros(dim);
        }
        let Self { x, y, bands, .. } = self;
        let length = dim.0.div_ceil(bands.len());
        let parts = to.axis_chunks_iter_mut(Axis(0), length);
        let filters = y.taps.chunks(length);
        if let [band] = &mut bands[..] {
            parts.zip(filters).for_each(|(to, y)| resample_band(band, x, y, to, &read_row));
        } else {
            let parts = parts.into_par_iter().zip(filters.collect::<Vec<_>>()).zip(bands);
            parts.for_each(|((to, y), band)| resample_band(band, x, y, to, &read_row));
        }
    }
}

/// Resamples the rows `to`, which have the vertical filters `y`.
fn resample_band(
    band: &mut BandRows,
    x: &AxisFilter,
    y: &[(usize, Vec<f32>)],
    mut to: ArrayViewMut2<'_, f32>,
    read_row: &impl Fn(usize, &mut [f32]),
) {
    // The row that is left from the previous picture has its contents.
    band.number = None;
    for ((first, weights), mut to) in y.iter().zip(to.rows_mut()) {
        band.sum.fill(0.0);
        for (y, weight) in (*first..).zip(weights) {
            band.add(y, *weight, read_row);
        }
        for ((first, weights), to) in x.taps.iter().zip(&mut to) {
            *to = band.sum[*first..].iter().zip(weights).map(|(v, w)| v * w).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_bands_does_not_change_the_result() {
        let picture = Array2::from_shape_fn((97, 61), |(y, x)| ((y * 31 + x * 17) % 251) as f32);
        let resample = |scale: [f64; 2], bands: usize| {
            let mut to = Array2::zeros((0, 0));
            Resampler::default().resample((61, 97), scale, &mut to, bands, |y, row| {
                row.iter_mut().zip(picture.row(y)).for_each(|(to, v)| *to = *v);
            });
            to
        };
        for scale in [[0.31, 0.27], [1.7, 0.5], [0.02, 0.01]] {
            let one = resample(scale, 1);
            for bands in [2, 5, 300] {
                assert_eq!(one, resample(scale, bands), "{scale:?}, {bands}");
            }
        }
        let reduced = resample([0.5, 0.5], 3);
        let mean = 0.25 * picture.slice(ndarray::s![2..4, 4..6]).sum();
        assert!((reduced[[1, 2]] - mean).abs() < 1e-3);
    }
}
