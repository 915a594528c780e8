// SPDX-License-Identifier: MIT OR Apache-2.0

//! Helpers for plain Rust code that the compiler vectorises for the instruction set of the running
//! processor.

use pulp::{Arch, Simd, WithSimd};

/// Runs `work`, compiled for the best instruction set of the processor (run-time dispatch by
/// `pulp`).
///
/// Write the closure as `#[inline(always)] || ...`, and make sure that all functions it calls are
/// inlined: code that is not inlined is compiled for the baseline instruction set. `Arch::dispatch`
/// accepts closures directly, but it calls closures that only borrow their captures through a shim
/// that is never inlined.
#[inline(always)]
pub fn vectorise<R>(work: impl FnOnce() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnOnce() -> R> WithSimd for Work<F> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Work(work))
}

/// Prefetches the cache lines of `values` into the first-level cache. Does nothing on processors
/// other than x86-64.
#[inline(always)]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(values)).step_by(64) {
        // SAFETY: a prefetch has no architectural effect and cannot fault, whatever the address.
        // SSE, which has the instruction, is part of x86-64.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                values.as_ptr().cast::<i8>().wrapping_add(at),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Rounds a value to the nearest integer, ties to even, after clamping it to 0 to `largest`, which
/// must be below 2^22. NaN gives 0.
///
/// The function avoids a float-to-integer `as` cast, which saturates and therefore does not
/// vectorise well.
#[inline(always)]
pub fn round_clamped(value: f32, largest: f32) -> u32 {
    /// 2^23: floats from here up to 2^24 have a unit in the last place of 1.
    const TWO_POW_23: f32 = 8_388_608.0;
    (value.max(0.0).min(largest) + TWO_POW_23).to_bits() & 0x7f_ffff
}

#[cfg(test)]
mod tests {
    use super::round_clamped;

    #[test]
    fn values_are_rounded_to_even_and_clamped() {
        let cases = [
            (0.0, 0),
            (0.4, 0),
            (0.6, 1),
            (1.5, 2),
            (2.5, 2),
            (254.7, 255),
            (300.0, 255),
            (-3.0, 0),
            (f32::NAN, 0),
        ];
        for (value, expected) in cases {
            assert_eq!(round_clamped(value, 255.0), expected, "{value}");
        }
        assert_eq!(round_clamped(65_534.6, 65_535.0), 65_535);
        assert_eq!(round_clamped(f32::INFINITY, 65_535.0), 65_535);
    }
}
