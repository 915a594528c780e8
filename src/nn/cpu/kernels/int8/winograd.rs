//! 3x3 convolutions with half of the products, for AVX2: minimal filtering F(4, 3) along the row (Winograd, "Arithmetic Complexity of
//! Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). Six products make four pixels of a row of three taps,
//! which take twelve one by one. What goes into them needs more than bytes, which costs nothing here: AVX2 multiplies 16-bit values anyway.
//!
//! It is exact. Weights are taken 24 times, so that their transforms are integers, and sums are divided by 24 at the end; what runs over 32 bits on the way
//! comes back. So results are those of the other kernels, bit for bit.

use std::arch::x86_64::*;

use super::{
    RowJob,
    avx2::{LANES, VECTORS, finish},
    pack::{LINE, Line},
};

/// Rows and columns of the kernel.
const TAPS: usize = 3;
/// Pixels that are made of one tile, and values that they are made of.
const STEP: usize = 4;
const POINTS: usize = STEP + TAPS - 1;
/// Tiles that share each load of weights.
const TILES: usize = 6;
/// Pixels of all of these: the least that a row must have.
pub(super) const SPAN: usize = TILES * STEP;
/// Most channels: values of a span stay in the first cache.
const MAX_CHANNELS: usize = 128;
/// Values from one tile to the next: the same for all, so that it stands in the instructions, and no multiple of what the cache's ways are apart.
const STRIDE: usize = MAX_CHANNELS + 16;
/// Channels that are transformed together.
const GROUP: usize = 16;
/// Factor by which transformed weights, and so the sums, are too large: 8 times 3.
const FACTOR: i32 = 24;
/// Times 3, this is 1 in 32 bits.
const THIRD: i32 = 0xAAAA_AAABu32.cast_signed();

/// A kernel row of three weights, transformed.
fn transformed([a, b, c]: [i32; TAPS]) -> [i32; POINTS] {
    [6 * a, -4 * (a + b + c), -4 * (a - b + c), a + 2 * b + 4 * c, a - 2 * b + 4 * c, 24 * c]
}

/// Weights of a convolution of three runs of three pixels, packed: for each block of outputs, point and run, the words of all channels. `None` where
/// this does not fit: sums that could be too large, or channels that are no whole groups. `largest` is that of all sums, `weight` as in `Quantised`.
pub(super) fn pack(
    [segments, depth, outputs]: [usize; 3],
    largest: f32,
    weight: &dyn Fn(usize, usize, usize) -> i32,
) -> Option<Vec<Line>> {
    let channels = depth / TAPS;
    let fits = segments == TAPS && depth == TAPS * channels && channels.is_multiple_of(GROUP / 2);
    if !fits || channels > MAX_CHANNELS || largest >= (i32::MAX / FACTOR) as f32 {
        return None;
    }
    let mut lines = Vec::new();
    for first in (0..outputs).step_by(LINE) {
        for point in 0..POINTS {
            for row in 0..TAPS {
                for channel in (0..channels).step_by(2) {
                    lines.push(Line(std::array::from_fn(|lane| {
                        let value = |channel: usize| {
                            let output = first + lane;
                            let tap = |tap: usize| {
                                if output < outputs { weight(row, tap * channels + channel, output) } else { 0 }
                            };
                            transformed(std::array::from_fn(tap))[point] as u32 & 0xffff
                        };
                        value(channel) | value(channel + 1) << 16
                    })));
                }
            }
        }
    }
    Some(lines)
}

/// Values of a span, transformed: by point, row and tile, those of all channels.
type Values = [[[[i16; STRIDE]; TILES]; TAPS]; POINTS];

/// Computes a row of at least [`SPAN`] pixels.
///
/// # Safety
/// The processor has AVX2; `pixels` pixels of every segment and of the result exist, and there are weights for this.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run(job: &mut RowJob<'_>, list: &[&[u8]], pixels: usize) {
    let channels = job.pitch;
    let mut values: Values = [[[[0; _]; _]; _]; _];
    let mut sums = [[[_mm256_setzero_si256(); VECTORS]; TILES]; POINTS];
    for start in (0..pixels).step_by(SPAN) {
        // The last span may overlap the one before; it computes the same values again.
        let start = start.min(pixels - SPAN);
        for (row, segment) in list.iter().enumerate() {
            let bytes = &segment[start * channels..][..(SPAN + TAPS - 1) * channels];
            if channels.is_multiple_of(GROUP) {
                transform::<GROUP>(bytes, channels, row, &mut values);
            } else {
                transform::<{ GROUP / 2 }>(bytes, channels, row, &mut values);
            }
        }
        let (outputs, words) = (job.weights.outputs(), TAPS * channels / 2);
        for first in (0..outputs).step_by(LINE) {
            let weights = job.weights.filtered_lines(first);
            let width = LINE.min(outputs - first);
            // SAFETY: a block has weights for each point, biases and scales; the pixels of the span exist.
            unsafe {
                for ((sums, values), weights) in sums.iter_mut().zip(&values).zip(weights.chunks_exact(words)) {
                    *sums = multiply(values, channels, weights.as_ptr().cast());
                }
                let (bias, scale) = job.weights.block_scales(first);
                let bias = std::array::from_fn(|v| _mm256_loadu_si256(bias.as_ptr().add(v * LANES).cast()));
                let scale = std::array::from_fn(|v| _mm256_loadu_ps(scale.as_ptr().add(v * LANES)));
                for tile in 0..TILES {
                    let at = (start + tile * STEP) * outputs + first;
                    let pixels = combine(&sums, tile, bias, scale);
                    finish(&mut job.finish, job.weights.ratio(), [at, outputs, width], &pixels);
                }
            }
        }
    }
}

/// Transforms the bytes of a span of a row, `W` channels at a time.
#[inline]
#[target_feature(enable = "avx2")]
fn transform<const W: usize>(bytes: &[u8], channels: usize, row: usize, values: &mut Values) {
    for tile in 0..TILES {
        let bytes = &bytes[tile * STEP * channels..][..POINTS * channels];
        for channel in (0..channels).step_by(W) {
            // As closures these loops would be compiled for every processor.
            let mut d = [[0i16; W]; POINTS];
            for (i, d) in d.iter_mut().enumerate() {
                let from = &bytes[i * channels + channel..][..W];
                for c in 0..W {
                    d[c] = i16::from(from[c]);
                }
            }
            let mut v = [[0i16; W]; POINTS];
            for c in 0..W {
                let (even, odd) = (d[4][c] - 4 * d[2][c], d[3][c] - 4 * d[1][c]);
                let (even_far, odd_far) = (d[4][c] - d[2][c], 2 * (d[3][c] - d[1][c]));
                v[0][c] = 4 * d[0][c] - 5 * d[2][c] + d[4][c];
                v[1][c] = even + odd;
                v[2][c] = even - odd;
                v[3][c] = even_far + odd_far;
                v[4][c] = even_far - odd_far;
                v[5][c] = 4 * d[1][c] - 5 * d[3][c] + d[5][c];
            }
            for (values, v) in values.iter_mut().zip(&v) {
                values[row][tile][channel..][..W].copy_from_slice(v);
            }
        }
    }
}

/// Sums of products of one point, for each tile.
///
/// # Safety
/// From `weights` on lie the lines of the point's words; there are at most [`MAX_CHANNELS`] channels.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn multiply(
    values: &[[[i16; STRIDE]; TILES]; TAPS],
    channels: usize,
    mut weights: *const u32,
) -> [[__m256i; VECTORS]; TILES] {
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; TILES];
    // SAFETY: as the caller vouches.
    unsafe {
        for row in values {
            let mut values = row.as_ptr().cast::<i32>();
            for _ in 0..channels / 2 {
                let w: [__m256i; VECTORS] = std::array::from_fn(|v| _mm256_loadu_si256(weights.add(v * LANES).cast()));
                weights = weights.add(LINE);
                for (tile, sum) in sums.iter_mut().enumerate() {
                    let value = _mm256_set1_epi32(values.add(tile * STRIDE / 2).read_unaligned());
                    for v in 0..VECTORS {
                        sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(value, w[v]));
                    }
                }
                values = values.add(1);
            }
        }
    }
    sums
}

/// The pixels of a tile from the sums of its points, in units of the output.
#[inline]
#[target_feature(enable = "avx2")]
fn combine(
    sums: &[[[__m256i; VECTORS]; TILES]; POINTS],
    tile: usize,
    bias: [__m256i; VECTORS],
    scale: [__m256; VECTORS],
) -> [[__m256; VECTORS]; STEP] {
    let (add, sub) = (|a, b| _mm256_add_epi32(a, b), |a, b| _mm256_sub_epi32(a, b));
    let mut pixels = [[_mm256_setzero_ps(); VECTORS]; STEP];
    for v in 0..VECTORS {
        let m: [__m256i; POINTS] = std::array::from_fn(|point| sums[point][tile][v]);
        let (near, near_odd, far, far_odd) = (add(m[1], m[2]), sub(m[1], m[2]), add(m[3], m[4]), sub(m[3], m[4]));
        let made = [
            add(m[0], add(near, far)),
            add(near_odd, _mm256_slli_epi32::<1>(far_odd)),
            add(near, _mm256_slli_epi32::<2>(far)),
            add(m[5], add(near_odd, _mm256_slli_epi32::<3>(far_odd))),
        ];
        for (pixel, made) in pixels.iter_mut().zip(&made) {
            let sum = _mm256_srai_epi32::<3>(_mm256_mullo_epi32(*made, _mm256_set1_epi32(THIRD)));
            pixel[v] = _mm256_mul_ps(_mm256_cvtepi32_ps(add(sum, bias[v])), scale[v]);
        }
    }
    pixels
}
