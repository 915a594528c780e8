//! By how much areas of two pictures differ: the sums that the search for motion is made of.
//!
//! Compilers make long detours of these loops (on AVX-512 more than elsewhere), so on x86-64 the usual lengths are written with the instructions
//! that there are for them.

#[cfg(target_arch = "x86_64")]
use super::motion::{WHOLE_WINDOW, WINDOW};

/// Sum of absolute differences, or with `SQUARED` of their squares, of two areas of `rows` by `length` values, which begin where the slices do, in
/// pictures of a `width`.
#[inline(always)]
pub(super) fn sum<const SQUARED: bool>(areas: [&[u8]; 2], width: usize, rows: usize, length: usize) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(last) = rows.checked_sub(1)
        && areas.iter().all(|area| area.len() >= last * width + length)
    {
        let [a, b] = areas.map(<[u8]>::as_ptr);
        // SAFETY: the areas lie within the slices. SSE2 is part of every x86-64.
        match length {
            WINDOW => return unsafe { x86::sum::<SQUARED, WINDOW>(a, b, width, rows) },
            WHOLE_WINDOW => return unsafe { x86::sum::<SQUARED, WHOLE_WINDOW>(a, b, width, rows) },
            _ => {}
        }
    }
    any::<SQUARED>(areas, width, rows, length)
}

/// Of any length, as far as the slices go.
fn any<const SQUARED: bool>(areas: [&[u8]; 2], width: usize, rows: usize, length: usize) -> u32 {
    let mut sum = 0;
    let [a, b] = areas.map(|area| area.chunks(width).take(rows));
    for (a, b) in a.zip(b) {
        let apart = a.iter().zip(b).take(length).map(|(a, b)| u32::from(a.abs_diff(*b)));
        sum += if SQUARED { apart.map(|apart| apart * apart).sum::<u32>() } else { apart.sum() };
    }
    sum
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Of areas of `LENGTH` values across, a multiple of 8 from 16 on.
    ///
    /// # Safety
    /// There are `rows` rows of as many values from `a` and `b` on, `width` apart.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub unsafe fn sum<const SQUARED: bool, const LENGTH: usize>(
        mut a: *const u8,
        mut b: *const u8,
        width: usize,
        rows: usize,
    ) -> u32 {
        const { assert!(LENGTH >= 16 && LENGTH.is_multiple_of(8)) };
        let mut sums = _mm_setzero_si128();
        for _ in 0..rows {
            // SAFETY: as the caller vouches.
            unsafe {
                for x in (0..LENGTH - 15).step_by(16) {
                    sums = add::<SQUARED>(sums, _mm_loadu_si128(a.add(x).cast()), _mm_loadu_si128(b.add(x).cast()));
                }
                if !LENGTH.is_multiple_of(16) {
                    let last = LENGTH - 8;
                    sums =
                        add::<SQUARED>(sums, _mm_loadl_epi64(a.add(last).cast()), _mm_loadl_epi64(b.add(last).cast()));
                }
            }
            (a, b) = (a.wrapping_add(width), b.wrapping_add(width));
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
        let picture = |seed: usize| (0..width * 30).map(|i| ((i * i + seed * i) % 251) as u8).collect::<Vec<_>>();
        let (mut a, mut b) = (picture(3), picture(17));
        (a[100], b[105], a[101], b[106]) = (255, 0, 0, 255);
        for (length, rows) in [(0, 3), (1, 1), (7, 4), (8, 2), (16, 16), (16, 0), (24, 24), (24, 1), (40, 9)] {
            let apart = |y: usize, x: usize| u32::from(a[90 + y * width + x].abs_diff(b[95 + y * width + x]));
            let places = || (0..rows).flat_map(|y| (0..length).map(move |x| (y, x)));
            let areas = [&a[90..], &b[95..]];
            let absolute: u32 = places().map(|(y, x)| apart(y, x)).sum();
            let squared: u32 = places().map(|(y, x)| apart(y, x).pow(2)).sum();
            assert_eq!(sum::<false>(areas, width, rows, length), absolute, "{length} {rows}");
            assert_eq!(sum::<true>(areas, width, rows, length), squared, "{length} {rows}");
        }
        // What the pictures lack counts for nothing.
        let short = sum::<false>([&a[..70], &b[..70]], width, 2, 16);
        assert_eq!(short, sum::<false>([&a, &b], width, 1, 16) + sum::<false>([&a[61..70], &b[61..70]], width, 1, 9));
    }
}
