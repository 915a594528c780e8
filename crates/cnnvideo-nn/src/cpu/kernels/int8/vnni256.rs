// SPDX-License-Identifier: MIT OR Apache-2.0

//! VNNI int8 kernel on 256-bit vectors, for processors with AVX-VNNI but without AVX-512. VNNI
//! multiplies bytes directly.
//!
//! AVX-VNNI and AVX-512 VNNI encode the same instructions differently. The kernel supports both
//! encodings, so that it also runs on processors with AVX-512, where it can be tested.

use std::arch::{asm, x86_64::*};

use super::{
    Int8RowJob, Segments,
    avx2::{Dot, MAX_SEGMENTS, blocks},
};

/// Instruction encoding that the processor supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// VEX encoding (AVX-VNNI).
    Vex,
    /// EVEX encoding (AVX-512 VNNI and VL).
    Evex,
}

impl Encoding {
    /// Returns the encoding that the processor supports, AVX-VNNI preferred.
    pub(super) fn detect() -> Option<Self> {
        if !is_x86_feature_detected!("avx2") {
            None
        } else if is_x86_feature_detected!("avxvnni") {
            Some(Self::Vex)
        } else {
            let evex =
                is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512vnni");
            evex.then_some(Self::Evex)
        }
    }
}

/// `vpdpbusd`: unsigned bytes times signed bytes.
struct Bytes<const EVEX: bool>;

impl<const EVEX: bool> Dot for Bytes<EVEX> {
    type Value = u8;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot(mut sum: __m256i, values: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the instruction only accesses registers, and the caller guarantees that the
        // processor supports the encoding. With intrinsics, both encodings would need separate
        // functions with their own target features up to `run`.
        unsafe {
            if EVEX {
                asm!(
                    "vpdpbusd {0}, {1}, {2}",
                    inout(ymm_reg) sum,
                    in(ymm_reg) values,
                    in(ymm_reg) weights,
                    options(pure, nomem, nostack, preserves_flags)
                );
            } else {
                asm!(
                    "{{vex}} vpdpbusd {0}, {1}, {2}",
                    inout(ymm_reg) sum,
                    in(ymm_reg) values,
                    in(ymm_reg) weights,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
        sum
    }
}

/// `vpdpwssd`: signed 16-bit values times signed 16-bit values.
struct Words<const EVEX: bool>;

impl<const EVEX: bool> Dot for Words<EVEX> {
    type Value = i16;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot(mut sum: __m256i, values: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as for `Bytes`.
        unsafe {
            if EVEX {
                asm!(
                    "vpdpwssd {0}, {1}, {2}",
                    inout(ymm_reg) sum,
                    in(ymm_reg) values,
                    in(ymm_reg) weights,
                    options(pure, nomem, nostack, preserves_flags)
                );
            } else {
                asm!(
                    "{{vex}} vpdpwssd {0}, {1}, {2}",
                    inout(ymm_reg) sum,
                    in(ymm_reg) values,
                    in(ymm_reg) weights,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
        sum
    }
}

/// Computes one row.
///
/// # Safety
/// The processor supports AVX2, and VNNI in the given encoding.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run(job: Int8RowJob<'_>, encoding: Encoding) {
    // SAFETY: by the contract of this function.
    unsafe {
        match (job.segments, encoding) {
            (Segments::U8(list), Encoding::Vex) => row::<Bytes<false>>(job, list),
            (Segments::U8(list), Encoding::Evex) => row::<Bytes<true>>(job, list),
            (Segments::I16(list), Encoding::Vex) => row::<Words<false>>(job, list),
            (Segments::I16(list), Encoding::Evex) => row::<Words<true>>(job, list),
        }
    }
}

/// Computes one row with the dot product `D`. `list` holds the segments of `job`.
///
/// # Safety
/// The processor supports AVX2 and the instructions that `D` requires. `list` is that of
/// `job.segments`.
#[target_feature(enable = "avx2")]
unsafe fn row<D: Dot>(mut job: Int8RowJob<'_>, list: &[&[D::Value]]) {
    let pixels = job.check();
    let count = job.weights.segments();
    assert!(count <= MAX_SEGMENTS);
    let mut segments = [std::ptr::null(); MAX_SEGMENTS];
    segments.iter_mut().zip(list).for_each(|(to, from)| *to = from.as_ptr());
    // SAFETY: `check` has verified that pixels `0..pixels` exist in every segment and in the
    // results.
    unsafe { blocks::<D>(&mut job, &segments[..count], 0, 0, pixels) };
}
