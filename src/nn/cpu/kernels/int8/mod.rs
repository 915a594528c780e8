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
            RowJob { segments, pitch: self.pitch, weights: self.weights, finish: self.finish[y].reborrow() }.check();
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
                Segments::Coarse(list) => (Input::Coarse, list.len(), list.iter().all(|s| s.len() >= reach)),
                Segments::Fine(list) => (Input::Fine, list.len(), list.iter().all(|s| s.len() >= reach)),
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
            let has_avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if has_avx512 && is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512vnni") {
                all.extend(amx::available().then_some(Self(Set::Amx)));
                all.push(Self(Set::Avx512Vnni));
            }
            all.extend(vnni256::Encoding::detect().map(|encoding| Self(Set::Vnni256(encoding))));
            if is_x86_feature_detected!("avx2") {
                all.push(Self(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") && std::arch::is_aarch64_feature_detected!("dotprod") {
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
    fn extra(self, input: Input, matrix: [usize; 3], weight: &dyn Fn(usize, usize, usize) -> i32) -> Option<Vec<Line>> {
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
        assert_eq!(job.weights.block(), self.block(job.weights.outputs()), "weights packed for other kernels");
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

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[derive(PartialEq, Debug, Default)]
    struct Made {
        coarse: Vec<u8>,
        fine: Vec<i16>,
        float: Vec<u32>,
    }

    #[test]
    fn kernels_agree_bit_for_bit_on_random_shapes() {
        let mut rng = StdRng::seed_from_u64(11);
        for round in 0..600 {
            let input = if rng.random_bool(0.7) { Input::Coarse } else { Input::Fine };
            let (segments, depth) = (rng.random_range(1..=3), 4 * rng.random_range(1..=30));
            let (outputs, pixels) = (rng.random_range(1..=70), rng.random_range(0..=150));
            let pitch = rng.random_range(1..=40);
            let length = pixels * pitch + depth;
            let bytes: Vec<Vec<u8>> = (0..segments).map(|_| (0..length).map(|_| rng.random()).collect()).collect();
            let words: Vec<Vec<i16>> = (0..segments).map(|_| (0..length).map(|_| rng.random()).collect()).collect();
            let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let words: Vec<&[i16]> = words.iter().map(Vec::as_slice).collect();
            let weights: Vec<f32> = (0..segments * depth * outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
            let bias: Vec<f32> = (0..outputs).map(|_| rng.random_range(-9.0..9.0)).collect();
            let add: Vec<i16> = (0..pixels * outputs).map(|_| rng.random()).collect();
            let add = rng.random::<bool>().then_some(add.as_slice());
            let finish = rng.random_range(0..3);
            // Some sums stay small, some run into the limits.
            let step = 10f32.powf(rng.random_range(-1.0..4.0)) * if input == Input::Fine { 128.0 } else { 1.0 };

            let compute = |kernels: Kernels| {
                let packed = Packed::new(
                    kernels,
                    Quantised {
                        input,
                        zero: if finish == 1 { ZERO } else { 0 },
                        segments,
                        depth,
                        outputs,
                        taps: segments * depth,
                        weight: &|s, d, o| weights[(s * depth + d) * outputs + o],
                        bias: &bias,
                        step,
                        ratio: 0.37,
                    },
                );
                let count = pixels * outputs;
                let mut made = Made::default();
                let mut float = vec![f32::NAN; count];
                let finish = match finish {
                    0 => {
                        made.coarse = vec![77; count];
                        Finish::Relu { coarse: &mut made.coarse }
                    }
                    1 => {
                        (made.coarse, made.fine) = (vec![77; count], vec![77; count]);
                        Finish::Signed { add, fine: &mut made.fine, coarse: &mut made.coarse }
                    }
                    _ => Finish::Float { out: &mut float },
                };
                let segments = match input {
                    Input::Coarse => Segments::Coarse(&bytes),
                    Input::Fine => Segments::Fine(&words),
                };
                kernels.run(RowJob { segments, pitch, weights: &packed, finish });
                made.float = float.iter().map(|v| v.to_bits()).collect();
                made
            };
            let expected = compute(Kernels::PORTABLE);
            for kernels in Kernels::available() {
                assert_eq!(compute(kernels), expected, "{} round {round}", kernels.name());
            }
        }
    }

    #[test]
    fn rows_together_are_what_they_are_one_by_one() {
        let mut rng = StdRng::seed_from_u64(12);
        let mut joined = 0;
        for round in 0..100 {
            let pitch = 4 * rng.random_range(1..=21);
            let (depth, outputs, pixels) = (3 * pitch, rng.random_range(1..=40), rng.random_range(20..=80));
            // Extremes now and then, for the largest sums that there are.
            let extreme = rng.random_bool(0.2);
            let rows: [Vec<u8>; TOGETHER + 2] = std::array::from_fn(|_| {
                let byte = |rng: &mut StdRng| if extreme { 255 * rng.random_range(0..=1u8) } else { rng.random() };
                (0..pixels * pitch + depth).map(|_| byte(&mut rng)).collect()
            });
            let weights: Vec<f32> =
                (0..3 * depth * outputs)
                    .map(|_| {
                        if extreme { 1.0f32.copysign(rng.random_range(-1.0..3.0)) } else { rng.random_range(-1.0..1.0) }
                    })
                    .collect();
            let add: Vec<i16> = (0..pixels * outputs).map(|_| rng.random()).collect();
            let compute = |kernels: Kernels| {
                let packed = Packed::new(
                    kernels,
                    Quantised {
                        input: Input::Coarse,
                        zero: ZERO,
                        segments: 3,
                        depth,
                        outputs,
                        taps: 3 * depth,
                        weight: &|s, d, o| weights[(s * depth + d) * outputs + o],
                        bias: &vec![0.3; outputs],
                        step: 0.07,
                        ratio: 0.37,
                    },
                );
                let mut made: [Made; TOGETHER] = std::array::from_fn(|_| Made {
                    coarse: vec![77; pixels * outputs],
                    fine: vec![77; pixels * outputs],
                    float: Vec::new(),
                });
                let finish = made.each_mut().map(|made| Finish::Signed {
                    add: Some(&add),
                    fine: &mut made.fine,
                    coarse: &mut made.coarse,
                });
                let segments = rows.each_ref().map(Vec::as_slice);
                let joins = kernels.joins(&packed, pixels);
                kernels.run_rows(RowsJob { segments, pitch, weights: &packed, finish });
                (made, joins)
            };
            let (expected, _) = compute(Kernels::PORTABLE);
            for kernels in Kernels::available() {
                let (made, joins) = compute(kernels);
                assert_eq!(made, expected, "{} round {round}", kernels.name());
                joined += usize::from(joins);
            }
        }
        assert_eq!(joined > 0, Kernels::available().iter().any(|kernels| kernels.name() == "avx2"));
    }

    #[test]
    fn a_convolution_is_what_it_is_in_floats() {
        let (depth, outputs, pixels) = (36, 5, 7);
        let mut rng = StdRng::seed_from_u64(5);
        let weights: Vec<f32> = (0..depth * outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
        let row: Vec<u8> = (0..pixels * 4 + depth).map(|_| rng.random()).collect();
        let packed = Packed::new(
            Kernels::PORTABLE,
            Quantised {
                input: Input::Coarse,
                zero: ZERO,
                segments: 1,
                depth,
                outputs,
                taps: depth,
                weight: &|_, d, o| weights[d * outputs + o],
                bias: &[3.0; 5],
                step: 1.0,
                ratio: 1.0,
            },
        );
        let mut out = vec![0.0; pixels * outputs];
        let finish = Finish::Float { out: &mut out };
        Kernels::PORTABLE.run(RowJob { segments: Segments::Coarse(&[&row]), pitch: 4, weights: &packed, finish });
        for x in 0..pixels {
            for o in 0..outputs {
                let exact: f32 =
                    (0..depth).map(|d| weights[d * outputs + o] * (f32::from(row[4 * x + d]) - 128.0)).sum();
                // A weight is off by at most 1/254, a value is at most 128.
                let limit = depth as f32 * 128.0 / 254.0;
                assert!((out[x * outputs + o] - exact - 3.0).abs() < limit * 0.5, "{x} {o}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "reach")]
    fn short_input_is_refused() {
        let quantised = Quantised {
            input: Input::Coarse,
            zero: 0,
            segments: 1,
            depth: 8,
            outputs: 1,
            taps: 8,
            weight: &|_, _, _| 1.0,
            bias: &[0.0],
            step: 1.0,
            ratio: 1.0,
        };
        let packed = Packed::new(Kernels::PORTABLE, quantised);
        let finish = Finish::Float { out: &mut [0.0; 2] };
        Kernels::PORTABLE.run(RowJob { segments: Segments::Coarse(&[&[0; 8]]), pitch: 1, weights: &packed, finish });
    }
}
