// SPDX-License-Identifier: MIT OR Apache-2.0

//! Float32 kernel, generic over `pulp` vectors. The accumulators of a tile of pixels times a block
//! of outputs stay in registers during the loop over all inputs.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::{FloatRowJob, mul_add::MulAdd};

/// Computes one row with tiles of `TILE` pixels. The accumulators of a tile (`TILE` times the
/// vectors of a block) and a few more vectors must fit the registers of the instruction set.
pub(super) fn run<S: Simd, M: MulAdd, const TILE: usize>(isa: S, job: FloatRowJob<'_>) {
    struct Dispatch<'a, M, const TILE: usize>(FloatRowJob<'a>, PhantomData<M>);
    impl<M: MulAdd, const TILE: usize> WithSimd for Dispatch<'_, M, TILE> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, isa: S) {
            let vectors = self.0.weights.block() / S::F32_LANES;
            match vectors {
                1 => row::<S, M, 1, TILE>(isa, self.0),
                2 => row::<S, M, 2, TILE>(isa, self.0),
                4 => row::<S, M, 4, TILE>(isa, self.0),
                _ => unreachable!("no kernel has blocks of {vectors} vectors"),
            }
        }
    }
    isa.vectorize(Dispatch::<M, TILE>(job, PhantomData));
}

/// Pointers and sizes for [`compute`], verified once per row.
#[derive(Clone, Copy)]
struct Tile<'a> {
    segments: &'a [&'a [f32]],
    pitch: usize,
    depth: usize,
    outputs: usize,
    weights: *const f32,
    bias: *const f32,
    residual: Option<*const f32>,
    range: Option<[f32; 2]>,
    out: *mut f32,
    /// First output of the block.
    first: usize,
    /// Outputs of the block that exist; the others are padding.
    width: usize,
}

/// Computes one row with blocks of `VECTORS` vectors.
#[inline(always)]
fn row<S: Simd, M: MulAdd, const VECTORS: usize, const TILE: usize>(isa: S, job: FloatRowJob<'_>) {
    let pixels = job.check();
    let outputs = job.weights.shape().outputs;
    let block = VECTORS * S::F32_LANES;
    for first in (0..outputs).step_by(block) {
        let tile = Tile {
            segments: job.segments,
            pitch: job.pitch,
            depth: job.weights.shape().depth,
            outputs,
            weights: job.weights.block_lines(first / block).as_ptr().cast(),
            bias: job.weights.block_bias(first / block).as_ptr().cast(),
            residual: job.residual.map(<[f32]>::as_ptr),
            range: job.activation.clamp_range(),
            out: job.out.as_mut_ptr(),
            first,
            width: block.min(outputs - first),
        };
        // The last tile of a row may overlap the previous one; it computes the same values again,
        // from inputs that the kernel does not write. `check` has verified that pixels `0..pixels`
        // exist in every segment, in `residual` and in `out`. The lines of a block hold
        // `segments * depth * block` weights and `block` biases.
        let mut x = 0;
        while x + TILE <= pixels {
            // SAFETY: see above; `x + TILE` does not exceed `pixels`.
            unsafe { compute::<S, M, VECTORS, TILE>(isa, &tile, x) };
            x += TILE;
        }
        if x < pixels && pixels >= 4 {
            while x < pixels {
                // SAFETY: see above; the four pixels end at or before `pixels`.
                unsafe { compute::<S, M, VECTORS, 4>(isa, &tile, x.min(pixels - 4)) };
                x += 4;
            }
        }
        while x < pixels {
            // SAFETY: see above; `x` is below `pixels`.
            unsafe { compute::<S, M, VECTORS, 1>(isa, &tile, x) };
            x += 1;
        }
    }
}

/// Computes pixels `x..x + N`.
///
/// # Safety
/// Pixels `x..x + N` exist in the slices that `tile` was made from, and these slices are still
/// borrowed. The lines of weights and biases hold a whole block.
#[inline(always)]
unsafe fn compute<S: Simd, M: MulAdd, const VECTORS: usize, const N: usize>(
    isa: S,
    tile: &Tile<'_>,
    x: usize,
) {
    let lanes = S::F32_LANES;
    // SAFETY: by the contract of this function, all offsets below are within the slices of `tile`;
    // stores are limited to the `width` outputs that exist.
    unsafe {
        let load = |p: *const f32| p.cast::<S::f32s>().read_unaligned();
        let bias: [S::f32s; VECTORS] = std::array::from_fn(|v| load(tile.bias.add(v * lanes)));
        let mut sums = [bias; N];
        let mut weights = tile.weights;
        for segment in tile.segments {
            let input = segment.as_ptr().add(x * tile.pitch);
            for d in 0..tile.depth {
                let w: [S::f32s; VECTORS] = std::array::from_fn(|v| load(weights.add(v * lanes)));
                weights = weights.add(VECTORS * lanes);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let value = isa.splat_f32s(*input.add(i * tile.pitch + d));
                    for v in 0..VECTORS {
                        sum[v] = M::mul_add(isa, value, w[v], sum[v]);
                    }
                }
            }
        }
        // The loop below may be too long for the compiler to unroll. If it indexed `sums`, the
        // accumulators would be kept in memory instead of registers.
        let mut results = [[isa.splat_f32s(0.0); VECTORS]; N];
        for (result, sum) in results.iter_mut().zip(sums) {
            // A single copy would force `sums` into memory as well.
            #[allow(clippy::manual_memcpy)]
            for v in 0..VECTORS {
                result[v] = sum[v];
            }
        }
        let range = tile.range.map(|range| range.map(|limit| isa.splat_f32s(limit)));
        for (i, sum) in std::hint::black_box(&results).iter().enumerate() {
            let at = (x + i) * tile.outputs + tile.first;
            for (v, sum) in sum.iter().enumerate() {
                let from = v * lanes;
                let count = lanes.min(tile.width.saturating_sub(from));
                if count == lanes {
                    let mut value = *sum;
                    if let Some(residual) = tile.residual {
                        value = isa.add_f32s(value, load(residual.add(at + from)));
                    }
                    if let Some([min, max]) = range {
                        value = isa.min_f32s(isa.max_f32s(value, min), max);
                    }
                    tile.out.add(at + from).cast::<S::f32s>().write_unaligned(value);
                } else if count > 0 {
                    let mut value = *sum;
                    if let Some(residual) = tile.residual {
                        let residual = std::slice::from_raw_parts(residual.add(at + from), count);
                        value = isa.add_f32s(value, isa.partial_load_f32s(residual));
                    }
                    if let Some([min, max]) = range {
                        value = isa.min_f32s(isa.max_f32s(value, min), max);
                    }
                    isa.partial_store_f32s(
                        std::slice::from_raw_parts_mut(tile.out.add(at + from), count),
                        value,
                    );
                }
            }
        }
    }
}
