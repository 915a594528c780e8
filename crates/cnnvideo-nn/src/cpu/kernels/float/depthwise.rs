// SPDX-License-Identifier: MIT OR Apache-2.0

//! Depthwise convolution with ReLU6, generic over `pulp` vectors.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::mul_add::{MulAdd, mul_add};
use crate::arch::{Activation, DepthwiseWindow};

/// Pixels that share each load of weights.
const TILE: usize = 4;
/// Limits of the activation function.
const RANGE: [f32; 2] = Activation::RELU6_RANGE;

/// Weights of a depthwise convolution in the order in which the kernel reads them:
/// `[tap][channel]`.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct PackedDepthwise {
    /// Weights, `kernel_size * kernel_size` taps of all channels.
    taps: Vec<f32>,
    bias: Vec<f32>,
    kernel_size: usize,
}

impl PackedDepthwise {
    /// Packs weights in the order `[channel][row][column]`, and one bias per channel.
    pub(in crate::cpu) fn new(window: DepthwiseWindow, weights: &[f32], bias: &[f32]) -> Self {
        let taps = window.kernel_size * window.kernel_size;
        let tap = |tap: usize| weights.iter().skip(tap).step_by(taps);
        Self {
            taps: (0..taps).flat_map(tap).copied().collect(),
            bias: bias.to_vec(),
            kernel_size: window.kernel_size,
        }
    }
}

/// Computation of one row of a depthwise convolution.
///
/// Channel `c` of pixel `x` is the sum of `bias[c]` and, over rows `dy` and columns `dx` of the
/// kernel, of `weight[c][dy][dx] * segments[dy][x * pitch + dx * channels + c]`, clamped to 0 to 6.
pub(in crate::cpu) struct DepthwiseJob<'a> {
    /// One input row for each kernel row, from the first input of pixel 0 on.
    pub segments: &'a [&'a [f32]],
    /// Distance between the inputs of neighbouring output pixels, in values.
    pub pitch: usize,
    /// Weights and biases.
    pub weights: &'a PackedDepthwise,
    /// Output values, interleaved by pixel.
    pub out: &'a mut [f32],
}

impl DepthwiseJob<'_> {
    /// Returns the number of output pixels.
    ///
    /// # Panics
    /// If an access of the kernel would be outside of its slice. The kernel relies on this check
    /// for memory safety.
    fn check(&self) -> usize {
        let PackedDepthwise { taps, bias, kernel_size } = self.weights;
        let pixels = self.out.len() / bias.len();
        assert_eq!(self.out.len(), pixels * bias.len());
        assert_eq!(taps.len(), kernel_size * kernel_size * bias.len());
        assert_eq!(self.segments.len(), *kernel_size);
        if pixels > 0 {
            let reach = (pixels - 1) * self.pitch + kernel_size * bias.len();
            assert!(
                self.segments.iter().all(|s| s.len() >= reach),
                "a segment is shorter than the kernel's reach of {reach} values"
            );
        }
        pixels
    }
}

/// Computes one row with the vectors of `isa`.
pub(super) fn run<S: Simd, M: MulAdd>(isa: S, job: DepthwiseJob<'_>) {
    struct Dispatch<'a, M>(DepthwiseJob<'a>, PhantomData<M>);
    impl<M: MulAdd> WithSimd for Dispatch<'_, M> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, isa: S) {
            row::<S, M>(isa, self.0);
        }
    }
    isa.vectorize(Dispatch::<M>(job, PhantomData));
}

/// Computes one row; channels beyond the last whole vector are computed one by one.
#[inline(always)]
fn row<S: Simd, M: MulAdd>(isa: S, mut job: DepthwiseJob<'_>) {
    let pixels = job.check();
    let channels = job.weights.bias.len();
    let whole = channels - channels % S::F32_LANES;
    let mut x = 0;
    while x < pixels {
        let tile = pixels - x >= TILE;
        for c in (0..whole).step_by(S::F32_LANES) {
            // `check` has verified that all `pixels` pixels exist in every segment and in `out`,
            // and the vector at `c` ends at or before `channels`.
            if tile {
                // SAFETY: see above; `x + TILE` does not exceed `pixels`.
                unsafe { compute::<S, M, TILE>(isa, &mut job, x, c) };
            } else {
                // SAFETY: see above; `x` is below `pixels`.
                unsafe { compute::<S, M, 1>(isa, &mut job, x, c) };
            }
        }
        x += if tile { TILE } else { 1 };
    }
    if whole < channels {
        let DepthwiseJob { segments, pitch, weights, out } = job;
        let PackedDepthwise { taps, bias, kernel_size } = weights;
        for (x, pixel) in out.chunks_exact_mut(channels).enumerate() {
            for c in whole..channels {
                let mut sum = bias[c];
                for (segment, taps) in
                    segments.iter().zip(taps.chunks_exact(kernel_size * channels))
                {
                    let inputs = segment[x * pitch + c..].iter().step_by(channels);
                    let products = inputs.zip(taps[c..].iter().step_by(channels));
                    sum = products.fold(sum, |sum, (v, w)| mul_add(*v, *w, sum));
                }
                pixel[c] = sum.clamp(RANGE[0], RANGE[1]);
            }
        }
    }
}

/// Computes a vector of channels, from `c` on, of pixels `x..x + N`.
///
/// # Safety
/// [`DepthwiseJob::check`] has succeeded for `job`, `x + N` does not exceed its number of pixels,
/// and `c` plus the vector length does not exceed the number of channels.
#[inline(always)]
unsafe fn compute<S: Simd, M: MulAdd, const N: usize>(
    isa: S,
    job: &mut DepthwiseJob<'_>,
    x: usize,
    c: usize,
) {
    let PackedDepthwise { taps, bias, kernel_size } = job.weights;
    let (channels, out) = (bias.len(), job.out.as_mut_ptr());
    // SAFETY: by the contract of this function, all offsets are within the slices that `check` has
    // verified.
    unsafe {
        let load = |p: *const f32| p.cast::<S::f32s>().read_unaligned();
        let mut sums = [load(bias.as_ptr().add(c)); N];
        let mut weights = taps.as_ptr().add(c);
        for segment in job.segments {
            let mut input = segment.as_ptr().add(x * job.pitch + c);
            for _ in 0..*kernel_size {
                let w = load(weights);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = M::mul_add(isa, load(input.add(i * job.pitch)), w, *sum);
                }
                weights = weights.wrapping_add(channels);
                input = input.wrapping_add(channels);
            }
        }
        let [min, max] = RANGE.map(|limit| isa.splat_f32s(limit));
        for (i, sum) in sums.into_iter().enumerate() {
            let value = isa.min_f32s(isa.max_f32s(sum, min), max);
            out.add((x + i) * channels + c).cast::<S::f32s>().write_unaligned(value);
        }
    }
}
