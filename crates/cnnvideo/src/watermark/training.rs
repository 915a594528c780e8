// SPDX-License-Identifier: MIT OR Apache-2.0

//! The embedder's functions that training of the mask network uses.

use ndarray::Array2;

use super::{
    Key, Payload,
    mask::{LumaSums, PerceptualMask},
    pattern::patterns,
    plane::{canonical_scale, resample_plane},
};

pub use super::mask_network::{CELL_SIGMA_SCALE, MAX_LOG_AMPLITUDE, SIGNATURE};

/// Returns the patterns of a payload in key epoch 0, one per hop, for pictures of `width` by
/// `height` pixels; their variance is 1.
pub fn patterns_for_size(
    key: &Key,
    payload: Payload,
    width: usize,
    height: usize,
) -> Vec<Array2<f32>> {
    let canonical = patterns(key, 0, payload, canonical_scale(width, height));
    let resampled =
        canonical.iter().map(|pattern| resample_plane(&pattern.view(), width, height, |v| v));
    resampled.collect()
}

/// Returns the amplitudes of the analytic mask for a grid of cells.
///
/// `means` and `sigmas` are the mean and the standard deviation of luma in each cell, in 8-bit
/// units. All are stored by rows of `columns` values.
///
/// # Panics
/// Panics if `means` and `sigmas` differ in length, or if the length is not a multiple of
/// `columns`.
pub fn analytic_mask(means: &[f32], sigmas: &[f32], columns: usize) -> Vec<f32> {
    assert_eq!(means.len(), sigmas.len(), "one mean and one standard deviation per cell");
    let sums = means.iter().zip(sigmas).map(|(mean, sigma)| LumaSums {
        count: 1.0,
        sum: *mean,
        squares: mean * mean + sigma * sigma,
    });
    let cells = Array2::from_shape_vec((means.len() / columns, columns), sums.collect())
        .expect("the number of cells is a multiple of the number of columns");
    let mut mask = PerceptualMask::default();
    mask.compute(&cells);
    mask.amplitudes.into_iter().collect()
}
