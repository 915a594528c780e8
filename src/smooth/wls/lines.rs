//! The one-dimensional systems: many lines of pixels side by side, one in each lane.

use pulp::{Arch, WithSimd};

use super::weights::ONE;

/// Lines that are solved together. Values of neighbouring lines lie next to each other, so that one instruction
/// works on many.
pub(super) const LANES: usize = 16;
pub(super) type Lanes = [f32; LANES];

/// Up to `LANES` lines of pixels: position by position, the values of all lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Channels that share weights, one list of positions after the other.
    pub values: Vec<Lanes>,
    /// Between a position and the next.
    pub weights: Vec<[u16; LANES]>,
    /// Root of the share of `lambda`, from 0 to 255.
    pub share: Vec<[u8; LANES]>,
    /// Elimination coefficients.
    upper: Vec<Lanes>,
}

impl Lines {
    /// Makes room for lines of `length` pixels with `channels` channels.
    pub fn resize(&mut self, length: usize, channels: usize) {
        self.values.resize(length * channels, [0.0; LANES]);
        self.weights.resize(length, [0; LANES]);
        self.share.resize(length, [0; LANES]);
        self.upper.resize(length, [0.0; LANES]);
    }

    /// Replaces the values by those that balance fidelity and smoothness, which weighs `lambda`.
    pub fn solve(&mut self, arch: Arch, lambda: f32) {
        struct Op<'a>(&'a mut Lines, f32);
        impl WithSimd for Op<'_> {
            type Output = ();

            // The loops below are plain Rust; they are compiled once for each instruction set.
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _: S) {
                self.0.eliminate(self.1);
            }
        }
        arch.dispatch(Op(self, lambda));
    }

    /// Gaussian elimination without pivoting (Thomas): the systems are tridiagonal and diagonally dominant.
    #[inline(always)]
    fn eliminate(&mut self, lambda: f32) {
        let length = self.weights.len();
        if length == 0 {
            return;
        }
        let Self { values, weights, share, upper } = self;
        let lambda = lambda / (255.0 * 255.0 * ONE);
        let mut before: Lanes = [0.0; LANES];
        let mut lower_weight: Lanes = [0.0; LANES];
        let mut inverse: Lanes = [0.0; LANES];
        let mut pulled: Lanes = [0.0; LANES];
        for i in 0..length {
            let (weights, share, upper) = (&weights[i], &share[i], &mut upper[i]);
            for lane in 0..LANES {
                let weight = f32::from(weights[lane]);
                let share = f32::from(share[lane]);
                let lambda = lambda * share * share;
                let (a, c) = (lambda * lower_weight[lane], lambda * weight);
                inverse[lane] = 1.0 / (1.0 + a + c - a * before[lane]);
                before[lane] = c * inverse[lane];
                pulled[lane] = a;
                lower_weight[lane] = weight;
                upper[lane] = before[lane];
            }
            for channel in values.chunks_exact_mut(length) {
                let previous = channel[i.saturating_sub(1)];
                let value = &mut channel[i];
                for lane in 0..LANES {
                    value[lane] = (value[lane] + pulled[lane] * previous[lane]) * inverse[lane];
                }
            }
        }
        for channel in values.chunks_exact_mut(length) {
            let mut after = channel[length - 1];
            for (value, upper) in channel[..length - 1].iter_mut().zip(&*upper).rev() {
                for lane in 0..LANES {
                    value[lane] += upper[lane] * after[lane];
                }
                after = *value;
            }
        }
    }
}
