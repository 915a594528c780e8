// SPDX-License-Identifier: MIT OR Apache-2.0

//! Int8 kernels: 8-bit or 16-bit activations times 8-bit weights, with 32-bit accumulators.
//!
//! A feature map has two storage forms ([`StorageForm`]):
//!
//! * *u8 activations*, which convolutions read. The zero point is 128 for maps that can be negative
//!   ([`ZERO_POINT`]), and 0 after a ReLU.
//! * *i16 residuals*, which residual and skip connections add. They have 2^[`RESIDUAL_BITS`] units
//!   per unit of the u8 form. A convolution can read them where u8 is too coarse.
//!
//! All kernel sets compute the same operations in the same order, so their results are identical
//! bit for bit: `t = f32(bias + sum of products) * scale`, followed by an [`Epilogue`]. Float
//! operations are IEEE 754 single precision, never fused, rounded to nearest, ties to even.
//! [`QuantisedWeights`] limits the scales so that every `t` fits a 32-bit integer.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod epilogue512;
mod job;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni256;
#[cfg(target_arch = "x86_64")]
mod winograd;
#[cfg(target_arch = "x86_64")]
mod winograd512;

pub use job::StorageForm;
pub(in crate::cpu) use job::{Epilogue, Int8RowBlockJob, Int8RowJob, Segments};
use pack::WordLine;
pub(in crate::cpu) use pack::{MatrixToQuantise, OutputScales, QuantisedWeights};

use super::{ROW_BLOCK, select_kernels};
use crate::cpu::matrix::{MatrixShape, WeightIndex};

/// Base-2 logarithm of the number of i16 residual units per u8 activation unit.
pub(in crate::cpu) const RESIDUAL_BITS: u32 = 7;
/// Zero point of u8 activations that can be negative.
pub(in crate::cpu) const ZERO_POINT: u8 = 128;
/// Upper limit of the values in a segment: four input pixels (for a pair of output pixels) of the
/// widest map that an architecture may have.
const MAX_DEPTH: usize = 4 * 512;

/// Set of int8 kernels for one instruction set. Values exist only for instruction sets that the
/// processor supports.
#[derive(Debug, Clone, Copy)]
pub struct Int8Kernels(InstructionSet);

/// Instruction set.
#[derive(Debug, Clone, Copy)]
enum InstructionSet {
    /// Plain Rust.
    Portable,
    /// NEON with the dot product extension.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// VNNI on 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Vnni256(vnni256::Encoding),
    /// AVX-512 F, BW, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AMX with 8-bit integers, and the above.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Int8Kernels {
    /// The portable kernel set, which every processor supports.
    pub const PORTABLE: Self = Self(InstructionSet::Portable);

    /// Returns the kernel sets that this process can use, the fastest first.
    ///
    /// AMX counts only if Linux grants its state to this process, which the first call requests. It
    /// is left out, without a request, if the environment variable `CNNVIDEO_KERNELS` selects
    /// another set.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx512 =
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if has_avx512
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                all.extend(amx::available().then_some(Self(InstructionSet::Amx)));
                all.push(Self(InstructionSet::Avx512Vnni));
            }
            all.extend(
                vnni256::Encoding::detect().map(|encoding| Self(InstructionSet::Vnni256(encoding))),
            );
            if is_x86_feature_detected!("avx2") {
                all.push(Self(InstructionSet::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("dotprod")
        {
            all.push(Self(InstructionSet::Neon));
        }
        all.push(Self::PORTABLE);
        all
    }

    /// Returns the fastest kernel set, or the supported one that the environment variable
    /// `CNNVIDEO_KERNELS` names.
    pub fn best() -> Self {
        select_kernels(&Self::available(), Self::name)
    }

    /// Returns the name of the kernel set.
    pub fn name(self) -> &'static str {
        match self.0 {
            InstructionSet::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => "neon-dotprod",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Vnni256(_) => "vnni256",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Amx => "amx",
        }
    }

    /// Returns the block size of the weights of a layer with `outputs` outputs: the number of
    /// outputs that the kernel accumulates at a time.
    fn block(self, outputs: usize) -> usize {
        let vectors = match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni | InstructionSet::Amx => 2,
            _ => 1,
        };
        // With an odd number of vectors, half of the last block would be unused.
        if outputs.div_ceil(16).is_multiple_of(vectors) { 16 * vectors } else { 16 }
    }

    /// Returns the number of weights per 32-bit word. AVX2 multiplies u8 activations as 16-bit
    /// values, so its weights have 16 bits as well.
    fn weights_per_word(self, input: StorageForm) -> usize {
        match (self.0, input) {
            #[cfg(target_arch = "x86_64")]
            (InstructionSet::Avx2, _) => 2,
            (_, StorageForm::U8) => 4,
            (_, StorageForm::I16) => 2,
        }
    }

    /// Packs the weights in a second form for a faster kernel, if the kernel set has one for this
    /// shape: `winograd::pack` or `amx::pack`.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
    fn pack_alternative(
        self,
        input: StorageForm,
        shape: MatrixShape,
        weight: &dyn Fn(WeightIndex) -> i32,
    ) -> Option<Vec<WordLine>> {
        match (self.0, input) {
            #[cfg(target_arch = "x86_64")]
            (InstructionSet::Avx2, StorageForm::U8) => winograd::pack(shape, weight),
            #[cfg(target_arch = "x86_64")]
            (InstructionSet::Avx512Vnni, StorageForm::U8) if winograd512::suits(shape) => {
                winograd::pack(shape, weight)
            }
            #[cfg(target_arch = "x86_64")]
            (InstructionSet::Amx, StorageForm::I16) => amx::pack(shape, weight),
            _ => None,
        }
    }

    /// Returns the value that the kernels subtract from the inputs before the multiplication.
    fn input_offset(self, input: StorageForm) -> i32 {
        match (self.0, input) {
            #[cfg(target_arch = "aarch64")]
            (InstructionSet::Neon, StorageForm::U8) => neon::INPUT_OFFSET,
            _ => 0,
        }
    }

    /// Returns whether [`Self::run_row_block`] computes a row block of `pixels` pixels per row with
    /// Winograd F(4x4, 3x3), which is faster than row by row.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
    pub(in crate::cpu) fn prefers_row_blocks(
        self,
        weights: &QuantisedWeights,
        pixels: usize,
    ) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => weights.has_alternative() && pixels >= winograd::MIN_PIXELS,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni => {
                weights.has_alternative() && pixels >= winograd512::MIN_PIXELS
            }
            _ => false,
        }
    }

    /// Asserts that weights were packed for this kernel set.
    fn check_weights(self, weights: &QuantisedWeights) {
        let expected = self.block(weights.outputs());
        assert_eq!(weights.block(), expected, "weights packed for other kernels");
    }

    /// Computes a row block, with Winograd F(4x4, 3x3) if [`Self::prefers_row_blocks`] holds,
    /// otherwise row by row.
    ///
    /// # Panics
    /// If the slices are too short, or the weights were packed for another kernel set.
    pub(in crate::cpu) fn run_row_block(self, mut job: Int8RowBlockJob<'_>) {
        self.check_weights(job.weights);
        let pixels = job.check();
        if !self.prefers_row_blocks(job.weights, pixels) {
            return (0..ROW_BLOCK).for_each(|y| self.run(job.row(y)));
        }
        // SAFETY: only `available` creates these values, after it has detected the instruction
        // sets, and `prefers_row_blocks` holds only for matrices with Winograd weights. `check` has
        // verified that `pixels` pixels exist in every segment and result.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            match self.0 {
                InstructionSet::Avx512Vnni => winograd512::run(&mut job, pixels),
                _ => winograd::run(&mut job, pixels),
            }
        }
    }

    /// Computes one row.
    ///
    /// # Panics
    /// If the slices are too short, or the weights were packed for another kernel set.
    pub(in crate::cpu) fn run(self, job: Int8RowJob<'_>) {
        self.check_weights(job.weights);
        match self.0 {
            InstructionSet::Portable => portable::run(job),
            // SAFETY: only `available` creates this value, after it has detected the instruction
            // set.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => unsafe { neon::run(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { avx2::run(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Vnni256(encoding) => unsafe { vnni256::run(job, encoding) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            InstructionSet::Avx512Vnni => unsafe { avx512::run(job) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; `available` has also checked `amx::available`.
            InstructionSet::Amx => unsafe { amx::run(job) },
        }
    }
}
