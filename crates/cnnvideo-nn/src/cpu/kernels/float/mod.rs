// SPDX-License-Identifier: MIT OR Apache-2.0

//! Float32 kernels.
//!
//! All convolutions except depthwise ones ([`DepthwiseJob`]) are expressed as a [`FloatRowJob`]:
//! for each pixel of a row, the product of a packed weight matrix with a few runs of contiguous
//! input values (segments). `simd.rs` is generic over `pulp` vectors and compiled for each
//! instruction set. So is `winograd.rs`, which computes row blocks ([`FloatRowBlockJob`]) with
//! fewer multiplications.
//!
//! All kernel sets give the same bits: they sum in the same order, choose Winograd by the same
//! rule, and round each multiply-add once ([`MulAdd`]).

mod depthwise;
mod job;
mod mul_add;
mod pack;
mod simd;
#[cfg(test)]
mod tests;
mod winograd;

pub(in crate::cpu) use depthwise::{DepthwiseJob, PackedDepthwise};
pub(in crate::cpu) use job::{FloatRowBlockJob, FloatRowJob};
pub(in crate::cpu) use pack::PackedWeights;

use self::mul_add::{Emulated, Native};

use super::{ROW_BLOCK, select_kernels};

/// Vectors of the portable kernel set, which the compiler maps to the baseline instruction set of
/// the target.
const PORTABLE: pulp::Scalar256b = pulp::Scalar256b;

/// Set of float32 kernels for one instruction set that the processor supports.
#[derive(Debug, Clone, Copy)]
pub struct FloatKernels(SimdToken);

/// Instruction set. The `pulp` token in a variant proves that the processor supports it.
#[derive(Debug, Clone, Copy)]
enum SimdToken {
    /// Plain Rust.
    Portable,
    /// AVX2 and FMA (x86-64-v3).
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// AVX-512 (x86-64-v4).
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}

impl FloatKernels {
    /// The portable kernel set, which every processor supports.
    pub const PORTABLE: Self = Self(SimdToken::Portable);

    /// Returns all kernel sets that this processor supports, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(pulp::x86::V4::try_new().map(SimdToken::Avx512));
            all.extend(pulp::x86::V3::try_new().map(SimdToken::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(pulp::aarch64::Neon::try_new().map(SimdToken::Neon));
        all.push(SimdToken::Portable);
        all.into_iter().map(Self).collect()
    }

    /// Returns the fastest kernel set, or the supported one that the environment variable
    /// `CNNVIDEO_KERNELS` names.
    pub fn best() -> Self {
        select_kernels(&Self::available(), Self::name)
    }

    /// Returns the name of the kernel set.
    pub fn name(self) -> &'static str {
        match self.0 {
            SimdToken::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            SimdToken::Neon(_) => "neon",
        }
    }

    /// Returns the block size of the weights of a layer with `outputs` outputs: the number of
    /// outputs that the kernel accumulates at a time.
    fn block(self, outputs: usize) -> usize {
        match self.0 {
            SimdToken::Portable => 16,
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx2(_) => {
                if outputs <= 8 {
                    8
                } else {
                    16
                }
            }
            #[cfg(target_arch = "x86_64")]
            // With an odd number of vectors, half of the last block would be unused.
            SimdToken::Avx512(_) => {
                if outputs.div_ceil(16) % 2 == 1 {
                    16
                } else {
                    32
                }
            }
            #[cfg(target_arch = "aarch64")]
            SimdToken::Neon(_) => {
                if outputs <= 8 {
                    8
                } else {
                    16
                }
            }
        }
    }

    /// Returns whether [`Self::run_row_block`] computes a row block of `pixels` pixels per row with
    /// Winograd F(4x4, 3x3), which is faster than row by row.
    pub(in crate::cpu) fn prefers_row_blocks(self, weights: &PackedWeights, pixels: usize) -> bool {
        weights.has_winograd() && pixels >= winograd::MIN_PIXELS
    }

    /// Asserts that weights were packed for this kernel set.
    fn check_weights(self, weights: &PackedWeights) {
        let expected = self.block(weights.shape().outputs);
        assert_eq!(weights.block(), expected, "weights packed for other kernels");
    }

    /// Computes one row of a depthwise convolution.
    ///
    /// # Panics
    /// If the slices are too short.
    pub(in crate::cpu) fn run_depthwise(self, job: DepthwiseJob<'_>) {
        match self.0 {
            SimdToken::Portable => depthwise::run::<_, Emulated>(PORTABLE, job),
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx2(isa) => depthwise::run::<_, Native>(isa, job),
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx512(isa) => depthwise::run::<_, Native>(isa, job),
            #[cfg(target_arch = "aarch64")]
            SimdToken::Neon(isa) => depthwise::run::<_, Native>(isa, job),
        }
    }

    /// Computes a row block, with Winograd F(4x4, 3x3) if [`Self::prefers_row_blocks`] holds,
    /// otherwise row by row.
    ///
    /// # Panics
    /// If the slices are too short, or the weights were packed for another kernel set.
    pub(in crate::cpu) fn run_row_block(self, mut job: FloatRowBlockJob<'_>) {
        self.check_weights(job.weights);
        let pixels = job.out[0].len() / job.weights.shape().outputs;
        if !self.prefers_row_blocks(job.weights, pixels) {
            return (0..ROW_BLOCK).for_each(|y| self.run(job.row(y)));
        }
        match self.0 {
            SimdToken::Portable => winograd::run::<_, Emulated, 2>(PORTABLE, job),
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx2(isa) => winograd::run::<_, Native, 6>(isa, job),
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx512(isa) => winograd::run::<_, Native, 12>(isa, job),
            #[cfg(target_arch = "aarch64")]
            SimdToken::Neon(isa) => winograd::run::<_, Native, 6>(isa, job),
        }
    }

    /// Computes one row.
    ///
    /// # Panics
    /// If the slices are too short, or the weights were packed for another kernel set.
    pub(in crate::cpu) fn run(self, job: FloatRowJob<'_>) {
        self.check_weights(job.weights);
        match self.0 {
            SimdToken::Portable => simd::run::<_, Emulated, 2>(PORTABLE, job),
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx2(isa) => simd::run::<_, Native, 6>(isa, job),
            #[cfg(target_arch = "x86_64")]
            SimdToken::Avx512(isa) => simd::run::<_, Native, 12>(isa, job),
            #[cfg(target_arch = "aarch64")]
            SimdToken::Neon(isa) => simd::run::<_, Native, 6>(isa, job),
        }
    }
}
