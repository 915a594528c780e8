// SPDX-License-Identifier: MIT OR Apache-2.0

//! Means of small blocks of a tile, which show whether it changed ([`BlockMeans`]).

use ndarray::{ArrayView2, Axis, s};

use super::{TILE, atlas::TilePosition};
use crate::{
    denoise::{NoiseSigmas, temporal::FusedPicture},
    frame::{Colour, FixedSample},
    simd::vectorise,
};

/// Side of a block in samples of its component.
const BLOCK: usize = 8;
/// Remaining noise variance of a converged cell, relative to that of a single picture. Temporal
/// fusion reaches 0.01.
const CONVERGED_VARIANCE: f32 = 0.0105;
/// Share of the cells of a converged tile that may have more. By chance, noise counts as a change.
const MAX_OTHERS: f32 = 0.3;
/// Change of a mean, in code values, that is not visible.
const INVISIBLE: f32 = 0.4;
/// Change of a mean relative to the noise sigma that noise causes in a converged tile: four
/// standard deviations of the difference of the means of two blocks.
const BY_CHANCE: f32 = 0.07;

/// Means of the blocks of a tile of a fused picture.
#[derive(Debug, Clone)]
pub(super) struct BlockMeans {
    /// Means of luma, or of R, G and B.
    main: Vec<f32>,
    chroma: Vec<f32>,
}

impl BlockMeans {
    /// Returns the means of a tile, `None` if it has not converged.
    pub(super) fn of_converged(tile: TilePosition, fused: &FusedPicture<'_>) -> Option<Self> {
        let variance = part_of_tile(fused.variance.view(), tile, [1, 1]);
        let others = variance.iter().filter(|variance| **variance > CONVERGED_VARIANCE).count();
        if others as f32 > MAX_OTHERS * variance.len() as f32 {
            return None;
        }
        let mut means = Self { main: Vec::new(), chroma: Vec::new() };
        let colour = fused.picture.colour;
        for (i, component) in fused.picture.components.iter().enumerate() {
            let is_main = i == 0 || colour == Colour::Rgb;
            let to = if is_main { &mut means.main } else { &mut means.chroma };
            add_means(part_of_tile(component.view(), tile, colour.subsampling(i)), to);
        }
        Some(means)
    }

    /// Returns whether a mean changed by more than noise of `sigmas` explains.
    pub(super) fn differ_from(&self, other: &Self, sigmas: NoiseSigmas) -> bool {
        let differ = |a: &[f32], b: &[f32], sigma: f32| {
            let limit = INVISIBLE + BY_CHANCE * sigma;
            a.iter().zip(b).any(|(a, b)| (a - b).abs() > limit)
        };
        differ(&self.main, &other.main, sigmas.main)
            || differ(&self.chroma, &other.chroma, sigmas.chroma)
    }
}

/// Returns the part of a plane in a tile. `shifts` is the subsampling of the plane as powers of
/// two, horizontal and vertical.
fn part_of_tile<'a, T>(
    plane: ArrayView2<'a, T>,
    tile: TilePosition,
    shifts: [u32; 2],
) -> ArrayView2<'a, T> {
    let (height, width) = plane.dim();
    let range = |position: usize, shift: u32, length: usize| {
        let side = TILE >> shift;
        (position * side).min(length)..((position + 1) * side).min(length)
    };
    plane.slice_move(s![range(tile[0], shifts[1], height), range(tile[1], shifts[0], width)])
}

/// Adds the means of the blocks of a plane, row by row.
fn add_means(plane: ArrayView2<'_, FixedSample>, to: &mut Vec<f32>) {
    let width = plane.ncols();
    let mut columns = vec![0; width];
    for rows in plane.axis_chunks_iter(Axis(0), BLOCK) {
        columns.fill(0);
        for row in rows.rows() {
            let row = row.to_slice().expect("rows of the fused picture are contiguous");
            vectorise(
                #[inline(always)]
                || columns.iter_mut().zip(row).for_each(|(sum, sample)| *sum += sample.units()),
            );
        }
        to.extend(
            columns.chunks(BLOCK).map(|columns| {
                FixedSample::mean(columns.iter().sum(), columns.len() * rows.nrows())
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::frame::{Picture, Sample};

    /// Returns the means of the second tile of a flat picture with a spot.
    fn means(spot: f32, variance: f32) -> Option<BlockMeans> {
        let mut plane = Array2::from_elem((150, 300), FixedSample::from_code_value(80.0));
        let to = FixedSample::from_code_value(80.0 + spot);
        plane.slice_mut(s![40..44, 140..144]).fill(to);
        let variance = Array2::from_elem((75, 150), variance);
        let picture = Picture { colour: Colour::Gray, components: vec![plane.view()] };
        BlockMeans::of_converged([0, 1], &FusedPicture::of_picture(picture, &variance))
    }

    #[test]
    fn small_spots_are_changes_and_noise_is_not() {
        let sigmas = NoiseSigmas { main: 5.0, chroma: 0.0 };
        let before = means(0.0, 0.01).unwrap();
        assert_eq!(before.main.len(), (TILE / BLOCK) * (TILE / BLOCK));
        assert!(!before.differ_from(&before, sigmas));
        assert!(!means(2.0, 0.01).unwrap().differ_from(&before, sigmas));
        assert!(means(6.0, 0.01).unwrap().differ_from(&before, sigmas));
    }

    #[test]
    fn noisy_tiles_have_not_converged() {
        assert!(means(0.0, 0.0107).is_none());
    }
}
