// SPDX-License-Identifier: MIT OR Apache-2.0

//! Input and output of the debanding network.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2};

use super::{
    FEATURE_RANGE, SIGNATURE, SPREAD_RANGE,
    cells::{CONTIGUOUS, CellMaps},
};
use crate::{
    nn::{Output, RowSink, Source, split_rows},
    simd::vectorise,
};

/// All input channels.
const INPUTS: usize = SIGNATURE.io.input_channels();
/// Output channels: corrections and logits of four blocks.
const OUTPUTS: usize = SIGNATURE.io.output;
/// Logit beyond which the share counts as 0 or 1, so that texture stays unchanged.
const MAX_LOGIT: f32 = 8.0;

/// Maps of a component as the input of the network.
pub(super) struct Features<'a> {
    /// The maps.
    pub maps: &'a CellMaps,
    /// Value of the control map.
    pub control: f32,
}

impl Source for Features<'_> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let CellMaps { blocks, means, spreads, windows: [near, wide] } = self.maps;
        let last = means.nrows() - 1;
        let y = y.min(last);
        let slice = |map| row_slice(map, y);
        let (own, spreads, near, wide) = (slice(means), slice(spreads), slice(near), slice(wide));
        let below = row_slice(means, (y + 1).min(last));
        let blocks = [2 * y, 2 * y + 1].map(|y| row_slice(blocks, y).as_chunks::<2>().0);
        let (pixels, columns) = (row.as_chunks_mut::<INPUTS>().0, own.len());
        let (inner, beyond) = pixels.split_at_mut(columns);
        vectorise(
            #[inline(always)]
            || {
                for (x, pixel) in inner.iter_mut().enumerate() {
                    let mean = own[x];
                    let right = own[(x + 1).min(columns - 1)];
                    let [[a, b], [c, d]] = [blocks[0][x], blocks[1][x]];
                    let difference = |v: f32| (v * (1.0 / FEATURE_RANGE)).clamp(-1.0, 1.0);
                    *pixel = [
                        difference(a - mean),
                        difference(b - mean),
                        difference(c - mean),
                        difference(d - mean),
                        difference(right - mean),
                        difference(below[x] - mean),
                        difference(mean - near[x]),
                        difference(mean - wide[x]),
                        (spreads[x] * (1.0 / SPREAD_RANGE)).min(1.0),
                        self.control,
                    ];
                }
            },
        );
        // Beyond the border the last cell is repeated.
        let last = inner.last().copied().expect("a component has at least one cell");
        beyond.fill(last);
    }
}

/// Returns a row of a map.
fn row_slice(map: &Array2<f32>, y: usize) -> &[f32] {
    map.row(y).to_slice().expect(CONTIGUOUS)
}

/// Predicted gradients and where they apply, one value for each block of 2x2 samples.
#[derive(Debug, Default)]
pub(super) struct Prediction {
    /// Correction of each block's mean in code values.
    pub corrections: Array2<f32>,
    /// Share of the correction to apply, 0 to 1.
    pub shares: Array2<f32>,
}

impl Prediction {
    /// Resizes the maps for `dim` blocks (rows, columns).
    pub(super) fn resize(&mut self, dim: (usize, usize)) {
        for map in [&mut self.corrections, &mut self.shares] {
            if map.dim() != dim {
                *map = Array2::zeros(dim);
            }
        }
    }
}

impl Output for Prediction {
    fn split<'a>(&'a mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'a>> {
        let corrections = split_rows(&mut self.corrections, bands, 2);
        let parts = corrections.into_iter().zip(split_rows(&mut self.shares, bands, 2)).zip(bands);
        parts
            .map(|((corrections, shares), band)| -> Box<dyn RowSink + 'a> {
                Box::new(Band { first_row: band.start, corrections, shares })
            })
            .collect()
    }
}

/// Sink of one band of the network's output.
struct Band<'a> {
    /// First row of the band, in rows of cells.
    first_row: usize,
    corrections: ArrayViewMut2<'a, f32>,
    shares: ArrayViewMut2<'a, f32>,
}

impl RowSink for Band<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let first = 2 * (y - self.first_row);
        let pixels = row.as_chunks::<OUTPUTS>().0;
        for dy in 0..2 {
            if first + dy >= self.shares.nrows() {
                return;
            }
            let (mut corrections, mut shares) =
                (self.corrections.row_mut(first + dy), self.shares.row_mut(first + dy));
            let corrections = corrections.as_slice_mut().expect(CONTIGUOUS);
            let shares = shares.as_slice_mut().expect(CONTIGUOUS);
            let pairs = corrections.as_chunks_mut::<2>().0.iter_mut();
            let pairs = pairs.zip(shares.as_chunks_mut::<2>().0).zip(pixels);
            for ((corrections, shares), pixel) in pairs {
                for i in 0..2 {
                    corrections[i] = FEATURE_RANGE * pixel[2 * dy + i];
                    shares[i] = share(pixel[4 + 2 * dy + i]);
                }
            }
        }
    }
}

/// Returns the share of a logit.
fn share(logit: f32) -> f32 {
    if logit < -MAX_LOGIT { 0.0 } else { 1.0 / (1.0 + (-logit.min(MAX_LOGIT)).exp()) }
}
