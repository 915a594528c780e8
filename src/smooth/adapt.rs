//! How strongly each pixel is smoothed, and what stays of a picture for the next one.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{
    frame::Regions,
    nn::Threads,
    simd::{nearest, vectorise},
};

/// Mean difference of luma and guide, in levels, from which on a place counts as texture wholly.
const TEXTURE: f32 = 1.5;
/// Cells (2x2 pixels) to each side in which texture is looked for.
const REACH: usize = 2;
/// `lambda` where there is no texture: slopes stay slopes.
const LEAST_LAMBDA: f32 = 2.0;
/// Largest share of the past in the guide, and the change of luma, in levels, at which it ends.
const MEMORY: f32 = 0.7;
pub(super) const CHANGE: f32 = 8.0;

/// Fills `share` (root of the share of `lambda`, 0 to 255) for each pixel: `strength` where there is texture. `texture` is the mean
/// difference of luma and guide by cells of 2x2 pixels.
pub(crate) fn share(
    texture: &ArrayView2<'_, f32>,
    strength: f32,
    lambda: f32,
    share: &mut Array2<u8>,
    threads: &Threads,
) {
    let least = (LEAST_LAMBDA / lambda).sqrt().min(1.0);
    let (height, width) = texture.dim();
    threads.enter(|| {
        share.axis_chunks_iter_mut(Axis(0), 2).into_par_iter().enumerate().for_each_init(
            // Sums along columns, with room to each side, and what comes of them.
            || (vec![0.0f32; width + 2 * REACH], vec![0u8; width]),
            |(sums, own), (y, mut rows)| {
                let near = y.saturating_sub(REACH)..(y + REACH + 1).min(height);
                let count = near.len();
                vectorise(
                    #[inline(always)]
                    || {
                        let inner = &mut sums[REACH..REACH + width];
                        inner.fill(0.0);
                        for row in near {
                            if let Some(row) = texture.row(row).to_slice() {
                                inner.iter_mut().zip(row).for_each(|(sum, cell)| *sum += cell);
                            }
                        }
                        let share_of = |sum: f32, cells: usize| {
                            let part = (sum / (cells as f32 * TEXTURE)).clamp(least, 1.0);
                            nearest(255.0 * strength * part, 255.0) as u8
                        };
                        for (x, own) in own.iter_mut().enumerate() {
                            let sum: f32 = sums[x..x + 2 * REACH + 1].iter().sum();
                            *own = share_of(sum, count * (2 * REACH + 1));
                        }
                        // At the sides there are fewer cells to take the mean of.
                        for x in (0..REACH.min(width)).chain(width.saturating_sub(REACH)..width) {
                            let cells = (x + REACH + 1).min(width) - x.saturating_sub(REACH);
                            own[x] =
                                share_of(sums[x..x + 2 * REACH + 1].iter().sum(), count * cells);
                        }
                        for mut row in rows.rows_mut() {
                            let Some(row) = row.as_slice_mut() else { continue };
                            let (pairs, last) = row.as_chunks_mut::<2>();
                            pairs.iter_mut().zip(&*own).for_each(|(pair, own)| *pair = [*own; 2]);
                            if let ([last], [.., own]) = (last, &**own) {
                                *last = *own;
                            }
                        }
                    },
                );
            },
        );
    });
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

/// What stays of a picture for the next one, so that the guide does not flicker.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Luma without texture.
    pub guide: Array2<f32>,
    /// Luma, in steps of a [`STEPS`]th of a level.
    pub luma: Array2<u16>,
    valid: bool,
}

/// Steps in a level of remembered luma.
pub(super) const STEPS: f32 = 256.0;

impl Memory {
    pub fn forget(&mut self) {
        self.valid = false;
    }

    /// What is made next is remembered.
    pub fn keep(&mut self) {
        self.valid = true;
    }

    /// Makes room for a picture of `dim` (rows, columns), and gives the largest share that the past may have in its guide.
    pub fn prepare(&mut self, dim: (usize, usize)) -> f32 {
        if self.guide.dim() != dim {
            *self = Self { guide: Array2::zeros(dim), luma: Array2::zeros(dim), valid: false };
        }
        if self.valid { MEMORY } else { 0.0 }
    }
}
