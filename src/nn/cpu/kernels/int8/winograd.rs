//! 3x3 convolutions with a quarter of the products, for AVX2: minimal filtering F(4x4, 3x3) (Winograd, "Arithmetic Complexity of Computations",
//! 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). 36 products make a tile of 4x4 pixels, which take 144 one
//! by one. What is multiplied needs more than bytes, which costs nothing here: AVX2 multiplies 16-bit values anyway.
//!
//! It is exact, so results are those of the other kernels, bit for bit. Transformed weights and sums are 24 times too large for each of the
//! two directions, so that all of it are integers, and the sums are divided by that at the end; what runs over 32 bits on the way comes back.

use std::{arch::x86_64::*, mem::MaybeUninit};

use super::{
    super::filtering::{self, FACTOR, POINTS, SIDE, TAPS},
    RowsJob,
    avx2::{LANES, VECTORS, finish},
    pack::{LINE, Line},
};

/// Tiles beside each other that share each load of weights.
const TILES: usize = 6;
/// Columns of all of these: the least that a row must have.
pub(super) const SPAN: usize = TILES * SIDE;
/// Most channels, so that the values of a span stay in cache. It is also the distance of two tiles' values: alike for all, so that it stands in the instructions.
const MAX_CHANNELS: usize = 80;
/// Channels that are transformed together.
const GROUP: usize = 16;
/// The factor of transformed weights is 9 times 2 to the power of this.
const SHIFT: i32 = 6;
const _: () = assert!(9 << SHIFT == FACTOR);
/// Times 9, this is 1 in 32 bits.
const NINTH: i32 = 0x38e3_8e39;
// What is left of 32 bits when the factor has been divided out has room for all sums of bytes and weights.
const _: () = assert!((TAPS * TAPS * MAX_CHANNELS * 255 * 127) >> (31 - SHIFT) == 0);

/// Weights of a 3x3 convolution, packed: for each block of outputs and each point, the words of all channels. `None` for channels that are too
/// many or no whole groups. `weight` tells quantised weights as in `Quantised`.
pub(super) fn pack(
    [segments, depth, outputs]: [usize; 3],
    weight: &dyn Fn(usize, usize, usize) -> i32,
) -> Option<Vec<Line>> {
    let channels = depth / TAPS;
    let fits = segments == TAPS && depth == TAPS * channels && channels.is_multiple_of(GROUP / 2);
    if !fits || channels > MAX_CHANNELS {
        return None;
    }
    let points = |channel: usize, output: usize| -> [[i32; POINTS]; POINTS] {
        if output >= outputs {
            return [[0; POINTS]; POINTS];
        }
        filtering::points(|row, tap| f64::from(weight(row, tap * channels + channel, output)))
            .map(|line| line.map(|value| value as i32))
    };
    let words = channels / 2;
    let mut lines = vec![Line([0; LINE]); outputs.div_ceil(LINE) * POINTS * POINTS * words];
    for (block, lines) in lines.chunks_exact_mut(POINTS * POINTS * words).enumerate() {
        for lane in 0..LINE {
            for word in 0..words {
                let [low, high] = [0, 1].map(|i| points(2 * word + i, block * LINE + lane));
                let pairs = low.as_flattened().iter().zip(high.as_flattened());
                for (point, (low, high)) in pairs.enumerate() {
                    // All fit 16 bits: they are at most 12 times 12 times 127.
                    lines[point * words + word].0[lane] =
                        (*low as u32 & 0xffff) | (*high as u32) << 16;
                }
            }
        }
    }
    Some(lines)
}

/// Values of the tiles of a span, transformed: by point and tile, those of all channels. To clear all that a row might need would take its time.
type Values = [[[MaybeUninit<i16>; MAX_CHANNELS]; TILES]; POINTS * POINTS];
/// Sums of the products of a point, for each tile, of a block of outputs.
type Sums = [[__m256i; VECTORS]; TILES];

/// Computes rows of at least [`SPAN`] pixels.
///
/// # Safety
/// The processor has AVX2; `pixels` pixels of every segment and of the results exist, and there are weights for this.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run(job: &mut RowsJob<'_>, pixels: usize) {
    let channels = job.pitch;
    // SAFETY: what may be anything may be left as it is. (Written as repeated elements, they would be cleared after all.)
    let (mut values, mut sums) = unsafe {
        let (values, sums) =
            (MaybeUninit::<Values>::uninit(), MaybeUninit::<[MaybeUninit<Sums>; _]>::uninit());
        (values.assume_init(), sums.assume_init())
    };
    for start in (0..pixels).step_by(SPAN) {
        // The last span may overlap the one before; it computes the same values again.
        let start = start.min(pixels - SPAN);
        let segments = job
            .segments
            .map(|segment| &segment[start * channels..][..(SPAN + TAPS - 1) * channels]);
        for tile in 0..TILES {
            for channel in (0..channels).step_by(GROUP) {
                let segments =
                    segments.map(|segment| segment[tile * SIDE * channels + channel..].as_ptr());
                let store = |point: usize, v: __m256i| {
                    let to: &mut [_; GROUP] =
                        &mut values[point][tile].as_chunks_mut().0[channel / GROUP];
                    // SAFETY: it has the size of a vector.
                    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) };
                };
                // SAFETY: the slices above have shown that these pixels exist. Channels are whole groups but for the last one, half of which there may be.
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
            let weights = job.weights.extra_lines(first).chunks_exact(words);
            let (bias, scale) = job.weights.block_scales(first);
            // SAFETY: all channels of the values have been written. A block has weights for each point, so that all sums are written, and biases
            // and scales for its vectors; the pixels of the span exist.
            unsafe {
                for ((sums, values), weights) in sums.iter_mut().zip(&values).zip(weights) {
                    sums.write(multiply(values, weights));
                }
                let bias = std::array::from_fn(|v| {
                    _mm256_loadu_si256(bias.as_ptr().add(v * LANES).cast())
                });
                let scale = std::array::from_fn(|v| _mm256_loadu_ps(scale.as_ptr().add(v * LANES)));
                for tile in 0..TILES {
                    let at = [
                        (start + tile * SIDE) * outputs + first,
                        outputs,
                        LINE.min(outputs - first),
                    ];
                    let columns =
                        [combine_columns(&sums, tile, 0), combine_columns(&sums, tile, 1)];
                    for (y, to) in job.finish.iter_mut().enumerate() {
                        finish(to, job.weights.ratio(), at, &row(&columns, y, bias, scale));
                    }
                }
            }
        }
    }
}

/// Transforms a line of values, of [`GROUP`] channels each.
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

/// Transforms [`GROUP`] channels of the values of a tile, or half as many, whose values lie `pitch` apart. They stay within 68 times 255.
///
/// # Safety
/// From each segment on lie the values of the tile.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transform<const HALF: bool>(
    segments: [*const u8; POINTS],
    pitch: usize,
    mut store: impl FnMut(usize, __m256i),
) {
    // Written out, since arrays that are cleared first would be in memory.
    let line = |y: usize| {
        let load = |x: usize| {
            let from = segments[y].wrapping_add(x * pitch).cast();
            // SAFETY: the caller vouches for it.
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

/// Sums of products of one point: of a word of two channels with each line.
///
/// # Safety
/// As many values have been written.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn multiply(values: &[[MaybeUninit<i16>; MAX_CHANNELS]; TILES], weights: &[Line]) -> Sums {
    assert!(weights.len() <= MAX_CHANNELS / 2);
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; TILES];
    let mut values = values.as_ptr().cast::<i32>();
    for line in weights {
        // SAFETY: each tile has as many words as there can be lines; the caller vouches for what is in them.
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

/// What a line of points comes to.
#[inline]
#[target_feature(enable = "avx2")]
fn combine_line(m: &[__m256i; POINTS]) -> [__m256i; SIDE] {
    let (near, near_odd) = (_mm256_add_epi32(m[1], m[2]), _mm256_sub_epi32(m[1], m[2]));
    let (far, far_odd) = (_mm256_add_epi32(m[3], m[4]), _mm256_sub_epi32(m[3], m[4]));
    [
        _mm256_add_epi32(m[0], _mm256_add_epi32(near, far)),
        _mm256_add_epi32(near_odd, _mm256_add_epi32(far_odd, far_odd)),
        _mm256_add_epi32(near, _mm256_slli_epi32::<2>(far)),
        _mm256_add_epi32(near_odd, _mm256_slli_epi32::<3>(_mm256_add_epi32(far_odd, m[5]))),
    ]
}

/// Columns of points of a tile, combined, for a vector of outputs.
///
/// # Safety
/// All sums have been written.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn combine_columns(
    sums: &[MaybeUninit<Sums>; POINTS * POINTS],
    tile: usize,
    v: usize,
) -> [[__m256i; SIDE]; POINTS] {
    let column = |x: usize| {
        // SAFETY: the caller vouches for it.
        let sum = |y: usize| unsafe { sums[y * POINTS + x].assume_init_ref() }[tile][v];
        combine_line(&[sum(0), sum(1), sum(2), sum(3), sum(4), sum(5)])
    };
    [column(0), column(1), column(2), column(3), column(4), column(5)]
}

/// A row of pixels from combined columns, in units of the output.
#[inline]
#[target_feature(enable = "avx2")]
fn row(
    columns: &[[[__m256i; SIDE]; POINTS]; VECTORS],
    y: usize,
    bias: [__m256i; VECTORS],
    scale: [__m256; VECTORS],
) -> [[__m256; VECTORS]; SIDE] {
    let line = |v: usize| {
        let c = &columns[v];
        combine_line(&[c[0][y], c[1][y], c[2][y], c[3][y], c[4][y], c[5][y]])
    };
    let lines = [line(0), line(1)];
    let value = |x: usize, v: usize| {
        let sum = _mm256_mullo_epi32(lines[v][x], _mm256_set1_epi32(NINTH));
        let sum = _mm256_add_epi32(_mm256_srai_epi32::<SHIFT>(sum), bias[v]);
        _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale[v])
    };
    let pixel = |x: usize| [value(x, 0), value(x, 1)];
    [pixel(0), pixel(1), pixel(2), pixel(3)]
}
