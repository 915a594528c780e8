// SPDX-License-Identifier: MIT OR Apache-2.0

//! Solves all rows or all columns of a picture in parallel, in strips of as many lines as a layout
//! has lanes.

use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::{
    layout::{Lanes, Layout, Tile},
    lines::{Factors, LineSolver},
};
use crate::{frame::Sample, nn::Threads, simd::vectorise};

/// Source and destination of a channel's values. Lines run along the second axis.
pub(super) trait Channel: Send + Sized {
    /// Splits off the first `lines` lines; returns them and the rest.
    fn split(self, lines: usize) -> (Self, Self);
    /// Loads `count` positions of all lines, from `first` on, into `to`.
    fn load<L: Layout<LANES, POSITIONS>, const LANES: usize, const POSITIONS: usize>(
        &self,
        first: usize,
        count: usize,
        to: &mut Tile<LANES, POSITIONS>,
    );
    /// Stores `count` positions of all lines, from `first` on. Leaves `from` in an unspecified
    /// state.
    fn store<L: Layout<LANES, POSITIONS>, const LANES: usize, const POSITIONS: usize>(
        &mut self,
        first: usize,
        count: usize,
        from: &mut Tile<LANES, POSITIONS>,
    );
}

/// Channel that is solved in place.
pub(super) struct InPlace<'a>(pub ArrayViewMut2<'a, f32>);

/// Channel that is read from one plane and written to another.
pub(super) struct FromTo<'a, A, B> {
    /// Plane that the values are read from.
    pub from: ArrayView2<'a, A>,
    /// Plane that the solution is written to.
    pub to: ArrayViewMut2<'a, B>,
}

impl Channel for InPlace<'_> {
    fn split(self, lines: usize) -> (Self, Self) {
        let (own, after) = self.0.split_at(Axis(0), lines);
        (Self(own), Self(after))
    }

    #[inline(always)]
    fn load<L: Layout<LANES, POSITIONS>, const LANES: usize, const POSITIONS: usize>(
        &self,
        first: usize,
        count: usize,
        to: &mut Tile<LANES, POSITIONS>,
    ) {
        L::gather(&self.0.view(), first, count, to, |v| v);
    }

    #[inline(always)]
    fn store<L: Layout<LANES, POSITIONS>, const LANES: usize, const POSITIONS: usize>(
        &mut self,
        first: usize,
        count: usize,
        from: &mut Tile<LANES, POSITIONS>,
    ) {
        L::scatter(from, first, count, &mut self.0);
    }
}

impl<A: Sample, B: Sample> Channel for FromTo<'_, A, B> {
    fn split(self, lines: usize) -> (Self, Self) {
        let (from, from_after) = self.from.split_at(Axis(0), lines);
        let (to, to_after) = self.to.split_at(Axis(0), lines);
        (Self { from, to }, Self { from: from_after, to: to_after })
    }

    #[inline(always)]
    fn load<L: Layout<LANES, POSITIONS>, const LANES: usize, const POSITIONS: usize>(
        &self,
        first: usize,
        count: usize,
        to: &mut Tile<LANES, POSITIONS>,
    ) {
        L::gather(&self.from, first, count, to, Sample::code_value);
    }

    #[inline(always)]
    fn store<L: Layout<LANES, POSITIONS>, const LANES: usize, const POSITIONS: usize>(
        &mut self,
        first: usize,
        count: usize,
        from: &mut Tile<LANES, POSITIONS>,
    ) {
        L::scatter(from, first, count, &mut self.to);
    }
}

/// Equations of all lines, which run along the second axis.
#[derive(Clone, Copy)]
pub(super) struct System<'a> {
    /// Edge weights between each position and the next, in units of `1 / 65535`.
    pub weights: ArrayView2<'a, u16>,
    /// Strength map: square root of each pixel's fraction of `lambda`, times 255.
    pub strength: ArrayView2<'a, u8>,
    /// Weight of smoothness of this pass.
    pub lambda: f32,
}

impl System<'_> {
    /// Solves all lines in parallel strips of `LANES`. `scratch` has one entry per thread.
    pub(super) fn solve<
        L: Layout<LANES, POSITIONS>,
        C: Channel,
        const LANES: usize,
        const POSITIONS: usize,
    >(
        &self,
        channels: Vec<C>,
        scratch: &[Mutex<LineSolver<LANES>>],
        threads: &Threads,
    ) {
        let (count, length) = self.weights.dim();
        let mut rest = channels;
        let mut strips = Vec::with_capacity(count.div_ceil(LANES));
        for first in (0..count).step_by(LANES) {
            let end = (first + LANES).min(count);
            let (own, after): (Vec<_>, Vec<_>) =
                rest.into_iter().map(|channel| channel.split(end - first)).unzip();
            rest = after;
            let part = s![first..end, ..];
            strips.push((
                System {
                    weights: self.weights.slice(part),
                    strength: self.strength.slice(part),
                    ..*self
                },
                own,
            ));
        }
        threads.enter(|| {
            strips.into_par_iter().for_each(|(system, mut channels)| {
                // Each worker thread has its own index, so the lock is never contended.
                let worker = rayon::current_thread_index().expect("runs on a thread of the pool");
                let mut lines = scratch[worker].lock().unwrap_or_else(PoisonError::into_inner);
                lines.resize(length, channels.len());
                vectorise(
                    #[inline(always)]
                    || system.solve_strip::<L, _, LANES, POSITIONS>(&mut channels, &mut lines),
                );
            });
        });
    }

    /// Solves one strip: eliminates all channels tile by tile, then substitutes backwards.
    #[inline(always)]
    fn solve_strip<
        L: Layout<LANES, POSITIONS>,
        C: Channel,
        const LANES: usize,
        const POSITIONS: usize,
    >(
        &self,
        channels: &mut [C],
        lines: &mut LineSolver<LANES>,
    ) {
        let length = self.weights.ncols();
        let [mut weights, mut strength, mut values] = [[Lanes::ZERO; POSITIONS]; 3];
        let mut factors = Factors::default();
        for first in (0..length).step_by(POSITIONS) {
            let count = POSITIONS.min(length - first);
            L::gather(&self.weights, first, count, &mut weights, f32::from);
            L::gather(&self.strength, first, count, &mut strength, f32::from);
            lines.prepare(first..first + count, &weights, &strength, self.lambda, &mut factors);
            for (i, channel) in channels.iter().enumerate() {
                channel.load::<L, LANES, POSITIONS>(first, count, &mut values);
                lines.eliminate(i, first..first + count, &values, &factors);
            }
        }
        for (i, channel) in channels.iter_mut().enumerate() {
            let mut after = Lanes::ZERO;
            for first in (0..length).step_by(POSITIONS).rev() {
                let count = POSITIONS.min(length - first);
                lines.substitute(i, first..first + count, &mut after, &mut values);
                channel.store::<L, LANES, POSITIONS>(first, count, &mut values);
            }
        }
    }
}
