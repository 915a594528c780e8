// SPDX-License-Identifier: MIT OR Apache-2.0

//! AVX2 int8 Winograd F(4x4, 3x3) kernel for 3x3 convolutions (Winograd, "Arithmetic Complexity of
//! Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
//! 2016).
//!
//! A tile of 4x4 output pixels needs 36 multiplications per channel instead of 144. Transformed
//! values exceed 8 bits, which costs nothing here, because AVX2 multiplies 16-bit values anyway.
//!
//! The kernel is exact, so its results are bit-identical to those of the other kernels. Transformed
//! weights are 24 times too large in each of the two directions, which makes all values integers.
//! The accumulators are divided by 24 * 24 at the end. Intermediate overflow of 32 bits is
//! harmless: arithmetic modulo 2^32 is exact, and the final value fits.

use std::{arch::x86_64::*, mem::MaybeUninit};

use super::{
    super::winograd::{MAX_CHANNELS, POINTS, TAPS, TILE_SIDE, WEIGHT_FACTOR, transform_kernel},
    Int8RowBlockJob,
    avx2::{LANES, OutputPlaces, VECTORS, apply_epilogue},
    pack::{LINE, WordLine},
};
use crate::cpu::matrix::{MatrixShape, WeightIndex};

/// Neighbouring tiles that share each load of weights.
const TILES: usize = 6;
/// Columns of these tiles, a span, and therefore the minimum pixels per row.
pub(super) const MIN_PIXELS: usize = TILES * TILE_SIDE;
/// Channels that are transformed at a time.
const GROUP: usize = 16;
/// Exponent of the power of two in [`WEIGHT_FACTOR`], which is `9 << SHIFT`.
pub(super) const SHIFT: i32 = 6;
const _: () = assert!(9 << SHIFT == WEIGHT_FACTOR);
/// Inverse of 9 modulo 2^32.
pub(super) const INVERSE_OF_9: i32 = 0x38e3_8e39;
// After the multiplication with the inverse, `SHIFT` low bits are still to be removed. The
// remaining bits hold every sum of products of u8 activations and 8-bit weights.
const _: () = assert!((TAPS * TAPS * MAX_CHANNELS * 255 * 127) >> (31 - SHIFT) == 0);

/// Transforms and packs the weights of a 3x3 convolution in the order `[block][point][word of two
/// channels][output of the block]`. Returns `None` if the matrix is not that of a 3x3 convolution,
/// or if the number of channels exceeds [`MAX_CHANNELS`] or is not a multiple of half a group.
pub(super) fn pack(
    MatrixShape { segments, depth, outputs }: MatrixShape,
    weight: &dyn Fn(WeightIndex) -> i32,
) -> Option<Vec<WordLine>> {
    let channels = depth / TAPS;
    let fits = segments == TAPS && depth == TAPS * channels && channels.is_multiple_of(GROUP / 2);
    if !fits || channels > MAX_CHANNELS {
        return None;
    }
    let points = |channel: usize, output: usize| -> [[i32; POINTS]; POINTS] {
        if output >= outputs {
            return [[0; POINTS]; POINTS];
        }
        let kernel = transform_kernel(|segment, tap| {
            let input = tap * channels + channel;
            f64::from(weight(WeightIndex { segment, input, output }))
        });
        kernel.map(|line| line.map(|value| value as i32))
    };
    let words = channels / 2;
    let mut lines = vec![WordLine([0; LINE]); outputs.div_ceil(LINE) * POINTS * POINTS * words];
    for (block, lines) in lines.chunks_exact_mut(POINTS * POINTS * words).enumerate() {
        for lane in 0..LINE {
            for word in 0..words {
                let [low, high] = [0, 1].map(|i| points(2 * word + i, block * LINE + lane));
                let pairs = low.as_flattened().iter().zip(high.as_flattened());
                for (point, (low, high)) in pairs.enumerate() {
                    // The transformed weights fit 16 bits: their magnitude is at most 12 * 12 *
                    // 127.
                    lines[point * words + word].0[lane] =
                        (*low as u32 & 0xffff) | (*high as u32) << 16;
                }
            }
        }
    }
    Some(lines)
}

/// Transformed inputs of a span: `[point][tile][channel]`. The elements stay uninitialised until
/// written, because clearing the whole array takes noticeable time.
type TransformedInputs = [[[MaybeUninit<i16>; MAX_CHANNELS]; TILES]; POINTS * POINTS];
/// Accumulators of one point: `[tile][vector of outputs]` of one block.
type Accumulators = [[__m256i; VECTORS]; TILES];

/// Computes a row block of at least [`MIN_PIXELS`] pixels per row.
///
/// # Safety
/// The processor supports AVX2. `pixels` is at least [`MIN_PIXELS`], that many pixels exist in
/// every segment and in the results, and `job.weights` has Winograd weights.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run(job: &mut Int8RowBlockJob<'_>, pixels: usize) {
    let channels = job.pitch;
    // SAFETY: arrays of `MaybeUninit` need no initialisation. (With a repeat expression, the
    // compiler would clear them.)
    let (mut values, mut sums) = unsafe {
        let (values, sums) = (
            MaybeUninit::<TransformedInputs>::uninit(),
            MaybeUninit::<[MaybeUninit<Accumulators>; _]>::uninit(),
        );
        (values.assume_init(), sums.assume_init())
    };
    for start in (0..pixels).step_by(MIN_PIXELS) {
        // The last span may overlap the previous one; it computes the same values again.
        let start = start.min(pixels - MIN_PIXELS);
        let segments = job
            .segments
            .map(|segment| &segment[start * channels..][..(MIN_PIXELS + TAPS - 1) * channels]);
        for tile in 0..TILES {
            for channel in (0..channels).step_by(GROUP) {
                let segments = segments
                    .map(|segment| segment[tile * TILE_SIDE * channels + channel..].as_ptr());
                let store = |point: usize, v: __m256i| {
                    let to: &mut [_; GROUP] =
                        &mut values[point][tile].as_chunks_mut().0[channel / GROUP];
                    // SAFETY: `to` has the size of a vector.
                    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) };
                };
                // SAFETY: the slicing above has verified that these pixels exist. Channels are
                // whole groups, except that the last group may be half a group.
                unsafe {
                    if channels - channel >= GROUP {
                        transform::<false>(segments, channels, store);
                    } else {
                        transform::<true>(segments, channels, store);
                    }
                }
            }
        }
        let (outputs, words) = (job.weights.outputs(), channels / 2);
        for first in (0..outputs).step_by(LINE) {
            let weights = job.weights.alternative_lines(first).chunks_exact(words);
            let (bias, scale) = job.weights.block_scales(first);
            // SAFETY: all channels of the values have been written. A block has weights for each
            // point, so that all accumulators are written before they are read, and biases and
            // scales for its vectors. The pixels of the span exist by the contract of this
            // function.
            unsafe {
                for ((sums, values), weights) in sums.iter_mut().zip(&values).zip(weights) {
                    sums.write(multiply(values, weights));
                }
                let bias = std::array::from_fn(|v| {
                    _mm256_loadu_si256(bias.as_ptr().add(v * LANES).cast())
                });
                let scale = std::array::from_fn(|v| _mm256_loadu_ps(scale.as_ptr().add(v * LANES)));
                for tile in 0..TILES {
                    let places = OutputPlaces {
                        start: (start + tile * TILE_SIDE) * outputs + first,
                        stride: outputs,
                        width: LINE.min(outputs - first),
                    };
                    let columns = [
                        inverse_transform_columns(&sums, tile, 0),
                        inverse_transform_columns(&sums, tile, 1),
                    ];
                    for (y, epilogue) in job.epilogues.iter_mut().enumerate() {
                        let t = scale_row(&columns, y, bias, scale);
                        apply_epilogue(epilogue, job.weights.residual_scale(), places, &t);
                    }
                }
            }
        }
    }
}

/// Applies the input transform to a line of six vectors of [`GROUP`] channels each.
#[inline]
#[target_feature(enable = "avx2")]
fn transform_line(d: &[__m256i; POINTS]) -> [__m256i; POINTS] {
    let four = |v| _mm256_slli_epi16::<2>(v);
    let (even, odd) = (_mm256_sub_epi16(d[4], four(d[2])), _mm256_sub_epi16(d[3], four(d[1])));
    let (even_far, half_odd_far) = (_mm256_sub_epi16(d[4], d[2]), _mm256_sub_epi16(d[3], d[1]));
    let odd_far = _mm256_add_epi16(half_odd_far, half_odd_far);
    [
        _mm256_add_epi16(four(_mm256_sub_epi16(d[0], d[2])), even_far),
        _mm256_add_epi16(even, odd),
        _mm256_sub_epi16(even, odd),
        _mm256_add_epi16(even_far, odd_far),
        _mm256_sub_epi16(even_far, odd_far),
        _mm256_sub_epi16(_mm256_sub_epi16(d[5], d[3]), four(half_odd_far)),
    ]
}

/// Transforms [`GROUP`] channels of a tile (half as many if `HALF`), whose pixels lie `pitch` bytes
/// apart, and passes each point with its index to `store`. The magnitude of the results is at most
/// 68 * 255.
///
/// # Safety
/// Each segment points to a row of six pixels of the tile, of which the channels to transform
/// exist.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transform<const HALF: bool>(
    segments: [*const u8; POINTS],
    pitch: usize,
    mut store: impl FnMut(usize, __m256i),
) {
    // The array is written out, because an array that is cleared first would be kept in memory.
    let line = |y: usize| {
        let load = |x: usize| {
            let from = segments[y].wrapping_add(x * pitch).cast();
            // SAFETY: by the contract of this function.
            _mm256_cvtepu8_epi16(unsafe {
                if HALF { _mm_loadl_epi64(from) } else { _mm_loadu_si128(from) }
            })
        };
        transform_line(&[load(0), load(1), load(2), load(3), load(4), load(5)])
    };
    let rows = [line(0), line(1), line(2), line(3), line(4), line(5)];
    let column = |x: usize| {
        transform_line(&[rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]])
    };
    for x in 0..POINTS {
        for (y, v) in column(x).iter().enumerate() {
            store(y * POINTS + x, *v);
        }
    }
}

/// Computes the accumulators of one point: multiplies the words of two channels of each tile with
/// the lines of weights.
///
/// # Safety
/// The first `2 * weights.len()` values of each tile have been written. The processor supports
/// AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn multiply(
    values: &[[MaybeUninit<i16>; MAX_CHANNELS]; TILES],
    weights: &[WordLine],
) -> Accumulators {
    assert!(weights.len() <= MAX_CHANNELS / 2);
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; TILES];
    let mut values = values.as_ptr().cast::<i32>();
    for line in weights {
        // SAFETY: each tile has at least as many words as there are lines, by the assertion above,
        // and they are initialised by the contract of this function.
        unsafe {
            let w: [__m256i; VECTORS] =
                std::array::from_fn(|v| _mm256_load_si256(line.0.as_ptr().add(v * LANES).cast()));
            for (tile, sum) in sums.iter_mut().enumerate() {
                let value = _mm256_set1_epi32(values.add(tile * MAX_CHANNELS / 2).read_unaligned());
                for v in 0..VECTORS {
                    sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(value, w[v]));
                }
            }
            values = values.add(1);
        }
    }
    sums
}

/// Applies the output transform to a line of six points.
#[inline]
#[target_feature(enable = "avx2")]
fn inverse_transform_line(m: &[__m256i; POINTS]) -> [__m256i; TILE_SIDE] {
    let (near, near_odd) = (_mm256_add_epi32(m[1], m[2]), _mm256_sub_epi32(m[1], m[2]));
    let (far, far_odd) = (_mm256_add_epi32(m[3], m[4]), _mm256_sub_epi32(m[3], m[4]));
    [
        _mm256_add_epi32(m[0], _mm256_add_epi32(near, far)),
        _mm256_add_epi32(near_odd, _mm256_add_epi32(far_odd, far_odd)),
        _mm256_add_epi32(near, _mm256_slli_epi32::<2>(far)),
        _mm256_add_epi32(near_odd, _mm256_slli_epi32::<3>(_mm256_add_epi32(far_odd, m[5]))),
    ]
}

/// Applies the output transform to the columns of a tile, for one vector of outputs.
///
/// # Safety
/// The accumulators of all points have been written.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn inverse_transform_columns(
    sums: &[MaybeUninit<Accumulators>; POINTS * POINTS],
    tile: usize,
    v: usize,
) -> [[__m256i; TILE_SIDE]; POINTS] {
    let column = |x: usize| {
        // SAFETY: by the contract of this function.
        let sum = |y: usize| unsafe { sums[y * POINTS + x].assume_init_ref() }[tile][v];
        inverse_transform_line(&[sum(0), sum(1), sum(2), sum(3), sum(4), sum(5)])
    };
    [column(0), column(1), column(2), column(3), column(4), column(5)]
}

/// Computes the scaled accumulators of row `y` of a tile from the transformed columns: output
/// transform, division by [`WEIGHT_FACTOR`], bias and scale.
#[inline]
#[target_feature(enable = "avx2")]
fn scale_row(
    columns: &[[[__m256i; TILE_SIDE]; POINTS]; VECTORS],
    y: usize,
    bias: [__m256i; VECTORS],
    scale: [__m256; VECTORS],
) -> [[__m256; VECTORS]; TILE_SIDE] {
    let line = |v: usize| {
        let c = &columns[v];
        inverse_transform_line(&[c[0][y], c[1][y], c[2][y], c[3][y], c[4][y], c[5][y]])
    };
    let lines = [line(0), line(1)];
    let value = |x: usize, v: usize| {
        let sum = _mm256_mullo_epi32(lines[v][x], _mm256_set1_epi32(INVERSE_OF_9));
        let sum = _mm256_add_epi32(_mm256_srai_epi32::<SHIFT>(sum), bias[v]);
        _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale[v])
    };
    let pixel = |x: usize| [value(x, 0), value(x, 1)];
    [pixel(0), pixel(1), pixel(2), pixel(3)]
}
