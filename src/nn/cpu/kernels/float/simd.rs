//! The kernel over `pulp`'s vectors: a tile of pixels times a block of outputs stays in registers while all inputs pass.

use pulp::{Simd, WithSimd};

use super::RowJob;

/// Computes a row with tiles of `TILE` pixels; `TILE` times the vectors of a block, and a few more, must fit the
/// registers of the instruction set.
pub(super) fn run<S: Simd, const TILE: usize>(isa: S, job: RowJob<'_>) {
    struct Op<'a, const TILE: usize>(RowJob<'a>);
    impl<const TILE: usize> WithSimd for Op<'_, TILE> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, isa: S) {
            let vectors = self.0.weights.block() / S::F32_LANES;
            match vectors {
                1 => row::<S, 1, TILE>(isa, self.0),
                2 => row::<S, 2, TILE>(isa, self.0),
                4 => row::<S, 4, TILE>(isa, self.0),
                _ => unreachable!("no kernel has blocks of {vectors} vectors"),
            }
        }
    }
    isa.vectorize(Op::<TILE>(job));
}

/// Everything that a tile needs, checked once per row.
#[derive(Clone, Copy)]
struct Tile<'a> {
    segments: &'a [&'a [f32]],
    pitch: usize,
    depth: usize,
    outputs: usize,
    weights: *const f32,
    bias: *const f32,
    add: Option<*const f32>,
    range: Option<[f32; 2]>,
    out: *mut f32,
    /// First output of the block, and how many of its outputs exist.
    first: usize,
    width: usize,
}

#[inline(always)]
fn row<S: Simd, const VECTORS: usize, const TILE: usize>(isa: S, job: RowJob<'_>) {
    let pixels = job.check();
    let outputs = job.weights.outputs();
    let block = VECTORS * S::F32_LANES;
    for first in (0..outputs).step_by(block) {
        let tile = Tile {
            segments: job.segments,
            pitch: job.pitch,
            depth: job.weights.depth(),
            outputs,
            weights: job.weights.block_lines(first / block).as_ptr().cast(),
            bias: job.weights.block_bias(first / block).as_ptr().cast(),
            add: job.add.map(<[f32]>::as_ptr),
            range: job.activation.range(),
            out: job.out.as_mut_ptr(),
            first,
            width: block.min(outputs - first),
        };
        // SAFETY (all three): `check` has shown that pixels x..x+N of every segment, of `add` and of `out` exist, and
        // x + N never exceeds `pixels`; a block's lines hold segments * depth * block weights and block biases.
        // The last tile of a row may overlap the one before; it computes the same values again, from other slices.
        let mut x = 0;
        while x + TILE <= pixels {
            unsafe { compute::<S, VECTORS, TILE>(isa, &tile, x) };
            x += TILE;
        }
        if x < pixels && pixels >= 4 {
            while x < pixels {
                unsafe { compute::<S, VECTORS, 4>(isa, &tile, x.min(pixels - 4)) };
                x += 4;
            }
        }
        while x < pixels {
            unsafe { compute::<S, VECTORS, 1>(isa, &tile, x) };
            x += 1;
        }
    }
}

/// Computes `N` pixels from `x` on.
///
/// # Safety
/// Pixels `x..x + N` lie within the slices that `tile` was made from.
#[inline(always)]
unsafe fn compute<S: Simd, const VECTORS: usize, const N: usize>(
    isa: S,
    tile: &Tile<'_>,
    x: usize,
) {
    let lanes = S::F32_LANES;
    // SAFETY: all offsets below stay within the bounds that the caller vouches for.
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
                        sum[v] = isa.mul_add_f32s(value, w[v], sum[v]);
                    }
                }
            }
        }
        // The loop below may be too long to be unrolled; were it to index `sums`, these would lie in memory all along.
        let mut done = [[isa.splat_f32s(0.0); VECTORS]; N];
        for (done, sum) in done.iter_mut().zip(sums) {
            // As one copy it would need `sums` in memory as well.
            #[allow(clippy::manual_memcpy)]
            for v in 0..VECTORS {
                done[v] = sum[v];
            }
        }
        let range = tile.range.map(|range| range.map(|limit| isa.splat_f32s(limit)));
        for (i, sum) in std::hint::black_box(&done).iter().enumerate() {
            let at = (x + i) * tile.outputs + tile.first;
            for (v, sum) in sum.iter().enumerate() {
                let from = v * lanes;
                let count = lanes.min(tile.width.saturating_sub(from));
                if count == lanes {
                    let mut value = *sum;
                    if let Some(add) = tile.add {
                        value = isa.add_f32s(value, load(add.add(at + from)));
                    }
                    if let Some([least, most]) = range {
                        value = isa.min_f32s(isa.max_f32s(value, least), most);
                    }
                    tile.out.add(at + from).cast::<S::f32s>().write_unaligned(value);
                } else if count > 0 {
                    let mut value = *sum;
                    if let Some(add) = tile.add {
                        let add = std::slice::from_raw_parts(add.add(at + from), count);
                        value = isa.add_f32s(value, isa.partial_load_f32s(add));
                    }
                    if let Some([least, most]) = range {
                        value = isa.min_f32s(isa.max_f32s(value, least), most);
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
