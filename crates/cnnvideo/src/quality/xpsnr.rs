// SPDX-License-Identifier: MIT OR Apache-2.0

//! XPSNR: peak signal-to-noise ratio with block weights by the visual activity of the reference.
//!
//! Helmrich, Siekmann, Becker, Bosse, Marpe and Wiegand, "XPSNR: A Low-Complexity Extension of the
//! Perceptually Weighted Peak Signal-to-Noise Ratio for High-Resolution Video Quality Assessment",
//! ICASSP 2020; and Helmrich et al., "A Study of the Extended Perceptually Weighted Peak
//! Signal-to-Noise Ratio (XPSNR) for Video Compression with Different Resolutions and Bit Depths",
//! ITU Journal: ICT Discoveries 3(1), 2020.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::gradient::sum_in_lanes;
use crate::simd::vectorise;

/// Samples of a frame of 3840x2160, the resolution of which the block size is 128.
const UHD_SAMPLES: f64 = 3840.0 * 2160.0;
/// Luma samples above which activity is measured at half the resolution, on 2x2 samples.
const HALF_RESOLUTION_SAMPLES: usize = 2048 * 1152;
/// Luma samples up to which weights are limited to those of the neighbouring blocks.
const SMOOTHED_SAMPLES: usize = 640 * 480;
/// Weight of temporal activity relative to spatial activity, gamma of the paper.
const TEMPORAL_WEIGHT: f64 = 2.0;
/// Lowest activity of a block for 8-bit samples: `2^(BD - 6)`.
const LOWEST_ACTIVITY: f64 = 4.0;
/// Frame rate from which temporal activity is the second difference of frames, not the first.
const SECOND_DIFFERENCE_RATE: f64 = 32.0;
/// Smallest block whose activity can be measured.
const SMALLEST_BLOCK: usize = 4;

/// Computes XPSNR for the pairs of pictures of a stream. Keeps the luma of two reference pictures.
pub struct Xpsnr {
    /// Luma of the previous reference picture and of the one before it. Black before the first.
    previous: [Array2<f32>; 2],
}

impl Default for Xpsnr {
    fn default() -> Self {
        Self { previous: [Array2::zeros((0, 0)), Array2::zeros((0, 0))] }
    }
}

/// Luma of the reference and its predecessors, and how activity is measured.
struct Activity<'a> {
    luma: ArrayView2<'a, f32>,
    previous: [ArrayView2<'a, f32>; 2],
    /// Whether temporal activity is the second difference of frames.
    second_difference: bool,
    /// Whether activity is measured on 2x2 samples.
    half_resolution: bool,
}

impl Xpsnr {
    /// Forgets the previous pictures.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Returns the weights of the blocks of the next picture, from the luma of the reference in
    /// 8-bit code values and the frame rate in frames per second.
    pub fn weights(&mut self, luma: &ArrayView2<'_, f32>, frame_rate: f64) -> BlockWeights {
        if self.previous[0].dim() != luma.dim() {
            self.previous = [Array2::zeros(luma.dim()), Array2::zeros(luma.dim())];
        }
        // Without a copy where rows are contiguous already.
        let luma = &luma.as_standard_layout();
        let activity = Activity {
            luma: luma.view(),
            previous: self.previous.each_ref().map(|plane| plane.view()),
            // Implementations round the rate down, to 29 for 29.97.
            second_difference: frame_rate.floor() >= SECOND_DIFFERENCE_RATE,
            half_resolution: luma.len() > HALF_RESOLUTION_SAMPLES,
        };
        let weights = BlockWeights::new(&activity);
        self.previous.swap(0, 1);
        self.previous[0].assign(luma);
        weights
    }
}

/// Weights of the square errors in the blocks of a picture.
pub struct BlockWeights {
    /// Weight of each block, in rows of blocks; `None` where pictures are too small for blocks.
    blocks: Option<Array2<f64>>,
    /// Width and height of a block of luma in samples.
    side: usize,
    /// Rows and columns of luma.
    luma: (usize, usize),
}

impl BlockWeights {
    fn new(activity: &Activity<'_>) -> Self {
        let luma = activity.luma.dim();
        let share = activity.luma.len() as f64 / UHD_SAMPLES;
        let side = 4 * (32.0 * share.sqrt() + 0.5) as usize;
        if side < SMALLEST_BLOCK {
            return Self { blocks: None, side: 0, luma };
        }
        // a_pic of the paper for 8 bits. Its root belongs to the weight of each block.
        let picture = (16.0 * 2f64.powi(2 * 8 - 9) / share.max(1e-5).sqrt()).sqrt();
        let (rows, columns) = (luma.0.div_ceil(side), luma.1.div_ceil(side));
        let at = |block: usize| (block / columns * side, block % columns * side);
        let blocks = (0..rows * columns).into_par_iter();
        let weights = blocks.map(|block| picture / activity.of_block(at(block), side)).collect();
        let mut blocks = Array2::from_shape_vec((rows, columns), weights)
            .expect("there is a weight for each block");
        if activity.luma.len() <= SMOOTHED_SAMPLES {
            limit_to_neighbours(&mut blocks);
        }
        Self { blocks: Some(blocks), side, luma }
    }

    /// Returns the XPSNR in dB of a component with 8-bit code values, luma or chroma, infinite for
    /// equal planes; NaN if the planes are empty or differ in size.
    pub fn xpsnr(&self, reference: &ArrayView2<'_, f32>, test: &ArrayView2<'_, f32>) -> f64 {
        super::psnr(self.weighted_mse(reference, test))
    }

    /// Returns the weighted mean square error of a component.
    fn weighted_mse(&self, a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> f64 {
        let Some(blocks) = &self.blocks else { return super::mse(a, b) };
        if a.dim() != b.dim() || a.is_empty() {
            return f64::NAN;
        }
        // Blocks of chroma cover the same part of the picture as those of luma.
        let scaled = |of: usize, luma: usize| (self.side * of / luma).max(1);
        let (height, width) = (scaled(a.nrows(), self.luma.0), scaled(a.ncols(), self.luma.1));
        let sums = blocks.indexed_iter().map(|((row, column), weight)| {
            let rows = (row * height).min(a.nrows())..((row + 1) * height).min(a.nrows());
            let columns = (column * width).min(a.ncols())..((column + 1) * width).min(a.ncols());
            let [a, b] = [a, b].map(|plane| plane.slice(s![rows.clone(), columns.clone()]));
            if a.is_empty() { 0.0 } else { weight * super::mse(&a, &b) * a.len() as f64 }
        });
        sums.sum::<f64>() / a.len() as f64
    }
}

/// Limits each weight to the largest of its neighbours to the left, to the right and above. In the
/// last block of the picture there is none to the right, and in the last of other rows only the
/// ones to the left and above count.
fn limit_to_neighbours(weights: &mut Array2<f64>) {
    let (rows, columns) = weights.dim();
    let count = rows * columns;
    let weights = weights.as_slice_mut().expect("an owned array in standard layout");
    for block in 0..count {
        let (row, column) = (block / columns, block % columns);
        let mut neighbours = Vec::with_capacity(3);
        if column > 0 {
            neighbours.push(weights[block - 1]);
        }
        if column + 1 < columns {
            neighbours.push(weights[block + 1]);
        }
        if row > 0 {
            neighbours.push(weights[block - columns]);
        }
        if let Some(largest) = neighbours.into_iter().reduce(f64::max) {
            weights[block] = weights[block].min(largest);
        }
    }
}

impl Activity<'_> {
    /// Returns the visual activity of the block of `side` samples at a row and column: the sum of
    /// the spatial and the weighted temporal activity, at least [`LOWEST_ACTIVITY`].
    fn of_block(&self, (top, left): (usize, usize), side: usize) -> f64 {
        let (height, width) = self.luma.dim();
        let (bottom, right) = ((top + side).min(height), (left + side).min(width));
        let step = if self.half_resolution { 2 } else { 1 };
        // The high-pass filter needs the samples around.
        let first = |at: usize| if at == 0 { step } else { at };
        let last = |at: usize, end: usize| if at == end { at.saturating_sub(step) } else { at };
        let (y0, x0) = (first(top), first(left));
        let (y1, x1) = (last(bottom, height), last(right, width));
        if y1 <= y0 || x1 <= x0 {
            // Too few samples: the activity that the weight of 1 in the literature stands for.
            return 1.0;
        }
        let samples = ((y1 - y0) * (x1 - x0)) as f64;
        let rows = (y0..y1).step_by(step);
        let spatial: f64 = rows.map(|y| f64::from(self.spatial(y, x0..x1))).sum();
        let rows = (top..bottom).step_by(step);
        let temporal: f64 = rows.map(|y| f64::from(self.temporal(y, left..right))).sum();
        let temporal = TEMPORAL_WEIGHT * temporal / ((bottom - top) * (right - left)) as f64;
        (spatial / samples + temporal).max(LOWEST_ACTIVITY)
    }

    /// Returns the sum of the magnitudes of the high-pass filter in a part of a row, or of two rows
    /// at half the resolution.
    fn spatial(&self, y: usize, columns: Range<usize>) -> f32 {
        if self.half_resolution {
            return columns.step_by(2).map(|x| self.high_pass_2x2(y, x).abs()).sum();
        }
        let columns = columns.start - 1..columns.end + 1;
        let [above, row, below] = [y - 1, y, y + 1].map(|y| &row(&self.luma, y)[columns.clone()]);
        vectorise(
            #[inline(always)]
            || {
                let windows = above.windows(3).zip(row.windows(3)).zip(below.windows(3));
                sum_in_lanes(windows.map(|((a, b), c)| {
                    let (sides, corners) = (b[0] + b[2] + a[1] + c[1], a[0] + a[2] + c[0] + c[2]);
                    (12.0 * b[1] - 2.0 * sides - corners).abs()
                }))
            },
        )
    }

    /// Returns the sum of the magnitudes of the changes since the previous pictures in a part of a
    /// row, or of two rows at half the resolution.
    fn temporal(&self, y: usize, columns: Range<usize>) -> f32 {
        if self.half_resolution {
            return columns.step_by(2).map(|x| self.change_2x2(y, x).abs()).sum();
        }
        let [previous, before] = &self.previous;
        let [a, b, c] = [&self.luma, previous, before].map(|plane| &row(plane, y)[columns.clone()]);
        let second = self.second_difference;
        vectorise(
            #[inline(always)]
            || {
                let changes = a.iter().zip(b).zip(c);
                sum_in_lanes(changes.map(|((a, b), c)| {
                    let change = if second { a - 2.0 * b + c } else { a - b };
                    change.abs()
                }))
            },
        )
    }

    /// Returns the response of the high-pass filter around 2x2 samples. Samples outside of the
    /// picture count as those at its border.
    fn high_pass_2x2(&self, y: usize, x: usize) -> f32 {
        let (height, width) = self.luma.dim();
        let at = |dy: isize, dx: isize| {
            let y = y.saturating_add_signed(dy).min(height - 1);
            self.luma[[y, x.saturating_add_signed(dx).min(width - 1)]]
        };
        let mut response = 0.0;
        for (dy, weights) in (-2..).zip(&HIGH_PASS_2X2) {
            for (dx, weight) in (-2..).zip(weights) {
                response += weight * at(dy, dx);
            }
        }
        response
    }

    /// Returns the change of the 2x2 samples at a row and column since the previous pictures.
    fn change_2x2(&self, y: usize, x: usize) -> f32 {
        let (height, width) = self.luma.dim();
        let area = s![y..(y + 2).min(height), x..(x + 2).min(width)];
        let [previous, before] = &self.previous;
        let [now, previous, before] =
            [&self.luma, previous, before].map(|plane| plane.slice(area).sum());
        match self.second_difference {
            true => now - 2.0 * previous + before,
            false => now - previous,
        }
    }
}

/// Returns row `y` of a plane whose rows are contiguous.
fn row<'a>(plane: &ArrayView2<'a, f32>, y: usize) -> &'a [f32] {
    plane.slice_move(s![y, ..]).to_slice().expect("planes are in standard layout")
}

/// High-pass filter around the 2x2 samples in its middle; the sum is 0.
const HIGH_PASS_2X2: [[f32; 6]; 6] = [
    [0.0, -1.0, -1.0, -1.0, -1.0, 0.0],
    [-1.0, -2.0, -3.0, -3.0, -2.0, -1.0],
    [-1.0, -3.0, 12.0, 12.0, -3.0, -1.0],
    [-1.0, -3.0, 12.0, 12.0, -3.0, -1.0],
    [-1.0, -2.0, -3.0, -3.0, -2.0, -1.0],
    [0.0, -1.0, -1.0, -1.0, -1.0, 0.0],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(size: (usize, usize), amplitude: f32, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn(size, |(y, x)| {
            let hash = (x * 7919 + y * 104_729 + seed * 15_485_863).wrapping_mul(2_654_435_761);
            128.0 + amplitude * ((hash >> 7) % 256) as f32 / 256.0
        })
    }

    #[test]
    fn equal_pictures_are_infinite_and_tiny_ones_have_plain_psnr() {
        let mut xpsnr = Xpsnr::default();
        let plane = noise((240, 320), 40.0, 1);
        let weights = xpsnr.weights(&plane.view(), 25.0);
        assert_eq!(weights.xpsnr(&plane.view(), &plane.view()), f64::INFINITY);
        for size in [(1, 1), (3, 5), (8, 8), (1, 400), (400, 1), (33, 47)] {
            let (a, b) = (noise(size, 40.0, 1), noise(size, 40.0, 2));
            let weights = xpsnr.weights(&a.view(), 25.0);
            let (found, mse) =
                (weights.xpsnr(&a.view(), &b.view()), super::super::mse(&a.view(), &b.view()));
            assert!(found.is_finite(), "{size:?}: {found}");
            if weights.blocks.is_none() {
                assert_eq!(found, super::super::psnr(mse), "{size:?}");
            }
        }
        let weights = xpsnr.weights(&plane.view(), 25.0);
        assert!(weights.xpsnr(&plane.view(), &noise((2, 2), 1.0, 1).view()).is_nan());
    }

    #[test]
    fn errors_weigh_less_in_texture_than_in_flat_areas() {
        let size = (1080, 1920);
        let mut plane = Array2::from_elem(size, 128.0f32);
        plane.slice_mut(s![.., ..960]).assign(&noise((1080, 960), 80.0, 1));
        let mut xpsnr = Xpsnr::default();
        xpsnr.weights(&plane.view(), 25.0);
        let weights = xpsnr.weights(&plane.view(), 25.0);
        let with_error = |columns: std::ops::Range<usize>| {
            let mut test = plane.clone();
            test.slice_mut(s![.., columns]).mapv_inplace(|v| v + 3.0);
            weights.xpsnr(&plane.view(), &test.view())
        };
        let (texture, flat) = (with_error(100..800), with_error(1100..1800));
        assert!(texture > flat + 6.0, "{texture} and {flat}");
    }
}
