//! Solves all rows or columns of a picture, a strip of some at a time.

use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::{
    layout::{Lanes, Layout, Tile},
    lines::{Factors, Lines},
};
use crate::{frame::Sample, nn::Threads, simd::vectorise};

/// A channel that is solved: where its values come from and go to. Lines run along the second axis.
pub(super) trait Channel: Send + Sized {
    /// The first `lines` lines, and the others.
    fn split(self, lines: usize) -> (Self, Self);
    fn load<L: Layout<LANES, STEP>, const LANES: usize, const STEP: usize>(
        &self,
        first: usize,
        count: usize,
        to: &mut Tile<LANES, STEP>,
    );
    fn store<L: Layout<LANES, STEP>, const LANES: usize, const STEP: usize>(
        &mut self,
        first: usize,
        count: usize,
        from: &mut Tile<LANES, STEP>,
    );
}

/// Solved in place.
pub(super) struct InPlace<'a>(pub ArrayViewMut2<'a, f32>);

/// Read here and written there.
pub(super) struct Through<'a, A, B> {
    pub from: ArrayView2<'a, A>,
    pub to: ArrayViewMut2<'a, B>,
}

impl Channel for InPlace<'_> {
    fn split(self, lines: usize) -> (Self, Self) {
        let (own, after) = self.0.split_at(Axis(0), lines);
        (Self(own), Self(after))
    }

    #[inline(always)]
    fn load<L: Layout<LANES, STEP>, const LANES: usize, const STEP: usize>(
        &self,
        first: usize,
        count: usize,
        to: &mut Tile<LANES, STEP>,
    ) {
        L::gather(&self.0.view(), first, count, to, |v| v);
    }

    #[inline(always)]
    fn store<L: Layout<LANES, STEP>, const LANES: usize, const STEP: usize>(
        &mut self,
        first: usize,
        count: usize,
        from: &mut Tile<LANES, STEP>,
    ) {
        L::scatter(from, first, count, &mut self.0);
    }
}

impl<A: Sample, B: Sample> Channel for Through<'_, A, B> {
    fn split(self, lines: usize) -> (Self, Self) {
        let (from, from_after) = self.from.split_at(Axis(0), lines);
        let (to, to_after) = self.to.split_at(Axis(0), lines);
        (Self { from, to }, Self { from: from_after, to: to_after })
    }

    #[inline(always)]
    fn load<L: Layout<LANES, STEP>, const LANES: usize, const STEP: usize>(
        &self,
        first: usize,
        count: usize,
        to: &mut Tile<LANES, STEP>,
    ) {
        L::gather(&self.from, first, count, to, Sample::level);
    }

    #[inline(always)]
    fn store<L: Layout<LANES, STEP>, const LANES: usize, const STEP: usize>(
        &mut self,
        first: usize,
        count: usize,
        from: &mut Tile<LANES, STEP>,
    ) {
        L::scatter(from, first, count, &mut self.to);
    }
}

/// The equations of all lines, which run along the second axis.
#[derive(Clone, Copy)]
pub(super) struct System<'a> {
    pub weights: ArrayView2<'a, u16>,
    pub share: ArrayView2<'a, u8>,
    pub lambda: f32,
}

impl System<'_> {
    /// Solves all lines, `LANES` at a time, with one of `scratch` for each thread.
    pub fn solve<L: Layout<LANES, STEP>, C: Channel, const LANES: usize, const STEP: usize>(
        &self,
        channels: Vec<C>,
        scratch: &[Mutex<Lines<LANES>>],
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
                    share: self.share.slice(part),
                    ..*self
                },
                own,
            ));
        }
        threads.enter(|| {
            strips.into_par_iter().for_each(|(system, mut channels)| {
                // Those who work here have a number each, so that nobody waits.
                let worker = rayon::current_thread_index().unwrap_or(0) % scratch.len();
                let mut lines = scratch[worker].lock().unwrap_or_else(PoisonError::into_inner);
                lines.resize(length, channels.len());
                vectorise(
                    #[inline(always)]
                    || system.solve_strip::<L, _, LANES, STEP>(&mut channels, &mut lines),
                );
            });
        });
    }

    #[inline(always)]
    fn solve_strip<L: Layout<LANES, STEP>, C: Channel, const LANES: usize, const STEP: usize>(
        &self,
        channels: &mut [C],
        lines: &mut Lines<LANES>,
    ) {
        let length = self.weights.ncols();
        let [mut weights, mut share, mut values] = [[Lanes::ZERO; STEP]; 3];
        let mut factors = Factors::default();
        for first in (0..length).step_by(STEP) {
            let count = STEP.min(length - first);
            L::gather(&self.weights, first, count, &mut weights, f32::from);
            L::gather(&self.share, first, count, &mut share, f32::from);
            lines.prepare([first, count], &weights, &share, self.lambda, &mut factors);
            for (i, channel) in channels.iter().enumerate() {
                channel.load::<L, LANES, STEP>(first, count, &mut values);
                lines.eliminate(i, [first, count], &values, &factors);
            }
        }
        for (i, channel) in channels.iter_mut().enumerate() {
            let mut after = Lanes::ZERO;
            for first in (0..length).step_by(STEP).rev() {
                let count = STEP.min(length - first);
                lines.substitute(i, [first, count], &mut after, &mut values);
                channel.store::<L, LANES, STEP>(first, count, &mut values);
            }
        }
    }
}
