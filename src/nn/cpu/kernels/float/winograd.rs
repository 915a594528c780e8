//! 3x3 convolutions with a quarter of the products: minimal filtering F(4x4, 3x3) (Winograd, "Arithmetic Complexity of Computations", 1980; Lavin
//! and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). 36 products make a tile of 4x4 pixels, which take 144 one by one.
//! It costs two or three binary digits, which floats have to spare.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};

use super::{
    super::filtering::{FACTOR, POINTS, SIDE, TAPS, points},
    RowsJob,
    pack::{Line, lines},
};

/// Tiles beside each other at the end of a row, where there are not as many as share weights elsewhere.
const LAST: usize = 2;
/// The least pixels that a row must have.
pub(super) const NARROWEST: usize = LAST * SIDE;
/// Most channels, so that the values of some tiles stay in cache. It is also the distance of two tiles' values: alike for all, so that it stands in
/// the instructions.
const MAX_CHANNELS: usize = 80;

/// Weights of a 3x3 convolution, packed: for each block of outputs and each point, those of all channels. `None` for channels that are too many or no
/// whole vectors of `lanes`. `weight` is that of [`Packed`](super::Packed).
pub(super) fn pack(
    [segments, depth, outputs]: [usize; 3],
    [block, lanes]: [usize; 2],
    weight: impl Fn(usize, usize, usize) -> f32,
) -> Option<Vec<Line>> {
    let channels = depth / TAPS;
    let fits = segments == TAPS && depth == TAPS * channels && channels.is_multiple_of(lanes);
    if !fits || channels > MAX_CHANNELS || outputs < block {
        return None;
    }
    let mut values = vec![0.0; outputs.div_ceil(block) * POINTS * POINTS * channels * block];
    for (first, values) in
        (0..outputs).step_by(block).zip(values.chunks_mut(POINTS * POINTS * channels * block))
    {
        for channel in 0..channels {
            for output in first..outputs.min(first + block) {
                let points =
                    points(|row, tap| f64::from(weight(row, tap * channels + channel, output)));
                for (point, value) in points.as_flattened().iter().enumerate() {
                    let value = value / f64::from(FACTOR);
                    values[(point * channels + channel) * block + output - first] = value as f32;
                }
            }
        }
    }
    Some(lines(&values))
}

/// Values of some tiles, transformed: by point and tile, those of all channels.
type Values<const TILES: usize> = [[[MaybeUninit<f32>; MAX_CHANNELS]; TILES]; POINTS * POINTS];
/// Sums of the products of a point, for each tile, of a block of outputs.
type Sums<S, const VECTORS: usize, const TILES: usize> = [[<S as Simd>::f32s; VECTORS]; TILES];

/// Computes rows of at least [`NARROWEST`] pixels, with `TILES` tiles that share each load of weights.
pub(super) fn run<S: Simd, const TILES: usize>(isa: S, job: RowsJob<'_>) {
    struct Op<'a, const TILES: usize>(RowsJob<'a>);
    impl<const TILES: usize> WithSimd for Op<'_, TILES> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, isa: S) {
            let vectors = self.0.weights.block() / S::F32_LANES;
            match vectors {
                1 => rows::<S, 1, TILES>(isa, self.0),
                2 => rows::<S, 2, TILES>(isa, self.0),
                4 => rows::<S, 4, TILES>(isa, self.0),
                _ => unreachable!("no kernel has blocks of {vectors} vectors"),
            }
        }
    }
    isa.vectorize(Op::<TILES>(job));
}

#[inline(always)]
fn rows<S: Simd, const VECTORS: usize, const TILES: usize>(isa: S, mut job: RowsJob<'_>) {
    let pixels = job.check();
    assert!(
        pixels >= NARROWEST && job.pitch <= MAX_CHANNELS && job.pitch.is_multiple_of(S::F32_LANES)
    );
    let mut x = 0;
    // SAFETY (both): `check` has shown that all pixels exist; these reach up to `pixels`, and channels are whole vectors, no more than there is room for.
    while x + TILES * SIDE <= pixels {
        unsafe { tiles::<S, VECTORS, TILES>(isa, &mut job, x) };
        x += TILES * SIDE;
    }
    while x < pixels {
        // The last ones may overlap those before; they compute the same values again.
        unsafe { tiles::<S, VECTORS, LAST>(isa, &mut job, x.min(pixels - LAST * SIDE)) };
        x += LAST * SIDE;
    }
}

/// Computes `TILES` tiles from pixel `start` on.
///
/// # Safety
/// Their pixels and what these are made of exist, and there are weights for them; channels are whole vectors, at most [`MAX_CHANNELS`].
#[inline(always)]
unsafe fn tiles<S: Simd, const VECTORS: usize, const TILES: usize>(
    isa: S,
    job: &mut RowsJob<'_>,
    start: usize,
) {
    let (channels, lanes) = (job.pitch, S::F32_LANES);
    let mut values = MaybeUninit::<Values<TILES>>::uninit();
    let mut sums = MaybeUninit::<[Sums<S, VECTORS, TILES>; POINTS * POINTS]>::uninit();
    let (values, sums) =
        (values.as_mut_ptr().cast::<f32>(), sums.as_mut_ptr().cast::<Sums<S, VECTORS, TILES>>());
    // SAFETY: the caller vouches for what is read; all offsets into `values` and `sums` stay within these, and what is read of them has been written.
    unsafe {
        for tile in 0..TILES {
            for channel in (0..channels).step_by(lanes) {
                let at = (start + tile * SIDE) * channels + channel;
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
        for first in (0..job.weights.outputs()).step_by(block) {
            let weights = job.weights.filtered_lines(first / block).as_ptr().cast::<f32>();
            for point in 0..POINTS * POINTS {
                let values = values.add(point * TILES * MAX_CHANNELS);
                let weights = weights.add(point * channels * block);
                multiply::<S, VECTORS, TILES>(isa, values, weights, channels, sums.add(point));
            }
            let bias = job.weights.block_bias(first / block).as_ptr().cast::<f32>();
            for tile in 0..TILES {
                for v in 0..VECTORS {
                    let bias = bias.add(v * lanes).cast::<S::f32s>().read_unaligned();
                    let sums = sums.cast::<S::f32s>().add(tile * VECTORS + v);
                    let columns = combine_columns::<S, VECTORS, TILES>(isa, sums);
                    finish(isa, job, [start + tile * SIDE, first + v * lanes], bias, &columns);
                }
            }
        }
    }
}

/// Transforms a line of values.
#[inline(always)]
fn transform_line<S: Simd>(isa: S, d: [S::f32s; POINTS]) -> [S::f32s; POINTS] {
    let [two, less_two] = [isa.splat_f32s(2.0), isa.splat_f32s(-2.0)];
    let [four, less_four] = [isa.splat_f32s(4.0), isa.splat_f32s(-4.0)];
    let (even, odd) =
        (isa.mul_add_f32s(d[2], less_four, d[4]), isa.mul_add_f32s(d[1], less_four, d[3]));
    let (even_far, odd_far) = (isa.sub_f32s(d[4], d[2]), isa.sub_f32s(d[3], d[1]));
    [
        isa.mul_add_f32s(isa.sub_f32s(d[0], d[2]), four, even_far),
        isa.add_f32s(even, odd),
        isa.sub_f32s(even, odd),
        isa.mul_add_f32s(odd_far, two, even_far),
        isa.mul_add_f32s(odd_far, less_two, even_far),
        isa.mul_add_f32s(odd_far, less_four, isa.sub_f32s(d[5], d[3])),
    ]
}

/// Transforms a line of values of `segment` from value `at` on, whose pixels lie `pitch` apart.
///
/// # Safety
/// They exist.
#[inline(always)]
unsafe fn transform_row<S: Simd>(
    isa: S,
    segment: &[f32],
    at: usize,
    pitch: usize,
) -> [S::f32s; POINTS] {
    let from = segment.as_ptr().wrapping_add(at);
    // SAFETY: the caller vouches for it. Written out, as arrays that are cleared first would be in memory.
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

/// Transforms a vector of channels of the values of a tile, from value `at` of each segment on, whose pixels lie `pitch` apart; writes those of all
/// points, which lie a row of tiles apart.
///
/// # Safety
/// These values exist, and as much room from `to` on.
#[inline(always)]
unsafe fn transform<S: Simd, const TILES: usize>(
    isa: S,
    segments: &[&[f32]; POINTS],
    at: usize,
    pitch: usize,
    to: *mut f32,
) {
    // SAFETY: the caller vouches for it.
    unsafe {
        let rows = [
            transform_row(isa, segments[0], at, pitch),
            transform_row(isa, segments[1], at, pitch),
            transform_row(isa, segments[2], at, pitch),
            transform_row(isa, segments[3], at, pitch),
            transform_row(isa, segments[4], at, pitch),
            transform_row(isa, segments[5], at, pitch),
        ];
        // Closures, as `map` takes one, may stay calls of code that was compiled without the instruction set.
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

/// Sums of products of one point, written to `to`: of the values of each tile with the weights of a block.
///
/// # Safety
/// There are `channels` values for each tile, as many times a block of weights, and room for the sums.
#[inline(always)]
unsafe fn multiply<S: Simd, const VECTORS: usize, const TILES: usize>(
    isa: S,
    values: *const f32,
    mut weights: *const f32,
    channels: usize,
    to: *mut Sums<S, VECTORS, TILES>,
) {
    let mut sums = [[isa.splat_f32s(0.0); VECTORS]; TILES];
    for channel in 0..channels {
        // SAFETY: the caller vouches for it.
        unsafe {
            let mut w = [isa.splat_f32s(0.0); VECTORS];
            for w in &mut w {
                *w = weights.cast::<S::f32s>().read_unaligned();
                weights = weights.add(S::F32_LANES);
            }
            for (tile, sum) in sums.iter_mut().enumerate() {
                let value = isa.splat_f32s(*values.add(tile * MAX_CHANNELS + channel));
                for v in 0..VECTORS {
                    sum[v] = isa.mul_add_f32s(value, w[v], sum[v]);
                }
            }
        }
    }
    // As one value these would lie in memory all along.
    let to = to.cast::<S::f32s>();
    for (tile, sum) in sums.iter().enumerate() {
        for (v, sum) in sum.iter().enumerate() {
            // SAFETY: the caller vouches for it.
            unsafe { to.add(tile * VECTORS + v).write(*sum) };
        }
    }
}

/// What a line of points comes to.
#[inline(always)]
fn combine_line<S: Simd>(isa: S, m: [S::f32s; POINTS]) -> [S::f32s; SIDE] {
    let (near, near_odd) = (isa.add_f32s(m[1], m[2]), isa.sub_f32s(m[1], m[2]));
    let (far, far_odd) = (isa.add_f32s(m[3], m[4]), isa.sub_f32s(m[3], m[4]));
    [
        isa.add_f32s(m[0], isa.add_f32s(near, far)),
        isa.mul_add_f32s(far_odd, isa.splat_f32s(2.0), near_odd),
        isa.mul_add_f32s(far, isa.splat_f32s(4.0), near),
        isa.mul_add_f32s(isa.add_f32s(far_odd, m[5]), isa.splat_f32s(8.0), near_odd),
    ]
}

/// Columns of points of a tile, combined, for a vector of outputs. `sums` are those of the first point.
///
/// # Safety
/// All sums have been written.
#[inline(always)]
unsafe fn combine_columns<S: Simd, const VECTORS: usize, const TILES: usize>(
    isa: S,
    sums: *const S::f32s,
) -> [[S::f32s; SIDE]; POINTS] {
    let mut columns = [[isa.splat_f32s(0.0); SIDE]; POINTS];
    for (x, column) in columns.iter_mut().enumerate() {
        // SAFETY: the caller vouches for it.
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
        *column = combine_line(isa, points);
    }
    columns
}

/// Makes the pixels of a tile, from column `x` on, of a vector of outputs from `output` on.
///
/// # Safety
/// These pixels exist.
#[inline(always)]
unsafe fn finish<S: Simd>(
    isa: S,
    job: &mut RowsJob<'_>,
    [x, output]: [usize; 2],
    bias: S::f32s,
    columns: &[[S::f32s; SIDE]; POINTS],
) {
    let (outputs, lanes) = (job.weights.outputs(), S::F32_LANES);
    let Some(count @ 1..) = outputs.checked_sub(output).map(|rest| rest.min(lanes)) else { return };
    // SAFETY: the caller vouches for it.
    unsafe {
        let range = job.activation.range();
        for y in 0..SIDE {
            let c = columns;
            let line = combine_line(isa, [c[0][y], c[1][y], c[2][y], c[3][y], c[4][y], c[5][y]]);
            for (i, value) in line.into_iter().enumerate() {
                let at = (x + i) * outputs + output;
                let mut value = isa.add_f32s(value, bias);
                if let Some(add) = job.add[y] {
                    let add = add.as_ptr().add(at);
                    let add = if count == lanes {
                        add.cast::<S::f32s>().read_unaligned()
                    } else {
                        isa.partial_load_f32s(std::slice::from_raw_parts(add, count))
                    };
                    value = isa.add_f32s(value, add);
                }
                if let Some([least, most]) = range {
                    value = isa
                        .min_f32s(isa.max_f32s(value, isa.splat_f32s(least)), isa.splat_f32s(most));
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
