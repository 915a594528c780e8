//! The one-dimensional systems: many lines of pixels side by side, one in each lane.

use super::{
    layout::{Lanes, Tile},
    weights::ONE,
};

/// Largest share of `lambda` in a map of shares, squared.
const ALL: f32 = 255.0 * 255.0;

/// `LANES` lines of pixels on their way: Gaussian elimination without pivoting (Thomas), from the first position to the last, then
/// substitution back to the first. The systems are tridiagonal and diagonally dominant.
#[derive(Debug)]
pub(super) struct Lines<const LANES: usize> {
    /// Elimination coefficients, position by position.
    upper: Vec<Lanes<LANES>>,
    /// What is eliminated so far, one list of positions for each channel that shares the weights.
    values: Vec<Vec<Lanes<LANES>>>,
    weight_before: Lanes<LANES>,
}

/// Factors of a few positions that are the same for all channels.
pub(super) struct Factors<const LANES: usize, const STEP: usize> {
    inverse: Tile<LANES, STEP>,
    /// Towards the position before.
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

// Plain Rust, compiled once for each instruction set where it is called.
impl<const LANES: usize> Lines<LANES> {
    /// Makes room for lines of `length` pixels with `channels` channels.
    pub fn resize(&mut self, length: usize, channels: usize) {
        self.upper.resize(length, Lanes::ZERO);
        // Memory of channels that are not there this time is kept for the next.
        self.values.resize_with(self.values.len().max(channels), Vec::new);
        self.values[..channels].iter_mut().for_each(|values| values.resize(length, Lanes::ZERO));
    }

    /// Fills the factors of `count` positions from `first` on; all before are done. `weights` lie between a position and the next, of [`ONE`];
    /// `share` is the root of the share of `lambda`, of 255.
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

    /// Eliminates `count` positions of a channel from `first` on; all before are done.
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

    /// Solves `count` positions of a channel from `first` on, of which all are eliminated and all after are solved. `after` is the position after
    /// them, 0 beyond the last, and becomes the first of them.
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
