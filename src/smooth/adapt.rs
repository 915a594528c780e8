//! How strongly each pixel is smoothed, and how the guide follows time.

use ndarray::{Array2, ArrayView2, Axis, Zip};
use rayon::prelude::*;

use crate::{
    frame::{Picture, Regions, Sample, luma::luma_row},
    nn::Threads,
};

/// Mean difference of luma and guide, in levels, from which on a place counts as texture wholly.
const TEXTURE: f32 = 1.5;
/// Cells (2x2 pixels) to each side in which texture is looked for.
const REACH: usize = 2;
/// `lambda` where there is no texture: slopes stay slopes.
const LEAST_LAMBDA: f32 = 2.0;
/// Largest share of the past in the guide, and the change of luma, in levels, at which it ends.
const MEMORY: f32 = 0.7;
const CHANGE: f32 = 8.0;

/// Texture of a picture, by cells of 2x2 pixels.
#[derive(Debug, Default)]
pub(crate) struct Texture {
    cells: Array2<f32>,
    sums: Array2<f32>,
}

impl Texture {
    /// Fills `share` (root of the share of `lambda`, 0 to 255) for each pixel: `strength` where there is texture.
    pub fn share<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        guide: &Array2<f32>,
        strength: f32,
        lambda: f32,
        share: &mut Array2<u8>,
        threads: &Threads,
    ) {
        let least = (LEAST_LAMBDA / lambda).sqrt().min(1.0);
        let (height, width) = guide.dim();
        let dim = (height.div_ceil(2), width.div_ceil(2));
        for map in [&mut self.cells, &mut self.sums] {
            if map.dim() != dim {
                *map = Array2::zeros(dim);
            }
        }
        threads.enter(|| {
            let rows = self.cells.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
            rows.for_each_init(
                || vec![0.0; width],
                |luma, (y, mut cells)| {
                    cells.fill(0.0);
                    for y in [2 * y, (2 * y + 1).min(height - 1)] {
                        luma_row(picture, y, luma);
                        let guide = guide.row(y);
                        let Some(guide) = guide.as_slice() else { continue };
                        for ((cell, luma), guide) in cells.iter_mut().zip(luma.chunks(2)).zip(guide.chunks(2)) {
                            let pair =
                                (luma[0] - guide[0]).abs() + (luma[luma.len() - 1] - guide[guide.len() - 1]).abs();
                            *cell += 0.25 * pair;
                        }
                    }
                },
            );
            // Means along rows; those along columns are taken as the shares are written.
            let rows = self.cells.axis_iter(Axis(0)).into_par_iter();
            rows.zip(self.sums.axis_iter_mut(Axis(0)).into_par_iter()).for_each(|(cells, mut sums)| {
                let cells = cells.as_slice().unwrap_or_default();
                for (x, sum) in sums.iter_mut().enumerate() {
                    let part = &cells[x.saturating_sub(REACH)..(x + REACH + 1).min(cells.len())];
                    *sum = part.iter().sum::<f32>() / part.len() as f32;
                }
            });
            let sums = &self.sums;
            share.axis_chunks_iter_mut(Axis(0), 2).into_par_iter().enumerate().for_each_init(
                || vec![0.0; dim.1],
                |means, (y, mut rows)| {
                    means.fill(0.0);
                    let near = y.saturating_sub(REACH)..(y + REACH + 1).min(dim.0);
                    let scale = 1.0 / (near.len() as f32 * TEXTURE);
                    for row in near {
                        means.iter_mut().zip(sums.row(row)).for_each(|(mean, sum)| *mean += sum * scale);
                    }
                    for mut row in rows.rows_mut() {
                        let Some(row) = row.as_slice_mut() else { continue };
                        for (pair, mean) in row.chunks_mut(2).zip(&*means) {
                            let part = mean.clamp(least, 1.0);
                            pair.fill((255.0 * strength * part + 0.5) as u8);
                        }
                    }
                },
            );
        });
    }
}

/// Weighs shares by regions. Where nothing is to be smoothed, the solver leaves the pixel as it is.
pub(super) fn weigh(share: &mut Array2<u8>, regions: &Regions<'_>, threads: &Threads) {
    threads.enter(|| {
        share.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut row)| {
            row.iter_mut().zip(regions.row(y, 0)).for_each(|(to, factor)| {
                *to = (f32::from(*to) * factor.clamp(0.0, 1.0) + 0.5) as u8;
            });
        });
    });
}

/// Values for 2x2 times fewer pixels.
pub(super) fn halve<T: Copy + Send + Sync, U: Send + Sync + Default + Clone>(
    from: &ArrayView2<'_, T>,
    to: &mut Array2<U>,
    mean: impl Fn([T; 4]) -> U + Sync,
    threads: &Threads,
) {
    let (height, width) = from.dim();
    let dim = (height.div_ceil(2), width.div_ceil(2));
    if to.dim() != dim {
        *to = Array2::default(dim);
    }
    threads.enter(|| {
        to.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut to)| {
            let (above, below) = (from.row(2 * y), from.row((2 * y + 1).min(height - 1)));
            let (Some(above), Some(below)) = (above.to_slice(), below.to_slice()) else { return };
            for ((to, a), b) in to.iter_mut().zip(above.chunks(2)).zip(below.chunks(2)) {
                *to = mean([a[0], a[a.len() - 1], b[0], b[b.len() - 1]]);
            }
        });
    });
}

/// The guide of the picture before, for a guide that does not flicker.
#[derive(Debug, Default)]
pub(super) struct Memory {
    guide: Array2<f32>,
    luma: Array2<f32>,
    valid: bool,
}

impl Memory {
    pub fn forget(&mut self) {
        self.valid = false;
    }

    /// Averages the guide with what it was, where the picture has not changed.
    pub fn follow<T: Sample>(&mut self, picture: &Picture<'_, T>, guide: &mut Array2<f32>, threads: &Threads) {
        if self.guide.dim() != guide.dim() {
            *self = Self { guide: guide.clone(), luma: Array2::zeros(guide.dim()), valid: false };
        }
        let valid = std::mem::replace(&mut self.valid, true);
        let width = guide.ncols();
        threads.enter(|| {
            let rows = Zip::indexed(guide.rows_mut()).and(self.guide.rows_mut()).and(self.luma.rows_mut());
            rows.into_par_iter().for_each_init(
                || vec![0.0; width],
                |now, (y, mut guide, mut before, mut luma)| {
                    luma_row(picture, y, now);
                    let all = guide.iter_mut().zip(before.iter_mut()).zip(luma.iter_mut()).zip(&*now);
                    for (((guide, before), luma), now) in all {
                        let calm = (1.0 - (now - *luma).abs() * (1.0 / CHANGE)).max(0.0);
                        let share = if valid { MEMORY * calm * calm } else { 0.0 };
                        *guide += share * (*before - *guide);
                        (*before, *luma) = (*guide, *now);
                    }
                },
            );
        });
    }
}
