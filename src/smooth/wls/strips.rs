//! Takes rows or columns of a picture into lanes, and back.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use pulp::Arch;
use rayon::prelude::*;

use super::{lines::Lines, weights::Weights};
use crate::nn::Threads;

/// Rows that are solved together: squares of so many pixels are turned into lanes.
const ROWS: usize = 16;
/// Columns that are solved together: a few lines of cache wide, as each position lies in another part of memory.
const COLUMNS: usize = 64;

/// Where the lines run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Rows,
    Columns,
}

/// Memory of one thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    rows: Lines<ROWS>,
    columns: Lines<COLUMNS>,
}

impl Scratch {
    fn rows(&mut self) -> &mut Lines<ROWS> {
        &mut self.rows
    }

    fn columns(&mut self) -> &mut Lines<COLUMNS> {
        &mut self.columns
    }
}

/// Solves every row, then every column.
pub(super) fn solve(
    channels: &mut [&mut Array2<f32>],
    weights: &Weights,
    share: &ArrayView2<'_, u8>,
    lambda: f32,
    scratch: &mut [Scratch],
    threads: &Threads,
) {
    let arch = Arch::new();
    let rows = channels.iter_mut().map(|c| c.view_mut()).collect();
    let system =
        System { direction: Direction::Rows, weights: weights.across.view(), share: share.view(), lambda, arch };
    system.solve(rows, scratch, Scratch::rows, threads);
    let columns = channels.iter_mut().map(|c| c.view_mut().reversed_axes()).collect();
    let system = System { direction: Direction::Columns, weights: weights.down.t(), share: share.t(), lambda, arch };
    system.solve(columns, scratch, Scratch::columns, threads);
}

/// The equations of all lines, which run along the second axis.
#[derive(Clone, Copy)]
struct System<'a> {
    direction: Direction,
    weights: ArrayView2<'a, u16>,
    share: ArrayView2<'a, u8>,
    lambda: f32,
    arch: Arch,
}

impl System<'_> {
    fn solve<const LANES: usize>(
        &self,
        channels: Vec<ArrayViewMut2<'_, f32>>,
        scratch: &mut [Scratch],
        lines: fn(&mut Scratch) -> &mut Lines<LANES>,
        threads: &Threads,
    ) {
        let (count, length) = self.weights.dim();
        let strips = count.div_ceil(LANES);
        let bands = scratch.len().min(strips);
        let mut rest = channels;
        let mut work = Vec::with_capacity(bands);
        let mut first = 0;
        for (band, scratch) in scratch[..bands].iter_mut().enumerate() {
            let end = (strips * (band + 1) / bands * LANES).min(count);
            let (own, after): (Vec<_>, _) = rest.into_iter().map(|c| c.split_at(Axis(0), end - first)).unzip();
            rest = after;
            let part = s![first..end, ..];
            let system = System { weights: self.weights.slice(part), share: self.share.slice(part), ..*self };
            work.push((own, system, lines(scratch)));
            first = end;
        }
        threads.enter(|| {
            work.into_par_iter().for_each(|(mut channels, system, lines)| {
                lines.resize(length, channels.len());
                for first in (0..system.weights.nrows()).step_by(LANES) {
                    system.solve_strip(&mut channels, first, length, lines);
                }
            });
        });
    }

    fn solve_strip<const LANES: usize>(
        &self,
        channels: &mut [ArrayViewMut2<'_, f32>],
        first: usize,
        length: usize,
        lines: &mut Lines<LANES>,
    ) {
        let part = s![first..(first + LANES).min(self.weights.nrows()), ..];
        gather(self.direction, self.weights.slice(part), &mut lines.weights);
        gather(self.direction, self.share.slice(part), &mut lines.share);
        for (channel, values) in channels.iter().zip(lines.values.chunks_exact_mut(length)) {
            gather(self.direction, channel.slice(part), values);
        }
        lines.solve(self.arch, self.lambda);
        for (channel, values) in channels.iter_mut().zip(lines.values.chunks_exact(length)) {
            scatter(self.direction, values, channel.slice_mut(part));
        }
    }
}

/// Puts lines side by side. Lanes beyond the last line keep what they hold, or repeat it.
fn gather<T: Copy + Default, const LANES: usize>(
    direction: Direction,
    lines: ArrayView2<'_, T>,
    to: &mut [[T; LANES]],
) {
    if direction == Direction::Columns {
        for (to, position) in to.iter_mut().zip(lines.columns()) {
            let values = position.to_slice().unwrap_or_default();
            // A copy of known size is one instruction.
            match values.first_chunk() {
                Some(values) => *to = *values,
                None => to.iter_mut().zip(values).for_each(|(to, value)| *to = *value),
            }
        }
        return;
    }
    let last = lines.nrows() - 1;
    let rows: [&[T]; LANES] =
        std::array::from_fn(|i| lines.index_axis_move(Axis(0), i.min(last)).to_slice().unwrap_or_default());
    let mut place = 0;
    let (squares, rest) = to.as_chunks_mut::<LANES>();
    for square in squares {
        // References to arrays, so that nothing is checked inside.
        let tile: [&[T; LANES]; LANES] = std::array::from_fn(|row| chunk(rows[row], place));
        for x in 0..LANES {
            for row in 0..LANES {
                square[x][row] = tile[row][x];
            }
        }
        place += LANES;
    }
    for (x, to) in rest.iter_mut().enumerate() {
        *to = std::array::from_fn(|row| rows[row].get(place + x).copied().unwrap_or_default());
    }
}

/// `LANES` values from `first` on. There are so many: `Wls::smooth` takes only maps of one size without gaps.
#[inline(always)]
fn chunk<T, const LANES: usize>(row: &[T], first: usize) -> &[T; LANES] {
    row[first..].first_chunk().expect("rows are as long as the lines that are filled")
}

/// The way back of [`gather`].
fn scatter<const LANES: usize>(direction: Direction, from: &[[f32; LANES]], mut lines: ArrayViewMut2<'_, f32>) {
    if direction == Direction::Columns {
        for (from, mut position) in from.iter().zip(lines.columns_mut()) {
            let values = position.as_slice_mut().unwrap_or_default();
            match values.first_chunk_mut() {
                Some(values) => *values = *from,
                None => values.iter_mut().zip(from).for_each(|(value, from)| *value = *from),
            }
        }
        return;
    }
    let (squares, rest) = from.as_chunks::<LANES>();
    for (row, mut line) in lines.rows_mut().into_iter().enumerate() {
        let Some(line) = line.as_slice_mut() else { continue };
        let (chunks, end) = line.as_chunks_mut::<LANES>();
        for (chunk, square) in chunks.iter_mut().zip(squares) {
            for x in 0..LANES {
                chunk[x] = square[x][row];
            }
        }
        end.iter_mut().zip(rest).for_each(|(to, from)| *to = from[row]);
    }
}
