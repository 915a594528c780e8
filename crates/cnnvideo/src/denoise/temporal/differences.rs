// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sums of absolute and of squared differences (SAD, SSD) of two blocks, for motion search.
//!
//! Compilers vectorise these loops badly, worst on AVX-512, so on x86-64 the common widths use SSE2
//! intrinsics.

use super::motion::{FULL_WINDOW, LEVEL_WINDOW};

/// Two blocks to compare. Each starts at the first value of its slice.
#[derive(Clone, Copy)]
pub(super) struct BlockPair<'a> {
    /// Values of the two pictures, from the first value of each block on.
    pub values: [&'a [u8]; 2],
    /// Distance between rows in both pictures.
    pub stride: usize,
    /// Width of the blocks.
    pub width: usize,
    /// Height of the blocks.
    pub height: usize,
}

/// Returns the sum of absolute differences.
#[inline(always)]
pub(super) fn sad(blocks: BlockPair<'_>) -> u32 {
    sum::<false>(blocks)
}

/// Returns the sum of squared differences.
#[inline(always)]
pub(super) fn ssd(blocks: BlockPair<'_>) -> u32 {
    sum::<true>(blocks)
}

#[inline(always)]
fn sum<const SQUARED: bool>(blocks: BlockPair<'_>) -> u32 {
    match blocks.width {
        LEVEL_WINDOW => sum_fixed_width::<SQUARED, LEVEL_WINDOW>(blocks),
        FULL_WINDOW => sum_fixed_width::<SQUARED, FULL_WINDOW>(blocks),
        _ => sum_any_width::<SQUARED>(blocks),
    }
}

/// Sum for a width that is known at compile time.
#[inline(always)]
fn sum_fixed_width<const SQUARED: bool, const WIDTH: usize>(blocks: BlockPair<'_>) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(last) = blocks.height.checked_sub(1)
        && blocks.values.iter().all(|values| values.len() >= last * blocks.stride + WIDTH)
    {
        // SAFETY: the check above ensures that both blocks lie within their slices. SSE2 is part of
        // every x86-64 CPU.
        return unsafe { x86::sum::<SQUARED, WIDTH>(blocks) };
    }
    sum_any_width::<SQUARED>(BlockPair { width: WIDTH, ..blocks })
}

/// Sum for any width; values beyond the end of the slices are skipped.
fn sum_any_width<const SQUARED: bool>(
    BlockPair { values, stride, width, height }: BlockPair<'_>,
) -> u32 {
    let mut sum = 0;
    let [a, b] = values.map(|values| values.chunks(stride).take(height));
    for (a, b) in a.zip(b) {
        let difference = a.iter().zip(b).take(width).map(|(a, b)| u32::from(a.abs_diff(*b)));
        sum += if SQUARED { difference.map(|d| d * d).sum::<u32>() } else { difference.sum() };
    }
    sum
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::BlockPair;

    /// Returns the sum for blocks of `WIDTH` columns, a multiple of 8 and at least 16.
    ///
    /// # Safety
    /// Both blocks, `WIDTH` values wide, must lie within their slices.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) unsafe fn sum<const SQUARED: bool, const WIDTH: usize>(
        blocks: BlockPair<'_>,
    ) -> u32 {
        const { assert!(WIDTH >= 16 && WIDTH.is_multiple_of(8)) };
        let [mut a, mut b] = blocks.values.map(<[u8]>::as_ptr);
        let mut sums = _mm_setzero_si128();
        for _ in 0..blocks.height {
            // SAFETY: the caller ensures that the blocks lie within the slices.
            unsafe {
                for x in (0..WIDTH - 15).step_by(16) {
                    sums = add::<SQUARED>(
                        sums,
                        _mm_loadu_si128(a.add(x).cast()),
                        _mm_loadu_si128(b.add(x).cast()),
                    );
                }
                if !WIDTH.is_multiple_of(16) {
                    let last = WIDTH - 8;
                    sums = add::<SQUARED>(
                        sums,
                        _mm_loadl_epi64(a.add(last).cast()),
                        _mm_loadl_epi64(b.add(last).cast()),
                    );
                }
            }
            (a, b) = (a.wrapping_add(blocks.stride), b.wrapping_add(blocks.stride));
        }
        bytemuck::cast::<_, [u32; 4]>(sums).iter().sum()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn add<const SQUARED: bool>(sums: __m128i, a: __m128i, b: __m128i) -> __m128i {
        if !SQUARED {
            return _mm_add_epi32(sums, _mm_sad_epu8(a, b));
        }
        let difference = _mm_or_si128(_mm_subs_epu8(a, b), _mm_subs_epu8(b, a));
        let zero = _mm_setzero_si128();
        let [low, high] =
            [_mm_unpacklo_epi8(difference, zero), _mm_unpackhi_epi8(difference, zero)];
        _mm_add_epi32(sums, _mm_add_epi32(_mm_madd_epi16(low, low), _mm_madd_epi16(high, high)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_match_a_plain_loop() {
        let stride = 61;
        let picture = |seed: usize| {
            (0..stride * 30).map(|i| ((i * i + seed * i) % 251) as u8).collect::<Vec<_>>()
        };
        let (mut a, mut b) = (picture(3), picture(17));
        (a[100], b[105], a[101], b[106]) = (255, 0, 0, 255);
        for (width, height) in
            [(0, 3), (1, 1), (7, 4), (8, 2), (16, 16), (16, 0), (24, 24), (24, 1), (40, 9)]
        {
            let difference = |y: usize, x: usize| {
                u32::from(a[90 + y * stride + x].abs_diff(b[95 + y * stride + x]))
            };
            let positions = || (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
            let blocks = BlockPair { values: [&a[90..], &b[95..]], stride, width, height };
            assert_eq!(
                sad(blocks),
                positions().map(|(y, x)| difference(y, x)).sum::<u32>(),
                "{width}x{height}"
            );
            assert_eq!(
                ssd(blocks),
                positions().map(|(y, x)| difference(y, x).pow(2)).sum::<u32>(),
                "{width}x{height}"
            );
        }
        // Values beyond the end of the slices do not count.
        let sad_of = |part: std::ops::Range<usize>, width, height| {
            sad(BlockPair { values: [&a[part.clone()], &b[part]], stride, width, height })
        };
        assert_eq!(sad_of(0..70, 16, 2), sad_of(0..61, 16, 1) + sad_of(61..70, 9, 1));
    }
}
