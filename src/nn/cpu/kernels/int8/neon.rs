//! NEON with dot products of bytes, which processors have from ARMv8.2 on: a tile of pixels times sixteen outputs stays in registers
//! while all inputs pass. The instruction takes both bytes for signed: [`EXCESS`] is taken off the values, and the bias puts it back.

use std::arch::{aarch64::*, asm};

use super::{FINE_BITS, Finish, RowJob, Segments, ZERO, pack::LINE};

/// What is taken off bytes before they are multiplied.
pub(super) const EXCESS: i32 = 128;

/// Outputs in a vector, and vectors in a block.
const LANES: usize = 4;
const VECTORS: usize = LINE / LANES;
/// Pixels that share each load of weights: with their sums, four vectors of weights and one of input, 29 of 32 registers are full.
const TILE: usize = 6;

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
    /// First output of the block, and how many of its outputs exist.
    first: usize,
    width: usize,
}

/// Values in one of their two forms.
trait Value: Copy {
    /// A word of values in every lane, ready for [`dot`](Self::dot).
    ///
    /// # Safety
    /// The processor has NEON with dot products.
    unsafe fn spread(word: u32) -> uint32x4_t;

    /// Adds the products of the values in each word with the weights in the same word of another vector.
    ///
    /// # Safety
    /// As above.
    unsafe fn dot(sum: int32x4_t, values: uint32x4_t, weights: uint32x4_t) -> int32x4_t;
}

impl Value for u8 {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn spread(word: u32) -> uint32x4_t {
        veorq_u32(vdupq_n_u32(word), vdupq_n_u32(0x8080_8080))
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot(mut sum: int32x4_t, values: uint32x4_t, weights: uint32x4_t) -> int32x4_t {
        // SAFETY: it works on registers alone. The intrinsic is not stable yet.
        unsafe {
            asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) values, in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags));
        }
        sum
    }
}

impl Value for i16 {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn spread(word: u32) -> uint32x4_t {
        vdupq_n_u32(word)
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot(sum: int32x4_t, values: uint32x4_t, weights: uint32x4_t) -> int32x4_t {
        let (values, weights) = (vreinterpretq_s16_u32(values), vreinterpretq_s16_u32(weights));
        let low = vmull_s16(vget_low_s16(values), vget_low_s16(weights));
        vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(values, weights)))
    }
}

/// # Safety
/// The processor has NEON with dot products.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn run(mut job: RowJob<'_>) {
    let pixels = job.check();
    match job.segments {
        Segments::Coarse(segments) => blocks(&mut job, segments, pixels),
        Segments::Fine(segments) => blocks(&mut job, segments, pixels),
    }
}

#[target_feature(enable = "neon,dotprod")]
fn blocks<T: Value>(job: &mut RowJob<'_>, segments: &[&[T]], pixels: usize) {
    let outputs = job.weights.outputs();
    for first in (0..outputs).step_by(LINE) {
        let (bias, scale) = job.weights.block_scales(first);
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
            width: LINE.min(outputs - first),
        };
        // The last tile may overlap the one before; it computes the same values again, from other slices.
        // SAFETY: `check` has shown that all pixels of every slice exist; a block has weights, biases and scales for each of its vectors.
        unsafe {
            if pixels >= TILE {
                for x in (0..pixels).step_by(TILE) {
                    compute::<T, TILE>(&mut tile, x.min(pixels - TILE));
                }
            } else {
                for x in 0..pixels {
                    compute::<T, 1>(&mut tile, x);
                }
            }
        }
    }
}

/// Computes `N` pixels from `x` on.
///
/// # Safety
/// Pixels `x..x + N` lie within the slices that `tile` was made from.
#[target_feature(enable = "neon,dotprod")]
unsafe fn compute<T: Value, const N: usize>(tile: &mut Tile<'_, '_, T>, x: usize) {
    // SAFETY: all offsets below stay within the bounds that the caller vouches for.
    unsafe {
        let bias: [int32x4_t; VECTORS] =
            std::array::from_fn(|v| vld1q_s32(tile.bias.add(v * LANES)));
        let mut sums = [bias; N];
        let mut weights = tile.weights;
        for segment in tile.segments {
            let input = segment.as_ptr().add(x * tile.pitch);
            for word in 0..tile.words {
                let w: [uint32x4_t; VECTORS] =
                    std::array::from_fn(|v| vld1q_u32(weights.add(v * LANES)));
                weights = weights.add(LINE);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let values = T::spread(
                        input.add(i * tile.pitch).cast::<u32>().add(word).read_unaligned(),
                    );
                    for v in 0..VECTORS {
                        sum[v] = T::dot(sum[v], values, w[v]);
                    }
                }
            }
        }
        let scale: [float32x4_t; VECTORS] =
            std::array::from_fn(|v| vld1q_f32(tile.scale.add(v * LANES)));
        for (i, sum) in sums.iter().enumerate() {
            let at = (x + i) * tile.outputs + tile.first;
            let t = std::array::from_fn(|v| vmulq_f32(vcvtq_f32_s32(sum[v]), scale[v]));
            finish(tile.finish, tile.ratio, at, tile.width, t);
        }
    }
}

/// Up to [`LINE`] values of what [`Finish`] tells. Saturation stands in for its clamps: no value leaves 32 bits before it.
///
/// # Safety
/// `count` values from `at` on lie within the slices of `finish`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn finish(
    finish: &mut Finish<'_>,
    ratio: f32,
    at: usize,
    count: usize,
    t: [float32x4_t; VECTORS],
) {
    // SAFETY: only `count` values are read and written.
    unsafe {
        match finish {
            Finish::Relu { coarse } => {
                let [low, high] = words(t);
                store(coarse.as_mut_ptr().add(at), count, vqmovun_high_s16(vqmovun_s16(low), high));
            }
            Finish::Signed { add, fine, coarse } => {
                let t = match add {
                    Some(add) => {
                        let add = load_words(add.as_ptr().add(at), count);
                        std::array::from_fn(|v| {
                            let add =
                                vcvtq_f32_s32(vmovl_s16(vld1_s16(add.as_ptr().add(v * LANES))));
                            vaddq_f32(t[v], vmulq_f32(add, vdupq_n_f32(ratio)))
                        })
                    }
                    None => t,
                };
                let values = words(t);
                store(fine.as_mut_ptr().add(at), count, values);
                let half = vdupq_n_s16(1 << (FINE_BITS - 1));
                let [low, high] = values
                    .map(|value| vshrq_n_s16::<{ FINE_BITS as i32 }>(vqaddq_s16(value, half)));
                let steps = vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(low), high));
                store(coarse.as_mut_ptr().add(at), count, veorq_u8(steps, vdupq_n_u8(ZERO)));
            }
            Finish::Float { out } => store(out.as_mut_ptr().add(at), count, t),
        }
    }
}

/// Rounded, ties to even, and saturated to 16 bits.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn words(t: [float32x4_t; VECTORS]) -> [int16x8_t; 2] {
    let [a, b, c, d] = t.map(|t| vcvtnq_s32_f32(t));
    [vqmovn_high_s32(vqmovn_s32(a), b), vqmovn_high_s32(vqmovn_s32(c), d)]
}

/// Stores the first of [`LINE`] values.
///
/// # Safety
/// `V` holds [`LINE`] values of type `T`, and there is room for `count` of them, at most [`LINE`].
#[inline]
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
unsafe fn load_words(from: *const i16, count: usize) -> [i16; LINE] {
    let mut all = [0; LINE];
    // SAFETY: as the caller vouches.
    unsafe { std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count) };
    all
}
