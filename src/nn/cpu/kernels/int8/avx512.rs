//! AVX-512 with VNNI: a tile of pixels times one or two vectors of outputs stays in registers while all inputs pass.

use std::arch::x86_64::*;

use super::{FINE_BITS, Finish, RowJob, Segments, pack::LINE};

/// What a tile needs, checked once per row.
struct Tile<'a, 'b, T> {
    segments: &'a [&'a [T]],
    /// Values from one pixel to the next.
    pitch: usize,
    words: usize,
    outputs: usize,
    weights: *const u32,
    bias: *const i32,
    scale: *const f32,
    ratio: f32,
    finish: &'a mut Finish<'b>,
    /// First output of the block, and the lanes of its last vector that exist.
    first: usize,
    last: __mmask16,
}

/// Values in one of their two forms.
trait Value: Copy {
    /// Adds the products of the values in each word with the weights in the same word of another vector.
    ///
    /// # Safety
    /// The processor has AVX-512 F and VNNI.
    unsafe fn dot(sum: __m512i, values: __m512i, weights: __m512i) -> __m512i;
}

impl Value for u8 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot(sum: __m512i, values: __m512i, weights: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sum, values, weights)
    }
}

impl Value for i16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot(mut sum: __m512i, values: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: it works on registers alone. The intrinsic would be compiled to a product and a sum, twice the work.
        unsafe {
            std::arch::asm!("vpdpwssd {0}, {1}, {2}", inout(zmm_reg) sum, in(zmm_reg) values, in(zmm_reg) weights,
                options(pure, nomem, nostack, preserves_flags));
        }
        sum
    }
}

/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn run(mut job: RowJob<'_>) {
    let pixels = job.check();
    match job.segments {
        Segments::Coarse(segments) => blocks(&mut job, segments, pixels),
        Segments::Fine(segments) => blocks(&mut job, segments, pixels),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn blocks<T: Value>(job: &mut RowJob<'_>, segments: &[&[T]], pixels: usize) {
    let (outputs, block) = (job.weights.outputs(), job.weights.block());
    for first in (0..outputs).step_by(block) {
        let (bias, scale) = job.weights.block_scales(first);
        let width = block.min(outputs - first);
        let mut tile = Tile {
            segments,
            pitch: job.pitch,
            words: job.weights.words(),
            outputs,
            weights: job.weights.block_lines(first).as_ptr().cast(),
            bias: bias.as_ptr(),
            scale: scale.as_ptr(),
            ratio: job.weights.ratio(),
            finish: &mut job.finish,
            first,
            last: 0xffff >> (width.next_multiple_of(LINE) - width),
        };
        // SAFETY: `check` has shown that all pixels of every slice exist; a block has weights, biases and scales for
        // each of its vectors. A block of two vectors is never more than one vector short.
        unsafe {
            if block == LINE {
                row::<T, 1, 24>(&mut tile, pixels);
            } else {
                row::<T, 2, 12>(&mut tile, pixels);
            }
        }
    }
}

/// # Safety
/// As [`compute`], for pixels up to `pixels`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn row<T: Value, const VECTORS: usize, const TILE: usize>(tile: &mut Tile<'_, '_, T>, pixels: usize) {
    // The last tile of a row may overlap the one before; it computes the same values again, from other slices.
    // SAFETY: no tile reaches beyond `pixels`.
    unsafe {
        if pixels >= TILE {
            for x in (0..pixels).step_by(TILE) {
                for segment in tile.segments {
                    let next = segment.as_ptr().wrapping_add((x + TILE) * tile.pitch).cast::<i8>();
                    for line in (0..TILE * tile.pitch * size_of::<T>()).step_by(64) {
                        // Rows come from the second level of cache; a prefetch cannot fault.
                        _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(line));
                    }
                }
                if let Finish::Signed { add: Some(add), .. } = tile.finish {
                    let next = add.as_ptr().wrapping_add((x + TILE) * tile.outputs + tile.first).cast::<i8>();
                    for pixel in 0..TILE {
                        _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(pixel * tile.outputs * 2));
                    }
                }
                compute::<T, VECTORS, TILE>(tile, x.min(pixels - TILE));
            }
        } else if pixels >= 4 {
            for x in (0..pixels).step_by(4) {
                compute::<T, VECTORS, 4>(tile, x.min(pixels - 4));
            }
        } else {
            for x in 0..pixels {
                compute::<T, VECTORS, 1>(tile, x);
            }
        }
    }
}

/// Computes `N` pixels from `x` on.
///
/// # Safety
/// Pixels `x..x + N` lie within the slices that `tile` was made from.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn compute<T: Value, const VECTORS: usize, const N: usize>(tile: &mut Tile<'_, '_, T>, x: usize) {
    // SAFETY: all offsets below stay within the bounds that the caller vouches for; lanes that do not exist are masked.
    unsafe {
        let bias: [__m512i; VECTORS] = std::array::from_fn(|v| _mm512_loadu_si512(tile.bias.add(v * LINE).cast()));
        let mut sums = [bias; N];
        let mut weights = tile.weights;
        for segment in tile.segments {
            let input = segment.as_ptr().add(x * tile.pitch);
            for word in 0..tile.words {
                let w: [__m512i; VECTORS] = std::array::from_fn(|v| _mm512_load_si512(weights.add(v * LINE).cast()));
                weights = weights.add(VECTORS * LINE);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let value = input.add(i * tile.pitch).cast::<i32>().add(word).read_unaligned();
                    let value = _mm512_set1_epi32(value);
                    for v in 0..VECTORS {
                        sum[v] = T::dot(sum[v], value, w[v]);
                    }
                }
            }
        }
        // The loops of `store` are too long to be unrolled; were they to index `sums`, these would lie in memory all along.
        let mut done = [[_mm512_setzero_si512(); VECTORS]; N];
        for (done, sum) in done.iter_mut().zip(sums) {
            // As one copy it would need `sums` in memory as well.
            #[allow(clippy::manual_memcpy)]
            for v in 0..VECTORS {
                done[v] = sum[v];
            }
        }
        store(tile, x, std::hint::black_box(&done));
    }
}

/// Scales, rounds and stores the sums of the pixels from `x` on, two vectors at a time.
///
/// # Safety
/// As [`compute`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store<T: Value, const VECTORS: usize>(tile: &mut Tile<'_, '_, T>, x: usize, sums: &[[__m512i; VECTORS]]) {
    // SAFETY: all offsets stay within the bounds that the caller vouches for; lanes that do not exist are masked.
    unsafe {
        let scale: [__m512; VECTORS] = std::array::from_fn(|v| _mm512_loadu_ps(tile.scale.add(v * LINE)));
        let (scale, outputs) = ([scale[0], scale[VECTORS - 1]], tile.outputs);
        let scaled = |sums: [__m512i; 2]| [0, 1].map(|v| _mm512_mul_ps(_mm512_cvtepi32_ps(sums[v]), scale[v]));
        let (finish, first) = (&mut *tile.finish, x * outputs + tile.first);
        // Whole vectors that lie side by side: two of one pixel or, with 16 outputs, those of two.
        if tile.last == 0xffff && (VECTORS == 2 || outputs == LINE && sums.len().is_multiple_of(2)) {
            let apart = if VECTORS == 2 { outputs } else { 2 * LINE };
            let pairs = sums.as_flattened().as_chunks::<2>().0.iter().enumerate();
            finish_all(finish, tile.ratio, pairs.map(|(i, pair)| (first + i * apart, !0, scaled(*pair))));
        } else {
            let last = u32::from(tile.last);
            let mask = if VECTORS == 2 { last << LINE | 0xffff } else { last };
            let pairs = sums.iter().enumerate();
            let pairs = pairs.map(|(i, sum)| (first + i * outputs, mask, scaled([sum[0], sum[VECTORS - 1]])));
            finish_all(finish, tile.ratio, pairs);
        }
    }
}

/// Rounds and stores pairs of vectors: where each begins, which of its values exist, and these.
///
/// # Safety
/// Those values lie within the slices of `finish`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn finish_all(
    finish: &mut Finish<'_>,
    ratio: f32,
    pairs: impl Iterator<Item = (usize, __mmask32, [__m512; 2])>,
) {
    // SAFETY: masked loads and stores touch only the values that the caller vouches for.
    unsafe {
        match finish {
            Finish::Relu { coarse } => {
                for (at, mask, pair) in pairs {
                    let value = _mm512_max_epi16(narrowed(pair), _mm512_setzero_si512());
                    _mm256_mask_storeu_epi8(coarse.as_mut_ptr().add(at).cast(), mask, _mm512_cvtusepi16_epi8(value));
                }
            }
            Finish::Signed { add: Some(add), fine, coarse } => {
                let ratio = _mm512_set1_ps(ratio);
                for (at, mask, [a, b]) in pairs {
                    let add = _mm512_maskz_loadu_epi16(mask, add.as_ptr().add(at));
                    let more =
                        |t, add| _mm512_add_ps(t, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(add)), ratio));
                    let [low, high] = [_mm512_castsi512_si256(add), _mm512_extracti64x4_epi64::<1>(add)];
                    store_signed(fine, coarse, at, mask, narrowed([more(a, low), more(b, high)]));
                }
            }
            Finish::Signed { add: None, fine, coarse } => {
                for (at, mask, pair) in pairs {
                    store_signed(fine, coarse, at, mask, narrowed(pair));
                }
            }
            Finish::Float { out } => {
                for (at, mask, [a, b]) in pairs {
                    let out = out.as_mut_ptr().add(at);
                    _mm512_mask_storeu_ps(out, mask as __mmask16, a);
                    _mm512_mask_storeu_ps(out.wrapping_add(LINE), (mask >> LINE) as __mmask16, b);
                }
            }
        }
    }
}

/// Two vectors rounded to 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn narrowed([a, b]: [__m512; 2]) -> __m512i {
    // Packing takes turns by 128 bits.
    let turns = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    _mm512_permutexvar_epi64(turns, _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b)))
}

/// Stores values in both forms.
///
/// # Safety
/// The values from `at` on whose bit in `mask` is set lie within both slices.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_signed(fine: &mut [i16], coarse: &mut [u8], at: usize, mask: __mmask32, value: __m512i) {
    // SAFETY: as the caller vouches.
    unsafe {
        _mm512_mask_storeu_epi16(fine.as_mut_ptr().add(at), mask, value);
        // That the sum saturates does not show: the coarse form ends at half the fine one's range.
        let half = _mm512_adds_epi16(value, _mm512_set1_epi16(1 << (FINE_BITS - 1)));
        let steps = _mm512_cvtsepi16_epi8(_mm512_srai_epi16::<{ FINE_BITS }>(half));
        let bytes = _mm256_xor_si256(steps, _mm256_set1_epi8(i8::MIN));
        _mm256_mask_storeu_epi8(coarse.as_mut_ptr().add(at).cast(), mask, bytes);
    }
}
