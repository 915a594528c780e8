// SPDX-License-Identifier: MIT OR Apache-2.0

//! Structural similarity: SSIM and MS-SSIM.

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::gradient::sum_in_lanes;
use crate::simd::vectorise;

/// Radius of the window in pixels.
const WINDOW_RADIUS: usize = 5;
/// Width and height of the window in pixels.
const WINDOW: usize = 2 * WINDOW_RADIUS + 1;
/// Standard deviation of the Gaussian window in pixels.
const WINDOW_SIGMA: f64 = 1.5;
/// Stabilising constant of the luminance term, `(K1 L)^2` of the paper.
const C1: f32 = (0.01 * 255.0) * (0.01 * 255.0);
/// Stabilising constant of the contrast and structure term, `(K2 L)^2` of the paper.
const C2: f32 = (0.03 * 255.0) * (0.03 * 255.0);
/// Subtracted from all values, to keep the moments small enough for the precision of `f32`.
const VALUE_OFFSET: f32 = 128.0;
/// Exponents of the scales of MS-SSIM, full resolution first.
const SCALE_WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
/// Rows per parallel task.
const ROWS_PER_TASK: usize = 32;

/// Returns the mean structural similarity of two planes of values from 0 to 255: 1 for equal
/// planes, `None` if they differ in size or are smaller than the 11x11 window.
///
/// Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
/// Transactions on Image Processing 13(4), 2004: Gaussian window of standard deviation 1.5, at all
/// positions where it lies inside the plane.
pub fn ssim(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> Option<f64> {
    ssim_at_scale(a, b).map(|(ssim, _)| ssim)
}

/// Returns the multi-scale structural similarity of two planes of values from 0 to 255: 1 for equal
/// planes, `None` if they differ in size or a side has fewer than 176 pixels (the coarsest of five
/// scales must hold the window).
///
/// Wang, Simoncelli and Bovik, "Multi-Scale Structural Similarity for Image Quality Assessment",
/// Asilomar Conference on Signals, Systems and Computers, 2003. Each scale is the mean of 2x2
/// pixels of the one before. Negative contrast terms count as 0.
pub fn ms_ssim(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> Option<f64> {
    ssim_and_ms_ssim(a, b).and_then(|(_, ms_ssim)| ms_ssim)
}

/// Returns SSIM and MS-SSIM, which share the computation at full resolution.
pub(super) fn ssim_and_ms_ssim(
    a: &ArrayView2<'_, f32>,
    b: &ArrayView2<'_, f32>,
) -> Option<(f64, Option<f64>)> {
    let finest = ssim_at_scale(a, b)?;
    let ms_ssim = || {
        let mut product = finest.1.max(0.0).powf(SCALE_WEIGHTS[0]);
        let (mut a, mut b) = (mean_2x2(a), mean_2x2(b));
        for (i, weight) in SCALE_WEIGHTS.iter().enumerate().skip(1) {
            let (ssim, contrast) = ssim_at_scale(&a.view(), &b.view())?;
            let last = i + 1 == SCALE_WEIGHTS.len();
            product *= (if last { ssim } else { contrast }).max(0.0).powf(*weight);
            (a, b) = (mean_2x2(&a.view()), mean_2x2(&b.view()));
        }
        Some(product)
    };
    Some((finest.0, ms_ssim()))
}

/// Returns the means of SSIM and of its contrast-structure term at one scale.
fn ssim_at_scale(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> Option<(f64, f64)> {
    if a.dim() != b.dim() || a.nrows() < WINDOW || a.ncols() < WINDOW {
        return None;
    }
    let (rows, columns) = (a.nrows() - 2 * WINDOW_RADIUS, a.ncols() - 2 * WINDOW_RADIUS);
    let taps = taps();
    let bands: Vec<_> = (0..rows).step_by(ROWS_PER_TASK).collect();
    let sums = bands.into_par_iter().map_init(
        || Moments::new(columns),
        |moments, first| {
            let mut sums = (0.0, 0.0);
            for y in first..first + 2 * WINDOW_RADIUS {
                moments.push(y, &row(a, y), &row(b, y), &taps);
            }
            for y in first..(first + ROWS_PER_TASK).min(rows) {
                let last = y + 2 * WINDOW_RADIUS;
                moments.push(last, &row(a, last), &row(b, last), &taps);
                let (ssim, contrast) = moments.similarity(y, &taps);
                sums = (sums.0 + ssim, sums.1 + contrast);
            }
            sums
        },
    );
    let (ssim, contrast) = sums.reduce(|| (0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    let count = (rows * columns) as f64;
    Some((ssim / count, contrast / count))
}

/// Returns row `y` of a plane, minus [`VALUE_OFFSET`].
fn row(plane: &ArrayView2<'_, f32>, y: usize) -> Vec<f32> {
    plane.row(y).iter().map(|v| v - VALUE_OFFSET).collect()
}

/// Returns the taps of the Gaussian window along one axis; their sum is 1.
fn taps() -> [f32; WINDOW] {
    let taps: [f64; WINDOW] = std::array::from_fn(|i| {
        (-0.5 * ((i as f64 - WINDOW_RADIUS as f64) / WINDOW_SIGMA).powi(2)).exp()
    });
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / sum) as f32)
}

/// Local moments: Gaussian-weighted means of a, b, their squares and their product.
struct Moments {
    /// Ring buffer of the rows that a window spans, filtered horizontally.
    rows: Vec<[Vec<f32>; 5]>,
    /// One row, filtered in both directions.
    sums: [Vec<f32>; 5],
}

impl Moments {
    fn new(columns: usize) -> Self {
        let empty = || [0; 5].map(|_| vec![0.0; columns]);
        Self { rows: (0..WINDOW).map(|_| empty()).collect(), sums: empty() }
    }

    /// Filters row `y` of both planes horizontally and adds it to the ring buffer.
    fn push(&mut self, y: usize, a: &[f32], b: &[f32], taps: &[f32; WINDOW]) {
        let rows = &mut self.rows[y % WINDOW];
        let n = rows[0].len();
        let (a, b) = (&a[..n + 2 * WINDOW_RADIUS], &b[..n + 2 * WINDOW_RADIUS]);
        vectorise(
            #[inline(always)]
            || {
                let [mean_a, mean_b, square_a, square_b, product] = rows;
                let (mean_a, mean_b) = (&mut mean_a[..n], &mut mean_b[..n]);
                let (square_a, square_b, product) =
                    (&mut square_a[..n], &mut square_b[..n], &mut product[..n]);
                for i in 0..n {
                    let mut sums = [0.0; 5];
                    for (k, tap) in taps.iter().enumerate() {
                        let (a, b) = (a[i + k], b[i + k]);
                        let (p, q) = (tap * a, tap * b);
                        sums[0] += p;
                        sums[1] += q;
                        sums[2] += p * a;
                        sums[3] += q * b;
                        sums[4] += p * b;
                    }
                    [mean_a[i], mean_b[i], square_a[i], square_b[i], product[i]] = sums;
                }
            },
        );
    }

    /// Returns the sums of SSIM and of the contrast-structure term over the windows that begin at
    /// row `y`.
    fn similarity(&mut self, y: usize, taps: &[f32; WINDOW]) -> (f64, f64) {
        let Self { rows, sums } = self;
        let rows = &*rows;
        vectorise(
            #[inline(always)]
            || {
                for (i, sum) in sums.iter_mut().enumerate() {
                    sum.fill(0.0);
                    for (k, tap) in taps.iter().enumerate() {
                        let row = &rows[(y + k) % WINDOW][i];
                        sum.iter_mut().zip(row).for_each(|(to, v)| *to += tap * v);
                    }
                }
                let [a, b, aa, bb, ab] = sums;
                // Reuses the moments' memory: `a` receives SSIM, `ab` the contrast-structure term.
                for ((((a, b), aa), bb), ab) in
                    a.iter_mut().zip(b).zip(aa).zip(bb).zip(ab.iter_mut())
                {
                    let (variance_a, variance_b, covariance) =
                        (*aa - *a * *a, *bb - *b * *b, *ab - *a * *b);
                    let (x, y) = (*a + VALUE_OFFSET, *b + VALUE_OFFSET);
                    let structure = (2.0 * covariance + C2) / (variance_a + variance_b + C2);
                    *ab = structure;
                    *a = structure * (2.0 * x * y + C1) / (x * x + y * y + C1);
                }
                (
                    f64::from(sum_in_lanes(a.iter().copied())),
                    f64::from(sum_in_lanes(ab.iter().copied())),
                )
            },
        )
    }
}

/// Returns the means of 2x2 values; drops an odd last row or column.
fn mean_2x2(plane: &ArrayView2<'_, f32>) -> Array2<f32> {
    let (height, width) = (plane.nrows() / 2 * 2, plane.ncols() / 2 * 2);
    let part = |dy: usize, dx: usize| plane.slice(s![dy..height;2, dx..width;2]);
    (part(0, 0).to_owned() + part(0, 1) + part(1, 0) + part(1, 1)) * 0.25
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_planes_give_1_and_flat_planes_match_the_formula() {
        let plane = Array2::from_shape_fn((200, 230), |(y, x)| ((x * 7 + y * 13) % 256) as f32);
        assert!((ssim(&plane.view(), &plane.view()).unwrap() - 1.0).abs() < 1e-6);
        assert!((ms_ssim(&plane.view(), &plane.view()).unwrap() - 1.0).abs() < 1e-6);
        // Without variance only the luminance term differs from 1.
        let (a, b) = (Array2::from_elem((11, 11), 100.0f32), Array2::from_elem((11, 11), 120.0f32));
        let c1 = (0.01f64 * 255.0).powi(2);
        let by_hand = (2.0 * 100.0 * 120.0 + c1) / (100.0f64.powi(2) + 120.0f64.powi(2) + c1);
        assert!((ssim(&a.view(), &b.view()).unwrap() - by_hand).abs() < 1e-5);
        assert_eq!(ssim(&a.view(), &plane.view()), None);
        assert_eq!(ssim(&plane.slice(s![..10, ..]), &plane.slice(s![..10, ..])), None);
        assert_eq!(ms_ssim(&plane.slice(s![..170, ..]), &plane.slice(s![..170, ..])), None);
    }
}
