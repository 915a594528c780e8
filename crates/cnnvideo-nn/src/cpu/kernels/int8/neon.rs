// SPDX-License-Identifier: MIT OR Apache-2.0

//! NEON int8 kernel for processors with the dot product extension, optional from ARMv8.2 on. The
//! accumulators of a tile of pixels times 16 outputs stay in registers during the loop over all
//! inputs.
//!
//! `sdot` takes both operands as signed bytes. The kernel therefore subtracts [`INPUT_OFFSET`] from
//! u8 activations, and the packed biases include the correction.

use std::arch::{aarch64::*, asm};

use super::{Epilogue, Int8RowJob, RESIDUAL_BITS, Segments, ZERO_POINT, pack::LINE};

/// Value that the kernel subtracts from u8 activations before the multiplication.
pub(super) const INPUT_OFFSET: i32 = 128;

/// Outputs per vector.
const LANES: usize = 4;
/// Vectors per block of outputs.
const VECTORS: usize = LINE / LANES;
/// Pixels that share each load of weights. Their accumulators, four vectors of weights and one of
/// input use 29 of 32 registers.
const TILE: usize = 6;

/// Pointers and sizes for [`compute`], verified once per row.
struct Tile<'a, 'b, T> {
    segments: &'a [&'a [T]],
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

/// Activation type: `u8`, or `i16` for residuals.
trait ActivationType: Copy {
    /// Copies a word of activations to every lane, in the form that [`dot`](Self::dot) reads.
    ///
    /// # Safety
    /// The processor supports NEON with dot products.
    unsafe fn spread(word: u32) -> uint32x4_t;

    /// Adds to each lane of `sum` the dot product of the activations in that word of `values` with
    /// the weights in that word of `weights`.
    ///
    /// # Safety
    /// The processor supports NEON with dot products.
    unsafe fn dot(sum: int32x4_t, values: uint32x4_t, weights: uint32x4_t) -> int32x4_t;
}

impl ActivationType for u8 {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn spread(word: u32) -> uint32x4_t {
        veorq_u32(vdupq_n_u32(word), vdupq_n_u32(0x8080_8080))
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot(mut sum: int32x4_t, values: uint32x4_t, weights: uint32x4_t) -> int32x4_t {
        // SAFETY: the instruction only accesses registers. The intrinsic is not stable yet.
        unsafe {
            asm!(
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) sum,
                in(vreg) values,
                in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}

impl ActivationType for i16 {
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

/// Computes one row.
///
/// # Safety
/// The processor supports NEON with dot products.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn run(mut job: Int8RowJob<'_>) {
    let pixels = job.check();
    match job.segments {
        Segments::U8(segments) => blocks(&mut job, segments, pixels),
        Segments::I16(segments) => blocks(&mut job, segments, pixels),
    }
}

/// Computes all blocks of outputs. `segments` are those of `job`.
#[target_feature(enable = "neon,dotprod")]
fn blocks<T: ActivationType>(job: &mut Int8RowJob<'_>, segments: &[&[T]], pixels: usize) {
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
            residual_scale: job.weights.residual_scale(),
            epilogue: &mut job.epilogue,
            first,
            width: LINE.min(outputs - first),
        };
        // The last tile may overlap the previous one; it computes the same values again, from
        // inputs that the kernel does not write.
        // SAFETY: `check` has verified that all pixels exist in every slice; a block has weights,
        // biases and scales for each of its vectors.
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

/// Computes pixels `x..x + N` for one block of outputs.
///
/// # Safety
/// Pixels `x..x + N` exist in the slices that `tile` was made from, and these slices are still
/// borrowed. The processor supports NEON with dot products.
#[target_feature(enable = "neon,dotprod")]
unsafe fn compute<T: ActivationType, const N: usize>(tile: &mut Tile<'_, '_, T>, x: usize) {
    // SAFETY: by the contract of this function, all offsets below are within the slices of `tile`.
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
            apply_epilogue(tile.epilogue, tile.residual_scale, at, tile.width, t);
        }
    }
}

/// Applies the epilogue to up to [`LINE`] scaled accumulators `t`. Saturating conversions replace
/// the clamps of [`Epilogue`], because no `t` exceeds 32 bits.
///
/// # Safety
/// `count` values exist from `at` on in the slices of `epilogue`, and `count` does not exceed
/// [`LINE`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn apply_epilogue(
    epilogue: &mut Epilogue<'_>,
    residual_scale: f32,
    at: usize,
    count: usize,
    t: [float32x4_t; VECTORS],
) {
    // SAFETY: only `count` values are read and written.
    unsafe {
        match epilogue {
            Epilogue::Relu { activations_u8 } => {
                let [low, high] = round_to_i16(t);
                let bytes = vqmovun_high_s16(vqmovun_s16(low), high);
                store(activations_u8.as_mut_ptr().add(at), count, bytes);
            }
            Epilogue::Signed { residual_in, residuals_i16, activations_u8 } => {
                let t = match residual_in {
                    Some(residual) => {
                        let residual = load_i16(residual.as_ptr().add(at), count);
                        std::array::from_fn(|v| {
                            let residual = vld1_s16(residual.as_ptr().add(v * LANES));
                            let residual = vcvtq_f32_s32(vmovl_s16(residual));
                            vaddq_f32(t[v], vmulq_f32(residual, vdupq_n_f32(residual_scale)))
                        })
                    }
                    None => t,
                };
                let values = round_to_i16(t);
                store(residuals_i16.as_mut_ptr().add(at), count, values);
                let half_unit = vdupq_n_s16(1 << (RESIDUAL_BITS - 1));
                let [low, high] = values.map(|value| {
                    vshrq_n_s16::<{ RESIDUAL_BITS as i32 }>(vqaddq_s16(value, half_unit))
                });
                let rounded = vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(low), high));
                // Adds the zero point.
                let bytes = veorq_u8(rounded, vdupq_n_u8(ZERO_POINT));
                store(activations_u8.as_mut_ptr().add(at), count, bytes);
            }
            Epilogue::Float { out } => store(out.as_mut_ptr().add(at), count, t),
        }
    }
}

/// Rounds to integers, ties to even, and saturates to 16 bits.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn round_to_i16(t: [float32x4_t; VECTORS]) -> [int16x8_t; 2] {
    let [a, b, c, d] = t.map(|t| vcvtnq_s32_f32(t));
    [vqmovn_high_s32(vqmovn_s32(a), b), vqmovn_high_s32(vqmovn_s32(c), d)]
}

/// Stores the first `count` of [`LINE`] values.
///
/// # Safety
/// `V` consists of [`LINE`] values of type `T`, there is room for `count` values at `to`, and
/// `count` does not exceed [`LINE`].
#[inline]
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
unsafe fn load_i16(from: *const i16, count: usize) -> [i16; LINE] {
    let mut all = [0; LINE];
    // SAFETY: by the contract of this function.
    unsafe { std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count) };
    all
}
