//! AVX2, which has no exact product of bytes: bytes are spread to 16 bits, even and odd ones apart.

use std::arch::x86_64::*;

use super::{FINE_BITS, Finish, RowJob, Segments, pack::LINE};

/// Values in a vector, and vectors in a block.
const LANES: usize = 8;
const VECTORS: usize = LINE / LANES;
/// Pixels that share each load of weights.
const TILE: usize = 4;

/// What a tile needs, checked once per row.
struct Tile<'a, 'b> {
    /// Bytes of each run of input.
    segments: [*const u8; MAX_SEGMENTS],
    count: usize,
    /// Bytes from one pixel to the next.
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

const MAX_SEGMENTS: usize = 3;

/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn run(mut job: RowJob<'_>) {
    let pixels = job.check();
    let mut segments = [std::ptr::null(); MAX_SEGMENTS];
    let bytes = match job.segments {
        Segments::Coarse(list) => {
            segments.iter_mut().zip(list).for_each(|(to, from)| *to = from.as_ptr());
            1
        }
        Segments::Fine(list) => {
            segments.iter_mut().zip(list).for_each(|(to, from)| *to = from.as_ptr().cast());
            2
        }
    };
    assert!(job.weights.segments() <= MAX_SEGMENTS);
    let outputs = job.weights.outputs();
    for first in (0..outputs).step_by(LINE) {
        let (bias, scale) = job.weights.block_scales(first);
        let mut tile = Tile {
            segments,
            count: job.weights.segments(),
            pitch: bytes * job.pitch,
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
        // SAFETY: `check` has shown that all pixels of every slice exist; a block has weights, biases and scales for
        // each of its vectors.
        unsafe {
            if bytes == 1 {
                row::<false>(&mut tile, pixels);
            } else {
                row::<true>(&mut tile, pixels);
            }
        }
    }
}

/// # Safety
/// As [`compute`], for pixels up to `pixels`.
#[target_feature(enable = "avx2")]
unsafe fn row<const FINE: bool>(tile: &mut Tile<'_, '_>, pixels: usize) {
    // The last tile of a row may overlap the one before; it computes the same values again, from other slices.
    // SAFETY: no tile reaches beyond `pixels`.
    unsafe {
        if pixels >= TILE {
            for x in (0..pixels).step_by(TILE) {
                compute::<TILE, FINE>(tile, x.min(pixels - TILE));
            }
        } else {
            for x in 0..pixels {
                compute::<1, FINE>(tile, x);
            }
        }
    }
}

/// Computes `N` pixels from `x` on.
///
/// # Safety
/// Pixels `x..x + N` lie within the slices that `tile` was made from.
#[target_feature(enable = "avx2")]
unsafe fn compute<const N: usize, const FINE: bool>(tile: &mut Tile<'_, '_>, x: usize) {
    let low = _mm256_set1_epi16(0xff);
    // SAFETY: all offsets below stay within the bounds that the caller vouches for.
    unsafe {
        let load = |p: *const u32| _mm256_loadu_si256(p.cast());
        let bias: [__m256i; VECTORS] = std::array::from_fn(|v| load(tile.bias.add(v * LANES).cast()));
        let mut sums = [bias; N];
        let mut weights = tile.weights;
        for segment in &tile.segments[..tile.count] {
            let input = segment.add(x * tile.pitch);
            for word in 0..tile.words {
                let w: [__m256i; VECTORS] = std::array::from_fn(|v| load(weights.add(v * LANES)));
                weights = weights.add(LINE);
                let even = w.map(|w| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)));
                let odd = w.map(|w| _mm256_srai_epi16::<8>(w));
                for (i, sum) in sums.iter_mut().enumerate() {
                    let value = input.add(i * tile.pitch + 4 * word).cast::<i32>().read_unaligned();
                    let value = _mm256_set1_epi32(value);
                    if FINE {
                        for v in 0..VECTORS {
                            sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(value, w[v]));
                        }
                    } else {
                        let evens = _mm256_and_si256(value, low);
                        let odds = _mm256_srli_epi16::<8>(value);
                        for v in 0..VECTORS {
                            let pair =
                                _mm256_add_epi32(_mm256_madd_epi16(evens, even[v]), _mm256_madd_epi16(odds, odd[v]));
                            sum[v] = _mm256_add_epi32(sum[v], pair);
                        }
                    }
                }
            }
        }
        for (i, sum) in sums.iter().enumerate() {
            let at = (x + i) * tile.outputs + tile.first;
            for (v, sum) in sum.iter().enumerate() {
                let count = LANES.min(tile.width.saturating_sub(v * LANES));
                let scale = _mm256_loadu_ps(tile.scale.add(v * LANES));
                let t = _mm256_mul_ps(_mm256_cvtepi32_ps(*sum), scale);
                finish(tile.finish, tile.ratio, at + v * LANES, count, t);
            }
        }
    }
}

/// Up to 8 values of what [`Finish`] tells.
///
/// # Safety
/// `count` values from `at` on lie within the slices of `finish`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn finish(finish: &mut Finish<'_>, ratio: f32, at: usize, count: usize, t: __m256) {
    let clamp = |t: __m256, low: f32, high: f32| {
        _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(t, _mm256_set1_ps(low)), _mm256_set1_ps(high)))
    };
    // SAFETY: only `count` values are read and written.
    unsafe {
        match finish {
            Finish::Relu { coarse } => store_bytes(coarse.as_mut_ptr().add(at), count, clamp(t, 0.0, 255.0)),
            Finish::Signed { add, fine, coarse } => {
                let t = match add {
                    Some(add) => {
                        let add = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(load_words(add.as_ptr().add(at), count)));
                        _mm256_add_ps(t, _mm256_mul_ps(add, _mm256_set1_ps(ratio)))
                    }
                    None => t,
                };
                let value = clamp(t, -32768.0, 32767.0);
                store_words(fine.as_mut_ptr().add(at), count, value);
                let half = _mm256_set1_epi32((1 << (FINE_BITS - 1)) + (128 << FINE_BITS));
                let steps = _mm256_srai_epi32::<{ FINE_BITS as i32 }>(_mm256_add_epi32(value, half));
                let steps = _mm256_min_epi32(_mm256_max_epi32(steps, _mm256_setzero_si256()), _mm256_set1_epi32(255));
                store_bytes(coarse.as_mut_ptr().add(at), count, steps);
            }
            Finish::Float { out } => {
                let mut values = [0.0f32; LANES];
                _mm256_storeu_ps(values.as_mut_ptr(), t);
                std::ptr::copy_nonoverlapping(values.as_ptr(), out.as_mut_ptr().add(at), count);
            }
        }
    }
}

/// Stores values between 0 and 255.
///
/// # Safety
/// There is room for `count` values.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_bytes(to: *mut u8, count: usize, values: __m256i) {
    let words = narrow(values);
    let bytes = _mm_packus_epi16(words, words);
    // SAFETY: as the caller vouches.
    unsafe {
        if count == LANES {
            _mm_storel_epi64(to.cast(), bytes);
        } else {
            std::ptr::copy_nonoverlapping(_mm_cvtsi128_si64(bytes).to_le_bytes().as_ptr(), to, count);
        }
    }
}

/// Stores values that fit 16 bits.
///
/// # Safety
/// There is room for `count` values.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_words(to: *mut i16, count: usize, values: __m256i) {
    let words = narrow(values);
    // SAFETY: as the caller vouches.
    unsafe {
        if count == LANES {
            _mm_storeu_si128(to.cast(), words);
        } else {
            let mut all = [0i16; LANES];
            _mm_storeu_si128(all.as_mut_ptr().cast(), words);
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, count);
        }
    }
}

/// # Safety
/// There are `count` values.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_words(from: *const i16, count: usize) -> __m128i {
    // SAFETY: as the caller vouches.
    unsafe {
        if count == LANES {
            return _mm_loadu_si128(from.cast());
        }
        let mut all = [0i16; LANES];
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
        _mm_loadu_si128(all.as_ptr().cast())
    }
}

/// Eight values, saturated to 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow(values: __m256i) -> __m128i {
    _mm_packs_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256::<1>(values))
}
