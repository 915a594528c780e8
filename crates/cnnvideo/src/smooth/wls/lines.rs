// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tridiagonal solver for many lines of pixels at once, one line per SIMD lane.

use std::ops::Range;

use super::{
    layout::{Lanes, Tile},
    weights::WEIGHT_ONE,
};

/// Square of the largest value in a strength map.
const MAX_STRENGTH_SQUARED: f32 = 255.0 * 255.0;

/// Solver of `LANES` lines.
///
/// Gaussian elimination without pivoting (Thomas algorithm) from the first position to the last,
/// then back substitution to the first. The systems are tridiagonal and diagonally dominant.
#[derive(Debug)]
pub(super) struct LineSolver<const LANES: usize> {
    /// Upper diagonal after elimination, by position.
    upper: Vec<Lanes<LANES>>,
    /// Right-hand side after elimination, by channel and position. All channels have the same
    /// weights.
    rhs: Vec<Vec<Lanes<LANES>>>,
    /// Edge weight between the last prepared position and the next.
    previous_weight: Lanes<LANES>,
}

/// Elimination factors of a tile's positions, the same for all channels.
pub(super) struct Factors<const LANES: usize, const POSITIONS: usize> {
    /// Reciprocal of the pivot.
    inverse: Tile<LANES, POSITIONS>,
    /// Magnitude of the lower diagonal: coupling to the previous position.
    lower: Tile<LANES, POSITIONS>,
}

impl<const LANES: usize, const POSITIONS: usize> Default for Factors<LANES, POSITIONS> {
    fn default() -> Self {
        Self { inverse: [Lanes::ZERO; POSITIONS], lower: [Lanes::ZERO; POSITIONS] }
    }
}

impl<const LANES: usize> Default for LineSolver<LANES> {
    fn default() -> Self {
        Self { upper: Vec::new(), rhs: Vec::new(), previous_weight: Lanes::ZERO }
    }
}

// Portable Rust, inlined into a `vectorise` closure and so compiled for each instruction set.
impl<const LANES: usize> LineSolver<LANES> {
    /// Resizes the buffers for lines of `length` pixels with `channels` channels.
    pub(super) fn resize(&mut self, length: usize, channels: usize) {
        self.upper.resize(length, Lanes::ZERO);
        // Never shrinks the list, to keep the memory of channels that this call does not use.
        self.rhs.resize_with(self.rhs.len().max(channels), Vec::new);
        self.rhs[..channels].iter_mut().for_each(|rhs| rhs.resize(length, Lanes::ZERO));
    }

    /// Computes the elimination factors of `positions`. Call it for all earlier positions first.
    ///
    /// `weights` are the edge weights between a position and the next, in units of
    /// `1 /` [`WEIGHT_ONE`]; `strength` is the strength map, 0 to 255.
    #[inline(always)]
    pub(super) fn prepare<const POSITIONS: usize>(
        &mut self,
        positions: Range<usize>,
        weights: &Tile<LANES, POSITIONS>,
        strength: &Tile<LANES, POSITIONS>,
        lambda: f32,
        factors: &mut Factors<LANES, POSITIONS>,
    ) {
        let lambda = lambda / (MAX_STRENGTH_SQUARED * WEIGHT_ONE);
        let first = positions.start;
        let mut before = if first == 0 { Lanes::ZERO } else { self.upper[first - 1] };
        let mut previous_weight = if first == 0 { Lanes::ZERO } else { self.previous_weight };
        for (i, upper) in self.upper[positions].iter_mut().enumerate() {
            for lane in 0..LANES {
                let (weight, strength) = (weights[i].0[lane], strength[i].0[lane]);
                let lambda = lambda * strength * strength;
                let (a, c) = (lambda * previous_weight.0[lane], lambda * weight);
                let inverse = 1.0 / (1.0 + a + c - a * before.0[lane]);
                before.0[lane] = c * inverse;
                factors.inverse[i].0[lane] = inverse;
                factors.lower[i].0[lane] = a;
                previous_weight.0[lane] = weight;
            }
            *upper = before;
        }
        self.previous_weight = previous_weight;
    }

    /// Eliminates `positions` of a channel. Call it for all earlier positions first.
    #[inline(always)]
    pub(super) fn eliminate<const POSITIONS: usize>(
        &mut self,
        channel: usize,
        positions: Range<usize>,
        values: &Tile<LANES, POSITIONS>,
        factors: &Factors<LANES, POSITIONS>,
    ) {
        let rhs = &mut self.rhs[channel];
        let first = positions.start;
        let mut before = if first == 0 { Lanes::ZERO } else { rhs[first - 1] };
        for (i, rhs) in rhs[positions].iter_mut().enumerate() {
            for lane in 0..LANES {
                before.0[lane] = (values[i].0[lane] + factors.lower[i].0[lane] * before.0[lane])
                    * factors.inverse[i].0[lane];
            }
            *rhs = before;
        }
    }

    /// Back-substitutes `positions` of a channel into `to`. Call it after all positions are
    /// eliminated and all later ones are substituted.
    ///
    /// `after` is the solution at the position after these (0 at the end of the line); it is
    /// replaced with the solution at the first of them.
    #[inline(always)]
    pub(super) fn substitute<const POSITIONS: usize>(
        &self,
        channel: usize,
        positions: Range<usize>,
        after: &mut Lanes<LANES>,
        to: &mut Tile<LANES, POSITIONS>,
    ) {
        let (rhs, upper) = (&self.rhs[channel][positions.clone()], &self.upper[positions]);
        let mut next = *after;
        for ((to, rhs), upper) in to.iter_mut().zip(rhs).zip(upper).rev() {
            for lane in 0..LANES {
                next.0[lane] = rhs.0[lane] + upper.0[lane] * next.0[lane];
            }
            *to = next;
        }
        *after = next;
    }
}
