//! The one-dimensional systems: many lines of pixels side by side, one in each lane.

use pulp::{Arch, WithSimd};

use super::weights::ONE;

/// Up to `LANES` lines of pixels, which are solved together: position by position, the values of all lines. Those of
/// neighbouring lines lie next to each other, so that one instruction works on many.
#[derive(Debug, Default)]
pub(super) struct Lines<const LANES: usize> {
    /// Channels that share weights, one list of positions after the other.
    pub values: Vec<[f32; LANES]>,
    /// Between a position and the next.
    pub weights: Vec<[u16; LANES]>,
    /// Root of the share of `lambda`, from 0 to 255.
    pub share: Vec<[u8; LANES]>,
    /// Elimination coefficients.
    upper: Vec<[f32; LANES]>,
}

impl<const LANES: usize> Lines<LANES> {
    /// Makes room for lines of `length` pixels with `channels` channels.
    pub fn resize(&mut self, length: usize, channels: usize) {
        self.values.resize(length * channels, [0.0; LANES]);
        self.weights.resize(length, [0; LANES]);
        self.share.resize(length, [0; LANES]);
        self.upper.resize(length, [0.0; LANES]);
    }

    /// Replaces the values by those that balance fidelity and smoothness, which weighs `lambda`.
    pub fn solve(&mut self, arch: Arch, lambda: f32) {
        struct Op<'a, const LANES: usize>(&'a mut Lines<LANES>, f32);
        impl<const LANES: usize> WithSimd for Op<'_, LANES> {
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
        let mut before = [0.0f32; LANES];
        let mut weight_before = [0.0f32; LANES];
        for (i, ((weights, share), upper)) in weights.iter().zip(&*share).zip(&mut *upper).enumerate() {
            let mut inverse = [0.0f32; LANES];
            let mut pull = [0.0f32; LANES];
            for lane in 0..LANES {
                let weight = f32::from(weights[lane]);
                let share = f32::from(share[lane]);
                let lambda = lambda * share * share;
                let (a, c) = (lambda * weight_before[lane], lambda * weight);
                inverse[lane] = 1.0 / (1.0 + a + c - a * before[lane]);
                before[lane] = c * inverse[lane];
                pull[lane] = a;
                weight_before[lane] = weight;
            }
            *upper = before;
            for at in (i..values.len()).step_by(length) {
                let previous = values[at - usize::from(i > 0)];
                let mut value = values[at];
                for lane in 0..LANES {
                    value[lane] = (value[lane] + pull[lane] * previous[lane]) * inverse[lane];
                }
                values[at] = value;
            }
        }
        for channel in values.chunks_exact_mut(length) {
            let mut after = [0.0f32; LANES];
            for (value, upper) in channel.iter_mut().zip(&*upper).rev() {
                let mut now = *value;
                for lane in 0..LANES {
                    now[lane] += upper[lane] * after[lane];
                }
                *value = now;
                after = now;
            }
        }
    }
}
