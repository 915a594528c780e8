// SPDX-License-Identifier: MIT OR Apache-2.0

//! Means of a component at a half and a quarter of its size ([`CellMaps`]).

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::WINDOWS;
use crate::{
    frame::{Sample, box_mean::box_mean_rows, convert::convert_row, unshuffle::row_clamped},
    nn::Threads,
    simd::vectorise,
};

/// Side of a cell in samples.
pub(super) const CELL: usize = 4;
/// Rows of cells in a parallel task of the window means. It does not depend on the number of
/// threads, and neither does the rounding of the means.
const WINDOW_ROWS: usize = 32;
/// Reason why rows of maps can be viewed as slices.
pub(super) const CONTIGUOUS: &str = "rows of own maps are contiguous";

/// Maps of a component in code values, kept to reuse their memory. Cells and blocks that extend
/// beyond the component repeat its last samples.
#[derive(Debug, Default)]
pub(super) struct CellMaps {
    /// Means of 2x2 samples.
    pub blocks: Array2<f32>,
    /// Means of cells of 4x4 samples.
    pub means: Array2<f32>,
    /// Difference of the largest and the smallest sample of each cell.
    pub spreads: Array2<f32>,
    /// Means of the windows of [`WINDOWS`] around each cell.
    pub windows: [Array2<f32>; 2],
}

impl CellMaps {
    /// Fills the maps from a component.
    pub(super) fn fill<T: Sample>(&mut self, component: &ArrayView2<'_, T>, threads: &Threads) {
        let (height, width) = component.dim();
        let (rows, columns) = (height.div_ceil(CELL), width.div_ceil(CELL));
        let Self { blocks, means, spreads, windows: [near, wide] } = self;
        if means.dim() != (rows, columns) {
            *blocks = Array2::zeros((2 * rows, 2 * columns));
            for map in [&mut *means, spreads, near, wide] {
                *map = Array2::zeros((rows, columns));
            }
        }
        let bands = blocks.axis_chunks_iter_mut(Axis(0), 2).into_par_iter();
        let bands = bands.zip(means.axis_chunks_iter_mut(Axis(0), 1).into_par_iter());
        let bands = bands.zip(spreads.axis_chunks_iter_mut(Axis(0), 1).into_par_iter());
        threads.enter(|| {
            bands.enumerate().for_each_init(
                || [const { Vec::new() }; CELL],
                |lines, (y, ((mut blocks, mut means), mut spreads))| {
                    for (dy, line) in lines.iter_mut().enumerate() {
                        fill_line(row_clamped(component, CELL * y + dy), CELL * columns, line);
                    }
                    let [above, below] = [0, 1].map(|i| [&lines[2 * i][..], &lines[2 * i + 1]]);
                    for (mut row, pair) in blocks.rows_mut().into_iter().zip([above, below]) {
                        let row = row.as_slice_mut().expect(CONTIGUOUS);
                        vectorise(
                            #[inline(always)]
                            || block_means(pair, row),
                        );
                    }
                    let all = [above[0], above[1], below[0], below[1]];
                    let means = means.as_slice_mut().expect(CONTIGUOUS);
                    let spreads = spreads.as_slice_mut().expect(CONTIGUOUS);
                    vectorise(
                        #[inline(always)]
                        || cell_statistics(all, means, spreads),
                    );
                },
            );
        });
        fill_windows::<{ WINDOWS[0] }>(means, near, threads);
        fill_windows::<{ WINDOWS[1] }>(means, wide, threads);
    }
}

/// Converts a row of samples to code values and repeats the last one up to `count`.
fn fill_line<T: Sample>(from: ArrayView1<'_, T>, count: usize, to: &mut Vec<f32>) {
    to.resize(count, 0.0);
    let width = from.len();
    convert_row(from, &mut to[..width]);
    let last = to[width - 1];
    to[width..].fill(last);
}

/// Fills a row with the means of 2x2 samples of two rows.
#[inline(always)]
fn block_means(rows: [&[f32]; 2], to: &mut [f32]) {
    let pairs = rows[0].as_chunks::<2>().0.iter().zip(rows[1].as_chunks::<2>().0);
    to.iter_mut().zip(pairs).for_each(|(to, ([a, b], [c, d]))| *to = 0.25 * (a + b + (c + d)));
}

/// Fills a row of means and of spreads of cells from four rows of samples.
#[inline(always)]
fn cell_statistics(rows: [&[f32]; CELL], means: &mut [f32], spreads: &mut [f32]) {
    let cells = rows.map(|row| row.as_chunks::<CELL>().0);
    for (x, (mean, spread)) in means.iter_mut().zip(spreads).enumerate() {
        let (mut sum, mut least, mut most) = (0.0, f32::INFINITY, f32::NEG_INFINITY);
        for row in &cells {
            for value in row[x] {
                sum += value;
                least = least.min(value);
                most = most.max(value);
            }
        }
        *mean = sum * (1.0 / (CELL * CELL) as f32);
        *spread = most - least;
    }
}

/// Fills a map with the means of windows.
fn fill_windows<const WINDOW: usize>(from: &Array2<f32>, to: &mut Array2<f32>, threads: &Threads) {
    let columns = from.ncols();
    let bands = to.axis_chunks_iter_mut(Axis(0), WINDOW_ROWS).into_par_iter().enumerate();
    threads.enter(|| {
        bands.for_each(|(band, mut to): (usize, ArrayViewMut2<'_, f32>)| {
            let mut sums = vec![0.0; columns];
            box_mean_rows::<WINDOW>(from, band * WINDOW_ROWS, &mut to, &mut sums);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_repeat_the_last_samples() {
        let component = Array2::from_shape_fn((5, 6), |(y, x)| (10 * y + x) as u8);
        let mut maps = CellMaps::default();
        maps.fill(&component.view(), &Threads::new(1).unwrap());
        assert_eq!((maps.blocks.dim(), maps.means.dim()), ((4, 4), (2, 2)));
        assert_eq!(maps.blocks[[0, 0]], (0.0 + 1.0 + 10.0 + 11.0) / 4.0);
        // Below the last row and beyond the last column.
        assert_eq!(maps.blocks[[3, 3]], 45.0);
        assert_eq!(maps.means[[0, 0]], 16.5);
        assert_eq!(maps.spreads[[0, 0]], 33.0);
        assert_eq!(maps.means[[1, 1]], (3.0 * 45.0 + 44.0) / 4.0);
        let mean = maps.means.mean().unwrap();
        assert!(maps.windows.iter().flatten().all(|v| (v - mean).abs() < 1e-3));
    }
}
