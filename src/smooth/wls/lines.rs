//! The one-dimensional systems: many lines of pixels side by side, one in each lane.

use pulp::{Arch, WithSimd};

/// Lines that are solved together. Values of neighbouring lines lie next to each other, so that one instruction
/// works on many.
pub(super) const LANES: usize = 16;
pub(super) type Lanes = [f32; LANES];

/// The weight of a step of `sigma` is about `1 / e`; this power makes `(1 - d / (n sigma))^n` of the exponential.
const POWER: f32 = 16.0;

/// How strongly neighbours pull at each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pull {
    /// Weight of smoothness against fidelity.
    pub lambda: f32,
    /// Step of the guide that counts as an edge.
    pub sigma: f32,
}

/// Up to `LANES` lines of pixels: position by position, the values of all lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Channels that share a guide, one list of positions after the other.
    pub values: Vec<Lanes>,
    pub guide: Vec<Lanes>,
    /// Of `lambda`, from 0 to 255.
    pub share: Vec<[u8; LANES]>,
    /// Elimination coefficients.
    upper: Vec<Lanes>,
}

impl Lines {
    /// Makes room for lines of `length` pixels with `channels` channels.
    pub fn resize(&mut self, length: usize, channels: usize) {
        self.values.resize(length * channels, [0.0; LANES]);
        self.guide.resize(length, [0.0; LANES]);
        self.share.resize(length, [0; LANES]);
        self.upper.resize(length, [0.0; LANES]);
    }

    /// Replaces the values by those that balance fidelity and smoothness.
    pub fn solve(&mut self, arch: Arch, pull: Pull) {
        struct Op<'a>(&'a mut Lines, Pull);
        impl WithSimd for Op<'_> {
            type Output = ();

            // The loops below are plain Rust; they are compiled once for each instruction set.
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _: S) {
                self.0.eliminate(self.1);
            }
        }
        arch.dispatch(Op(self, pull));
    }

    /// Gaussian elimination without pivoting (Thomas): the systems are tridiagonal and diagonally dominant.
    #[inline(always)]
    fn eliminate(&mut self, Pull { lambda, sigma }: Pull) {
        let length = self.guide.len();
        if length == 0 {
            return;
        }
        let Self { values, guide, share, upper } = self;
        let lambda = lambda / 255.0;
        let slope = 1.0 / (POWER * sigma);
        let mut before: Lanes = [0.0; LANES];
        let mut lower_weight: Lanes = [0.0; LANES];
        let mut inverse: Lanes = [0.0; LANES];
        let mut pulled: Lanes = [0.0; LANES];
        for i in 0..length {
            let next = guide[(i + 1).min(length - 1)];
            let last = if i + 1 == length { 0.0 } else { 1.0 };
            let (now, share, upper) = (&guide[i], &share[i], &mut upper[i]);
            for lane in 0..LANES {
                let weight = last * weight(next[lane] - now[lane], slope);
                let lambda = lambda * f32::from(share[lane]);
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

/// `exp(-|step| / sigma)` nearly, and 0 for steps beyond `16 sigma`.
#[inline(always)]
pub(super) fn weight(step: f32, slope: f32) -> f32 {
    let base = (1.0 - step.abs() * slope).max(0.0);
    let second = base * base;
    let fourth = second * second;
    let eighth = fourth * fourth;
    eighth * eighth
}
