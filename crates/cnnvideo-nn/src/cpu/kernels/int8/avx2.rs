// SPDX-License-Identifier: MIT OR Apache-2.0

//! AVX2 int8 kernel. AVX2 has no exact dot product of bytes, so the kernel widens activations to 16
//! bits, a few pixels at a time, and weights are packed in 16 bits. A multiply-add of pairs
//! (`vpmaddwd`) and an addition then perform 16 multiply-accumulates. Each load of an input word
//! serves two vectors of outputs.
//!
//! `vnni256.rs` uses the same tiles with other dot products. Most 3x3 convolutions use
//! `winograd.rs` instead.

use std::arch::x86_64::*;

use super::{Epilogue, Int8RowJob, MAX_DEPTH, RESIDUAL_BITS, Segments, ZERO_POINT, pack::LINE};

/// 32-bit values per vector.
pub(super) const LANES: usize = 8;
/// Vectors per block of outputs.
pub(super) const VECTORS: usize = LINE / LANES;
/// Pixels that share each load of weights. Their accumulators, two vectors of weights and one of
/// input fill all registers.
const TILE: usize = 6;
/// Upper limit of the segments of a weight matrix.
pub(super) const MAX_SEGMENTS: usize = 3;

/// Dot product instruction: multiplies words of activations with words of weights.
pub(super) trait Dot {
    /// Type of the activations in a word.
    type Value: Copy;

    /// Adds to each lane of `sum` the dot product of the activations in that word of `values` with
    /// the weights in that word of `weights`.
    ///
    /// # Safety
    /// The processor supports AVX2 and the instructions that the implementation requires.
    unsafe fn dot(sum: __m256i, values: __m256i, weights: __m256i) -> __m256i;
}

/// `vpmaddwd` and `vpaddd`, which AVX2 includes.
struct Madd;

impl Dot for Madd {
    type Value = i16;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot(sum: __m256i, values: __m256i, weights: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(values, weights))
    }
}

/// Pointers and sizes for [`compute`], verified once per row.
struct Tile<'a, 'b, T> {
    /// Values of each segment, from the first input of pixel `origin` on.
    segments: &'a [*const T],
    origin: usize,
    /// Distance between the inputs of neighbouring pixels, in values.
    pitch: usize,
    words: usize,
    outputs: usize,
    weights: *const u32,
    bias: *const i32,
    scale: *const f32,
    residual_scale: f32,
    epilogue: &'a mut Epilogue<'b>,
    /// First output of the block.
    first: usize,
    /// Outputs of the block that exist; the others are padding.
    width: usize,
}

/// Computes one row.
///
/// # Safety
/// The processor supports AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn run(mut job: Int8RowJob<'_>) {
    let pixels = job.check();
    let count = job.weights.segments();
    assert!(count <= MAX_SEGMENTS);
    let mut segments = [std::ptr::null(); MAX_SEGMENTS];
    match job.segments {
        Segments::I16(list) => {
            segments.iter_mut().zip(list).for_each(|(to, from)| *to = from.as_ptr());
            // SAFETY: `check` has verified that pixels `0..pixels` exist in every segment and in
            // the results.
            unsafe { blocks::<Madd>(&mut job, &segments[..count], 0, 0, pixels) };
        }
        Segments::U8(list) => {
            let (pitch, depth) = (job.pitch, job.weights.depth());
            let mut widened = [[0i16; MAX_DEPTH]; MAX_SEGMENTS];
            let room = (MAX_DEPTH - depth).checked_div(pitch).map_or(pixels, |more| more + 1);
            let step = if room > TILE { room - room % TILE } else { room };
            for start in (0..pixels).step_by(step) {
                // If the last part is narrower than a tile, it begins earlier and recomputes pixels
                // of the previous part.
                let start =
                    if step >= TILE { start.min(pixels.saturating_sub(TILE)) } else { start };
                let part = step.min(pixels - start);
                let values = (part - 1) * pitch + depth;
                for ((to, row), from) in segments.iter_mut().zip(&mut widened).zip(list) {
                    let bytes = &from[start * pitch..][..values];
                    row[..values]
                        .iter_mut()
                        .zip(bytes)
                        .for_each(|(to, from)| *to = i16::from(*from));
                    *to = row.as_ptr();
                }
                // SAFETY: `widened` holds the inputs of `part` pixels of every segment, and `check`
                // has verified that their results exist.
                unsafe { blocks::<Madd>(&mut job, &segments[..count], start, start, start + part) };
            }
        }
    }
}

/// Computes pixels `start..end` for all blocks of outputs.
///
/// # Safety
/// Each pointer in `segments` points to the inputs of pixels `origin..end`, `origin` does not
/// exceed `start`, and the results of pixels `start..end` exist in `job`. The processor supports
/// AVX2 and the instructions that `D` requires.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn blocks<D: Dot>(
    job: &mut Int8RowJob<'_>,
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
            residual_scale: job.weights.residual_scale(),
            epilogue: &mut job.epilogue,
            first,
            width: LINE.min(outputs - first),
        };
        // The last tile may overlap the previous one; it computes the same values again, from
        // inputs that the kernel does not write.
        // SAFETY: no tile exceeds `end`; a block has weights, biases and scales for each of its
        // vectors.
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

/// Computes pixels `x..x + N` for one block of outputs.
///
/// # Safety
/// Pixels `x..x + N` exist in the slices that `tile` was made from, and these slices are still
/// borrowed. The processor supports AVX2 and the instructions that `D` requires.
#[target_feature(enable = "avx2")]
unsafe fn compute<D: Dot, const N: usize>(tile: &mut Tile<'_, '_, D::Value>, x: usize) {
    // SAFETY: by the contract of this function, all offsets below are within the slices of `tile`.
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
        let places = OutputPlaces {
            start: x * tile.outputs + tile.first,
            stride: tile.outputs,
            width: tile.width,
        };
        apply_epilogue(tile.epilogue, tile.residual_scale, places, &t);
    }
}

/// Places in the output slices of an [`Epilogue`] for one block of outputs of several pixels.
#[derive(Clone, Copy)]
pub(super) struct OutputPlaces {
    /// Index of the first output of the first pixel.
    pub start: usize,
    /// Distance between pixels: the outputs per pixel.
    pub stride: usize,
    /// Outputs to store per pixel.
    pub width: usize,
}

/// Applies the epilogue to `N` pixels of scaled accumulators `t`. Saturating conversions replace
/// the clamps of [`Epilogue`], because no `t` exceeds 32 bits.
///
/// # Safety
/// `places` are within the slices of `epilogue`, for `N` pixels.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn apply_epilogue<const N: usize>(
    epilogue: &mut Epilogue<'_>,
    residual_scale: f32,
    OutputPlaces { start, stride, width }: OutputPlaces,
    t: &[[__m256; VECTORS]; N],
) {
    let pixels = || t.iter().enumerate().map(|(i, t)| (start + i * stride, *t));
    // SAFETY: only `width` values are read and written per pixel.
    unsafe {
        match epilogue {
            Epilogue::Relu { activations_u8 } => {
                for (at, t) in pixels() {
                    let bytes = saturate_to_bytes::<true>(round_to_i16(t));
                    store(activations_u8.as_mut_ptr().add(at), width, bytes);
                }
            }
            Epilogue::Signed { residual_in, residuals_i16, activations_u8 } => {
                let residual_scale = _mm256_set1_ps(residual_scale);
                for (at, mut t) in pixels() {
                    if let Some(residual) = residual_in {
                        let residual = load_i16(residual.as_ptr().add(at), width);
                        let halves = [
                            _mm256_castsi256_si128(residual),
                            _mm256_extracti128_si256::<1>(residual),
                        ];
                        for (t, half) in t.iter_mut().zip(halves) {
                            let residual = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(half));
                            *t = _mm256_add_ps(*t, _mm256_mul_ps(residual, residual_scale));
                        }
                    }
                    let value = round_to_i16(t);
                    store(residuals_i16.as_mut_ptr().add(at), width, value);
                    let half_unit = _mm256_set1_epi16(1 << (RESIDUAL_BITS - 1));
                    let rounded = _mm256_srai_epi16::<{ RESIDUAL_BITS as i32 }>(_mm256_adds_epi16(
                        value, half_unit,
                    ));
                    // Adds the zero point.
                    let bytes = _mm_xor_si128(
                        saturate_to_bytes::<false>(rounded),
                        _mm_set1_epi8(ZERO_POINT.cast_signed()),
                    );
                    store(activations_u8.as_mut_ptr().add(at), width, bytes);
                }
            }
            Epilogue::Float { out } => {
                for (at, t) in pixels() {
                    store(out.as_mut_ptr().add(at), width, t);
                }
            }
        }
    }
}

/// Rounds to integers, ties to even, and saturates to 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn round_to_i16(t: [__m256; VECTORS]) -> __m256i {
    let [a, b] = t.map(|t| _mm256_cvtps_epi32(t));
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b))
}

/// Saturates 16-bit values to 8 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn saturate_to_bytes<const UNSIGNED: bool>(words: __m256i) -> __m128i {
    let (a, b) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    if UNSIGNED { _mm_packus_epi16(a, b) } else { _mm_packs_epi16(a, b) }
}

/// Stores the first `count` of [`LINE`] values.
///
/// # Safety
/// `V` consists of [`LINE`] values of type `T`, there is room for `count` values at `to`, and
/// `count` does not exceed [`LINE`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<T, V>(to: *mut T, count: usize, values: V) {
    const { assert!(size_of::<V>() == LINE * size_of::<T>()) };
    // SAFETY: by the contract of this function.
    unsafe {
        if count == LINE {
            to.cast::<V>().write_unaligned(values);
        } else {
            std::ptr::copy_nonoverlapping((&raw const values).cast::<T>(), to, count);
        }
    }
}

/// Loads `count` values, and zeros after them.
///
/// # Safety
/// `count` values exist at `from`, and `count` does not exceed [`LINE`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_i16(from: *const i16, count: usize) -> __m256i {
    // SAFETY: by the contract of this function.
    unsafe {
        if count == LINE {
            return _mm256_loadu_si256(from.cast());
        }
        let mut all = [0i16; LINE];
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
        _mm256_loadu_si256(all.as_ptr().cast())
    }
}
