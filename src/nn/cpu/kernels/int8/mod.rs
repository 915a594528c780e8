//! 8-bit integers, added up in 32 bits.
//!
//! A row of a feature map has two forms. *Coarse*: a byte per value, for maps that may be negative in excess-128 form,
//! and after a ReLU from 0 up. Convolutions read these. *Fine*: 16 bits, 128 to one coarse step. Sums along residual
//! connections are kept in these, and a convolution can read them where a byte is too coarse.
//!
//! What is computed, in this order, is the same for every kernel set, and so is every bit of the result:
//! `t = f32(bias + sum of products) * scale`, then by [`Finish`]; float operations are IEEE 754 singles, never fused,
//! and round to nearest, ties to even. [`Packed`] sees to it that no `t` leaves the range of 32-bit integers.

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

/// Fine steps in a coarse one, as a power of two.
pub const FINE_BITS: u32 = 7;
/// The coarse form of zero in maps that may be negative.
pub const ZERO: u8 = 128;
/// Most values in a segment: four pixels (for two of output) of the widest map that an architecture may have.
const MAX_DEPTH: usize = 4 * 512;

/// One row of output pixels to compute; as [`float::RowJob`](super::float::RowJob).
pub struct RowJob<'a> {
    /// As many as the weights have, of the form that they are packed for.
    pub segments: Segments<'a>,
    /// Values from one pixel to the next in `segments`.
    pub pitch: usize,
    pub weights: &'a Packed,
    pub finish: Finish<'a>,
}

/// [`TOGETHER`] rows of a 3x3 convolution of bytes.
pub struct RowsJob<'a> {
    /// All rows that they are made of.
    pub segments: [&'a [u8]; TOGETHER + 2],
    /// Values from one pixel to the next in `segments`.
    pub pitch: usize,
    pub weights: &'a Packed,
    pub finish: [Finish<'a>; TOGETHER],
}

/// Runs of input values.
#[derive(Clone, Copy)]
pub enum Segments<'a> {
    Coarse(&'a [&'a [u8]]),
    Fine(&'a [&'a [i16]]),
}

#[cfg(target_arch = "x86_64")]
impl Segments<'_> {
    fn count(self) -> usize {
        match self {
            Self::Coarse(list) => list.len(),
            Self::Fine(list) => list.len(),
        }
    }

    /// The bytes of one of them.
    fn bytes(self, segment: usize) -> *const u8 {
        match self {
            Self::Coarse(list) => list[segment].as_ptr(),
            Self::Fine(list) => list[segment].as_ptr().cast(),
        }
    }
}

/// What becomes of the sums. All slices have one value for each output of each pixel.
pub enum Finish<'a> {
    /// `round(clamp(t, 0, 255))`.
    Relu { coarse: &'a mut [u8] },
    /// `fine = round(clamp(t + f32(add) * ratio, -32768, 32767))`, without `add` just of `t`;
    /// `coarse = clamp((fine + 64) >> 7, -128, 127) + 128`.
    Signed { add: Option<&'a [i16]>, fine: &'a mut [i16], coarse: &'a mut [u8] },
    /// `t`.
    Float { out: &'a mut [f32] },
}

impl<'a> Finish<'a> {
    /// Of the first `values`, and of the others.
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

    fn reborrow(&mut self) -> Finish<'_> {
        match self {
            Self::Relu { coarse } => Finish::Relu { coarse },
            Self::Signed { add, fine, coarse } => Finish::Signed { add: *add, fine, coarse },
            Self::Float { out } => Finish::Float { out },
        }
    }

    /// How many there are.
    pub fn values(&self) -> usize {
        match self {
            Self::Relu { coarse } => coarse.len(),
            Self::Signed { fine, .. } => fine.len(),
            Self::Float { out } => out.len(),
        }
    }
}

impl RowsJob<'_> {
    /// As [`RowJob::check`].
    fn check(&mut self) -> usize {
        let [first, others @ ..] = &self.finish;
        assert!(others.iter().all(|row| row.values() == first.values()));
        assert_eq!((self.weights.segments(), self.weights.depth()), (3, 3 * self.pitch));
        // Rows are checked one by one.
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
    /// Panics unless every access that a kernel makes lies within its slice; kernels rely on it. Gives the pixels.
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
            assert!(fits, "a segment is shorter than its reach, {reach}");
        }
        pixels
    }
}

/// A set of kernels for one instruction set. A value exists only where the processor has it.
#[derive(Debug, Clone, Copy)]
pub struct Kernels(Set);

#[derive(Debug, Clone, Copy)]
enum Set {
    Portable,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Vnni256(vnni256::Encoding),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Kernels {
    pub const PORTABLE: Self = Self(Set::Portable);

    /// All that this processor can run, the fastest first.
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

    /// The fastest, or the one that `CNNVIDEO_KERNELS` names, if this processor has it.
    pub fn best() -> Self {
        super::choose(&Self::available(), Self::name).unwrap_or(Self::PORTABLE)
    }

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

    /// Outputs that are computed together, for a layer with `outputs` of them: the block size of its weights.
    fn block(self, outputs: usize) -> usize {
        let vectors = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni | Set::Amx => 2,
            _ => 1,
        };
        // An odd number of vectors would leave half of the last block empty.
        if outputs.div_ceil(16).is_multiple_of(vectors) { 16 * vectors } else { 16 }
    }

    /// Weights in a word. Where bytes are multiplied as 16-bit values, weights are kept as such.
    fn weights_per_word(self, input: Input) -> usize {
        match (self.0, input) {
            #[cfg(target_arch = "x86_64")]
            (Set::Avx2, _) => 2,
            (_, Input::Coarse) => 4,
            (_, Input::Fine) => 2,
        }
    }

    /// Weights in another form, where it is faster and possible: for minimal filtering, see `winograd::pack`, or `amx::pack`.
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

    /// What is taken off values before they are multiplied.
    fn excess(self, input: Input) -> i32 {
        match (self.0, input) {
            #[cfg(target_arch = "aarch64")]
            (Set::Neon, Input::Coarse) => neon::EXCESS,
            _ => 0,
        }
    }

    /// Whether it is faster to compute [`TOGETHER`] rows of `pixels` pixels at once.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
    pub fn joins(self, weights: &Packed, pixels: usize) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => !weights.extra_lines(0).is_empty() && pixels >= winograd::SPAN,
            _ => false,
        }
    }

    /// Computes rows, together where that is faster.
    pub fn run_rows(self, mut job: RowsJob<'_>) {
        let pixels = job.check();
        if !self.joins(job.weights, pixels) {
            for (y, finish) in job.finish.into_iter().enumerate() {
                let segments = Segments::Coarse(&job.segments[y..y + 3]);
                self.run(RowJob { segments, pitch: job.pitch, weights: job.weights, finish });
            }
            return;
        }
        // SAFETY: `available` has seen these instructions on this processor, and only it makes such values. `check` has shown that all pixels exist.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            winograd::run(&mut job, pixels);
        }
    }

    /// Computes a row.
    pub fn run(self, job: RowJob<'_>) {
        assert_eq!(
            job.weights.block(),
            self.block(job.weights.outputs()),
            "weights packed for other kernels"
        );
        match self.0 {
            Set::Portable => portable::run(job),
            // SAFETY: `available` has seen these instructions on this processor, and only it makes such values.
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { neon::run(job) },
            // SAFETY: `available` has seen these instructions on this processor, and only it makes such values.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2::run(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Vnni256(encoding) => unsafe { vnni256::run(job, encoding) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Set::Avx512Vnni => unsafe { avx512::run(job) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Set::Amx => unsafe { amx::run(job) },
        }
    }
}
