// SPDX-License-Identifier: MIT OR Apache-2.0

//! Denoising of chroma that has more samples than the 4:2:0 networks process (4:2:2 and 4:4:4).
//!
//! The network processes the mean of each cell, the chroma samples that belong to 2x2 luma pixels,
//! and predicts the noise of these means. The detail, which is the difference of the samples from
//! the mean of their cell, passes through a local Wiener filter (Lee, "Digital image enhancement
//! and noise filtering by use of local statistics", IEEE Transactions on Pattern Analysis and
//! Machine Intelligence 2(2), 1980): detail is kept as far as its local energy exceeds that of the
//! noise.

use ndarray::{ArrayView1, ArrayView2};

use super::estimate::{CodeValues, r2_position};
use crate::frame::Sample;

/// Reach of the window that local energy is averaged over: cells to the left and to the right.
const WINDOW_REACH: usize = 6;
/// Ratio of local energy to expected noise energy that can occur by chance; detail up to this ratio
/// is removed wholly.
const ENERGY_TOLERANCE: f32 = 1.5;
/// Largest number of cells sampled to estimate the noise of the detail.
const MAX_SAMPLED_CELLS: usize = 4096;
/// Median of the absolute values of normal noise with unit sigma.
const NORMAL_MAD: f32 = 0.6745;
/// Outlier threshold in sigmas.
const OUTLIER_SIGMAS: f32 = 2.5;
/// Standard deviation of normal noise with unit sigma, without the values beyond
/// [`OUTLIER_SIGMAS`].
const TRUNCATED_SIGMA: f32 = 0.9546;

/// Number of samples of a component that belong to one cell of 2x2 luma pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellShape {
    /// Rows of samples, 1 or 2.
    pub rows: usize,
    /// Samples per row, 1 or 2.
    pub columns: usize,
}

impl CellShape {
    /// Returns the shape for a component's subsampling relative to luma, horizontal and vertical,
    /// as powers of two (0 or 1).
    pub(super) fn new([shift_x, shift_y]: [u32; 2]) -> Self {
        Self { rows: 2 >> shift_y, columns: 2 >> shift_x }
    }
}

/// A chroma component as the mean of each cell (the samples that belong to 2x2 luma pixels).
pub(super) struct ChromaCells<'a, T> {
    /// Samples of the component, indexed `[[y, x]]`.
    component: &'a ArrayView2<'a, T>,
    cell: CellShape,
}

impl<'a, T: Sample> ChromaCells<'a, T> {
    /// Creates a view of `component`. `subsampling` is that of the component relative to luma,
    /// horizontal and vertical, as powers of two.
    pub(super) fn new(component: &'a ArrayView2<'a, T>, subsampling: [u32; 2]) -> Self {
        Self { component, cell: CellShape::new(subsampling) }
    }

    /// Returns the positions `[y, x]` of the samples of a cell. At the right and lower border the
    /// last samples are repeated.
    #[inline(always)]
    fn positions(&self, y: usize, x: usize) -> impl Iterator<Item = [usize; 2]> {
        let (CellShape { rows, columns }, (height, width)) = (self.cell, self.component.dim());
        let rows = (rows * y..rows * (y + 1)).map(move |y| y.min(height - 1));
        rows.flat_map(move |y| (columns * x..columns * (x + 1)).map(move |x| [y, x.min(width - 1)]))
    }

    /// Calls `put` with the column and the mean of each cell in row `y` of cells.
    #[inline(always)]
    pub(super) fn for_each_mean(&self, y: usize, mut put: impl FnMut(usize, f32)) {
        let last = self.component.nrows() - 1;
        let CellShape { rows, columns } = self.cell;
        // In a cell of one row, that row counts twice, which leaves the mean unchanged.
        let lines = [0, rows - 1].map(|dy| self.component.row((rows * y + dy).min(last)));
        match lines.map(|line| line.to_slice()) {
            [Some(a), Some(b)] => {
                for (x, (a, b)) in a.chunks(columns).zip(b.chunks(columns)).enumerate() {
                    let sum: f32 =
                        a.iter().zip(b).map(|(a, b)| a.code_value() + b.code_value()).sum();
                    put(x, sum / (2 * a.len()) as f32);
                }
            }
            _ => (0..self.size()[1]).for_each(|x| put(x, self.code_value(y, x))),
        }
    }

    /// Estimates the sigma of the noise in the detail (samples minus the mean of their cell), in
    /// 8-bit units. The estimate uses the median absolute deviation to exclude edges, then the root
    /// mean square of the remaining values.
    pub(super) fn detail_sigma(&self) -> f32 {
        let size = self.size();
        let mut details = Vec::new();
        for i in 0..MAX_SAMPLED_CELLS.min(size[0] * size[1]) {
            let [y, x] = r2_position(i, size);
            let mean = self.code_value(y, x);
            details.extend(
                self.positions(y, x)
                    .map(|position| (self.component[position].code_value() - mean).abs()),
            );
        }
        if details.is_empty() {
            return 0.0;
        }
        let middle = details.len() / 2;
        let median = *details.select_nth_unstable_by(middle, f32::total_cmp).1;
        // The samples are integers: add half a code value to the median.
        let outlier = OUTLIER_SIGMAS * (median + 0.5) / NORMAL_MAD;
        let inliers = details.iter().filter(|detail| **detail <= outlier);
        let (count, squares) =
            inliers.fold((0.0, 0.0), |(count, sum), detail| (count + 1.0, sum + detail * detail));
        (squares / f32::max(count, 1.0)).sqrt() / TRUNCATED_SIGMA
    }
}

impl<T: Sample> CodeValues for ChromaCells<'_, T> {
    fn size(&self) -> [usize; 2] {
        let (height, width) = self.component.dim();
        [height.div_ceil(self.cell.rows), width.div_ceil(self.cell.columns)]
    }

    #[inline(always)]
    fn code_value(&self, y: usize, x: usize) -> f32 {
        let sum: f32 =
            self.positions(y, x).map(|position| self.component[position].code_value()).sum();
        sum / (self.cell.rows * self.cell.columns) as f32
    }
}

/// Detail of a row of cells: the samples minus the mean of their cell.
#[derive(Debug, Default)]
pub(super) struct Detail {
    /// Rows of samples; a row of cells has one or two.
    pub rows: [Vec<f32>; 2],
    /// Mean square of the detail in each cell.
    energy: Vec<f32>,
}

impl Detail {
    /// Copies a row of samples into row `number` (0 or 1).
    pub(super) fn set_row(&mut self, number: usize, code_values: impl Iterator<Item = f32>) {
        let row = &mut self.rows[number];
        row.clear();
        row.extend(code_values);
    }

    /// Replaces the samples of the first `shape.rows` rows by the noise part of their detail.
    /// `sigma` is that of the noise of the detail before temporal fusion. `remaining_variance` is
    /// the share of its variance that remains in each cell after fusion; `None`: all of it.
    pub(super) fn reduce_to_noise(
        &mut self,
        shape: CellShape,
        sigma: f32,
        remaining_variance: Option<ArrayView1<'_, f32>>,
    ) {
        let rows = &mut self.rows[..shape.rows];
        let width = rows.iter().map(Vec::len).min().expect("a cell has at least one row");
        let cell = |x: usize| shape.columns * x..(shape.columns * (x + 1)).min(width);
        let count = width.div_ceil(shape.columns);
        self.energy.clear();
        for x in 0..count {
            let samples = (shape.rows * cell(x).len()) as f32;
            let mean =
                rows.iter().map(|row| row[cell(x)].iter().sum::<f32>()).sum::<f32>() / samples;
            let mut energy = 0.0;
            for value in rows.iter_mut().flat_map(|row| &mut row[cell(x)]) {
                *value -= mean;
                energy += *value * *value;
            }
            self.energy.push(energy / samples);
        }
        let mut window: f32 = self.energy[..WINDOW_REACH.min(count)].iter().sum();
        for x in 0..count {
            window += self.energy.get(x + WINDOW_REACH).copied().unwrap_or(0.0);
            if let Some(last) = x.checked_sub(WINDOW_REACH + 1) {
                window -= self.energy[last];
            }
            let cells = (x + WINDOW_REACH).min(count - 1) - x.saturating_sub(WINDOW_REACH) + 1;
            let remaining =
                remaining_variance.map_or(1.0, |remaining| remaining[x.min(remaining.len() - 1)]);
            let noise = (ENERGY_TOLERANCE * sigma * sigma * remaining * cells as f32
                / window.max(f32::MIN_POSITIVE))
            .min(1.0);
            rows.iter_mut().flat_map(|row| &mut row[cell(x)]).for_each(|value| *value *= noise);
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn white(size: (usize, usize)) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(1);
        Array2::from_shape_simple_fn(size, || {
            (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
        })
    }

    #[test]
    fn means_of_cells_replicate_the_border() {
        let plane = Array2::from_shape_fn((3, 5), |(y, x)| (10 * y + x) as f32);
        let view = plane.view();
        let cells = ChromaCells::new(&view, [0, 0]);
        assert_eq!(cells.size(), [2, 3]);
        assert_eq!(
            (cells.code_value(0, 0), cells.code_value(0, 2), cells.code_value(1, 2)),
            (5.5, 9.0, 24.0)
        );
        let cells = ChromaCells::new(&view, [1, 0]);
        assert_eq!(cells.size(), [2, 5]);
        assert_eq!((cells.code_value(0, 3), cells.code_value(1, 3)), (8.0, 23.0));
        for component in [view, plane.slice(ndarray::s![.., ..;2])] {
            for shifts in [[0, 0], [1, 0], [0, 1]] {
                let cells = ChromaCells::new(&component, shifts);
                let [rows, columns] = cells.size();
                for y in 0..rows {
                    let mut found = Vec::new();
                    cells.for_each_mean(y, |x, mean| found.push((x, mean)));
                    let expected: Vec<_> =
                        (0..columns).map(|x| (x, cells.code_value(y, x))).collect();
                    assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn detail_sigma_ignores_edges() {
        let noise = white((90, 120));
        // The mean of a cell of two samples has a half of the noise variance, that of four a
        // quarter.
        for (shifts, share) in [([1, 0], 0.5f32), ([0, 0], 0.75)] {
            for sigma in [2.0, 9.0] {
                let plane = Array2::from_shape_fn(noise.dim(), |(y, x)| {
                    let edge = if x % 24 == 7 { 90.0 } else { 0.0 };
                    (100.0 + edge + sigma * noise[[y, x]]).round() as u8
                });
                let (found, truth) =
                    (ChromaCells::new(&plane.view(), shifts).detail_sigma(), sigma * share.sqrt());
                assert!((found - truth).abs() < 0.25 * truth, "{shifts:?}: {found} for {truth}");
            }
        }
        let grey = Array2::<u8>::from_elem((20, 20), 128);
        assert_eq!(ChromaCells::new(&grey.view(), [0, 0]).detail_sigma(), 0.0);
    }

    #[test]
    fn wiener_filter_keeps_structure() {
        let noise = white((2, 400));
        let mut detail = Detail::default();
        for y in 0..2 {
            // On the right half, the first row has a chroma line that the second row has not.
            let line = |x: usize| if x >= 200 && y == 0 { 60.0 } else { 0.0 };
            detail.set_row(y, (0..400).map(|x| 128.0 + line(x) + 4.0 * noise[[y, x]]));
        }
        detail.reduce_to_noise(CellShape { rows: 2, columns: 1 }, 4.0 / 2f32.sqrt(), None);
        let squares = |range: std::ops::Range<usize>| {
            detail.rows[0][range.clone()].iter().map(|v| v * v).sum::<f32>() / range.len() as f32
        };
        let (flat, line) = (squares(0..190), squares(210..400));
        // The detail has half of the noise variance of 16; the line adds +30 and -30 code values.
        assert!((6.0..9.5).contains(&flat) && line < 0.5, "{flat} {line}");
        // No noise is left in any cell, so the noise part is zero.
        detail.reduce_to_noise(
            CellShape { rows: 2, columns: 1 },
            4.0,
            Some(ndarray::aview1(&[0.0; 400])),
        );
        assert!(detail.rows[0].iter().all(|v| *v == 0.0));
    }
}
