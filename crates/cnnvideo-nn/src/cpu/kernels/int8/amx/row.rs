// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loops over the outputs and pixels of one row.

use std::{arch::x86_64::*, mem::MaybeUninit};

use super::{
    config::{ACCUMULATORS, AccumulatorLayout, ROWS},
    pack::SPLIT_MATRICES,
    products::{
        multiply_double, multiply_single, multiply_split, store_accumulators, zero_accumulators,
    },
};
use crate::cpu::kernels::int8::{
    Segments,
    epilogue512::{OutputBlock, StoreEpilogue, store},
    pack::{LINE, QuantisedWeights, WordLine},
};

/// Inputs of one row of output pixels.
pub(super) struct RowInputs<'a> {
    /// Inputs of all pixels.
    pub segments: Segments<'a>,
    /// Distance between the inputs of neighbouring pixels, in bytes.
    pub pitch: usize,
    /// Number of pixels.
    pub pixels: usize,
    /// Bytes of a segment that one product covers.
    pub chunk: usize,
    /// Chunks per segment.
    pub chunks: usize,
}

impl RowInputs<'_> {
    /// Computes all blocks of outputs.
    ///
    /// # Safety
    /// The tile registers are configured for `layout`, and all pixels exist in the segments and in
    /// the slices of `to`. The processor supports AVX-512 F, BW and VL.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn blocks<E: StoreEpilogue>(
        &self,
        layout: AccumulatorLayout,
        weights: &QuantisedWeights,
        to: &mut E,
    ) {
        let (pitch, chunk) = (self.pitch, self.chunk);
        for first in (0..weights.outputs()).step_by(weights.block()) {
            let (block, lines) = (OutputBlock::new(weights, first), weights.block_lines(first));
            // SAFETY: by the contract of this function; a block has weights for all chunks.
            unsafe {
                match layout {
                    AccumulatorLayout::Double => self.tiles::<_, 2, 32>(
                        &block,
                        lines,
                        2,
                        to,
                        |input, lines| multiply_double(input, pitch, lines),
                        |to, x, sums| store::<_, 2, false>(&block, to, x, sums),
                    ),
                    AccumulatorLayout::Single => self.tiles::<_, 1, 64>(
                        &block,
                        lines,
                        1,
                        to,
                        |input, lines| multiply_single(input, pitch, lines),
                        |to, x, sums| store::<_, 1, false>(&block, to, x, sums),
                    ),
                    AccumulatorLayout::Split => self.tiles::<_, 2, 32>(
                        &block,
                        weights.alternative_lines(first),
                        SPLIT_MATRICES,
                        to,
                        |input, lines| multiply_split(input, pitch, lines, chunk / 4),
                        |to, x, sums| {
                            // The number of accumulators per call is a multiple of four.
                            for (i, four) in sums.as_chunks::<4>().0.iter().enumerate() {
                                let whole = four.map(|[low, high]| {
                                    [_mm512_add_epi32(low, _mm512_slli_epi32::<8>(high))]
                                });
                                store::<_, 1, false>(&block, to, x + 4 * i, &whole);
                            }
                        },
                    ),
                }
            }
        }
    }

    /// Computes one block of outputs, `N` pixels per iteration. For each chunk it calls `multiply`
    /// with the inputs and the lines of `matrices` weight matrices. Between these calls, it passes
    /// the accumulators of the previous iteration to `store`, part by part.
    ///
    /// # Safety
    /// The tile registers are configured, there are at least `N` pixels, all pixels exist in the
    /// segments and in the slices of `to`, and `lines` holds the weights of all chunks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn tiles<E: StoreEpilogue, const VECTORS: usize, const N: usize>(
        &self,
        block: &OutputBlock,
        lines: &[WordLine],
        matrices: usize,
        to: &mut E,
        multiply: impl Fn(*const u8, *const WordLine),
        store: impl Fn(&mut E, usize, &[[__m512i; VECTORS]]),
    ) {
        const { assert!(N * VECTORS == ACCUMULATORS * ROWS) };
        let count = self.segments.count();
        // Pixels that are stored after each product, in multiples of two pairs of vectors.
        let part = N.div_ceil(count * self.chunks).next_multiple_of(4);
        // Double buffering: the accumulators of one iteration are stored while the next one is
        // multiplied.
        let mut sums = [const { MaybeUninit::<[[__m512i; VECTORS]; N]>::uninit() }; 2];
        let [mut own, mut other] = sums.each_mut().map(MaybeUninit::as_mut_ptr);
        let mut previous = None;
        for x in (0..self.pixels).step_by(N) {
            // The last tile of a row may overlap the previous one; it computes the same values
            // again.
            let x = x.min(self.pixels - N);
            // The residual comes from an outer cache level or memory. It is needed during the next
            // iteration.
            let values = x * block.outputs + block.first..(x + N) * block.outputs;
            values.step_by(block.outputs.max(2 * LINE)).for_each(|at| to.prefetch(at));
            // SAFETY: by the contract of this function, all pixels and weights exist.
            // `store_accumulators` has written all of `other` before the first use, since
            // `previous` is then set.
            unsafe {
                let mut rest: &[[__m512i; VECTORS]] =
                    if previous.is_some() { &*other } else { &[] };
                zero_accumulators();
                let mut lines = lines.as_ptr();
                for segment in 0..count {
                    let mut input = self.segments.bytes(segment).wrapping_add(x * self.pitch);
                    for _ in 0..self.chunks {
                        multiply(input, lines);
                        input = input.wrapping_add(self.chunk);
                        lines = lines.wrapping_add(matrices * self.chunk / 4);
                        let (first, others) = rest.split_at(part.min(rest.len()));
                        // In the first iteration, there is nothing to store yet.
                        store(to, previous.unwrap_or(0) + N - rest.len(), first);
                        rest = others;
                    }
                }
                store_accumulators::<VECTORS>(own.cast());
            }
            previous = Some(x);
            std::mem::swap(&mut own, &mut other);
        }
        if let Some(x) = previous {
            // SAFETY: `store_accumulators` has written all of `other` in the last iteration.
            store(to, x, unsafe { &*other });
        }
    }
}
