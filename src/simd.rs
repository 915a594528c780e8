//! Plain Rust compiled for the widest vectors that a processor has.

use pulp::{Arch, Simd, WithSimd};

/// Runs `work` as compiled for the instruction set at hand. It must be written `#[inline(always)] || ...`, and what it calls be inlined
/// too: code that is not stays compiled for the least processor.
///
/// `Arch::dispatch` takes closures as well, but calls those that only borrow what they capture through a shim that is never inlined.
#[inline(always)]
pub(crate) fn vectorise<R>(work: impl FnOnce() -> R) -> R {
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

/// Asks for the memory of `values` to be brought near.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(values)).step_by(64) {
        // SAFETY: a prefetch changes nothing and cannot fault.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                values.as_ptr().cast::<i8>().wrapping_add(at),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// The nearest whole number, of values from 0 to `largest`, which is less than 2^22; others count as the nearest of these. Of two that
/// are as near, the even one.
///
/// A cast does not come in vectors, as it has to look at what is out of range.
#[inline(always)]
pub(crate) fn nearest(value: f32, largest: f32) -> u32 {
    /// The last bit of numbers from here on is worth 1.
    const WHOLE: f32 = 8_388_608.0;
    (value.max(0.0).min(largest) + WHOLE).to_bits() & 0x7f_ffff
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn rounds_and_stays_in_range() {
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
            assert_eq!(nearest(value, 255.0), expected, "{value}");
        }
        assert_eq!(nearest(65_534.6, 65_535.0), 65_535);
        assert_eq!(nearest(f32::INFINITY, 65_535.0), 65_535);
    }
}
