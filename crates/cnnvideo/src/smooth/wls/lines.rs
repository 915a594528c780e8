//! Tridiagonal solver for many lines of pixels at once, one line per SIMD lane.

use super::{
    layout::{Lanes, Tile},
    weights::ONE,
};

/// Square of the largest value in a strength map.
const ALL: f32 = 255.0 * 255.0;

/// Solver state of `LANES` lines.
///
/// Gaussian elimination without pivoting (Thomas algorithm) from the first position to the last,
/// then back substitution to the first. The systems are tridiagonal and diagonally dominant.
#[derive(Debug)]
pub(super) struct Lines<const LANES: usize> {
    /// Upper diagonal after elimination, by position.
    upper: Vec<Lanes<LANES>>,
    /// Right-hand side after elimination, by channel and position. All channels have the same
    /// weights.
    values: Vec<Vec<Lanes<LANES>>>,
    /// Edge weight between the last prepared position and the next.
    weight_before: Lanes<LANES>,
}

/// Elimination factors of a tile's positions, the same for all channels.
pub(super) struct Factors<const LANES: usize, const STEP: usize> {
    /// Reciprocal of the pivot.
    inverse: Tile<LANES, STEP>,
    /// Magnitude of the lower diagonal: coupling to the previous position.
    pull: Tile<LANES, STEP>,
}

impl<const LANES: usize, const STEP: usize> Default for Factors<LANES, STEP> {
    fn default() -> Self {
        Self { inverse: [Lanes::ZERO; STEP], pull: [Lanes::ZERO; STEP] }
    }
}

impl<const LANES: usize> Default for Lines<LANES> {
    fn default() -> Self {
        Self { upper: Vec::new(), values: Vec::new(), weight_before: Lanes::ZERO }
    }
}

// Portable Rust, inlined into a `vectorise` closure and so compiled for each instruction set.
impl<const LANES: usize> Lines<LANES> {
    /// Resizes the buffers for lines of `length` pixels with `channels` channels.
    pub fn resize(&mut self, length: usize, channels: usize) {
        self.upper.resize(length, Lanes::ZERO);
        // Never shrinks the list, to keep the memory of channels that this call does not use.
        self.values.resize_with(self.values.len().max(channels), Vec::new);
        self.values[..channels].iter_mut().for_each(|values| values.resize(length, Lanes::ZERO));
    }

    /// Computes the elimination factors of `count` positions from `first` on. Call it for all
    /// earlier positions first.
    ///
    /// `weights` are the edge weights between a position and the next, in units of `1 /` [`ONE`];
    /// `share` is the strength map, 0 to 255.
    #[inline(always)]
    pub fn prepare<const STEP: usize>(
        &mut self,
        [first, count]: [usize; 2],
        weights: &Tile<LANES, STEP>,
        share: &Tile<LANES, STEP>,
        lambda: f32,
        factors: &mut Factors<LANES, STEP>,
    ) {
        let lambda = lambda / (ALL * ONE);
        let mut before = if first == 0 { Lanes::ZERO } else { self.upper[first - 1] };
        let mut weight_before = if first == 0 { Lanes::ZERO } else { self.weight_before };
        for (i, upper) in self.upper[first..first + count].iter_mut().enumerate() {
            for lane in 0..LANES {
                let (weight, share) = (weights[i].0[lane], share[i].0[lane]);
                let lambda = lambda * share * share;
                let (a, c) = (lambda * weight_before.0[lane], lambda * weight);
                let inverse = 1.0 / (1.0 + a + c - a * before.0[lane]);
                before.0[lane] = c * inverse;
                factors.inverse[i].0[lane] = inverse;
                factors.pull[i].0[lane] = a;
                weight_before.0[lane] = weight;
            }
            *upper = before;
        }
        self.weight_before = weight_before;
    }

    /// Eliminates `count` positions of a channel from `first` on. Call it for all earlier positions
    /// first.
    #[inline(always)]
    pub fn eliminate<const STEP: usize>(
        &mut self,
        channel: usize,
        [first, count]: [usize; 2],
        values: &Tile<LANES, STEP>,
        factors: &Factors<LANES, STEP>,
    ) {
        let done = &mut self.values[channel];
        let mut before = if first == 0 { Lanes::ZERO } else { done[first - 1] };
        for (i, done) in done[first..first + count].iter_mut().enumerate() {
            for lane in 0..LANES {
                before.0[lane] = (values[i].0[lane] + factors.pull[i].0[lane] * before.0[lane])
                    * factors.inverse[i].0[lane];
            }
            *done = before;
        }
    }

    /// Back-substitutes `count` positions of a channel from `first` on into `to`. Call it after all
    /// positions are eliminated and all later ones are substituted.
    ///
    /// `after` is the solution at the position after these (0 at the end of the line); it is
    /// replaced with the solution at `first`.
    #[inline(always)]
    pub fn substitute<const STEP: usize>(
        &self,
        channel: usize,
        [first, count]: [usize; 2],
        after: &mut Lanes<LANES>,
        to: &mut Tile<LANES, STEP>,
    ) {
        let (done, upper) =
            (&self.values[channel][first..first + count], &self.upper[first..first + count]);
        let mut next = *after;
        for ((to, done), upper) in to.iter_mut().zip(done).zip(upper).rev() {
            for lane in 0..LANES {
                next.0[lane] = done.0[lane] + upper.0[lane] * next.0[lane];
            }
            *to = next;
        }
        *after = next;
    }
}
