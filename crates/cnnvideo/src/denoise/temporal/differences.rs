//! Sums of absolute and of squared differences (SAD, SSD) of two areas, for block motion search.
//!
//! Compilers vectorise these loops badly, worst on AVX-512, so on x86-64 the common lengths use
//! SSE2 intrinsics.

use super::motion::{WHOLE_WINDOW, WINDOW};

/// Two areas to compare. Each starts at the first value of its slice.
#[derive(Clone, Copy)]
pub(super) struct Areas<'a> {
    /// Values of the two pictures, from the first value of each area on.
    pub values: [&'a [u8]; 2],
    /// Distance between rows in both pictures.
    pub width: usize,
    /// Height of the areas.
    pub rows: usize,
    /// Width of the areas.
    pub length: usize,
}

/// Returns the sum of absolute differences.
#[inline(always)]
pub(super) fn absolute(areas: Areas<'_>) -> u32 {
    sum::<false>(areas)
}

/// Returns the sum of squared differences.
#[inline(always)]
pub(super) fn squared(areas: Areas<'_>) -> u32 {
    sum::<true>(areas)
}

#[inline(always)]
fn sum<const SQUARED: bool>(areas: Areas<'_>) -> u32 {
    match areas.length {
        WINDOW => known::<SQUARED, WINDOW>(areas),
        WHOLE_WINDOW => known::<SQUARED, WHOLE_WINDOW>(areas),
        _ => any::<SQUARED>(areas),
    }
}

/// Sum for a width that is known at compile time.
#[inline(always)]
fn known<const SQUARED: bool, const LENGTH: usize>(areas: Areas<'_>) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(last) = areas.rows.checked_sub(1)
        && areas.values.iter().all(|values| values.len() >= last * areas.width + LENGTH)
    {
        // SAFETY: the check above ensures that both areas lie within their slices. SSE2 is part of
        // every x86-64 CPU.
        return unsafe { x86::sum::<SQUARED, LENGTH>(areas) };
    }
    any::<SQUARED>(Areas { length: LENGTH, ..areas })
}

/// Sum for any width; values beyond the end of the slices are skipped.
fn any<const SQUARED: bool>(Areas { values, width, rows, length }: Areas<'_>) -> u32 {
    let mut sum = 0;
    let [a, b] = values.map(|values| values.chunks(width).take(rows));
    for (a, b) in a.zip(b) {
        let apart = a.iter().zip(b).take(length).map(|(a, b)| u32::from(a.abs_diff(*b)));
        sum += if SQUARED { apart.map(|apart| apart * apart).sum::<u32>() } else { apart.sum() };
    }
    sum
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Areas;

    /// Returns the sum for areas of `LENGTH` columns, a multiple of 8 and at least 16.
    ///
    /// # Safety
    /// Both areas, `LENGTH` values wide, must lie within their slices.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub unsafe fn sum<const SQUARED: bool, const LENGTH: usize>(areas: Areas<'_>) -> u32 {
        const { assert!(LENGTH >= 16 && LENGTH.is_multiple_of(8)) };
        let [mut a, mut b] = areas.values.map(<[u8]>::as_ptr);
        let mut sums = _mm_setzero_si128();
        for _ in 0..areas.rows {
            // SAFETY: the caller ensures that the areas lie within the slices.
            unsafe {
                for x in (0..LENGTH - 15).step_by(16) {
                    sums = add::<SQUARED>(
                        sums,
                        _mm_loadu_si128(a.add(x).cast()),
                        _mm_loadu_si128(b.add(x).cast()),
                    );
                }
                if !LENGTH.is_multiple_of(16) {
                    let last = LENGTH - 8;
                    sums = add::<SQUARED>(
                        sums,
                        _mm_loadl_epi64(a.add(last).cast()),
                        _mm_loadl_epi64(b.add(last).cast()),
                    );
                }
            }
            (a, b) = (a.wrapping_add(areas.width), b.wrapping_add(areas.width));
        }
        bytemuck::cast::<_, [u32; 4]>(sums).iter().sum()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn add<const SQUARED: bool>(sums: __m128i, a: __m128i, b: __m128i) -> __m128i {
        if !SQUARED {
            return _mm_add_epi32(sums, _mm_sad_epu8(a, b));
        }
        let apart = _mm_or_si128(_mm_subs_epu8(a, b), _mm_subs_epu8(b, a));
        let zero = _mm_setzero_si128();
        let [low, high] = [_mm_unpacklo_epi8(apart, zero), _mm_unpackhi_epi8(apart, zero)];
        _mm_add_epi32(sums, _mm_add_epi32(_mm_madd_epi16(low, low), _mm_madd_epi16(high, high)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_differences() {
        let width = 61;
        let picture = |seed: usize| {
            (0..width * 30).map(|i| ((i * i + seed * i) % 251) as u8).collect::<Vec<_>>()
        };
        let (mut a, mut b) = (picture(3), picture(17));
        (a[100], b[105], a[101], b[106]) = (255, 0, 0, 255);
        for (length, rows) in
            [(0, 3), (1, 1), (7, 4), (8, 2), (16, 16), (16, 0), (24, 24), (24, 1), (40, 9)]
        {
            let apart = |y: usize, x: usize| {
                u32::from(a[90 + y * width + x].abs_diff(b[95 + y * width + x]))
            };
            let places = || (0..rows).flat_map(|y| (0..length).map(move |x| (y, x)));
            let areas = Areas { values: [&a[90..], &b[95..]], width, rows, length };
            assert_eq!(
                absolute(areas),
                places().map(|(y, x)| apart(y, x)).sum::<u32>(),
                "{length} {rows}"
            );
            assert_eq!(
                squared(areas),
                places().map(|(y, x)| apart(y, x).pow(2)).sum::<u32>(),
                "{length} {rows}"
            );
        }
        // Values beyond the end of the slices do not count.
        let of = |part: std::ops::Range<usize>, rows, length| {
            absolute(Areas { values: [&a[part.clone()], &b[part]], width, rows, length })
        };
        assert_eq!(of(0..70, 2, 16), of(0..61, 1, 16) + of(61..70, 1, 9));
    }
}
