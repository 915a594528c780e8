// SPDX-License-Identifier: MIT OR Apache-2.0

//! Per-pixel smoothing strength.
//!
//! A strength map holds the square root of each pixel's fraction of `lambda`, times 255.
//! [`fill_strength_map`] computes it from the texture map.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{
    frame::Regions,
    nn::Threads,
    simd::{round_clamped, vectorise},
};

/// Mean absolute difference of luma and guide, in 8-bit code values, from which on a pixel gets the
/// full strength.
const FULL_STRENGTH_DIFFERENCE: f32 = 1.5;
/// Radius in cells (2x2 pixels) of the window over which texture is averaged.
const TEXTURE_RADIUS: usize = 2;
/// `lambda` where there is no texture. A larger one would flatten slopes.
const MIN_LAMBDA: f32 = 2.0;

/// Fills the strength map: the square root of each pixel's fraction of `lambda`, times 255.
///
/// Pixels in texture get `strength` (0 to 1); pixels without texture get the fraction of it that
/// reduces `lambda` to 2. `texture` is the mean absolute difference of luma and guide per cell (2x2
/// pixels), in 8-bit code values.
///
/// # Panics
/// If the rows of `texture` are not contiguous in memory.
pub fn fill_strength_map(
    texture: &ArrayView2<'_, f32>,
    strength: f32,
    lambda: f32,
    strength_map: &mut Array2<u8>,
    threads: &Threads,
) {
    let min_fraction = (MIN_LAMBDA / lambda).sqrt().min(1.0);
    let (height, width) = texture.dim();
    threads.enter(|| {
        strength_map.axis_chunks_iter_mut(Axis(0), 2).into_par_iter().enumerate().for_each_init(
            // Sums of the window's rows, padded on both sides, and a row of strengths per cell.
            || (vec![0.0f32; width + 2 * TEXTURE_RADIUS], vec![0u8; width]),
            |(sums, cell_row), (y, mut rows)| {
                let window_rows =
                    y.saturating_sub(TEXTURE_RADIUS)..(y + TEXTURE_RADIUS + 1).min(height);
                let count = window_rows.len();
                vectorise(
                    #[inline(always)]
                    || {
                        let inner = &mut sums[TEXTURE_RADIUS..TEXTURE_RADIUS + width];
                        inner.fill(0.0);
                        for row in window_rows {
                            let row = texture.row(row).to_slice();
                            let row = row.expect("callers pass a texture map of contiguous rows");
                            inner.iter_mut().zip(row).for_each(|(sum, cell)| *sum += cell);
                        }
                        let strength_of = |sum: f32, cells: usize| {
                            let fraction = (sum / (cells as f32 * FULL_STRENGTH_DIFFERENCE))
                                .clamp(min_fraction, 1.0);
                            round_clamped(255.0 * strength * fraction, 255.0) as u8
                        };
                        for (x, to) in cell_row.iter_mut().enumerate() {
                            let sum: f32 = sums[x..x + 2 * TEXTURE_RADIUS + 1].iter().sum();
                            *to = strength_of(sum, count * (2 * TEXTURE_RADIUS + 1));
                        }
                        // Windows at the left and right border have fewer cells.
                        for x in (0..TEXTURE_RADIUS.min(width))
                            .chain(width.saturating_sub(TEXTURE_RADIUS)..width)
                        {
                            let cells = (x + TEXTURE_RADIUS + 1).min(width)
                                - x.saturating_sub(TEXTURE_RADIUS);
                            cell_row[x] = strength_of(
                                sums[x..x + 2 * TEXTURE_RADIUS + 1].iter().sum(),
                                count * cells,
                            );
                        }
                        for mut row in rows.rows_mut() {
                            let row = row.as_slice_mut();
                            let row = row.expect("rows of an owned array are contiguous");
                            let (pairs, last) = row.as_chunks_mut::<2>();
                            pairs.iter_mut().zip(&*cell_row).for_each(|(pair, v)| *pair = [*v; 2]);
                            if let ([last], [.., v]) = (last, &**cell_row) {
                                *last = *v;
                            }
                        }
                    },
                );
            },
        );
    });
}

/// Multiplies the strength map by the factors of `regions`, clamped to 0 to 1.
///
/// The solver keeps pixels of strength 0 bit-exactly.
pub(super) fn scale_by_regions(
    strength_map: &mut Array2<u8>,
    regions: &Regions<'_>,
    threads: &Threads,
) {
    threads.enter(|| {
        strength_map.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut row)| {
            row.iter_mut().zip(regions.row(y, 0)).for_each(|(to, factor)| {
                *to = (f32::from(*to) * factor.clamp(0.0, 1.0) + 0.5) as u8;
            });
        });
    });
}
