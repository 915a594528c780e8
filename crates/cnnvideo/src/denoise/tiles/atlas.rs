// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tiles of a picture side by side, as one picture for the network ([`Atlas`]).

use ndarray::{Array2, ArrayView2, s};

use super::{MARGIN, TILE};
use crate::{
    denoise::temporal::FusedPicture,
    frame::{Colour, FixedSample, Picture, PictureMut, Sample},
};

/// Number of tiles in an atlas.
pub(super) const SLOTS: usize = 6;
/// Side of a tile with its margins, in pixels.
const SLOT: usize = TILE + 2 * MARGIN;
/// Width and height of an atlas in pixels.
pub(in crate::denoise) const SIZE: [usize; 2] = [SLOTS * SLOT, SLOT];

/// Position `[row, column]` of a tile.
pub(super) type TilePosition = [usize; 2];

/// Copies of tiles with margins around them, from which the network predicts the tiles.
#[derive(Debug, Default)]
pub(super) struct Atlas {
    input: Vec<Array2<FixedSample>>,
    fused: Vec<Array2<FixedSample>>,
    variance: Array2<f32>,
    result: Vec<Array2<FixedSample>>,
}

impl Atlas {
    /// Allocates the memory for pictures of a colour format.
    fn allocate(&mut self, colour: Colour, components: usize) {
        let dim = |i: usize| {
            let [shift_x, shift_y] = colour.subsampling(i);
            (SIZE[1] >> shift_y, SIZE[0] >> shift_x)
        };
        if self.fused.len() == components && (0..components).all(|i| self.fused[i].dim() == dim(i))
        {
            return;
        }
        for planes in [&mut self.input, &mut self.fused, &mut self.result] {
            *planes = (0..components).map(|i| Array2::default(dim(i))).collect();
        }
        self.variance = Array2::ones((SIZE[1] / 2, SIZE[0] / 2));
    }

    /// Copies up to [`SLOTS`] tiles of a picture and of its fused version.
    pub(super) fn load<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        fused: &FusedPicture<'_>,
        tiles: &[TilePosition],
    ) {
        let colour = input.colour;
        self.allocate(colour, input.components.len());
        for (slot, tile) in tiles.iter().enumerate() {
            for (i, component) in input.components.iter().enumerate() {
                let place = Place::new(slot, *tile, colour.subsampling(i));
                let convert = |sample: T| FixedSample::from_code_value(sample.code_value());
                place.load(&mut self.input[i], component, convert);
                place.load(&mut self.fused[i], &fused.picture.components[i], |sample| sample);
            }
            let place = Place::new(slot, *tile, [1, 1]);
            place.load(&mut self.variance, &fused.variance.view(), |variance| variance);
        }
    }

    /// Returns the atlas of the input, that of the fused picture, and the one to fill with the
    /// result.
    pub(super) fn pictures<'a>(
        &'a mut self,
        fused: &FusedPicture<'_>,
    ) -> (Picture<'a, FixedSample>, FusedPicture<'a>, PictureMut<'a, FixedSample>) {
        let colour = fused.picture.colour;
        let Self { input, fused: planes, variance, result } = self;
        let picture = |planes: &'a [Array2<FixedSample>]| Picture {
            colour,
            components: planes.iter().map(|plane| plane.view()).collect(),
        };
        let components = result.iter_mut().map(|plane| plane.view_mut()).collect();
        let result = PictureMut { colour, components };
        (picture(input), fused.with_picture(picture(planes), variance), result)
    }

    /// Copies the tiles of the result, without their margins, to `planes`.
    pub(super) fn store(
        &self,
        colour: Colour,
        tiles: &[TilePosition],
        planes: &mut [Array2<FixedSample>],
    ) {
        for (slot, tile) in tiles.iter().enumerate() {
            for (i, plane) in planes.iter_mut().enumerate() {
                Place::new(slot, *tile, colour.subsampling(i)).store(&self.result[i], plane);
            }
        }
    }
}

/// Place of a tile in the planes of one component.
struct Place {
    /// Slot of the atlas.
    slot: usize,
    tile: TilePosition,
    /// Subsampling of the component as powers of two, horizontal and vertical.
    shifts: [u32; 2],
}

impl Place {
    fn new(slot: usize, tile: TilePosition, shifts: [u32; 2]) -> Self {
        Self { slot, tile, shifts }
    }

    /// Copies the tile with its margins from a plane, which is reflected beyond its border.
    /// Repeated samples would be runs of equal samples (see
    /// [`FlatRuns`](crate::denoise::flat_runs::FlatRuns)).
    fn load<A: Copy, B>(
        &self,
        atlas: &mut Array2<B>,
        plane: &ArrayView2<'_, A>,
        convert: impl Fn(A) -> B,
    ) {
        let [columns, rows] = self.shifts.map(|shift| SLOT >> shift);
        let [margin_x, margin_y] = self.shifts.map(|shift| MARGIN >> shift);
        let (height, width) = plane.dim();
        let left = self.tile[1] * (TILE >> self.shifts[0]);
        let top = self.tile[0] * (TILE >> self.shifts[1]);
        let start = self.slot * columns;
        for y in 0..rows {
            let from = plane.row(reflected(top + y, margin_y, height));
            let mut to = atlas.slice_mut(s![y, start..start + columns]);
            let first = (left + columns).checked_sub(margin_x + columns);
            match first.filter(|first| first + columns <= width) {
                Some(first) => {
                    let from = from.slice_move(s![first..first + columns]);
                    to.zip_mut_with(&from, |to, from| *to = convert(*from));
                }
                None => to.iter_mut().enumerate().for_each(|(x, to)| {
                    *to = convert(from[reflected(left + x, margin_x, width)]);
                }),
            }
        }
    }

    /// Copies the tile without its margins to a plane.
    fn store(&self, atlas: &Array2<FixedSample>, plane: &mut Array2<FixedSample>) {
        let [columns, rows] = self.shifts.map(|shift| TILE >> shift);
        let [margin_x, margin_y] = self.shifts.map(|shift| MARGIN >> shift);
        let (height, width) = plane.dim();
        let (left, top) = (self.tile[1] * columns, self.tile[0] * rows);
        let (columns, rows) = (columns.min(width - left), rows.min(height - top));
        let start = self.slot * (SLOT >> self.shifts[0]) + margin_x;
        let from = atlas.slice(s![margin_y..margin_y + rows, start..start + columns]);
        plane.slice_mut(s![top..top + rows, left..left + columns]).assign(&from);
    }
}

/// Returns the index `at - margin`, reflected at both ends of a row or column of `length` samples.
fn reflected(at: usize, margin: usize, length: usize) -> usize {
    let last = length - 1;
    let inside = at.abs_diff(margin);
    if inside > last { (2 * last).saturating_sub(inside) } else { inside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_return_to_their_place() {
        for shifts in [[0, 0], [1, 0], [1, 1]] {
            let (width, height) = (300 >> shifts[0], 200 >> shifts[1]);
            let plane = Array2::from_shape_fn((height, width), |(y, x)| {
                FixedSample::from_code_value(((7 * y + 3 * x) % 251) as f32)
            });
            let mut atlas = Array2::default((SIZE[1] >> shifts[1], SIZE[0] >> shifts[0]));
            let mut copy = Array2::default(plane.dim());
            for (slot, tile) in [[1, 2], [0, 0], [1, 0], [0, 2]].into_iter().enumerate() {
                Place::new(slot, tile, shifts).load(&mut atlas, &plane.view(), |sample| sample);
            }
            for (slot, tile) in [[1, 2], [0, 0], [1, 0], [0, 2]].into_iter().enumerate() {
                Place::new(slot, tile, shifts).store(&atlas, &mut copy);
            }
            let [side_x, side_y] = shifts.map(|shift| TILE >> shift);
            for ((y, x), sample) in copy.indexed_iter() {
                // The tiles of the middle column were not copied.
                let expected = if x / side_x == 1 { FixedSample::default() } else { plane[[y, x]] };
                assert_eq!(*sample, expected, "{shifts:?}: {x} {y}, tiles of {side_y} rows");
            }
        }
    }

    #[test]
    fn picture_is_reflected_beyond_its_border() {
        let plane = Array2::from_shape_fn((40, 50), |(y, x)| 100 * y + x);
        let mut atlas = Array2::zeros((SIZE[1], SIZE[0]));
        Place::new(1, [0, 0], [0, 0]).load(&mut atlas, &plane.view(), |value| value);
        let at = |y: usize, x: usize| atlas[[y, SLOT + x]];
        assert_eq!(at(0, MARGIN), plane[[MARGIN, 0]]);
        assert_eq!(at(MARGIN - 1, MARGIN - 2), plane[[1, 2]]);
        assert_eq!(at(MARGIN + 5, MARGIN + 7), plane[[5, 7]]);
        assert_eq!(at(MARGIN + 40, MARGIN + 52), plane[[38, 46]]);
        assert_eq!(at(SLOT - 1, SLOT - 1), plane[[0, 0]]);
    }
}
