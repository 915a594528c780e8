//! AVX-512 with VNNI: a tile of pixels times one or two vectors of outputs stays in registers while all inputs pass.

use std::arch::x86_64::*;

use super::{
    Finish, RowJob, Segments,
    finish512::{Block, finish},
    pack::LINE,
};

/// What a tile needs, checked once per row.
struct Tile<'a, 'b, T> {
    segments: &'a [&'a [T]],
    /// Values from one pixel to the next.
    pitch: usize,
    words: usize,
    weights: *const u32,
    block: Block,
    finish: &'a mut Finish<'b>,
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
    let block = job.weights.block();
    for first in (0..job.weights.outputs()).step_by(block) {
        let mut tile = Tile {
            segments,
            pitch: job.pitch,
            words: job.weights.words(),
            weights: job.weights.block_lines(first).as_ptr().cast(),
            block: Block::new(job.weights, first),
            finish: &mut job.finish,
        };
        // SAFETY: `check` has shown that all pixels of every slice exist; a block has weights for each of its vectors.
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
unsafe fn row<T: Value, const VECTORS: usize, const TILE: usize>(
    tile: &mut Tile<'_, '_, T>,
    pixels: usize,
) {
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
                    let Block { outputs, first, .. } = tile.block;
                    let next = add.as_ptr().wrapping_add((x + TILE) * outputs + first).cast::<i8>();
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

/// Computes `N` pixels from `x` on.
///
/// # Safety
/// Pixels `x..x + N` lie within the slices that `tile` was made from.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn compute<T: Value, const VECTORS: usize, const N: usize>(
    tile: &mut Tile<'_, '_, T>,
    x: usize,
) {
    // SAFETY: all offsets below stay within the bounds that the caller vouches for; lanes that do not exist are masked.
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
        // The loops of `finish` are too long to be unrolled; were they to index `sums`, these would lie in memory all along.
        let mut done = [[_mm512_setzero_si512(); VECTORS]; N];
        for (done, sum) in done.iter_mut().zip(sums) {
            // As one copy it would need `sums` in memory as well.
            #[allow(clippy::manual_memcpy)]
            for v in 0..VECTORS {
                done[v] = sum[v];
            }
        }
        finish::<VECTORS>(&tile.block, tile.finish, x, std::hint::black_box(&done));
    }
}
