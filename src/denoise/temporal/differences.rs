//! By how much areas of two pictures differ: the sums that the search for motion is made of.
//!
//! Compilers make long detours of these loops (on AVX-512 more than elsewhere), so on x86-64 the usual lengths are written with the instructions
//! that there are for them.

use super::motion::{WHOLE_WINDOW, WINDOW};

/// Two areas of `rows` by `length` values, which begin where the slices do, in pictures of a `width`.
#[derive(Clone, Copy)]
pub(super) struct Areas<'a> {
    pub values: [&'a [u8]; 2],
    pub width: usize,
    pub rows: usize,
    pub length: usize,
}

/// Sum of absolute differences.
#[inline(always)]
pub(super) fn absolute(areas: Areas<'_>) -> u32 {
    sum::<false>(areas)
}

/// Sum of squared differences.
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

/// Of a usual length.
#[inline(always)]
fn known<const SQUARED: bool, const LENGTH: usize>(areas: Areas<'_>) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(last) = areas.rows.checked_sub(1)
        && areas.values.iter().all(|values| values.len() >= last * areas.width + LENGTH)
    {
        // SAFETY: the areas lie within the slices. SSE2 is part of every x86-64.
        return unsafe { x86::sum::<SQUARED, LENGTH>(areas) };
    }
    any::<SQUARED>(Areas { length: LENGTH, ..areas })
}

/// Of any length, as far as the slices go.
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

    /// Of areas of `LENGTH` values across, a multiple of 8 from 16 on.
    ///
    /// # Safety
    /// Areas of that length lie within the slices.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub unsafe fn sum<const SQUARED: bool, const LENGTH: usize>(areas: Areas<'_>) -> u32 {
        const { assert!(LENGTH >= 16 && LENGTH.is_multiple_of(8)) };
        let [mut a, mut b] = areas.values.map(<[u8]>::as_ptr);
        let mut sums = _mm_setzero_si128();
        for _ in 0..areas.rows {
            // SAFETY: as the caller vouches.
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
        // What the pictures lack counts for nothing.
        let of = |part: std::ops::Range<usize>, rows, length| {
            absolute(Areas { values: [&a[part.clone()], &b[part]], width, rows, length })
        };
        assert_eq!(of(0..70, 2, 16), of(0..61, 1, 16) + of(61..70, 1, 9));
    }
}
