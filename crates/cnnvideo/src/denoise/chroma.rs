//! Denoising of chroma that has more samples than the 4:2:0 networks process (4:2:2 and 4:4:4).
//!
//! The network processes the mean of each cell, the chroma samples that belong to 2x2 luma pixels,
//! and predicts the noise of these means. The detail, which is the difference of the samples from
//! the mean of their cell, passes through a local Wiener filter (Lee, "Digital image enhancement
//! and noise filtering by use of local statistics", IEEE Transactions on Pattern Analysis and
//! Machine Intelligence 2(2), 1980): detail is kept as far as its local energy exceeds that of the
//! noise.

use ndarray::{ArrayView1, ArrayView2};

use super::estimate::{Levels, spread};
use crate::frame::Sample;

/// Reach of the window that local energy is averaged over: cells to the left and to the right.
const REACH: usize = 6;
/// Ratio of local energy to expected noise energy that can occur by chance; detail up to this ratio
/// is removed wholly.
const CHANCE: f32 = 1.5;
/// Largest number of cells sampled to estimate the noise of the detail.
const CELLS: usize = 4096;
/// Median of the absolute values of normal noise with unit sigma.
const MEDIAN: f32 = 0.6745;
/// Outlier threshold in sigmas.
const FARTHEST: f32 = 2.5;
/// Standard deviation of normal noise with unit sigma, without the values beyond [`FARTHEST`].
const WITHIN: f32 = 0.9546;

/// A chroma component as the mean of each cell (the samples that belong to 2x2 luma pixels).
pub(super) struct Means<'a, T> {
    /// Samples of the component, indexed `[[y, x]]`.
    component: &'a ArrayView2<'a, T>,
    /// Samples of a cell, vertically and horizontally: 1 or 2 each.
    cell: [usize; 2],
}

impl<'a, T: Sample> Means<'a, T> {
    /// Creates a view of `component`. The shifts are the subsampling of the component relative to
    /// luma, horizontal and vertical, as powers of two.
    pub fn new(component: &'a ArrayView2<'a, T>, [shift_x, shift_y]: [u32; 2]) -> Self {
        Self { component, cell: [2 >> shift_y, 2 >> shift_x] }
    }

    /// Returns the positions `[y, x]` of the samples of a cell. At the right and lower border the
    /// last samples are repeated.
    #[inline(always)]
    fn places(&self, y: usize, x: usize) -> impl Iterator<Item = [usize; 2]> {
        let ([down, across], (height, width)) = (self.cell, self.component.dim());
        let rows = (down * y..down * (y + 1)).map(move |y| y.min(height - 1));
        rows.flat_map(move |y| (across * x..across * (x + 1)).map(move |x| [y, x.min(width - 1)]))
    }

    /// Calls `put` with the column and the mean of each cell in row `y` of cells.
    #[inline(always)]
    pub fn row(&self, y: usize, mut put: impl FnMut(usize, f32)) {
        let last = self.component.nrows() - 1;
        let [down, across] = self.cell;
        // In a cell of one row, that row counts twice, which leaves the mean unchanged.
        let rows = [0, down - 1].map(|dy| self.component.row((down * y + dy).min(last)));
        match rows.map(|row| row.to_slice()) {
            [Some(a), Some(b)] => {
                for (x, (a, b)) in a.chunks(across).zip(b.chunks(across)).enumerate() {
                    let sum: f32 = a.iter().zip(b).map(|(a, b)| a.level() + b.level()).sum();
                    put(x, sum / (2 * a.len()) as f32);
                }
            }
            _ => (0..self.size()[1]).for_each(|x| put(x, self.level(y, x))),
        }
    }

    /// Estimates the sigma of the noise in the detail (samples minus the mean of their cell), in
    /// 8-bit units. The estimate uses the median absolute deviation to exclude edges, then the root
    /// mean square of the remaining values.
    pub fn detail_level(&self) -> f32 {
        let size = self.size();
        let mut details = Vec::new();
        for i in 0..CELLS.min(size[0] * size[1]) {
            let [y, x] = spread(i, size);
            let mean = self.level(y, x);
            details.extend(
                self.places(y, x).map(|place| (self.component[place].level() - mean).abs()),
            );
        }
        if details.is_empty() {
            return 0.0;
        }
        let middle = details.len() / 2;
        let median = *details.select_nth_unstable_by(middle, f32::total_cmp).1;
        // The samples are integers: add half a code value to the median.
        let most = FARTHEST * (median + 0.5) / MEDIAN;
        let near = details.iter().filter(|detail| **detail <= most);
        let (count, squares) =
            near.fold((0.0, 0.0), |(count, sum), detail| (count + 1.0, sum + detail * detail));
        (squares / f32::max(count, 1.0)).sqrt() / WITHIN
    }
}

impl<T: Sample> Levels for Means<'_, T> {
    fn size(&self) -> [usize; 2] {
        let (height, width) = self.component.dim();
        [height.div_ceil(self.cell[0]), width.div_ceil(self.cell[1])]
    }

    #[inline(always)]
    fn level(&self, y: usize, x: usize) -> f32 {
        let sum: f32 = self.places(y, x).map(|place| self.component[place].level()).sum();
        sum / (self.cell[0] * self.cell[1]) as f32
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
    pub fn take(&mut self, number: usize, levels: impl Iterator<Item = f32>) {
        let row = &mut self.rows[number];
        row.clear();
        row.extend(levels);
    }

    /// Replaces the samples of the first `down` rows by the noise part of their detail. Cells are
    /// `across` samples wide. `level` is the sigma of the noise of the detail before temporal
    /// fusion. `left` is the share of its variance that remains in each cell after fusion; `None`:
    /// all of it.
    pub fn keep_noise(
        &mut self,
        [down, across]: [usize; 2],
        level: f32,
        left: Option<ArrayView1<'_, f32>>,
    ) {
        let rows = &mut self.rows[..down];
        let width = rows.iter().map(Vec::len).min().unwrap_or(0);
        let cell = |x: usize| across * x..(across * (x + 1)).min(width);
        let count = width.div_ceil(across);
        self.energy.clear();
        for x in 0..count {
            let samples = (down * cell(x).len()) as f32;
            let mean =
                rows.iter().map(|row| row[cell(x)].iter().sum::<f32>()).sum::<f32>() / samples;
            let mut energy = 0.0;
            for value in rows.iter_mut().flat_map(|row| &mut row[cell(x)]) {
                *value -= mean;
                energy += *value * *value;
            }
            self.energy.push(energy / samples);
        }
        let mut window: f32 = self.energy[..REACH.min(count)].iter().sum();
        for x in 0..count {
            window += self.energy.get(x + REACH).copied().unwrap_or(0.0);
            if let Some(last) = x.checked_sub(REACH + 1) {
                window -= self.energy[last];
            }
            let cells = (x + REACH).min(count - 1) - x.saturating_sub(REACH) + 1;
            let left = left.map_or(1.0, |left| left[x.min(left.len() - 1)]);
            let noise = (CHANCE * level * level * left * cells as f32
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
    fn means_are_those_of_cells_and_edges_repeat() {
        let plane = Array2::from_shape_fn((3, 5), |(y, x)| (10 * y + x) as f32);
        let view = plane.view();
        let means = Means::new(&view, [0, 0]);
        assert_eq!(means.size(), [2, 3]);
        assert_eq!((means.level(0, 0), means.level(0, 2), means.level(1, 2)), (5.5, 9.0, 24.0));
        let means = Means::new(&view, [1, 0]);
        assert_eq!(means.size(), [2, 5]);
        assert_eq!((means.level(0, 3), means.level(1, 3)), (8.0, 23.0));
        for component in [view, plane.slice(ndarray::s![.., ..;2])] {
            for shifts in [[0, 0], [1, 0], [0, 1]] {
                let means = Means::new(&component, shifts);
                let [rows, columns] = means.size();
                for y in 0..rows {
                    let mut found = Vec::new();
                    means.row(y, |x, mean| found.push((x, mean)));
                    let expected: Vec<_> = (0..columns).map(|x| (x, means.level(y, x))).collect();
                    assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn the_noise_of_details_is_found_beside_edges() {
        let noise = white((90, 120));
        // The mean of a cell of two samples has a half of the noise variance, that of four a
        // quarter.
        for (shifts, share) in [([1, 0], 0.5f32), ([0, 0], 0.75)] {
            for level in [2.0, 9.0] {
                let plane = Array2::from_shape_fn(noise.dim(), |(y, x)| {
                    let edge = if x % 24 == 7 { 90.0 } else { 0.0 };
                    (100.0 + edge + level * noise[[y, x]]).round() as u8
                });
                let (found, truth) =
                    (Means::new(&plane.view(), shifts).detail_level(), level * share.sqrt());
                assert!((found - truth).abs() < 0.25 * truth, "{shifts:?}: {found} for {truth}");
            }
        }
        let grey = Array2::<u8>::from_elem((20, 20), 128);
        assert_eq!(Means::new(&grey.view(), [0, 0]).detail_level(), 0.0);
    }

    #[test]
    fn noise_of_details_goes_and_structure_stays() {
        let noise = white((2, 400));
        let mut detail = Detail::default();
        for y in 0..2 {
            // On the right half, the first row has a chroma line that the second row has not.
            let line = |x: usize| if x >= 200 && y == 0 { 60.0 } else { 0.0 };
            detail.take(y, (0..400).map(|x| 128.0 + line(x) + 4.0 * noise[[y, x]]));
        }
        detail.keep_noise([2, 1], 4.0 / 2f32.sqrt(), None);
        let squares = |range: std::ops::Range<usize>| {
            detail.rows[0][range.clone()].iter().map(|v| v * v).sum::<f32>() / range.len() as f32
        };
        let (flat, line) = (squares(0..190), squares(210..400));
        // The detail has half of the noise variance of 16; the line adds +30 and -30 code values.
        assert!((6.0..9.5).contains(&flat) && line < 0.5, "{flat} {line}");
        // No noise is left in any cell, so the noise part is zero.
        detail.keep_noise([2, 1], 4.0, Some(ndarray::aview1(&[0.0; 400])));
        assert!(detail.rows[0].iter().all(|v| *v == 0.0));
    }
}
