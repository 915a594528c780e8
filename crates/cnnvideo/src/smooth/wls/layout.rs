// SPDX-License-Identifier: MIT OR Apache-2.0

//! Transfer of lines of pixels between a picture and SIMD lanes.
//!
//! [`Rows`] and [`Columns`] implement [`Layout`] for lines along and across the memory order.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis};

use crate::{frame::Sample, simd::prefetch};

/// Values of `LANES` neighbouring lines at one position, contiguous for SIMD and aligned to a cache
/// line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Lanes<const LANES: usize>(pub [f32; LANES]);

impl<const LANES: usize> Lanes<LANES> {
    /// Zero in all lanes.
    pub(super) const ZERO: Self = Self([0.0; LANES]);
}

/// Values of `LANES` lines at `POSITIONS` consecutive positions.
pub(super) type Tile<const LANES: usize, const POSITIONS: usize> = [Lanes<LANES>; POSITIONS];

/// Copies lines to lanes and back. Lines run along the second axis of the views.
pub(super) trait Layout<const LANES: usize, const POSITIONS: usize> {
    /// Fills `tile` from positions `first..first + count`. Lanes beyond the last line repeat it or
    /// keep their values, depending on the layout.
    fn gather<T: Copy>(
        lines: &ArrayView2<'_, T>,
        first: usize,
        count: usize,
        tile: &mut Tile<LANES, POSITIONS>,
        convert: impl Fn(T) -> f32,
    );

    /// Writes `tile` to positions `first..first + count`. Leaves `tile` in an unspecified state.
    fn scatter<T: Sample>(
        tile: &mut Tile<LANES, POSITIONS>,
        first: usize,
        count: usize,
        lines: &mut ArrayViewMut2<'_, T>,
    );
}

/// Layout of lines that are image rows: transposes square tiles.
pub(super) struct Rows;
/// Lanes of [`Rows`]: two AVX-512 vectors. Each position depends on the one before, and a
/// second independent vector hides that latency.
pub(super) const ROW_LANES: usize = 32;

/// Layout of lines that are image columns.
pub(super) struct Columns;
/// Lanes of [`Columns`]. Each position is another image row, so a wide strip uses whole cache lines
/// of it.
pub(super) const COLUMN_LANES: usize = 64;
/// Positions in a tile of [`Columns`].
const COLUMN_TILE: usize = 16;

// Portable Rust, inlined into a `vectorise` closure and so compiled for each instruction set. Uses
// loops where the compiler might not inline a closure.
impl Layout<ROW_LANES, ROW_LANES> for Rows {
    #[inline(always)]
    fn gather<T: Copy>(
        lines: &ArrayView2<'_, T>,
        first: usize,
        count: usize,
        tile: &mut SquareTile,
        convert: impl Fn(T) -> f32,
    ) {
        let last = lines.nrows() - 1;
        for (row, to) in tile.iter_mut().enumerate() {
            let line = lines.index_axis(Axis(0), row.min(last));
            if let Some(next) =
                line.to_slice().and_then(|line| line.get(first + ROW_LANES..first + 2 * ROW_LANES))
            {
                prefetch(next);
            }
            copy_in(line, first..first + count, &mut to.0, &convert);
        }
        transpose(tile);
    }

    #[inline(always)]
    fn scatter<T: Sample>(
        tile: &mut SquareTile,
        first: usize,
        count: usize,
        lines: &mut ArrayViewMut2<'_, T>,
    ) {
        transpose(tile);
        for (from, line) in tile.iter().zip(lines.rows_mut()) {
            copy_out(&from.0, line, first..first + count);
        }
    }
}

impl Layout<COLUMN_LANES, COLUMN_TILE> for Columns {
    #[inline(always)]
    fn gather<T: Copy>(
        lines: &ArrayView2<'_, T>,
        first: usize,
        count: usize,
        tile: &mut Tile<COLUMN_LANES, COLUMN_TILE>,
        convert: impl Fn(T) -> f32,
    ) {
        for (to, position) in tile.iter_mut().zip(first..first + count) {
            if position + COLUMN_TILE < lines.ncols()
                && let Some(next) = lines.index_axis(Axis(1), position + COLUMN_TILE).to_slice()
            {
                prefetch(next);
            }
            let position = lines.index_axis(Axis(1), position);
            copy_in(position, 0..position.len(), &mut to.0, &convert);
        }
    }

    #[inline(always)]
    fn scatter<T: Sample>(
        tile: &mut Tile<COLUMN_LANES, COLUMN_TILE>,
        first: usize,
        count: usize,
        lines: &mut ArrayViewMut2<'_, T>,
    ) {
        for (from, position) in tile.iter().zip(first..first + count) {
            let position = lines.index_axis_mut(Axis(1), position);
            let count = position.len();
            copy_out(&from.0, position, 0..count);
        }
    }
}

/// Copies the values `part` of `from` to the start of `to`.
///
/// The trip count is deliberately not a constant: the compiler would unroll the loop completely and
/// not vectorise it.
#[inline(always)]
fn copy_in<T: Copy, const N: usize>(
    from: ArrayView1<'_, T>,
    part: Range<usize>,
    to: &mut [f32; N],
    convert: &impl Fn(T) -> f32,
) {
    if let Some(values) = from.to_slice().and_then(|from| from.get(part.clone())) {
        for (to, value) in to.iter_mut().zip(values) {
            *to = convert(*value);
        }
    } else {
        for (to, value) in to.iter_mut().zip(from.iter().skip(part.start).take(part.len())) {
            *to = convert(*value);
        }
    }
}

/// Copies the start of `from` to the values `part` of `to`; see [`copy_in`] for the loops.
#[inline(always)]
fn copy_out<T: Sample, const N: usize>(
    from: &[f32; N],
    mut to: ArrayViewMut1<'_, T>,
    part: Range<usize>,
) {
    if let Some(values) = to.as_slice_mut().and_then(|to| to.get_mut(part.clone())) {
        for (to, value) in values.iter_mut().zip(from) {
            *to = T::from_code_value(*value);
        }
    } else {
        for (to, value) in to.iter_mut().skip(part.start).take(part.len()).zip(from) {
            *to = T::from_code_value(*value);
        }
    }
}

/// SquareTile tile of [`Rows`].
type SquareTile = Tile<ROW_LANES, ROW_LANES>;

/// Transposes a square tile.
#[inline(always)]
fn transpose(tile: &mut SquareTile) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return transpose_avx(simd, tile);
    }
    transpose_scalar(tile);
}

/// Portable [`transpose`].
#[inline(always)]
fn transpose_scalar(tile: &mut SquareTile) {
    for row in 0..ROW_LANES {
        for x in 0..row {
            (tile[row].0[x], tile[x].0[row]) = (tile[x].0[row], tile[row].0[x]);
        }
    }
}

/// [`transpose`] in 8x8 blocks, each transposed in AVX registers. Compilers do not generate this
/// from [`transpose_scalar`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose_avx(simd: pulp::x86::V3, tile: &mut SquareTile) {
    for y in (0..ROW_LANES).step_by(BLOCK) {
        for x in (0..=y).step_by(BLOCK) {
            let block = transposed_block(simd, tile, y, x);
            let mirrored = transposed_block(simd, tile, x, y);
            for i in 0..BLOCK {
                tile[x + i].0[y..y + BLOCK].copy_from_slice(&block[i]);
                tile[y + i].0[x..x + BLOCK].copy_from_slice(&mirrored[i]);
            }
        }
    }
}

/// Height and width of a block: the number of `f32` values in an AVX register.
#[cfg(target_arch = "x86_64")]
const BLOCK: usize = 8;

/// Returns the transposed 8x8 block at `(y, x)`, by three stages of interleaving.
///
/// Uses loops: a closure is not compiled with the target feature that its intrinsics need.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed_block(
    simd: pulp::x86::V3,
    tile: &SquareTile,
    y: usize,
    x: usize,
) -> [[f32; BLOCK]; BLOCK] {
    let avx = simd.avx;
    let mut rows = [avx._mm256_setzero_ps(); BLOCK];
    let mut next = rows;
    for (i, row) in rows.iter_mut().enumerate() {
        let mut values = [0.0f32; BLOCK];
        values.copy_from_slice(&tile[y + i].0[x..x + BLOCK]);
        *row = pulp::cast(values);
    }
    for i in 0..BLOCK / 2 {
        next[2 * i] = avx._mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        next[2 * i + 1] = avx._mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    for i in [0, 1, 4, 5] {
        let to = if i % 4 == 0 { i } else { i + 1 };
        rows[to] = avx._mm256_shuffle_ps::<0b01_00_01_00>(next[i], next[i + 2]);
        rows[to + 1] = avx._mm256_shuffle_ps::<0b11_10_11_10>(next[i], next[i + 2]);
    }
    for i in 0..BLOCK / 2 {
        next[i] = avx._mm256_permute2f128_ps::<0x20>(rows[i], rows[i + 4]);
        next[i + 4] = avx._mm256_permute2f128_ps::<0x31>(rows[i], rows[i + 4]);
    }
    let mut result = [[0.0; BLOCK]; BLOCK];
    for (to, from) in result.iter_mut().zip(next) {
        *to = pulp::cast(from);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transpose_is_an_involution() {
        let mut tile: SquareTile =
            std::array::from_fn(|y| Lanes(std::array::from_fn(|x| (100 * y + x) as f32)));
        let before = tile;
        for transpose in [transpose, transpose_scalar] {
            transpose(&mut tile);
            assert!((0..ROW_LANES).all(|y| (0..ROW_LANES).all(|x| tile[x].0[y] == before[y].0[x])));
            transpose(&mut tile);
            assert_eq!(tile, before);
        }
    }
}
