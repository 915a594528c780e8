// SPDX-License-Identifier: MIT OR Apache-2.0

//! Adaptive strength: full in dense texture and in noise, little at isolated detail.
//!
//! Eyes, letters and twigs are smaller than the scale, so the network predicts them as texture.
//! Unlike texture and noise they cover a small part of their neighbourhood. The density of a block
//! is the mean energy of the texture in its neighbourhood relative to that at the block itself.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use crate::{
    frame::{box_mean::box_mean, reduce_2x2},
    nn::Threads,
};

/// Side of a block in pixels: two cells.
const BLOCK: usize = 4;
/// Radius of the window of a block itself, relative to the scale.
const BLOCK_RADIUS: f32 = 0.6;
/// Radius of the neighbourhoods, relative to the scale.
const NEIGHBOURHOOD_RADIUS: f32 = 3.0;
/// Density up to which texture is isolated detail, and density from which on it is dense.
const DENSITY: std::ops::Range<f32> = 0.4..0.8;
/// Energy in squared 8-bit code values that is added to that of a block and of its neighbourhood,
/// so that weak texture counts as dense.
const OFFSET: f32 = 0.3;

/// Density of the texture of a picture, in blocks of 4x4 pixels. Keeps its buffers.
#[derive(Default)]
pub(super) struct DensityMap {
    /// Energy of the texture in each block: the square of its mean.
    blocks: Array2<f32>,
    /// Scratch memory of the means.
    rows: Array2<f32>,
    /// Mean energy in the window of each block.
    own: Array2<f32>,
    /// Mean energy in the neighbourhood centred at each block.
    neighbourhood: Array2<f32>,
    /// Share of the strength that each block gets, 0 to 1.
    shares: Array2<f32>,
}

impl DensityMap {
    /// Computes the shares of the strength from `texture`, the mean absolute difference of luma and
    /// guide per cell (2x2 pixels) in 8-bit code values. `scale` is the smoothing scale in pixels.
    pub(super) fn update(&mut self, texture: &Array2<f32>, scale: f32, threads: &Threads) {
        let Self { blocks, rows, own, neighbourhood, shares } = self;
        reduce_2x2(
            &texture.view(),
            blocks,
            threads,
            #[inline(always)]
            |[a, b, c, d]| (0.25 * (a + b + c + d)).powi(2),
        );
        for map in [&mut *rows, own, neighbourhood, shares] {
            if map.dim() != blocks.dim() {
                *map = Array2::zeros(blocks.dim());
            }
        }
        let radius = |relative: f32| (relative * scale / BLOCK as f32).round().max(1.0) as usize;
        box_mean(blocks, radius(BLOCK_RADIUS), rows, own);
        let reach = radius(NEIGHBOURHOOD_RADIUS).max(2);
        box_mean(blocks, reach, rows, neighbourhood);
        let (own, neighbourhood) = (&*own, &*neighbourhood);
        threads.enter(|| {
            shares.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut row)| {
                for (x, share) in row.iter_mut().enumerate() {
                    let around = densest_neighbourhood(neighbourhood, y, x, reach);
                    let density = (around + OFFSET) / (own[[y, x]] + OFFSET);
                    *share =
                        ((density - DENSITY.start) / (DENSITY.end - DENSITY.start)).clamp(0.0, 1.0);
                }
            });
        });
    }

    /// Multiplies the strength map by the share of each block.
    pub(super) fn scale(&self, strength_map: &mut Array2<u8>, threads: &Threads) {
        threads.enter(|| {
            strength_map.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, row)| {
                let row = row.into_slice().expect("rows of an owned array are contiguous");
                for (block, share) in row.chunks_mut(BLOCK).zip(self.shares.row(y / BLOCK)) {
                    if *share < 1.0 {
                        block.iter_mut().for_each(|to| {
                            *to = (f32::from(*to) * share + 0.5) as u8;
                        });
                    }
                }
            });
        });
    }
}

/// Returns the largest mean of five overlapping neighbourhoods that contain a block: centred at it
/// or with it in a corner. Next to the border of a texture, one of them is full of it.
fn densest_neighbourhood(means: &Array2<f32>, y: usize, x: usize, reach: usize) -> f32 {
    let (last_y, last_x) = (means.nrows() - 1, means.ncols() - 1);
    let rows = [y.saturating_sub(reach), (y + reach).min(last_y)];
    let columns = [x.saturating_sub(reach), (x + reach).min(last_x)];
    rows.iter().flat_map(|y| columns.map(|x| means[[*y, x]])).fold(means[[y, x]], f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Side of the maps in cells.
    const SIDE: usize = 80;

    /// Returns the shares of a texture map for a scale of 8 pixels.
    fn shares(texture: &Array2<f32>) -> Array2<f32> {
        let mut map = DensityMap::default();
        map.update(texture, 8.0, &Threads::new(1).unwrap());
        map.shares
    }

    #[test]
    fn dense_texture_gets_the_full_strength_up_to_its_border() {
        let rough = |y: usize, x: usize| 4.0 + ((y * 7 + x * 5) % 9) as f32;
        let half =
            Array2::from_shape_fn(
                (SIDE, SIDE),
                |(y, x)| {
                    if x < SIDE / 2 { rough(y, x) } else { 0.0 }
                },
            );
        assert!(shares(&half).iter().all(|share| *share == 1.0));
    }

    #[test]
    fn isolated_detail_gets_no_strength() {
        let middle = SIDE / 2..SIDE / 2 + 4;
        let inside = |y, x| middle.contains(&y) && middle.contains(&x);
        let detail =
            Array2::from_shape_fn((SIDE, SIDE), |(y, x)| if inside(y, x) { 20.0 } else { 0.5 });
        let shares = shares(&detail);
        assert!(shares[[SIDE / 4, SIDE / 4]] == 0.0 && shares[[SIDE / 4 + 1, SIDE / 4]] == 0.0);
        assert_eq!(shares[[2, 2]], 1.0);
    }

    #[test]
    fn pictures_without_texture_and_tiny_pictures_get_the_full_strength() {
        for dim in [(SIDE, SIDE), (1, 1), (1, 7), (3, 2)] {
            assert!(shares(&Array2::zeros(dim)).iter().all(|share| *share == 1.0));
        }
    }

    #[test]
    fn the_strength_map_is_multiplied_at_odd_sizes() {
        let mut map = DensityMap::default();
        let threads = Threads::new(1).unwrap();
        map.update(&Array2::zeros((5, 3)), 8.0, &threads);
        map.shares.fill(0.5);
        let mut strength = Array2::from_elem((9, 5), 200u8);
        map.scale(&mut strength, &threads);
        assert!(strength.iter().all(|v| *v == 100));
    }
}
