//! AVX2, which has no exact product of bytes: they are spread to 16 bits, a few pixels at a time, and weights are kept in
//! 16 bits from the start. A product of pairs and an addition then do 16 steps, on two vectors of outputs for each load.
//! `vnni256.rs` shares the tiles, with other products. Most rows of 3x3 convolutions go through `winograd.rs`.

use std::arch::x86_64::*;

use super::{FINE_BITS, Finish, MAX_DEPTH, RowJob, Segments, ZERO, pack::LINE};

/// Values in a vector, and vectors in a block.
pub(super) const LANES: usize = 8;
pub(super) const VECTORS: usize = LINE / LANES;
/// Pixels that share each load of weights: with their sums, two vectors of weights and one of input all registers are full.
const TILE: usize = 6;
pub(super) const MAX_SEGMENTS: usize = 3;

/// How values are multiplied with weights, a word of both at a time.
pub(super) trait Dot {
    type Value: Copy;

    /// Adds the products of the values in each word with the weights in the same word of another vector.
    ///
    /// # Safety
    /// The processor has AVX2, and what the implementation tells.
    unsafe fn dot(sum: __m256i, values: __m256i, weights: __m256i) -> __m256i;
}

/// With the instructions of AVX2.
struct Madd;

impl Dot for Madd {
    type Value = i16;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot(sum: __m256i, values: __m256i, weights: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(values, weights))
    }
}

/// What a tile needs, checked once per row.
struct Tile<'a, 'b, T> {
    /// Values of each run of input, of the pixel `origin` first.
    segments: &'a [*const T],
    origin: usize,
    /// Values from one pixel to the next.
    pitch: usize,
    words: usize,
    outputs: usize,
    weights: *const u32,
    bias: *const i32,
    scale: *const f32,
    ratio: f32,
    finish: &'a mut Finish<'b>,
    /// First output of the block, and how many of its outputs exist.
    first: usize,
    width: usize,
}

/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn run(mut job: RowJob<'_>) {
    let pixels = job.check();
    let count = job.weights.segments();
    assert!(count <= MAX_SEGMENTS);
    let mut segments = [std::ptr::null(); MAX_SEGMENTS];
    match job.segments {
        Segments::Fine(list) => {
            segments.iter_mut().zip(list).for_each(|(to, from)| *to = from.as_ptr());
            // SAFETY: `check` has shown that all pixels of every segment and of the result exist.
            unsafe { blocks::<Madd>(&mut job, &segments[..count], 0, 0, pixels) };
        }
        Segments::Coarse(list) => {
            let (pitch, depth) = (job.pitch, job.weights.depth());
            let mut spread = [[0i16; MAX_DEPTH]; MAX_SEGMENTS];
            let room = (MAX_DEPTH - depth).checked_div(pitch).map_or(pixels, |more| more + 1);
            let step = if room > TILE { room - room % TILE } else { room };
            for start in (0..pixels).step_by(step) {
                // A last part that is narrower than a tile takes pixels of the part before once more.
                let start =
                    if step >= TILE { start.min(pixels.saturating_sub(TILE)) } else { start };
                let part = step.min(pixels - start);
                let values = (part - 1) * pitch + depth;
                for ((to, wide), from) in segments.iter_mut().zip(&mut spread).zip(list) {
                    let bytes = &from[start * pitch..][..values];
                    wide[..values]
                        .iter_mut()
                        .zip(bytes)
                        .for_each(|(to, from)| *to = i16::from(*from));
                    *to = wide.as_ptr();
                }
                // SAFETY: `part` pixels of every segment lie in `spread`, and `check` has shown those of the result.
                unsafe { blocks::<Madd>(&mut job, &segments[..count], start, start, start + part) };
            }
        }
    }
}

/// Computes pixels `start..end`.
///
/// # Safety
/// From `segments` on lie the values of the pixels `origin..end`, and these exist in the result. The processor has what `D` needs.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn blocks<D: Dot>(
    job: &mut RowJob<'_>,
    segments: &[*const D::Value],
    origin: usize,
    start: usize,
    end: usize,
) {
    let outputs = job.weights.outputs();
    for first in (0..outputs).step_by(LINE) {
        let (bias, scale) = job.weights.block_scales(first);
        let mut tile = Tile {
            segments,
            origin,
            pitch: job.pitch,
            words: job.weights.words(),
            outputs,
            weights: job.weights.block_lines(first).as_ptr().cast(),
            bias: bias.as_ptr(),
            scale: scale.as_ptr(),
            ratio: job.weights.ratio(),
            finish: &mut job.finish,
            first,
            width: LINE.min(outputs - first),
        };
        // The last tile may overlap the one before; it computes the same values again, from other slices.
        // SAFETY: no tile reaches beyond `end`; a block has weights, biases and scales for each of its vectors.
        unsafe {
            if end - start >= TILE {
                for x in (start..end).step_by(TILE) {
                    compute::<D, TILE>(&mut tile, x.min(end - TILE));
                }
            } else {
                for x in start..end {
                    compute::<D, 1>(&mut tile, x);
                }
            }
        }
    }
}

/// Computes `N` pixels from `x` on.
///
/// # Safety
/// Pixels `x..x + N` lie within the slices that `tile` was made from. The processor has what `D` needs.
#[target_feature(enable = "avx2")]
unsafe fn compute<D: Dot, const N: usize>(tile: &mut Tile<'_, '_, D::Value>, x: usize) {
    // SAFETY: all offsets below stay within the bounds that the caller vouches for.
    unsafe {
        let load = |p: *const u32| _mm256_loadu_si256(p.cast());
        let bias: [__m256i; VECTORS] =
            std::array::from_fn(|v| load(tile.bias.add(v * LANES).cast()));
        let mut sums = [bias; N];
        let mut weights = tile.weights;
        for segment in tile.segments {
            let input = segment.add((x - tile.origin) * tile.pitch);
            for word in 0..tile.words {
                let w: [__m256i; VECTORS] = std::array::from_fn(|v| load(weights.add(v * LANES)));
                weights = weights.add(LINE);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let value = input.add(i * tile.pitch).cast::<i32>().add(word).read_unaligned();
                    let value = _mm256_set1_epi32(value);
                    for v in 0..VECTORS {
                        sum[v] = D::dot(sum[v], value, w[v]);
                    }
                }
            }
        }
        let scale: [__m256; VECTORS] =
            std::array::from_fn(|v| _mm256_loadu_ps(tile.scale.add(v * LANES)));
        let mut t = [[_mm256_setzero_ps(); VECTORS]; N];
        for i in 0..N {
            for v in 0..VECTORS {
                t[i][v] = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i][v]), scale[v]);
            }
        }
        let at = x * tile.outputs + tile.first;
        finish(tile.finish, tile.ratio, [at, tile.outputs, tile.width], &t);
    }
}

/// Makes of some pixels what [`Finish`] tells. Saturation stands in for its clamps: no value leaves 32 bits before it.
///
/// # Safety
/// From `at` on, and from there in steps of `outputs`, `width` values lie within the slices of `finish`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn finish<const N: usize>(
    finish: &mut Finish<'_>,
    ratio: f32,
    [at, outputs, width]: [usize; 3],
    t: &[[__m256; VECTORS]; N],
) {
    let places = || t.iter().enumerate().map(|(i, t)| (at + i * outputs, *t));
    // SAFETY: only `width` values are read and written at each place.
    unsafe {
        match finish {
            Finish::Relu { coarse } => {
                for (at, t) in places() {
                    store(coarse.as_mut_ptr().add(at), width, bytes::<true>(words(t)));
                }
            }
            Finish::Signed { add, fine, coarse } => {
                let ratio = _mm256_set1_ps(ratio);
                for (at, mut t) in places() {
                    if let Some(add) = add {
                        let add = load_words(add.as_ptr().add(at), width);
                        for (t, add) in t
                            .iter_mut()
                            .zip([_mm256_castsi256_si128(add), _mm256_extracti128_si256::<1>(add)])
                        {
                            let add = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(add));
                            *t = _mm256_add_ps(*t, _mm256_mul_ps(add, ratio));
                        }
                    }
                    let value = words(t);
                    store(fine.as_mut_ptr().add(at), width, value);
                    let half = _mm256_set1_epi16(1 << (FINE_BITS - 1));
                    let steps =
                        _mm256_srai_epi16::<{ FINE_BITS as i32 }>(_mm256_adds_epi16(value, half));
                    let excess =
                        _mm_xor_si128(bytes::<false>(steps), _mm_set1_epi8(ZERO.cast_signed()));
                    store(coarse.as_mut_ptr().add(at), width, excess);
                }
            }
            Finish::Float { out } => {
                for (at, t) in places() {
                    store(out.as_mut_ptr().add(at), width, t);
                }
            }
        }
    }
}

/// Rounded, ties to even, and saturated to 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn words(t: [__m256; VECTORS]) -> __m256i {
    let [a, b] = t.map(|t| _mm256_cvtps_epi32(t));
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b))
}

/// Saturated to 8 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes<const UNSIGNED: bool>(words: __m256i) -> __m128i {
    let (a, b) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    if UNSIGNED { _mm_packus_epi16(a, b) } else { _mm_packs_epi16(a, b) }
}

/// Stores the first of [`LINE`] values.
///
/// # Safety
/// `V` holds [`LINE`] values of type `T`, and there is room for `count` of them, at most [`LINE`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<T, V>(to: *mut T, count: usize, values: V) {
    const { assert!(size_of::<V>() == LINE * size_of::<T>()) };
    // SAFETY: as the caller vouches.
    unsafe {
        if count == LINE {
            to.cast::<V>().write_unaligned(values);
        } else {
            std::ptr::copy_nonoverlapping((&raw const values).cast::<T>(), to, count);
        }
    }
}

/// # Safety
/// There are `count` values.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_words(from: *const i16, count: usize) -> __m256i {
    // SAFETY: as the caller vouches.
    unsafe {
        if count == LINE {
            return _mm256_loadu_si256(from.cast());
        }
        let mut all = [0i16; LINE];
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
        _mm256_loadu_si256(all.as_ptr().cast())
    }
}
