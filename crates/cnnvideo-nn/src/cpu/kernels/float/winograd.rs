// SPDX-License-Identifier: MIT OR Apache-2.0

//! Float32 Winograd F(4x4, 3x3) kernel for 3x3 convolutions, generic over `pulp` vectors (Winograd,
//! "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", CVPR 2016).
//!
//! A tile of 4x4 output pixels needs 36 multiplications per channel instead of 144. The rounding
//! error grows by two to three bits, which float32 can spare.

use std::{marker::PhantomData, mem::MaybeUninit};

use pulp::{Simd, WithSimd};

use super::{
    super::winograd::{MAX_CHANNELS, POINTS, TAPS, TILE_SIDE, WEIGHT_FACTOR, transform_kernel},
    FloatRowBlockJob,
    mul_add::MulAdd,
    pack::{FloatLine, lines},
};
use crate::cpu::matrix::{MatrixShape, WeightIndex};

/// Tiles per iteration at the end of a row, where fewer tiles remain than usually share a load of
/// weights.
const TAIL_TILES: usize = 2;
/// Minimum pixels per row.
pub(super) const MIN_PIXELS: usize = TAIL_TILES * TILE_SIDE;

/// Channels are a multiple of this number, and at least [`MIN_CHANNELS`]. The rule is the same for
/// all kernel sets, so that they give the same bits.
const CHANNEL_STEP: usize = 8;
/// Minimum number of channels: the longest vector.
const MIN_CHANNELS: usize = 16;
/// Minimum number of outputs; with fewer, too much of a block of outputs would be padding.
const MIN_OUTPUTS: usize = 16;

/// Transforms and packs the weights of a 3x3 convolution in the order
/// `[block][point][channel][output of the block]`. Returns `None` if the matrix is not that of a
/// 3x3 convolution, or if the number of channels or outputs does not suit the kernel.
pub(super) fn pack(
    MatrixShape { segments, depth, outputs }: MatrixShape,
    block: usize,
    weight: impl Fn(WeightIndex) -> f32,
) -> Option<Vec<FloatLine>> {
    let channels = depth / TAPS;
    let fits = segments == TAPS
        && depth == TAPS * channels
        && channels.is_multiple_of(CHANNEL_STEP)
        && (MIN_CHANNELS..=MAX_CHANNELS).contains(&channels);
    if !fits || outputs < MIN_OUTPUTS {
        return None;
    }
    let mut values = vec![0.0; outputs.div_ceil(block) * POINTS * POINTS * channels * block];
    for (first, values) in
        (0..outputs).step_by(block).zip(values.chunks_mut(POINTS * POINTS * channels * block))
    {
        for channel in 0..channels {
            for output in first..outputs.min(first + block) {
                let points = transform_kernel(|segment, tap| {
                    let input = tap * channels + channel;
                    f64::from(weight(WeightIndex { segment, input, output }))
                });
                for (point, value) in points.as_flattened().iter().enumerate() {
                    let value = value / f64::from(WEIGHT_FACTOR);
                    values[(point * channels + channel) * block + output - first] = value as f32;
                }
            }
        }
    }
    Some(lines(&values))
}

/// Transformed input of several tiles: `[point][tile][channel]`.
type TransformedInputs<const TILES: usize> =
    [[[MaybeUninit<f32>; MAX_CHANNELS]; TILES]; POINTS * POINTS];
/// Accumulators of one point: `[tile][vector of outputs]` of one block.
type Accumulators<S, const VECTORS: usize, const TILES: usize> =
    [[<S as Simd>::f32s; VECTORS]; TILES];

/// Computes a row block of at least [`MIN_PIXELS`] pixels per row. `TILES` tiles share each load of
/// weights.
pub(super) fn run<S: Simd, M: MulAdd, const TILES: usize>(isa: S, job: FloatRowBlockJob<'_>) {
    struct Dispatch<'a, M, const TILES: usize>(FloatRowBlockJob<'a>, PhantomData<M>);
    impl<M: MulAdd, const TILES: usize> WithSimd for Dispatch<'_, M, TILES> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, isa: S) {
            let vectors = self.0.weights.block() / S::F32_LANES;
            match vectors {
                1 => rows::<S, M, 1, TILES>(isa, self.0),
                2 => rows::<S, M, 2, TILES>(isa, self.0),
                4 => rows::<S, M, 4, TILES>(isa, self.0),
                _ => unreachable!("no kernel has blocks of {vectors} vectors"),
            }
        }
    }
    isa.vectorize(Dispatch::<M, TILES>(job, PhantomData));
}

/// Computes a row block with blocks of `VECTORS` vectors.
#[inline(always)]
fn rows<S: Simd, M: MulAdd, const VECTORS: usize, const TILES: usize>(
    isa: S,
    mut job: FloatRowBlockJob<'_>,
) {
    let pixels = job.check();
    assert!(job.weights.has_winograd() && pixels >= MIN_PIXELS);
    assert!((S::F32_LANES..=MAX_CHANNELS).contains(&job.pitch));
    let mut x = 0;
    // `check` has verified that all pixels exist in every slice. The assertions above ensure that
    // there are Winograd weights and that the channels are a vector to `MAX_CHANNELS` values.
    while x + TILES * TILE_SIDE <= pixels {
        // SAFETY: see above; the tiles end at or before `pixels`.
        unsafe { tiles::<S, M, VECTORS, TILES>(isa, &mut job, x) };
        x += TILES * TILE_SIDE;
    }
    while x < pixels {
        // The last tiles may overlap the previous ones; they compute the same values again.
        // SAFETY: see above; the tiles end at or before `pixels`, which is at least `MIN_PIXELS`.
        unsafe { tiles::<S, M, VECTORS, TAIL_TILES>(isa, &mut job, x.min(pixels - MIN_PIXELS)) };
        x += TAIL_TILES * TILE_SIDE;
    }
}

/// Computes `TILES` tiles from pixel `start` on.
///
/// # Safety
/// [`FloatRowBlockJob::check`] has succeeded, `start + TILES * TILE_SIDE` does not exceed the
/// number of pixels, `job.weights` has Winograd weights, and the channels are at least a vector,
/// at most [`MAX_CHANNELS`].
#[inline(always)]
unsafe fn tiles<S: Simd, M: MulAdd, const VECTORS: usize, const TILES: usize>(
    isa: S,
    job: &mut FloatRowBlockJob<'_>,
    start: usize,
) {
    let (channels, lanes) = (job.pitch, S::F32_LANES);
    let mut values = MaybeUninit::<TransformedInputs<TILES>>::uninit();
    let mut sums = MaybeUninit::<[Accumulators<S, VECTORS, TILES>; POINTS * POINTS]>::uninit();
    let (values, sums) = (
        values.as_mut_ptr().cast::<f32>(),
        sums.as_mut_ptr().cast::<Accumulators<S, VECTORS, TILES>>(),
    );
    // SAFETY: by the contract of this function, all reads of inputs, weights and biases and all
    // writes of outputs are within their slices. All offsets into `values` and `sums` are within
    // these arrays, and each element is written before it is read.
    unsafe {
        for tile in 0..TILES {
            for channel in (0..channels).step_by(lanes) {
                // The last vector may overlap the previous one; it computes the same values again.
                let channel = channel.min(channels - lanes);
                let at = (start + tile * TILE_SIDE) * channels + channel;
                transform::<S, TILES>(
                    isa,
                    &job.segments,
                    at,
                    channels,
                    values.add(tile * MAX_CHANNELS + channel),
                );
            }
        }
        let block = VECTORS * lanes;
        for first in (0..job.weights.shape().outputs).step_by(block) {
            let weights = job.weights.winograd_lines(first / block).as_ptr().cast::<f32>();
            for point in 0..POINTS * POINTS {
                let values = values.add(point * TILES * MAX_CHANNELS);
                let weights = weights.add(point * channels * block);
                multiply::<S, M, VECTORS, TILES>(isa, values, weights, channels, sums.add(point));
            }
            let bias = job.weights.block_bias(first / block).as_ptr().cast::<f32>();
            for tile in 0..TILES {
                for v in 0..VECTORS {
                    let bias = bias.add(v * lanes).cast::<S::f32s>().read_unaligned();
                    let sums = sums.cast::<S::f32s>().add(tile * VECTORS + v);
                    let columns = inverse_transform_columns::<S, VECTORS, TILES>(isa, sums);
                    let at = TileOutputs { x: start + tile * TILE_SIDE, output: first + v * lanes };
                    store_tile(isa, job, at, bias, &columns);
                }
            }
        }
    }
}

/// Returns `value * factor + addend`. `factor` is a power of two, so the product is exact and the
/// result does not depend on whether the processor fuses the two operations.
#[inline(always)]
fn scaled_add<S: Simd>(isa: S, value: S::f32s, factor: S::f32s, addend: S::f32s) -> S::f32s {
    isa.mul_add_e_f32s(value, factor, addend)
}

/// Applies the input transform to a line of six vectors.
#[inline(always)]
fn transform_line<S: Simd>(isa: S, d: [S::f32s; POINTS]) -> [S::f32s; POINTS] {
    let [two, less_two] = [isa.splat_f32s(2.0), isa.splat_f32s(-2.0)];
    let [four, less_four] = [isa.splat_f32s(4.0), isa.splat_f32s(-4.0)];
    let (even, odd) =
        (scaled_add(isa, d[2], less_four, d[4]), scaled_add(isa, d[1], less_four, d[3]));
    let (even_far, odd_far) = (isa.sub_f32s(d[4], d[2]), isa.sub_f32s(d[3], d[1]));
    [
        scaled_add(isa, isa.sub_f32s(d[0], d[2]), four, even_far),
        isa.add_f32s(even, odd),
        isa.sub_f32s(even, odd),
        scaled_add(isa, odd_far, two, even_far),
        scaled_add(isa, odd_far, less_two, even_far),
        scaled_add(isa, odd_far, less_four, isa.sub_f32s(d[5], d[3])),
    ]
}

/// Reads six pixels of `segment`, from value `at` on and `pitch` values apart, and transforms them.
///
/// # Safety
/// A vector of values exists at `at` and at each of the five following multiples of `pitch`.
#[inline(always)]
unsafe fn transform_row<S: Simd>(
    isa: S,
    segment: &[f32],
    at: usize,
    pitch: usize,
) -> [S::f32s; POINTS] {
    let from = segment.as_ptr().wrapping_add(at);
    // SAFETY: by the contract of this function. The array is written out, because an array that is
    // cleared first would be kept in memory.
    let line = unsafe {
        [
            from.cast::<S::f32s>().read_unaligned(),
            from.add(pitch).cast::<S::f32s>().read_unaligned(),
            from.add(2 * pitch).cast::<S::f32s>().read_unaligned(),
            from.add(3 * pitch).cast::<S::f32s>().read_unaligned(),
            from.add(4 * pitch).cast::<S::f32s>().read_unaligned(),
            from.add(5 * pitch).cast::<S::f32s>().read_unaligned(),
        ]
    };
    transform_line(isa, line)
}

/// Transforms one vector of channels of a tile, whose inputs lie from value `at` of each segment
/// on, `pitch` values apart. Writes the 36 points to `to`, `TILES * MAX_CHANNELS` values apart.
///
/// # Safety
/// The inputs exist, and there is room for all points from `to` on.
#[inline(always)]
unsafe fn transform<S: Simd, const TILES: usize>(
    isa: S,
    segments: &[&[f32]; POINTS],
    at: usize,
    pitch: usize,
    to: *mut f32,
) {
    // SAFETY: by the contract of this function.
    unsafe {
        let rows = [
            transform_row(isa, segments[0], at, pitch),
            transform_row(isa, segments[1], at, pitch),
            transform_row(isa, segments[2], at, pitch),
            transform_row(isa, segments[3], at, pitch),
            transform_row(isa, segments[4], at, pitch),
            transform_row(isa, segments[5], at, pitch),
        ];
        // A closure, as for `map`, might be compiled as a function without the instruction set, and
        // called.
        #[allow(clippy::needless_range_loop)]
        for x in 0..POINTS {
            let column = [rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]];
            for (y, v) in transform_line(isa, column).into_iter().enumerate() {
                to.add((y * POINTS + x) * TILES * MAX_CHANNELS)
                    .cast::<S::f32s>()
                    .write_unaligned(v);
            }
        }
    }
}

/// Computes the accumulators of one point, for all tiles and one block of outputs, and writes them
/// to `to`.
///
/// # Safety
/// `values` has `channels` values for each tile, `weights` has `channels` blocks of weights, and
/// there is room for the accumulators at `to`.
#[inline(always)]
unsafe fn multiply<S: Simd, M: MulAdd, const VECTORS: usize, const TILES: usize>(
    isa: S,
    values: *const f32,
    mut weights: *const f32,
    channels: usize,
    to: *mut Accumulators<S, VECTORS, TILES>,
) {
    let mut sums = [[isa.splat_f32s(0.0); VECTORS]; TILES];
    for channel in 0..channels {
        // SAFETY: by the contract of this function.
        unsafe {
            let mut w = [isa.splat_f32s(0.0); VECTORS];
            for w in &mut w {
                *w = weights.cast::<S::f32s>().read_unaligned();
                weights = weights.add(S::F32_LANES);
            }
            for (tile, sum) in sums.iter_mut().enumerate() {
                let value = isa.splat_f32s(*values.add(tile * MAX_CHANNELS + channel));
                for v in 0..VECTORS {
                    sum[v] = M::mul_add(isa, value, w[v], sum[v]);
                }
            }
        }
    }
    // Written one by one: a copy of the whole array would force the accumulators into memory during
    // the loop above.
    let to = to.cast::<S::f32s>();
    for (tile, sum) in sums.iter().enumerate() {
        for (v, sum) in sum.iter().enumerate() {
            // SAFETY: by the contract of this function.
            unsafe { to.add(tile * VECTORS + v).write(*sum) };
        }
    }
}

/// Applies the output transform to a line of six points.
#[inline(always)]
fn inverse_transform_line<S: Simd>(isa: S, m: [S::f32s; POINTS]) -> [S::f32s; TILE_SIDE] {
    let (near, near_odd) = (isa.add_f32s(m[1], m[2]), isa.sub_f32s(m[1], m[2]));
    let (far, far_odd) = (isa.add_f32s(m[3], m[4]), isa.sub_f32s(m[3], m[4]));
    [
        isa.add_f32s(m[0], isa.add_f32s(near, far)),
        scaled_add(isa, far_odd, isa.splat_f32s(2.0), near_odd),
        scaled_add(isa, far, isa.splat_f32s(4.0), near),
        scaled_add(isa, isa.add_f32s(far_odd, m[5]), isa.splat_f32s(8.0), near_odd),
    ]
}

/// Applies the output transform to the columns of a tile, for one vector of outputs. `sums` points
/// to the accumulator of the first point.
///
/// # Safety
/// The accumulators of all points have been written.
#[inline(always)]
unsafe fn inverse_transform_columns<S: Simd, const VECTORS: usize, const TILES: usize>(
    isa: S,
    sums: *const S::f32s,
) -> [[S::f32s; TILE_SIDE]; POINTS] {
    let mut columns = [[isa.splat_f32s(0.0); TILE_SIDE]; POINTS];
    for (x, column) in columns.iter_mut().enumerate() {
        // SAFETY: by the contract of this function.
        let points = unsafe {
            let column = sums.add(x * TILES * VECTORS);
            let row = POINTS * TILES * VECTORS;
            [
                *column,
                *column.add(row),
                *column.add(2 * row),
                *column.add(3 * row),
                *column.add(4 * row),
                *column.add(5 * row),
            ]
        };
        *column = inverse_transform_line(isa, points);
    }
    columns
}

/// One vector of outputs of the pixels of a tile.
#[derive(Clone, Copy)]
struct TileOutputs {
    /// First column of the tile.
    x: usize,
    /// First output of the vector.
    output: usize,
}

/// Computes and stores a vector of outputs of a tile: output transform of the rows, bias, residual
/// and activation.
///
/// # Safety
/// Pixels `x..x + TILE_SIDE` exist in all rows of `job`.
#[inline(always)]
unsafe fn store_tile<S: Simd>(
    isa: S,
    job: &mut FloatRowBlockJob<'_>,
    TileOutputs { x, output }: TileOutputs,
    bias: S::f32s,
    columns: &[[S::f32s; TILE_SIDE]; POINTS],
) {
    let (outputs, lanes) = (job.weights.shape().outputs, S::F32_LANES);
    // The last vectors of a block can be padding.
    let Some(count @ 1..) = outputs.checked_sub(output).map(|rest| rest.min(lanes)) else { return };
    // SAFETY: by the contract of this function; only the `count` outputs that exist are read and
    // written.
    unsafe {
        let range = job.activation.clamp_range();
        for y in 0..TILE_SIDE {
            let c = columns;
            let line =
                inverse_transform_line(isa, [c[0][y], c[1][y], c[2][y], c[3][y], c[4][y], c[5][y]]);
            for (i, value) in line.into_iter().enumerate() {
                let at = (x + i) * outputs + output;
                let mut value = isa.add_f32s(value, bias);
                if let Some(residual) = job.residuals[y] {
                    let residual = residual.as_ptr().add(at);
                    let residual = if count == lanes {
                        residual.cast::<S::f32s>().read_unaligned()
                    } else {
                        isa.partial_load_f32s(std::slice::from_raw_parts(residual, count))
                    };
                    value = isa.add_f32s(value, residual);
                }
                if let Some([min, max]) = range {
                    value =
                        isa.min_f32s(isa.max_f32s(value, isa.splat_f32s(min)), isa.splat_f32s(max));
                }
                let to = job.out[y].as_mut_ptr().add(at);
                if count == lanes {
                    to.cast::<S::f32s>().write_unaligned(value);
                } else {
                    isa.partial_store_f32s(std::slice::from_raw_parts_mut(to, count), value);
                }
            }
        }
    }
}
