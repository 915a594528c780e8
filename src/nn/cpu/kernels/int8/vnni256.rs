//! VNNI on vectors of 256 bits: what processors without AVX-512 have (AVX-VNNI). Bytes are multiplied as they are.
//!
//! The instructions are the same in two encodings; either serves, so that processors with AVX-512 can run and test this too.

use std::arch::{asm, x86_64::*};

use super::{
    RowJob, Segments,
    avx2::{Dot, MAX_SEGMENTS, blocks},
};

/// Which encoding the processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// AVX-VNNI.
    Vex,
    /// AVX-512 VNNI and VL.
    Evex,
}

impl Encoding {
    pub fn detect() -> Option<Self> {
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

/// Unsigned bytes times signed ones.
struct Bytes<const EVEX: bool>;

impl<const EVEX: bool> Dot for Bytes<EVEX> {
    type Value = u8;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot(mut sum: __m256i, values: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: it works on registers alone; the caller vouches for the encoding. As intrinsics, the two would need functions of their own
        // all the way up to `run`.
        unsafe {
            if EVEX {
                asm!("vpdpbusd {0}, {1}, {2}", inout(ymm_reg) sum, in(ymm_reg) values, in(ymm_reg) weights,
                    options(pure, nomem, nostack, preserves_flags));
            } else {
                asm!("{{vex}} vpdpbusd {0}, {1}, {2}", inout(ymm_reg) sum, in(ymm_reg) values, in(ymm_reg) weights,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
        sum
    }
}

/// Signed words.
struct Words<const EVEX: bool>;

impl<const EVEX: bool> Dot for Words<EVEX> {
    type Value = i16;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot(mut sum: __m256i, values: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe {
            if EVEX {
                asm!("vpdpwssd {0}, {1}, {2}", inout(ymm_reg) sum, in(ymm_reg) values, in(ymm_reg) weights,
                    options(pure, nomem, nostack, preserves_flags));
            } else {
                asm!("{{vex}} vpdpwssd {0}, {1}, {2}", inout(ymm_reg) sum, in(ymm_reg) values, in(ymm_reg) weights,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
        sum
    }
}

/// # Safety
/// The processor has AVX2 and VNNI in this encoding.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run(job: RowJob<'_>, encoding: Encoding) {
    // SAFETY: the caller vouches for the encoding.
    unsafe {
        match (job.segments, encoding) {
            (Segments::Coarse(list), Encoding::Vex) => row::<Bytes<false>>(job, list),
            (Segments::Coarse(list), Encoding::Evex) => row::<Bytes<true>>(job, list),
            (Segments::Fine(list), Encoding::Vex) => row::<Words<false>>(job, list),
            (Segments::Fine(list), Encoding::Evex) => row::<Words<true>>(job, list),
        }
    }
}

/// # Safety
/// The processor has AVX2 and what `D` needs.
#[target_feature(enable = "avx2")]
unsafe fn row<D: Dot>(mut job: RowJob<'_>, list: &[&[D::Value]]) {
    let pixels = job.check();
    let count = job.weights.segments();
    assert!(count <= MAX_SEGMENTS);
    let mut segments = [std::ptr::null(); MAX_SEGMENTS];
    segments.iter_mut().zip(list).for_each(|(to, from)| *to = from.as_ptr());
    // SAFETY: `check` has shown that all pixels of every segment and of the result exist.
    unsafe { blocks::<D>(&mut job, &segments[..count], 0, 0, pixels) };
}
