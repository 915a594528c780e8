// SPDX-License-Identifier: MIT OR Apache-2.0

//! AVX-512 VNNI variant of the Winograd kernel in `winograd.rs`.
//!
//! VNNI multiplies 16-bit values at half the rate of 8-bit values, and a tile needs a quarter of
//! the products, so half of the multiplication time is left for the transforms. With few channels
//! the transforms cost more than that ([`min_channels`]).

use std::{arch::x86_64::*, array, mem::MaybeUninit};

use super::{
    super::winograd::{MAX_CHANNELS, POINTS, TAPS, TILE_SIDE},
    Int8RowBlockJob,
    avx512::ActivationType,
    epilogue512::{OutputBlock, apply_epilogue},
    pack::{LINE, WordLine},
    winograd::{INVERSE_OF_9, SHIFT},
};
use crate::cpu::matrix::MatrixShape;

/// Lower limit of the outputs.
const MIN_OUTPUTS: usize = 32;
/// Channels that are transformed at a time.
const GROUP: usize = 32;
/// Distance between the values of two tiles: [`MAX_CHANNELS`] in whole groups.
const STRIDE: usize = MAX_CHANNELS.next_multiple_of(GROUP);
/// Neighbouring tiles that share each load of weights in a wide span.
const WIDE: usize = 12;
/// The same in a narrow span, which ends rows whose length is not a multiple of wide spans.
const NARROW: usize = 6;
/// Minimum pixels per row.
pub(super) const MIN_PIXELS: usize = NARROW * TILE_SIDE;

/// Transformed inputs of a span: `[point][tile][channel]`.
type TransformedInputs<const TILES: usize> = [[[MaybeUninit<i16>; STRIDE]; TILES]; POINTS * POINTS];
/// Accumulators of a span: `[point][tile][vector of outputs]` of one block.
type Accumulators<const VECTORS: usize, const TILES: usize> =
    [[[MaybeUninit<__m512i>; VECTORS]; TILES]; POINTS * POINTS];

/// Returns whether the kernel is faster than direct convolution for this shape.
pub(super) fn suits(MatrixShape { depth, outputs, .. }: MatrixShape) -> bool {
    let channels = depth / TAPS;
    channels >= min_channels() && channels.is_multiple_of(LINE) && outputs >= MIN_OUTPUTS
}

/// Returns the least number of input channels for which the kernel is faster than direct
/// convolution.
///
/// AMD's processors have further execution units for the additions of the transforms. On Intel's,
/// transforms and products compete for two units.
fn min_channels() -> usize {
    let vendor = __cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    if name.as_flattened() == b"AuthenticAMD" { 32 } else { 64 }
}

/// Computes a row block of at least [`MIN_PIXELS`] pixels per row.
///
/// # Safety
/// The processor supports AVX-512 F, BW, VL and VNNI. `pixels` is at least [`MIN_PIXELS`], that
/// many pixels exist in every segment and in the results, and `job.weights` has Winograd weights
/// for a multiple of [`LINE`] channels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run(job: &mut Int8RowBlockJob<'_>, pixels: usize) {
    // SAFETY: by the contract of this function.
    unsafe {
        if job.weights.block() == LINE {
            spans::<1>(job, pixels);
        } else {
            spans::<2>(job, pixels);
        }
    }
}

/// Computes a row block for weights whose blocks have `VECTORS` vectors.
///
/// # Safety
/// As for [`run`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn spans<const VECTORS: usize>(job: &mut Int8RowBlockJob<'_>, pixels: usize) {
    let (wide, narrow) = (WIDE * TILE_SIDE, NARROW * TILE_SIDE);
    let mut start = 0;
    // The last span may overlap the previous one; it computes the same values again.
    while start < pixels {
        // SAFETY: no span exceeds `pixels`.
        unsafe {
            if pixels >= wide && pixels - start > narrow {
                span::<VECTORS, WIDE>(job, start.min(pixels - wide));
                start += wide;
            } else {
                span::<VECTORS, NARROW>(job, start.min(pixels - narrow));
                start += narrow;
            }
        }
    }
}

/// Computes the pixels of `TILES` tiles from `start` on.
///
/// # Safety
/// As for [`run`], with pixels up to the end of the span.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn span<const VECTORS: usize, const TILES: usize>(
    job: &mut Int8RowBlockJob<'_>,
    start: usize,
) {
    let channels = job.pitch;
    // SAFETY: arrays of `MaybeUninit` need no initialisation. (With a repeat expression, the
    // compiler would clear them.)
    let (mut values, mut sums): (TransformedInputs<TILES>, Accumulators<VECTORS, TILES>) =
        unsafe { (MaybeUninit::uninit().assume_init(), MaybeUninit::uninit().assume_init()) };
    transform_span(job.segments, channels, start, &mut values);
    for first in (0..job.weights.outputs()).step_by(VECTORS * LINE) {
        let words = channels / 2;
        let weights: [&[WordLine]; VECTORS] =
            array::from_fn(|v| job.weights.alternative_lines(first + v * LINE));
        let block = OutputBlock::new(job.weights, first);
        for (point, (sums, values)) in sums.iter_mut().zip(&values).enumerate() {
            let weights = weights.map(|lines| &lines[point * words..][..words]);
            // SAFETY: all channels of the values have been written.
            unsafe { multiply(values, weights, sums) };
        }
        for tile in 0..TILES {
            // SAFETY: all accumulators have been written. The pixels of the span exist by the
            // contract of this function.
            unsafe { store_tile(job, &block, &sums, tile, start + tile * TILE_SIDE) };
        }
    }
}

/// Transforms all channels of the tiles of a span.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn transform_span<const TILES: usize>(
    segments: [&[u8]; POINTS],
    channels: usize,
    start: usize,
    values: &mut TransformedInputs<TILES>,
) {
    let segments = segments
        .map(|segment| &segment[start * channels..][..(TILES * TILE_SIDE + TAPS - 1) * channels]);
    for tile in 0..TILES {
        for channel in (0..channels).step_by(GROUP) {
            let segments =
                segments.map(|segment| segment[tile * TILE_SIDE * channels + channel..].as_ptr());
            let store = |point: usize, v: __m512i| {
                let to: &mut [_; GROUP] =
                    &mut values[point][tile].as_chunks_mut().0[channel / GROUP];
                // SAFETY: `to` has the size of a vector.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) };
            };
            let mask = if channels - channel >= GROUP { !0 } else { 0xffff };
            // SAFETY: the slicing above has verified that these pixels exist. Channels are whole
            // groups, except that the last group may be half a group.
            unsafe { transform(segments, channels, mask, store) };
        }
    }
}

/// Applies the input transform to a line of six vectors of [`GROUP`] channels each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transform_line(d: &[__m512i; POINTS]) -> [__m512i; POINTS] {
    let four = |v| _mm512_slli_epi16::<2>(v);
    let (even, odd) = (_mm512_sub_epi16(d[4], four(d[2])), _mm512_sub_epi16(d[3], four(d[1])));
    let (even_far, half_odd_far) = (_mm512_sub_epi16(d[4], d[2]), _mm512_sub_epi16(d[3], d[1]));
    let odd_far = _mm512_add_epi16(half_odd_far, half_odd_far);
    [
        _mm512_add_epi16(four(_mm512_sub_epi16(d[0], d[2])), even_far),
        _mm512_add_epi16(even, odd),
        _mm512_sub_epi16(even, odd),
        _mm512_add_epi16(even_far, odd_far),
        _mm512_sub_epi16(even_far, odd_far),
        _mm512_sub_epi16(_mm512_sub_epi16(d[5], d[3]), four(half_odd_far)),
    ]
}

/// Transforms the channels in `mask` of a tile, whose pixels lie `pitch` bytes apart, and passes
/// each point with its index to `store`. The magnitude of the results is at most 68 * 255.
///
/// # Safety
/// Each segment points to a row of six pixels of the tile, of which the channels in `mask` exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn transform(
    segments: [*const u8; POINTS],
    pitch: usize,
    mask: __mmask32,
    mut store: impl FnMut(usize, __m512i),
) {
    // The arrays are written out, because an array that is cleared first would be kept in memory.
    let line = |y: usize| {
        let load = |x: usize| {
            let from = segments[y].wrapping_add(x * pitch).cast();
            // SAFETY: by the contract of this function.
            _mm512_cvtepu8_epi16(unsafe { _mm256_maskz_loadu_epi8(mask, from) })
        };
        transform_line(&[load(0), load(1), load(2), load(3), load(4), load(5)])
    };
    let rows = [line(0), line(1), line(2), line(3), line(4), line(5)];
    let column = |x: usize| {
        transform_line(&[rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]])
    };
    for x in 0..POINTS {
        for (y, v) in column(x).into_iter().enumerate() {
            store(y * POINTS + x, v);
        }
    }
}

/// Computes the accumulators of one point: multiplies the words of two channels of each tile with
/// the lines of weights of each vector of outputs.
///
/// # Safety
/// The first `2 * weights[0].len()` values of each tile have been written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn multiply<const VECTORS: usize, const TILES: usize>(
    values: &[[MaybeUninit<i16>; STRIDE]; TILES],
    weights: [&[WordLine]; VECTORS],
    results: &mut [[MaybeUninit<__m512i>; VECTORS]; TILES],
) {
    let words = weights[0].len();
    assert!(words <= STRIDE / 2 && weights.iter().all(|lines| lines.len() == words));
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; TILES];
    let values = values.as_ptr().cast::<i32>();
    for word in 0..words {
        // SAFETY: each tile and each list of lines has this word, by the assertion above, and the
        // values are initialised by the contract of this function.
        unsafe {
            let w: [__m512i; VECTORS] =
                array::from_fn(|v| _mm512_load_si512(weights[v].as_ptr().add(word).cast()));
            for (tile, sum) in sums.iter_mut().enumerate() {
                let value = values.add(tile * STRIDE / 2 + word).read_unaligned();
                let value = _mm512_set1_epi32(value);
                for v in 0..VECTORS {
                    sum[v] = i16::dot(sum[v], value, w[v]);
                }
            }
        }
    }
    for (result, sum) in results.iter_mut().zip(sums) {
        for v in 0..VECTORS {
            result[v].write(sum[v]);
        }
    }
}

/// Applies the output transform to a line of six points.
#[inline]
#[target_feature(enable = "avx512f")]
fn inverse_transform_line(m: &[__m512i; POINTS]) -> [__m512i; TILE_SIDE] {
    let (near, near_odd) = (_mm512_add_epi32(m[1], m[2]), _mm512_sub_epi32(m[1], m[2]));
    let (far, far_odd) = (_mm512_add_epi32(m[3], m[4]), _mm512_sub_epi32(m[3], m[4]));
    [
        _mm512_add_epi32(m[0], _mm512_add_epi32(near, far)),
        _mm512_add_epi32(near_odd, _mm512_add_epi32(far_odd, far_odd)),
        _mm512_add_epi32(near, _mm512_slli_epi32::<2>(far)),
        _mm512_add_epi32(near_odd, _mm512_slli_epi32::<3>(_mm512_add_epi32(far_odd, m[5]))),
    ]
}

/// Transforms the accumulators of a tile back, divides them by the factor of the weights, and
/// applies the epilogues to its four rows, from pixel `x` on.
///
/// # Safety
/// All accumulators have been written, and the pixels exist in the results of `job`, whose weights
/// `block` was made from. The processor supports AVX-512 F, BW and VL.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn store_tile<const VECTORS: usize, const TILES: usize>(
    job: &mut Int8RowBlockJob<'_>,
    block: &OutputBlock,
    sums: &Accumulators<VECTORS, TILES>,
    tile: usize,
    x: usize,
) {
    let mut pixels = [[[_mm512_setzero_si512(); VECTORS]; TILE_SIDE]; TILE_SIDE];
    for v in 0..VECTORS {
        let column = |x: usize| {
            // SAFETY: by the contract of this function.
            let sum = |y: usize| unsafe { sums[y * POINTS + x][tile][v].assume_init() };
            inverse_transform_line(&[sum(0), sum(1), sum(2), sum(3), sum(4), sum(5)])
        };
        let c = [column(0), column(1), column(2), column(3), column(4), column(5)];
        // SAFETY: by the contract of this function.
        let bias = unsafe { block.bias(v) };
        for (y, row) in pixels.iter_mut().enumerate() {
            let line =
                inverse_transform_line(&[c[0][y], c[1][y], c[2][y], c[3][y], c[4][y], c[5][y]]);
            for (pixel, sum) in row.iter_mut().zip(line) {
                let sum = _mm512_mullo_epi32(sum, _mm512_set1_epi32(INVERSE_OF_9));
                pixel[v] = _mm512_add_epi32(_mm512_srai_epi32::<{ SHIFT as u32 }>(sum), bias);
            }
        }
    }
    for (row, epilogue) in pixels.iter().zip(&mut job.epilogues) {
        // SAFETY: by the contract of this function.
        unsafe { apply_epilogue(block, epilogue, x, row) };
    }
}
