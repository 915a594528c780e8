// SPDX-License-Identifier: MIT OR Apache-2.0

//! AMX int8 kernel. The tile registers of AMX are matrices: one instruction multiplies up to 64
//! bytes of 16 pixels with the weights of 16 outputs. The accumulators then pass through memory to
//! the epilogues of the AVX-512 kernel, which also computes rows that are too short for AMX.
//!
//! The rows of the left matrix are loaded from the feature map at a distance of one pixel's pitch.
//! They overlap where neighbouring pixels share inputs. The rows of the right matrix are lines of
//! packed weights.

use std::{
    arch::{asm, x86_64::*},
    mem::MaybeUninit,
    sync::OnceLock,
};

use super::{
    Epilogue, Int8RowJob, Segments, avx512,
    epilogue512::{
        OutputBlock, StoreEpilogue, StoreFloat, StoreRelu, StoreSigned, StoreSignedSum, store,
    },
    pack::{LINE, QuantisedWeights, WordLine},
};
use crate::cpu::{
    kernels::{requested, selects_first},
    matrix::{MatrixShape, WeightIndex},
};

/// Rows of a tile register, and therefore pixels per matrix.
const ROWS: usize = 16;
/// Bytes per row of a tile register.
const BYTES: usize = 64;
/// Tile registers that hold accumulators. With four, each loaded matrix serves at least two
/// products.
const ACCUMULATORS: usize = 4;

/// Names of the int8 kernel sets of a processor with AMX, the fastest first.
const NAMES: [&str; 5] = ["amx", "avx512vnni", "vnni256", "avx2", "portable"];

/// Returns whether the processor has AMX with 8-bit integers, and the operating system lets this
/// process use it. Returns false without a request to the operating system if `CNNVIDEO_KERNELS`
/// selects another kernel set, because the permission holds for the whole process.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILE: u32 = 1 << 24;
        const INT8: u32 = 1 << 25;
        let extended = __cpuid(0).eax >= 7 && __cpuid(1).ecx & 1 << 27 != 0;
        extended
            && __cpuid_count(7, 0).edx & (TILE | INT8) == TILE | INT8
            && selects_first(requested().as_deref(), &NAMES)
            && permitted()
    })
}

/// Requests permission for the tile register state, which Linux grants only to processes that ask
/// for it ("Using XSTATE features in user space applications", Linux documentation).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the system call takes integers only; its single effect is the permission of this
    // process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Tile register configuration in the memory layout that `ldtilecfg` reads.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// Returns the configuration: four registers for accumulators, then `values` registers for
    /// activations with `chunk` bytes per pixel, then registers for weights.
    fn new(values: usize, chunk: usize) -> Self {
        let (mut bytes, mut rows) = ([0; 16], [0; 16]);
        for register in 0..8 {
            let is_values = (ACCUMULATORS..ACCUMULATORS + values).contains(&register);
            bytes[register] = if is_values { chunk } else { BYTES } as u16;
            rows[register] = if register < ACCUMULATORS + values { ROWS } else { chunk / 4 } as u8;
        }
        Self { palette: 1, start_row: 0, reserved: [0; 14], bytes, rows }
    }
}

/// Returns the bytes of a segment that one product covers. A segment of `depth` bytes, a multiple
/// of 4, is divided into the fewest equal chunks of whole words that fit the rows of a tile
/// register.
fn chunk_bytes(depth: usize) -> usize {
    let words = depth / 4;
    let count = (depth.div_ceil(BYTES)..=words).find(|count| words.is_multiple_of(*count));
    depth / count.expect("chunks of one word always fit")
}

/// Largest magnitude of weights for i16 residuals: the sum of two 8-bit weights.
const MAX_SPLIT_WEIGHT: i32 = 2 * i8::MAX as i32;
/// Weight matrices per chunk of i16 residuals.
const SPLIT_MATRICES: usize = 4;

/// Packs weights for i16 residuals, which AMX multiplies as separate low and high bytes. Each
/// weight is the sum of two 8-bit weights. A chunk of a segment therefore has four matrices: two
/// for the low bytes of the residuals and two for the high bytes, with zeros at the positions of
/// the other bytes. Returns `None` if a weight exceeds [`MAX_SPLIT_WEIGHT`], or if there are more
/// outputs than one vector holds.
pub(super) fn pack(
    MatrixShape { segments, depth, outputs }: MatrixShape,
    weight: &dyn Fn(WeightIndex) -> i32,
) -> Option<Vec<WordLine>> {
    if outputs > LINE {
        return None;
    }
    let words = chunk_bytes(2 * depth) / 4;
    let mut lines = Vec::with_capacity(segments * depth / 2 * SPLIT_MATRICES);
    for segment in 0..segments {
        for first in (0..depth / 2).step_by(words) {
            // Whether the matrix is for the high bytes, and whether it has the second summands.
            for (high, second) in [(false, false), (false, true), (true, false), (true, true)] {
                for word in first..first + words {
                    let mut line = WordLine([0; LINE]);
                    for (output, line) in line.0.iter_mut().enumerate().take(outputs) {
                        for i in 0..2 {
                            let input = 2 * word + i;
                            let weight = weight(WeightIndex { segment, input, output });
                            if weight.abs() > MAX_SPLIT_WEIGHT {
                                return None;
                            }
                            let summand = weight.clamp(-i32::from(i8::MAX), i8::MAX.into());
                            let byte = if second { weight - summand } else { summand };
                            *line |= (byte as u32 & 0xff) << (16 * i + if high { 8 } else { 0 });
                        }
                    }
                    lines.push(line);
                }
            }
        }
    }
    Some(lines)
}

/// Computes one row.
///
/// # Safety
/// [`available`] returns true, and the processor supports AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run(mut job: Int8RowJob<'_>) {
    let pixels = job.check();
    let (layout, value_bytes) = match job.segments {
        Segments::I16(_) => (AccumulatorLayout::Split, 2),
        Segments::U8(_) if job.weights.block() == LINE => (AccumulatorLayout::Single, 1),
        Segments::U8(_) => (AccumulatorLayout::Double, 1),
    };
    let lacks_weights = layout == AccumulatorLayout::Split && !job.weights.has_alternative();
    if pixels < layout.pixels() || lacks_weights {
        return avx512::run(job);
    }
    let depth = value_bytes * job.weights.depth();
    let chunk = chunk_bytes(depth);
    let inputs = RowInputs {
        segments: job.segments,
        chunks: depth / chunk,
        pitch: value_bytes * job.pitch,
        pixels,
        chunk,
    };
    let config = TileConfig::new(if layout == AccumulatorLayout::Single { 3 } else { 2 }, chunk);
    let weights = job.weights;
    // SAFETY: the configuration is valid, since a chunk is a whole number of words and fits a row.
    // `check` has verified that all pixels exist in every slice. No code between `ldtilecfg` and
    // `tilerelease` returns early.
    unsafe {
        asm!(
            "ldtilecfg [{}]",
            in(reg) &raw const config,
            options(nostack, readonly, preserves_flags)
        );
        match &mut job.epilogue {
            Epilogue::Relu { activations_u8 } => {
                inputs.blocks(layout, weights, &mut StoreRelu { activations_u8 });
            }
            Epilogue::Signed { residual_in, residuals_i16, activations_u8 } => {
                let mut store = StoreSigned { residuals_i16, activations_u8 };
                match residual_in {
                    Some(residual_in) => {
                        inputs.blocks(layout, weights, &mut StoreSignedSum { residual_in, store });
                    }
                    None => inputs.blocks(layout, weights, &mut store),
                }
            }
            Epilogue::Float { out } => inputs.blocks(layout, weights, &mut StoreFloat { out }),
        }
        asm!("tilerelease", options(nostack, nomem, preserves_flags));
    }
}

/// Assignment of the four accumulator registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AccumulatorLayout {
    /// u8 activations: two vectors of outputs for 32 pixels.
    Double,
    /// u8 activations: one vector of outputs for 64 pixels.
    Single,
    /// i16 residuals: one vector of outputs for 32 pixels, with separate accumulators for low and
    /// high bytes.
    Split,
}

impl AccumulatorLayout {
    /// Returns the pixels per iteration.
    fn pixels(self) -> usize {
        if self == Self::Single { 4 * ROWS } else { 2 * ROWS }
    }
}

/// Inputs of one row of output pixels.
struct RowInputs<'a> {
    segments: Segments<'a>,
    /// Distance between the inputs of neighbouring pixels, in bytes.
    pitch: usize,
    pixels: usize,
    /// Bytes of a segment that one product covers.
    chunk: usize,
    /// Chunks per segment.
    chunks: usize,
}

impl RowInputs<'_> {
    /// Computes all blocks of outputs.
    ///
    /// # Safety
    /// The tile registers are configured for `layout`, and all pixels exist in the segments and in
    /// the slices of `to`. The processor supports AVX-512 F, BW and VL.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn blocks<E: StoreEpilogue>(
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

/// Sets all accumulators to zero.
///
/// # Safety
/// The tile registers are configured.
#[inline]
unsafe fn zero_accumulators() {
    // SAFETY: the instructions only change tile registers. These keep their values between blocks
    // of assembly, because the compiler never allocates them.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem, preserves_flags)
        );
    }
}

/// Adds the products of one chunk for 32 pixels and two vectors of outputs. Each loaded matrix
/// serves two products.
///
/// # Safety
/// The tile registers are configured for [`AccumulatorLayout::Double`]. The inputs of 32 pixels
/// exist at `input`, and the lines of two matrices at `weights`, alternating between the matrices.
#[inline]
unsafe fn multiply_double(input: *const u8, pitch: usize, weights: *const WordLine) {
    // SAFETY: by the contract of this function, all loads are within the inputs and weights.
    unsafe {
        asm!(
            "tileloadd tmm6, [{weights} + {line}]",
            "tileloadd tmm4, [{near} + {pitch}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{weights} + {line} + 64]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{far} + {pitch}]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            near = in(reg) input,
            far = in(reg) input.wrapping_add(ROWS * pitch),
            pitch = in(reg) pitch,
            weights = in(reg) weights,
            line = in(reg) 2 * BYTES,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Adds the products of one chunk for 64 pixels and one vector of outputs. The loaded weights serve
/// four products.
///
/// # Safety
/// The tile registers are configured for [`AccumulatorLayout::Single`]. The inputs of 64 pixels
/// exist at `input`, and the lines of a matrix at `weights`.
#[inline]
unsafe fn multiply_single(input: *const u8, pitch: usize, weights: *const WordLine) {
    // SAFETY: by the contract of this function, all loads are within the inputs and weights.
    unsafe {
        asm!(
            "tileloadd tmm7, [{weights} + {line}]",
            "tileloadd tmm4, [{a} + {pitch}]",
            "tdpbusd tmm0, tmm4, tmm7",
            "tileloadd tmm5, [{b} + {pitch}]",
            "tdpbusd tmm1, tmm5, tmm7",
            "tileloadd tmm6, [{c} + {pitch}]",
            "tdpbusd tmm2, tmm6, tmm7",
            "tileloadd tmm4, [{d} + {pitch}]",
            "tdpbusd tmm3, tmm4, tmm7",
            a = in(reg) input,
            b = in(reg) input.wrapping_add(ROWS * pitch),
            c = in(reg) input.wrapping_add(2 * ROWS * pitch),
            d = in(reg) input.wrapping_add(3 * ROWS * pitch),
            pitch = in(reg) pitch,
            weights = in(reg) weights,
            line = in(reg) BYTES,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Adds the products of one chunk of i16 residuals for 32 pixels, separately for low and high
/// bytes. Each of the [`SPLIT_MATRICES`] weight matrices has `lines` lines.
///
/// # Safety
/// The tile registers are configured for [`AccumulatorLayout::Split`]. The inputs of 32 pixels
/// exist at `input`, and the lines of four matrices at `weights`.
#[inline]
unsafe fn multiply_split(input: *const u8, pitch: usize, weights: *const WordLine, lines: usize) {
    // SAFETY: by the contract of this function, all loads are within the inputs and weights.
    unsafe {
        asm!(
            "tileloadd tmm6, [{a} + {line}]",
            "tileloadd tmm4, [{near} + {pitch}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{far} + {pitch}]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {line}]",
            "tdpbusd tmm0, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm7",
            "tileloadd tmm6, [{c} + {line}]",
            "tdpbssd tmm1, tmm4, tmm6",
            "tdpbssd tmm3, tmm5, tmm6",
            "tileloadd tmm7, [{d} + {line}]",
            "tdpbssd tmm1, tmm4, tmm7",
            "tdpbssd tmm3, tmm5, tmm7",
            near = in(reg) input,
            far = in(reg) input.wrapping_add(ROWS * pitch),
            pitch = in(reg) pitch,
            a = in(reg) weights,
            b = in(reg) weights.wrapping_add(lines),
            c = in(reg) weights.wrapping_add(2 * lines),
            d = in(reg) weights.wrapping_add(3 * lines),
            line = in(reg) BYTES,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Stores the accumulators as `[pixel][vector]`.
///
/// # Safety
/// The tile registers are configured, and there is room for all accumulators at `sums`.
#[inline]
unsafe fn store_accumulators<const VECTORS: usize>(sums: *mut u8) {
    let next = if VECTORS == 2 {
        [0, BYTES, ROWS * 2 * BYTES, (ROWS * 2 + 1) * BYTES]
    } else {
        [0, 1, 2, 3].map(|i| i * ROWS * BYTES)
    };
    let [a, b, c, d] = next.map(|at| sums.wrapping_add(at));
    // SAFETY: by the contract of this function.
    unsafe {
        asm!(
            "tilestored [{a} + {line}], tmm0",
            "tilestored [{b} + {line}], tmm1",
            "tilestored [{c} + {line}], tmm2",
            "tilestored [{d} + {line}], tmm3",
            a = in(reg) a,
            b = in(reg) b,
            c = in(reg) c,
            d = in(reg) d,
            line = in(reg) VECTORS * BYTES,
            options(nostack, preserves_flags),
        );
    }
}
