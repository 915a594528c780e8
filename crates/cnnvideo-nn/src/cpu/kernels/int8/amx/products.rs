// SPDX-License-Identifier: MIT OR Apache-2.0

//! Instructions that multiply, clear and store the tile registers.

use std::arch::asm;

use super::config::{BYTES, ROWS};
use crate::cpu::kernels::int8::pack::WordLine;

/// Sets all accumulators to zero.
///
/// # Safety
/// The tile registers are configured.
#[inline]
pub(super) unsafe fn zero_accumulators() {
    // SAFETY: the instructions only change tile registers. These keep their values between blocks
    // of assembly, because the compiler never allocates them.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem, preserves_flags)
        );
    }
}

/// Adds the products of one chunk for 32 pixels and two vectors of outputs. Each loaded matrix
/// serves two products.
///
/// # Safety
/// The tile registers are configured for
/// [`AccumulatorLayout::Double`](super::AccumulatorLayout::Double). The inputs of 32 pixels exist
/// at `input`, and the lines of two matrices at `weights`, alternating between the matrices.
#[inline]
pub(super) unsafe fn multiply_double(input: *const u8, pitch: usize, weights: *const WordLine) {
    // SAFETY: by the contract of this function, all loads are within the inputs and weights.
    unsafe {
        asm!(
            "tileloadd tmm6, [{weights} + {line}]",
            "tileloadd tmm4, [{near} + {pitch}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{weights} + {line} + 64]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{far} + {pitch}]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            near = in(reg) input,
            far = in(reg) input.wrapping_add(ROWS * pitch),
            pitch = in(reg) pitch,
            weights = in(reg) weights,
            line = in(reg) 2 * BYTES,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Adds the products of one chunk for 64 pixels and one vector of outputs. The loaded weights serve
/// four products.
///
/// # Safety
/// The tile registers are configured for
/// [`AccumulatorLayout::Single`](super::AccumulatorLayout::Single). The inputs of 64 pixels exist
/// at `input`, and the lines of a matrix at `weights`.
#[inline]
pub(super) unsafe fn multiply_single(input: *const u8, pitch: usize, weights: *const WordLine) {
    // SAFETY: by the contract of this function, all loads are within the inputs and weights.
    unsafe {
        asm!(
            "tileloadd tmm7, [{weights} + {line}]",
            "tileloadd tmm4, [{a} + {pitch}]",
            "tdpbusd tmm0, tmm4, tmm7",
            "tileloadd tmm5, [{b} + {pitch}]",
            "tdpbusd tmm1, tmm5, tmm7",
            "tileloadd tmm6, [{c} + {pitch}]",
            "tdpbusd tmm2, tmm6, tmm7",
            "tileloadd tmm4, [{d} + {pitch}]",
            "tdpbusd tmm3, tmm4, tmm7",
            a = in(reg) input,
            b = in(reg) input.wrapping_add(ROWS * pitch),
            c = in(reg) input.wrapping_add(2 * ROWS * pitch),
            d = in(reg) input.wrapping_add(3 * ROWS * pitch),
            pitch = in(reg) pitch,
            weights = in(reg) weights,
            line = in(reg) BYTES,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Adds the products of one chunk of i16 residuals for 32 pixels, separately for low and high
/// bytes. Each of the [`SPLIT_MATRICES`](super::pack::SPLIT_MATRICES) weight matrices has `lines`
/// lines.
///
/// # Safety
/// The tile registers are configured for
/// [`AccumulatorLayout::Split`](super::AccumulatorLayout::Split). The inputs of 32 pixels exist
/// at `input`, and the lines of four matrices at `weights`.
#[inline]
pub(super) unsafe fn multiply_split(
    input: *const u8,
    pitch: usize,
    weights: *const WordLine,
    lines: usize,
) {
    // SAFETY: by the contract of this function, all loads are within the inputs and weights.
    unsafe {
        asm!(
            "tileloadd tmm6, [{a} + {line}]",
            "tileloadd tmm4, [{near} + {pitch}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{far} + {pitch}]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {line}]",
            "tdpbusd tmm0, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm7",
            "tileloadd tmm6, [{c} + {line}]",
            "tdpbssd tmm1, tmm4, tmm6",
            "tdpbssd tmm3, tmm5, tmm6",
            "tileloadd tmm7, [{d} + {line}]",
            "tdpbssd tmm1, tmm4, tmm7",
            "tdpbssd tmm3, tmm5, tmm7",
            near = in(reg) input,
            far = in(reg) input.wrapping_add(ROWS * pitch),
            pitch = in(reg) pitch,
            a = in(reg) weights,
            b = in(reg) weights.wrapping_add(lines),
            c = in(reg) weights.wrapping_add(2 * lines),
            d = in(reg) weights.wrapping_add(3 * lines),
            line = in(reg) BYTES,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Stores the accumulators as `[pixel][vector]`.
///
/// # Safety
/// The tile registers are configured, and there is room for all accumulators at `sums`.
#[inline]
pub(super) unsafe fn store_accumulators<const VECTORS: usize>(sums: *mut u8) {
    let next = if VECTORS == 2 {
        [0, BYTES, ROWS * 2 * BYTES, (ROWS * 2 + 1) * BYTES]
    } else {
        [0, 1, 2, 3].map(|i| i * ROWS * BYTES)
    };
    let [a, b, c, d] = next.map(|at| sums.wrapping_add(at));
    // SAFETY: by the contract of this function.
    unsafe {
        asm!(
            "tilestored [{a} + {line}], tmm0",
            "tilestored [{b} + {line}], tmm1",
            "tilestored [{c} + {line}], tmm2",
            "tilestored [{d} + {line}], tmm3",
            a = in(reg) a,
            b = in(reg) b,
            c = in(reg) c,
            d = in(reg) d,
            line = in(reg) VECTORS * BYTES,
            options(nostack, preserves_flags),
        );
    }
}
