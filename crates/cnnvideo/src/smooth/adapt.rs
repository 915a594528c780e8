//! Per-pixel smoothing strength, and the state that the smoother keeps from picture to picture.
//!
//! [`share`] computes the strength map from the texture map; [`Memory`] holds the previous guide.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{
    frame::Regions,
    nn::Threads,
    simd::{nearest, vectorise},
};

/// Mean absolute difference of luma and guide, in 8-bit code values, from which on a pixel gets the
/// full strength.
const TEXTURE: f32 = 1.5;
/// Radius in cells (2x2 pixels) of the window over which texture is averaged.
const REACH: usize = 2;
/// `lambda` where there is no texture. A larger one would flatten slopes.
const LEAST_LAMBDA: f32 = 2.0;
/// Largest weight of the previous guide in the temporal average.
const MEMORY: f32 = 0.7;
/// Change of luma, in 8-bit code values, at which the weight of the previous guide is 0.
pub(super) const CHANGE: f32 = 8.0;

/// Fills the strength map `share`: the square root of each pixel's fraction of `lambda`, times 255.
///
/// Pixels in texture get `strength` (0 to 1); pixels without texture get the fraction of it that
/// reduces `lambda` to [`LEAST_LAMBDA`]. `texture` is the mean absolute difference of luma and
/// guide per cell (2x2 pixels), in 8-bit code values.
pub fn share(
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
            // Sums of the window's rows, padded on both sides, and a row of strengths per cell.
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
                        // Windows at the left and right border have fewer cells.
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

/// Multiplies the strength map `share` by the factors of `regions`, clamped to 0 to 1.
///
/// The solver keeps pixels of strength 0 bit-exactly.
pub(super) fn weigh(share: &mut Array2<u8>, regions: &Regions<'_>, threads: &Threads) {
    threads.enter(|| {
        share.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut row)| {
            row.iter_mut().zip(regions.row(y, 0)).for_each(|(to, factor)| {
                *to = (f32::from(*to) * factor.clamp(0.0, 1.0) + 0.5) as u8;
            });
        });
    });
}

/// Guide and luma of the previous picture, for the temporal average that keeps the guide from
/// flickering.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Luma without texture, in 8-bit code values, `[row, column]`.
    pub guide: Array2<f32>,
    /// Luma in units of `1 / STEPS` code values, `[row, column]`.
    pub luma: Array2<u16>,
    /// Whether both belong to the previous picture of the stream.
    valid: bool,
}

/// Units of [`Memory::luma`] in one 8-bit code value.
pub(super) const STEPS: f32 = 256.0;

impl Memory {
    /// Marks the stored picture as unusable for the next one.
    pub fn forget(&mut self) {
        self.valid = false;
    }

    /// Marks the stored picture as valid for the next one.
    pub fn keep(&mut self) {
        self.valid = true;
    }

    /// Resizes the planes for a picture of `dim` (rows, columns). Returns the largest weight of the
    /// previous guide: 0 if there is no valid previous picture of this size.
    pub fn prepare(&mut self, dim: (usize, usize)) -> f32 {
        if self.guide.dim() != dim {
            *self = Self { guide: Array2::zeros(dim), luma: Array2::zeros(dim), valid: false };
        }
        if self.valid { MEMORY } else { 0.0 }
    }
}
