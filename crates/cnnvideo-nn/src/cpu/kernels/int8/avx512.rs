// SPDX-License-Identifier: MIT OR Apache-2.0

//! AVX-512 VNNI int8 kernel. The accumulators of a tile of pixels times one or two vectors of
//! outputs stay in registers during the loop over all inputs.

use std::arch::x86_64::*;

use super::{
    Epilogue, Int8RowJob, Segments,
    epilogue512::{OutputBlock, apply_epilogue},
    pack::LINE,
};

/// Pointers and sizes for [`compute`], verified once per row.
struct Tile<'a, 'b, T> {
    segments: &'a [&'a [T]],
    /// Distance between the inputs of neighbouring pixels, in values.
    pitch: usize,
    words: usize,
    weights: *const u32,
    block: OutputBlock,
    epilogue: &'a mut Epilogue<'b>,
}

/// Activation type: `u8`, or `i16` for residuals.
pub(super) trait ActivationType: Copy {
    /// Adds to each lane of `sum` the dot product of the activations in that word of `values` with
    /// the weights in that word of `weights`.
    ///
    /// # Safety
    /// The processor supports AVX-512 F, BW, VL and VNNI.
    unsafe fn dot(sum: __m512i, values: __m512i, weights: __m512i) -> __m512i;
}

impl ActivationType for u8 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot(sum: __m512i, values: __m512i, weights: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sum, values, weights)
    }
}

impl ActivationType for i16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot(mut sum: __m512i, values: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: the instruction only accesses registers. The compiler turns the intrinsic into a
        // multiplication and an addition, which takes twice the time.
        unsafe {
            std::arch::asm!(
                "vpdpwssd {0}, {1}, {2}",
                inout(zmm_reg) sum,
                in(zmm_reg) values,
                in(zmm_reg) weights,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}

/// Computes one row.
///
/// # Safety
/// The processor supports AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn run(mut job: Int8RowJob<'_>) {
    let pixels = job.check();
    match job.segments {
        Segments::U8(segments) => blocks(&mut job, segments, pixels),
        Segments::I16(segments) => blocks(&mut job, segments, pixels),
    }
}

/// Computes all blocks of outputs. `segments` are those of `job`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn blocks<T: ActivationType>(job: &mut Int8RowJob<'_>, segments: &[&[T]], pixels: usize) {
    let block = job.weights.block();
    for first in (0..job.weights.outputs()).step_by(block) {
        let mut tile = Tile {
            segments,
            pitch: job.pitch,
            words: job.weights.words(),
            weights: job.weights.block_lines(first).as_ptr().cast(),
            block: OutputBlock::new(job.weights, first),
            epilogue: &mut job.epilogue,
        };
        // SAFETY: `check` has verified that all pixels exist in every slice; a block has weights,
        // biases and scales for each of its vectors.
        unsafe {
            if block == LINE {
                row::<T, 1, 24>(&mut tile, pixels);
            } else {
                row::<T, 2, 12>(&mut tile, pixels);
            }
        }
    }
}

/// Computes one block of outputs of pixels `0..pixels`.
///
/// # Safety
/// As for [`compute`], with pixels `0..pixels`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn row<T: ActivationType, const VECTORS: usize, const TILE: usize>(
    tile: &mut Tile<'_, '_, T>,
    pixels: usize,
) {
    // The last tile of a row may overlap the previous one; it computes the same values again, from
    // inputs that the kernel does not write.
    // SAFETY: no tile exceeds `pixels`.
    unsafe {
        if pixels >= TILE {
            for x in (0..pixels).step_by(TILE) {
                for segment in tile.segments {
                    let next = segment.as_ptr().wrapping_add((x + TILE) * tile.pitch).cast::<i8>();
                    for line in (0..TILE * tile.pitch * size_of::<T>()).step_by(64) {
                        // Rows are in the second-level cache. A prefetch cannot fault, so the
                        // address may be beyond the end of a segment.
                        _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(line));
                    }
                }
                if let Epilogue::Signed { residual_in: Some(residual), .. } = tile.epilogue {
                    let OutputBlock { outputs, first, .. } = tile.block;
                    let next = residual.as_ptr().wrapping_add((x + TILE) * outputs + first);
                    let next = next.cast::<i8>();
                    for pixel in 0..TILE {
                        _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(pixel * outputs * 2));
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

/// Computes pixels `x..x + N` for one block of outputs.
///
/// # Safety
/// Pixels `x..x + N` exist in the slices that `tile` was made from, and these slices are still
/// borrowed. The weights have `VECTORS` vectors per block. The processor supports AVX-512 F, BW, VL
/// and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn compute<T: ActivationType, const VECTORS: usize, const N: usize>(
    tile: &mut Tile<'_, '_, T>,
    x: usize,
) {
    // SAFETY: by the contract of this function, all offsets below are within the slices of `tile`;
    // lanes of outputs that do not exist are masked.
    unsafe {
        let bias: [__m512i; VECTORS] = std::array::from_fn(|v| tile.block.bias(v));
        let mut sums = [bias; N];
        let mut weights = tile.weights;
        for segment in tile.segments {
            let input = segment.as_ptr().add(x * tile.pitch);
            for word in 0..tile.words {
                let w: [__m512i; VECTORS] =
                    std::array::from_fn(|v| _mm512_load_si512(weights.add(v * LINE).cast()));
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
        // The loops of `apply_epilogue` are too long for the compiler to unroll. If they indexed
        // `sums`, the accumulators would be kept in memory instead of registers.
        let mut results = [[_mm512_setzero_si512(); VECTORS]; N];
        for (result, sum) in results.iter_mut().zip(sums) {
            // A single copy would force `sums` into memory as well.
            #[allow(clippy::manual_memcpy)]
            for v in 0..VECTORS {
                result[v] = sum[v];
            }
        }
        apply_epilogue::<VECTORS>(&tile.block, tile.epilogue, x, std::hint::black_box(&results));
    }
}
