//! Int8 kernels: 8-bit or 16-bit activations times 8-bit weights, with 32-bit accumulators.
//!
//! A feature map has two storage forms:
//!
//! * *u8 activations* (`coarse`), which convolutions read. The zero point is 128 for maps that can
//!   be negative ([`ZERO`]), and 0 after a ReLU.
//! * *i16 residuals* (`fine`), which residual and skip connections add. They have 2^[`FINE_BITS`]
//!   units per unit of the u8 form. A convolution can read them where u8 is too coarse.
//!
//! All kernel sets compute the same operations in the same order, so their results are identical
//! bit for bit: `t = f32(bias + sum of products) * scale`, followed by an epilogue ([`Finish`]).
//! Float operations are IEEE 754 single precision, never fused, rounded to nearest, ties to even.
//! [`Packed`] limits the scales so that every `t` fits a 32-bit integer.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod finish512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni256;
#[cfg(target_arch = "x86_64")]
mod winograd;

use super::TOGETHER;
use pack::Line;
pub use pack::{Input, Packed, Quantised};

/// Base-2 logarithm of the number of i16 residual units per u8 activation unit.
pub const FINE_BITS: u32 = 7;
/// Zero point of u8 activations that can be negative.
pub const ZERO: u8 = 128;
/// Upper limit of the values in a segment: four input pixels (for a pair of output pixels) of the
/// widest map that an architecture may have.
const MAX_DEPTH: usize = 4 * 512;

/// Computation of one row of output pixels; see [`float::RowJob`](super::float::RowJob).
pub struct RowJob<'a> {
    /// Input values of the segments, from the first input of pixel 0 on. Number and storage form
    /// are those of the weights.
    pub segments: Segments<'a>,
    /// Distance between the inputs of neighbouring output pixels, in values.
    pub pitch: usize,
    /// Weight matrix, biases and scales.
    pub weights: &'a Packed,
    /// Epilogue with the output slices.
    pub finish: Finish<'a>,
}

/// Computation of a row block, [`TOGETHER`] rows of a 3x3 convolution of u8 activations.
pub struct RowsJob<'a> {
    /// The input rows of all output rows; output row `y` depends on `segments[y..y + 3]`.
    pub segments: [&'a [u8]; TOGETHER + 2],
    /// Values per input pixel.
    pub pitch: usize,
    /// Weight matrix, biases and scales.
    pub weights: &'a Packed,
    /// Epilogue of each row.
    pub finish: [Finish<'a>; TOGETHER],
}

/// Runs of contiguous input values in one of the storage forms.
#[derive(Clone, Copy)]
pub enum Segments<'a> {
    /// u8 activations.
    Coarse(&'a [&'a [u8]]),
    /// i16 residuals.
    Fine(&'a [&'a [i16]]),
}

#[cfg(target_arch = "x86_64")]
impl Segments<'_> {
    /// Returns the number of segments.
    fn count(self) -> usize {
        match self {
            Self::Coarse(list) => list.len(),
            Self::Fine(list) => list.len(),
        }
    }

    /// Returns a pointer to the first byte of a segment.
    fn bytes(self, segment: usize) -> *const u8 {
        match self {
            Self::Coarse(list) => list[segment].as_ptr(),
            Self::Fine(list) => list[segment].as_ptr().cast(),
        }
    }
}

/// Epilogue: the operations that turn scaled accumulators `t` into stored outputs. Each slice has
/// one value per output of each pixel.
pub enum Finish<'a> {
    /// ReLU: `coarse = round(clamp(t, 0, 255))`.
    Relu { coarse: &'a mut [u8] },
    /// No activation: `fine = round(clamp(t + f32(add) * ratio, -32768, 32767))`, without the
    /// second summand if `add` is `None`; `coarse = clamp((fine + 64) >> 7, -128, 127) + 128`.
    Signed { add: Option<&'a [i16]>, fine: &'a mut [i16], coarse: &'a mut [u8] },
    /// Network output: `out = t`.
    Float { out: &'a mut [f32] },
}

impl<'a> Finish<'a> {
    /// Splits all slices at value `values`.
    pub fn split_at(self, values: usize) -> (Self, Self) {
        match self {
            Self::Relu { coarse } => {
                let (first, rest) = coarse.split_at_mut(values);
                (Self::Relu { coarse: first }, Self::Relu { coarse: rest })
            }
            Self::Signed { add, fine, coarse } => {
                let (add, add_rest) = add.map(|add| add.split_at(values)).unzip();
                let ((fine, fine_rest), (coarse, coarse_rest)) =
                    (fine.split_at_mut(values), coarse.split_at_mut(values));
                let rest = Self::Signed { add: add_rest, fine: fine_rest, coarse: coarse_rest };
                (Self::Signed { add, fine, coarse }, rest)
            }
            Self::Float { out } => {
                let (first, rest) = out.split_at_mut(values);
                (Self::Float { out: first }, Self::Float { out: rest })
            }
        }
    }

    /// Borrows the slices for a shorter time.
    fn reborrow(&mut self) -> Finish<'_> {
        match self {
            Self::Relu { coarse } => Finish::Relu { coarse },
            Self::Signed { add, fine, coarse } => Finish::Signed { add: *add, fine, coarse },
            Self::Float { out } => Finish::Float { out },
        }
    }

    /// Returns the number of output values.
    pub fn values(&self) -> usize {
        match self {
            Self::Relu { coarse } => coarse.len(),
            Self::Signed { fine, .. } => fine.len(),
            Self::Float { out } => out.len(),
        }
    }
}

impl RowsJob<'_> {
    /// Returns the number of output pixels per row. Panics like [`RowJob::check`].
    fn check(&mut self) -> usize {
        let [first, others @ ..] = &self.finish;
        assert!(others.iter().all(|row| row.values() == first.values()));
        assert_eq!((self.weights.segments(), self.weights.depth()), (3, 3 * self.pitch));
        for y in 0..TOGETHER {
            let segments = Segments::Coarse(&self.segments[y..y + 3]);
            RowJob {
                segments,
                pitch: self.pitch,
                weights: self.weights,
                finish: self.finish[y].reborrow(),
            }
            .check();
        }
        self.finish[0].values() / self.weights.outputs()
    }
}

impl RowJob<'_> {
    /// Returns the number of output pixels.
    ///
    /// # Panics
    /// If an access of a kernel would be outside of its slice. The kernels rely on this check for
    /// memory safety.
    fn check(&self) -> usize {
        let outputs = self.weights.outputs();
        let values = self.finish.values();
        if let Finish::Signed { add, coarse, .. } = &self.finish {
            assert_eq!(coarse.len(), values);
            assert!(add.is_none_or(|add| add.len() == values));
        }
        let pixels = values / outputs;
        assert_eq!(values, pixels * outputs);
        if pixels > 0 {
            let reach = (pixels - 1) * self.pitch + self.weights.depth();
            let (form, count, fits) = match self.segments {
                Segments::Coarse(list) => {
                    (Input::Coarse, list.len(), list.iter().all(|s| s.len() >= reach))
                }
                Segments::Fine(list) => {
                    (Input::Fine, list.len(), list.iter().all(|s| s.len() >= reach))
                }
            };
            assert_eq!((form, count), (self.weights.input(), self.weights.segments()));
            assert!(fits, "a segment is shorter than the kernel's reach of {reach} values");
        }
        pixels
    }
}

/// Set of kernels for one instruction set. Values exist only for instruction sets that the
/// processor supports.
#[derive(Debug, Clone, Copy)]
pub struct Kernels(Set);

/// Instruction set.
#[derive(Debug, Clone, Copy)]
enum Set {
    /// Plain Rust.
    Portable,
    /// NEON with the dot product extension.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// VNNI on 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Vnni256(vnni256::Encoding),
    /// AVX-512 F, BW, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AMX with 8-bit integers, and the above.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Kernels {
    /// The portable kernel set, which every processor supports.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// Returns all kernel sets that this processor supports, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx512 =
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if has_avx512
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                all.extend(amx::available().then_some(Self(Set::Amx)));
                all.push(Self(Set::Avx512Vnni));
            }
            all.extend(vnni256::Encoding::detect().map(|encoding| Self(Set::Vnni256(encoding))));
            if is_x86_feature_detected!("avx2") {
                all.push(Self(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("dotprod")
        {
            all.push(Self(Set::Neon));
        }
        all.push(Self::PORTABLE);
        all
    }

    /// Returns the fastest kernel set, or the supported one that the environment variable
    /// `CNNVIDEO_KERNELS` names.
    pub fn best() -> Self {
        super::choose(&Self::available(), Self::name).unwrap_or(Self::PORTABLE)
    }

    /// Returns the name of the kernel set.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon-dotprod",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Vnni256(_) => "vnni256",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Amx => "amx",
        }
    }

    /// Returns the block size of the weights of a layer with `outputs` outputs: the number of
    /// outputs that the kernel accumulates at a time.
    fn block(self, outputs: usize) -> usize {
        let vectors = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni | Set::Amx => 2,
            _ => 1,
        };
        // With an odd number of vectors, half of the last block would be unused.
        if outputs.div_ceil(16).is_multiple_of(vectors) { 16 * vectors } else { 16 }
    }

    /// Returns the number of weights per 32-bit word. AVX2 multiplies u8 activations as 16-bit
    /// values, so its weights have 16 bits as well.
    fn weights_per_word(self, input: Input) -> usize {
        match (self.0, input) {
            #[cfg(target_arch = "x86_64")]
            (Set::Avx2, _) => 2,
            (_, Input::Coarse) => 4,
            (_, Input::Fine) => 2,
        }
    }

    /// Packs the weights in a second form for a faster kernel, if the kernel set has one for this
    /// shape: `winograd::pack` or `amx::pack`.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
    fn extra(
        self,
        input: Input,
        matrix: [usize; 3],
        weight: &dyn Fn(usize, usize, usize) -> i32,
    ) -> Option<Vec<Line>> {
        match (self.0, input) {
            #[cfg(target_arch = "x86_64")]
            (Set::Avx2, Input::Coarse) => winograd::pack(matrix, weight),
            #[cfg(target_arch = "x86_64")]
            (Set::Amx, Input::Fine) => amx::pack(matrix, weight),
            _ => None,
        }
    }

    /// Returns the value that the kernels subtract from the inputs before the multiplication.
    fn excess(self, input: Input) -> i32 {
        match (self.0, input) {
            #[cfg(target_arch = "aarch64")]
            (Set::Neon, Input::Coarse) => neon::EXCESS,
            _ => 0,
        }
    }

    /// Returns whether [`Self::run_rows`] computes a row block of `pixels` pixels per row with
    /// Winograd F(4x4, 3x3), which is faster than row by row.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
    pub fn joins(self, weights: &Packed, pixels: usize) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => !weights.extra_lines(0).is_empty() && pixels >= winograd::SPAN,
            _ => false,
        }
    }

    /// Computes a row block, with Winograd F(4x4, 3x3) if [`Self::joins`] holds, otherwise row by
    /// row.
    ///
    /// # Panics
    /// If the slices are too short, or the weights were packed for another kernel set.
    pub fn run_rows(self, mut job: RowsJob<'_>) {
        let pixels = job.check();
        if !self.joins(job.weights, pixels) {
            for (y, finish) in job.finish.into_iter().enumerate() {
                let segments = Segments::Coarse(&job.segments[y..y + 3]);
                self.run(RowJob { segments, pitch: job.pitch, weights: job.weights, finish });
            }
            return;
        }
        // SAFETY: `joins` holds only for `Set::Avx2`, which only `available` creates, after it has
        // detected AVX2. `check` has verified that `pixels` pixels exist in every segment and
        // result.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            winograd::run(&mut job, pixels);
        }
    }

    /// Computes one row.
    ///
    /// # Panics
    /// If the slices are too short, or the weights were packed for another kernel set.
    pub fn run(self, job: RowJob<'_>) {
        assert_eq!(
            job.weights.block(),
            self.block(job.weights.outputs()),
            "weights packed for other kernels"
        );
        match self.0 {
            Set::Portable => portable::run(job),
            // SAFETY: only `available` creates this value, after it has detected the instruction
            // set.
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { neon::run(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2::run(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Vnni256(encoding) => unsafe { vnni256::run(job, encoding) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Set::Avx512Vnni => unsafe { avx512::run(job) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; `available` has also checked `amx::available`.
            Set::Amx => unsafe { amx::run(job) },
        }
    }
}
