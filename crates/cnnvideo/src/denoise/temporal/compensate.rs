// SPDX-License-Identifier: MIT OR Apache-2.0

//! Motion compensation: shifts the previous fused picture by the motion field.

use ndarray::{Array2, ArrayViewMut1, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::{
    block_kinds::BlockKind,
    interpolation::{LanczosWeights, SUBPIXEL_POSITIONS, TAPS, WEIGHTS},
    motion::{BLOCK, Motion},
};
use crate::{frame::FixedSample, nn::Threads, simd::vectorise};

/// Shifts a plane block by block, with Lanczos interpolation between pixels (Duchon, "Lanczos
/// filtering in one and two dimensions", Journal of Applied Meteorology 18, 1979). The previous
/// picture passes through this filter once per picture, and a shorter filter would blur a little
/// more each time. `shifts` is the subsampling of the plane as powers of two, horizontal and
/// vertical.
pub(super) fn compensate_plane(
    plane: &Array2<FixedSample>,
    motion: &Motion,
    shifts: [u32; 2],
    to: &mut Array2<FixedSample>,
    threads: &Threads,
) {
    if to.dim() != plane.dim() {
        *to = Array2::default(plane.dim());
    }
    // Block sizes known at compile time that fill whole vectors.
    if shifts[0] == 0 {
        compensate_blocks::<BLOCK, { BLOCK + 8 }>(plane, motion, shifts, to, threads);
    } else {
        compensate_blocks::<{ BLOCK / 2 }, BLOCK>(plane, motion, shifts, to, threads);
    }
}

/// Shifts blocks that are `SIDE` pixels wide; see [`Block`].
fn compensate_blocks<const SIDE: usize, const LINE: usize>(
    plane: &Array2<FixedSample>,
    motion: &Motion,
    shifts: [u32; 2],
    to: &mut Array2<FixedSample>,
    threads: &Threads,
) {
    let values = plane.as_slice().expect("planes are in standard layout");
    let side_y = BLOCK >> shifts[1];
    let scale = shifts.map(|shift| SUBPIXEL_POSITIONS as f32 / (1 << shift) as f32);
    threads.enter(|| {
        to.axis_chunks_iter_mut(Axis(0), side_y).into_par_iter().enumerate().for_each(
            |(by, mut rows)| {
                for (bx, to) in rows.axis_chunks_iter_mut(Axis(1), SIDE).enumerate() {
                    let motion = motion.blocks[[by, bx]];
                    let [dx, dy] = [0, 1].map(|axis| (motion[axis] * scale[axis]).round() as isize);
                    let whole = |at: usize, d: isize| {
                        (at as isize).saturating_add(d.div_euclid(SUBPIXEL_POSITIONS as isize))
                    };
                    let weights =
                        |d: isize| match d.rem_euclid(SUBPIXEL_POSITIONS as isize) as usize {
                            0 => None,
                            position => Some(&WEIGHTS[position]),
                        };
                    let block = Block::<SIDE, LINE> {
                        values,
                        dim: plane.dim(),
                        position: [whole(bx * SIDE, dx), whole(by * side_y, dy)],
                        horizontal: weights(dx),
                        vertical: weights(dy),
                    };
                    vectorise(
                        #[inline(always)]
                        || block.compute(to),
                    );
                }
            },
        );
    });
}

/// A block of a plane at a sub-pixel position, up to `SIDE` pixels wide. It is computed from rows
/// of `LINE` pixels, which must be at least `SIDE + TAPS - 1`.
struct Block<'a, const SIDE: usize, const LINE: usize> {
    /// Values of the plane, row-major.
    values: &'a [FixedSample],
    /// Height and width of the plane.
    dim: (usize, usize),
    /// Position of the block in the plane, `[x, y]`, in whole pixels.
    position: [isize; 2],
    /// Horizontal weights; `None` at a whole pixel.
    horizontal: Option<&'a LanczosWeights>,
    /// Vertical weights; `None` at a whole pixel.
    vertical: Option<&'a LanczosWeights>,
}

impl<const SIDE: usize, const LINE: usize> Block<'_, SIDE, LINE> {
    /// Number of taps before the interpolated position's left neighbour.
    const BEFORE: usize = TAPS / 2 - 1;

    /// Computes the block and stores it in `to`.
    #[inline(always)]
    fn compute(&self, mut to: ArrayViewMut2<'_, FixedSample>) {
        let edge;
        let (source, width) = match self.source_inside(to.nrows()) {
            Some(source) => (source, self.dim.1),
            None => {
                edge = self.source_replicated();
                (edge.as_flattened(), LINE)
            }
        };
        let line = |y: usize| {
            source[y * width..]
                .first_chunk::<LINE>()
                .expect("the source holds all rows of the block and of its border")
        };
        // All rows are filtered vertically first: loading a row at other offsets right after
        // storing it would stall on store forwarding.
        let mut lines = [[0; LINE]; BLOCK];
        match self.vertical {
            Some(vertical) => {
                for (y, filtered) in lines.iter_mut().enumerate().take(to.nrows()) {
                    let rows: [_; TAPS] = std::array::from_fn(|i| line(y + i));
                    for (x, value) in filtered.iter_mut().enumerate() {
                        *value = vertical.sum(rows.map(|row| row[x].0));
                    }
                }
            }
            None => {
                for (y, filtered) in lines.iter_mut().enumerate().take(to.nrows()) {
                    filtered.iter_mut().zip(line(y + Self::BEFORE)).for_each(|(to, v)| *to = v.0);
                }
            }
        }
        for (line, to) in lines.iter().zip(to.rows_mut()) {
            self.filter_row(line, to);
        }
    }

    /// Returns the source values of a block of `rows` rows if all of them lie inside the plane. The
    /// rows of the slice are as far apart as those of the plane.
    #[inline(always)]
    fn source_inside(&self, rows: usize) -> Option<&[FixedSample]> {
        let [x, y] =
            self.position.map(|at| usize::try_from(at.checked_sub_unsigned(Self::BEFORE)?).ok());
        let ((height, width), x, y) = (self.dim, x?, y?);
        let fits = x.checked_add(LINE)? <= width && y.checked_add(rows + TAPS)? <= height;
        if fits { self.values.get(y * width + x..) } else { None }
    }

    /// Returns the source values of a block that extends beyond the plane; the border pixels are
    /// replicated.
    #[inline(always)]
    fn source_replicated(&self) -> [[FixedSample; LINE]; BLOCK + TAPS] {
        let Self { values, dim: (height, width), position: [x, y], .. } = *self;
        let at = |at: isize, i: usize, count: usize| {
            at.saturating_add(i as isize - Self::BEFORE as isize).clamp(0, count as isize - 1)
                as usize
        };
        let mut source = [[FixedSample(0); LINE]; BLOCK + TAPS];
        for (i, line) in source.iter_mut().enumerate() {
            let row = &values[at(y, i, height) * width..][..width];
            line.iter_mut().enumerate().for_each(|(i, value)| *value = row[at(x, i, width)]);
        }
        source
    }

    /// Filters a row horizontally from `line` and stores it in `to`.
    #[inline(always)]
    fn filter_row(&self, line: &[i16; LINE], to: ArrayViewMut1<'_, FixedSample>) {
        let mut filtered = [0; SIDE];
        match self.horizontal {
            Some(horizontal) => {
                for (x, value) in filtered.iter_mut().enumerate() {
                    *value = horizontal.sum(std::array::from_fn(|i| line[x + i]));
                }
            }
            None => filtered.copy_from_slice(&line[Self::BEFORE..][..SIDE]),
        }
        let to = to.into_slice().expect("rows of a block are contiguous");
        match to.first_chunk_mut() {
            Some(to) => *to = filtered.map(FixedSample),
            None => to.iter_mut().zip(filtered).for_each(|(to, v)| *to = FixedSample(v)),
        }
    }
}

/// Shifts a map of half the picture's size by the motion, rounded to whole cells.
pub(super) fn compensate_map(
    map: &Array2<f32>,
    motion: &Motion,
    to: &mut Array2<f32>,
    threads: &Threads,
) {
    let height = map.nrows();
    if to.dim() != map.dim() {
        *to = Array2::zeros(map.dim());
    }
    let side = BLOCK / 2;
    threads.enter(|| {
        to.axis_chunks_iter_mut(Axis(0), side).into_par_iter().enumerate().for_each(
            |(by, mut rows)| {
                for (bx, mut block) in rows.axis_chunks_iter_mut(Axis(1), side).enumerate() {
                    let [dx, dy] = motion.blocks[[by, bx]].map(|d| (d * 0.5).round() as isize);
                    for (y, to) in block.rows_mut().into_iter().enumerate() {
                        let from = map.row(clamped_offset(by * side + y, dy, height));
                        let to = to.into_slice().expect("rows of a block are contiguous");
                        let from = from.to_slice().expect("rows of a map are contiguous");
                        copy_shifted(from, bx * side, dx, to);
                    }
                }
            },
        );
    });
}

/// Copies a map of half the picture's size in still blocks. Elsewhere the result is zero.
pub(super) fn still_map(
    map: &Array2<f32>,
    motion: &Motion,
    to: &mut Array2<f32>,
    threads: &Threads,
) {
    if to.dim() != map.dim() {
        *to = Array2::zeros(map.dim());
    }
    let side = BLOCK / 2;
    threads.enter(|| {
        to.axis_iter_mut(Axis(0)).into_par_iter().zip(map.axis_iter(Axis(0))).enumerate().for_each(
            |(y, (to, from))| {
                let to = to.into_slice().expect("rows of a map are contiguous");
                let from = from.to_slice().expect("rows of a map are contiguous");
                let kinds = motion.kinds.row(y / side);
                for ((to, from), kind) in to.chunks_mut(side).zip(from.chunks(side)).zip(kinds) {
                    if *kind == BlockKind::Still { to.copy_from_slice(from) } else { to.fill(0.0) }
                }
            },
        );
    });
}

/// Returns the index `d` from `at`, clamped to the valid range of `length` elements.
fn clamped_offset(at: usize, d: isize, length: usize) -> usize {
    at.saturating_add_signed(d).min(length - 1)
}

/// Fills `to` from a row, starting `d` from index `first`. The border values are replicated.
fn copy_shifted(row: &[f32], first: usize, d: isize, to: &mut [f32]) {
    let inside = first.checked_add_signed(d).and_then(|first| row.get(first..)?.get(..to.len()));
    match inside {
        Some(inside) => to.copy_from_slice(inside),
        None => to
            .iter_mut()
            .enumerate()
            .for_each(|(x, to)| *to = row[clamped_offset(first + x, d, row.len())]),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::interpolation::lanczos, *};
    use crate::frame::Sample;

    /// Returns the same motion for all blocks of a picture of that height and width.
    fn uniform_motion(size: [usize; 2], motion: [f32; 2]) -> Motion {
        let [rows, columns] = size.map(|length| length.div_ceil(BLOCK));
        Motion { blocks: Array2::from_elem((rows, columns), motion), ..Motion::default() }
    }

    #[test]
    fn interpolation_is_the_same_inside_and_at_the_borders() {
        let (height, width) = (53, 75);
        let plane = Array2::from_shape_fn((height, width), |(y, x)| {
            FixedSample::from_code_value(60.0 + ((31 * y + 17 * x + x * y) % 97) as f32)
        });
        let threads = Threads::new(2).unwrap();
        for (motion, fractions) in
            [([3.0, -2.0], [0.0; 2]), ([-5.25, 1.5], [0.75, 0.5]), ([40.0, 0.125], [0.0, 0.125])]
        {
            let blocks = uniform_motion([height, width], motion);
            let mut shifted = Array2::default((0, 0));
            compensate_plane(&plane, &blocks, [0, 0], &mut shifted, &threads);
            let [across, down] = fractions.map(lanczos);
            let at = |i: usize, d: f32, tap: usize, count: usize| {
                (i as isize + d.floor() as isize + tap as isize - 2).clamp(0, count as isize - 1)
                    as usize
            };
            for ((y, x), found) in shifted.indexed_iter() {
                let line = |ty| {
                    (0..TAPS)
                        .map(|tx| {
                            across[tx] * plane[[ty, at(x, motion[0], tx, width)]].code_value()
                        })
                        .sum::<f32>()
                };
                let expected: f32 =
                    (0..TAPS).map(|ty| down[ty] * line(at(y, motion[1], ty, height))).sum();
                let found = found.code_value();
                assert!(
                    (found - expected).abs() < 0.04,
                    "{motion:?} at {y} {x}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn maps_are_shifted_by_whole_cells() {
        let (height, width) = (27, 41);
        let map = Array2::from_shape_fn((height, width), |(y, x)| (100 * y + x) as f32);
        for motion in [[0.0, 0.0], [6.9, -3.2], [-11.0, 2.0], [900.0, -900.0]] {
            let blocks = uniform_motion([2 * height, 2 * width], motion);
            let mut shifted = Array2::default((0, 0));
            compensate_map(&map, &blocks, &mut shifted, &Threads::new(2).unwrap());
            let at = |i: usize, d: f32, count: usize| {
                (i as f32 + (0.5 * d).round()).clamp(0.0, count as f32 - 1.0) as usize
            };
            for ((y, x), found) in shifted.indexed_iter() {
                assert_eq!(
                    *found,
                    map[[at(y, motion[1], height), at(x, motion[0], width)]],
                    "{motion:?} at {y} {x}"
                );
            }
        }
    }
}
