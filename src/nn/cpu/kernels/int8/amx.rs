//! AMX: registers that are matrices. One instruction multiplies the values of 16 pixels, up to 64 bytes of each, with the weights of 16 outputs. The sums
//! then leave by way of memory, to be scaled and rounded as in the AVX-512 kernels, which also compute what is too small for this.
//!
//! Rows of the left matrix lie a pixel's pitch apart in the row of the map, and so overlap where neighbouring pixels share inputs; those of the
//! right matrix are the lines of packed weights as they are.

use std::{
    arch::{asm, x86_64::*},
    mem::MaybeUninit,
    sync::OnceLock,
};

use super::{
    Finish, RowJob, Segments, avx512,
    finish512::{Added, Block, Float, Relu, Round, Signed, store},
    pack::{LINE, Line, Packed},
};

/// Rows of a matrix, and so pixels; and bytes of a row.
const ROWS: usize = 16;
const BYTES: usize = 64;
/// Matrices of sums that are made together, so that each load serves two products or more.
const SUMS: usize = 4;

/// Whether the processor has these instructions and the system lets this process use them.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILE: u32 = 1 << 24;
        const INT8: u32 = 1 << 25;
        let extended = __cpuid(0).eax >= 7 && __cpuid(1).ecx & 1 << 27 != 0;
        extended && __cpuid_count(7, 0).edx & (TILE | INT8) == TILE | INT8 && permitted()
    })
}

/// Asks for the state of the matrices, which Linux gives only to processes that do ("Using XSTATE features in user space applications", Linux documentation).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: it takes numbers and changes what the process may do, nothing else.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Shapes of the matrix registers, in the form that the processor reads.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Four matrices of sums, then the matrices of `values`, each pixel with `chunk` bytes, then those of weights.
    fn new(values: usize, chunk: usize) -> Self {
        let (mut bytes, mut rows) = ([0; 16], [0; 16]);
        for register in 0..8 {
            let is_values = (SUMS..SUMS + values).contains(&register);
            bytes[register] = if is_values { chunk } else { BYTES } as u16;
            rows[register] = if register < SUMS + values { ROWS } else { chunk / 4 } as u8;
        }
        Self { palette: 1, start_row: 0, reserved: [0; 14], bytes, rows }
    }
}

/// Bytes of a segment's inputs that are multiplied at a time: as many as fit, alike for all.
fn chunk(depth: usize) -> usize {
    let words = depth / 4;
    let count = (depth.div_ceil(BYTES)..=words).find(|count| words.is_multiple_of(*count));
    depth / count.unwrap_or(1)
}

/// Largest weight by magnitude that 16-bit values are multiplied with: the sum of two of a byte.
const LARGEST: i32 = 2 * i8::MAX as i32;
/// Matrices of weights for a chunk of 16-bit values.
const MATRICES: usize = 4;

/// Weights for 16-bit values, whose bytes lie in turns, low and high. For each chunk of a segment there are two matrices that meet the low ones, which add up
/// to the weights, and two that meet the high ones; the other bytes meet zeros. `None` for weights that are too large or more than a vector of outputs.
pub(super) fn pack(
    [segments, depth, outputs]: [usize; 3],
    weight: &dyn Fn(usize, usize, usize) -> i32,
) -> Option<Vec<Line>> {
    if outputs > LINE {
        return None;
    }
    let words = chunk(2 * depth) / 4;
    let mut lines = Vec::with_capacity(segments * depth / 2 * MATRICES);
    for segment in 0..segments {
        for first in (0..depth / 2).step_by(words) {
            for (high, rest) in [(false, false), (false, true), (true, false), (true, true)] {
                for word in first..first + words {
                    let mut line = Line([0; LINE]);
                    for (output, line) in line.0.iter_mut().enumerate().take(outputs) {
                        for i in 0..2 {
                            let weight = weight(segment, 2 * word + i, output);
                            if weight.abs() > LARGEST {
                                return None;
                            }
                            let most = weight.clamp(-i32::from(i8::MAX), i8::MAX.into());
                            let byte = if rest { weight - most } else { most };
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

/// # Safety
/// [`available`], and the processor has AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run(mut job: RowJob<'_>) {
    let pixels = job.check();
    let (form, size) = match job.segments {
        Segments::Fine(_) => (Form::Fine, 2),
        Segments::Coarse(_) if job.weights.block() == LINE => (Form::Single, 1),
        Segments::Coarse(_) => (Form::Double, 1),
    };
    if pixels < form.pixels() || form == Form::Fine && job.weights.extra_lines(0).is_empty() {
        return avx512::run(job);
    }
    let (pitch, chunk) = (size * job.pitch, chunk(size * job.weights.depth()));
    let rows = Rows {
        segments: job.segments,
        chunks: size * job.weights.depth() / chunk,
        pitch,
        pixels,
        chunk,
    };
    let shapes = Shapes::new(if form == Form::Single { 3 } else { 2 }, chunk);
    // SAFETY: the shapes are valid: a chunk is of whole words and fits a row. `check` has shown that all pixels exist.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly, preserves_flags));
        match &mut job.finish {
            Finish::Relu { coarse } => rows.blocks(form, job.weights, &mut Relu(coarse)),
            Finish::Signed { add: Some(add), fine, coarse } => {
                rows.blocks(form, job.weights, &mut Added(add, Signed(fine, coarse)));
            }
            Finish::Signed { add: None, fine, coarse } => {
                rows.blocks(form, job.weights, &mut Signed(fine, coarse))
            }
            Finish::Float { out } => rows.blocks(form, job.weights, &mut Float(out)),
        }
        asm!("tilerelease", options(nostack, nomem, preserves_flags));
    }
}

/// What the four matrices of sums are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Of bytes: two vectors of outputs of 32 pixels.
    Double,
    /// One of 64.
    Single,
    /// Of 16-bit values: one of 32, with low bytes and with high ones.
    Fine,
}

impl Form {
    fn pixels(self) -> usize {
        if self == Self::Single { 4 * ROWS } else { 2 * ROWS }
    }
}

/// What a row of pixels is made of.
struct Rows<'a> {
    segments: Segments<'a>,
    /// Bytes from one pixel to the next.
    pitch: usize,
    pixels: usize,
    /// Bytes that are multiplied at a time, and how many times a segment has them.
    chunk: usize,
    chunks: usize,
}

impl Rows<'_> {
    /// Computes all outputs.
    ///
    /// # Safety
    /// Shapes are set for `form`, and all pixels exist, of the results as well.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn blocks<R: Round>(&self, form: Form, weights: &Packed, to: &mut R) {
        let (pitch, chunk) = (self.pitch, self.chunk);
        for first in (0..weights.outputs()).step_by(weights.block()) {
            let (block, lines) = (Block::new(weights, first), weights.block_lines(first));
            // SAFETY: as the caller vouches. There are weights for all that is multiplied.
            unsafe {
                match form {
                    Form::Double => self.tiles::<_, 2, 32>(
                        &block,
                        lines,
                        2,
                        to,
                        |input, lines| multiply_double(input, pitch, lines),
                        |to, x, sums| store::<_, 2, false>(&block, to, x, sums),
                    ),
                    Form::Single => self.tiles::<_, 1, 64>(
                        &block,
                        lines,
                        1,
                        to,
                        |input, lines| multiply_single(input, pitch, lines),
                        |to, x, sums| store::<_, 1, false>(&block, to, x, sums),
                    ),
                    Form::Fine => self.tiles::<_, 2, 32>(
                        &block,
                        weights.extra_lines(first),
                        MATRICES,
                        to,
                        |input, lines| multiply_fine(input, pitch, lines, chunk / 4),
                        |to, x, sums| {
                            // Parts are of whole fours.
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

    /// Computes a block of outputs, `N` pixels at a time, of which there are as many: multiplies chunks, each with lines of `matrices` matrices, and rounds sums.
    ///
    /// # Safety
    /// Shapes are set, the pixels and as many lines exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn tiles<R: Round, const VECTORS: usize, const N: usize>(
        &self,
        block: &Block,
        lines: &[Line],
        matrices: usize,
        to: &mut R,
        multiply: impl Fn(*const u8, *const Line),
        round: impl Fn(&mut R, usize, &[[__m512i; VECTORS]]),
    ) {
        const { assert!(N * VECTORS == SUMS * ROWS) };
        let count = self.segments.count();
        // Pixels that are rounded after each multiplication: two pairs of vectors at a time.
        let part = N.div_ceil(count * self.chunks).next_multiple_of(4);
        // Two, so that what came before is rounded while what comes next is multiplied.
        let mut sums = [const { MaybeUninit::<[[__m512i; VECTORS]; N]>::uninit() }; 2];
        let [mut own, mut other] = sums.each_mut().map(MaybeUninit::as_mut_ptr);
        let mut before = None;
        for x in (0..self.pixels).step_by(N) {
            // The last tile of a row may overlap the one before; it computes the same values again.
            let x = x.min(self.pixels - N);
            // What is added comes from far, and is needed when the next pixels are multiplied.
            let values = x * block.outputs + block.first..(x + N) * block.outputs;
            values.step_by(block.outputs.max(2 * LINE)).for_each(|at| to.prefetch(at));
            // SAFETY: the caller vouches for the pixels. All sums have been written before they are rounded.
            unsafe {
                let mut rest: &[[__m512i; VECTORS]] = if before.is_some() { &*other } else { &[] };
                clear();
                let mut lines = lines.as_ptr();
                for segment in 0..count {
                    let mut input = self.segments.bytes(segment).wrapping_add(x * self.pitch);
                    for _ in 0..self.chunks {
                        multiply(input, lines);
                        input = input.wrapping_add(self.chunk);
                        lines = lines.wrapping_add(matrices * self.chunk / 4);
                        let (first, others) = rest.split_at(part.min(rest.len()));
                        round(to, before.unwrap_or(0) + N - rest.len(), first);
                        rest = others;
                    }
                }
                save::<VECTORS>(own.cast());
            }
            before = Some(x);
            std::mem::swap(&mut own, &mut other);
        }
        if let Some(x) = before {
            // SAFETY: as above.
            round(to, x, unsafe { &*other });
        }
    }
}

/// Sets all sums to zero.
///
/// # Safety
/// Shapes are set.
#[inline]
unsafe fn clear() {
    // SAFETY: it changes registers that the compiler does not know. That they keep their values until the next block of assembly is sure, since
    // no type lives in them.
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

/// Adds the products of a chunk for 32 pixels and two vectors of outputs: each matrix that is loaded serves two products.
///
/// # Safety
/// Shapes are set. The pixels and weights exist.
#[inline]
unsafe fn multiply_double(input: *const u8, pitch: usize, weights: *const Line) {
    // SAFETY: matrices are read within what the caller vouches for.
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

/// Adds the products of a chunk for 64 pixels and one vector of outputs: the matrix of weights serves four products.
///
/// # Safety
/// As [`multiply_double`].
#[inline]
unsafe fn multiply_single(input: *const u8, pitch: usize, weights: *const Line) {
    // SAFETY: as above.
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

/// Adds the products of a chunk of 16-bit values for 32 pixels: of their low bytes, and of their high ones.
/// Each of the [`MATRICES`] of weights has `lines` lines.
///
/// # Safety
/// As [`multiply_double`].
#[inline]
unsafe fn multiply_fine(input: *const u8, pitch: usize, weights: *const Line, lines: usize) {
    // SAFETY: as above.
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

/// Stores the sums: by pixel, its vectors.
///
/// # Safety
/// Shapes are set, and there is room for all.
#[inline]
unsafe fn save<const VECTORS: usize>(sums: *mut u8) {
    let next = if VECTORS == 2 {
        [0, BYTES, ROWS * 2 * BYTES, (ROWS * 2 + 1) * BYTES]
    } else {
        [0, 1, 2, 3].map(|i| i * ROWS * BYTES)
    };
    let [a, b, c, d] = next.map(|at| sums.wrapping_add(at));
    // SAFETY: as the caller vouches.
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
