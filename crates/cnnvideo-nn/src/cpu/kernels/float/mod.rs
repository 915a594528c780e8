//! Float32 kernels.
//!
//! All convolutions except depthwise ones ([`DepthJob`]) are expressed as a [`RowJob`]: for each
//! pixel of a row, the product of a packed weight matrix with a few runs of contiguous input values
//! (segments). `portable.rs` is plain Rust and the reference for tests. `simd.rs` is generic over
//! `pulp` vectors and compiled for each instruction set. So is `winograd.rs`, which computes row
//! blocks ([`RowsJob`]) with fewer multiplications.

mod depthwise;
mod pack;
mod portable;
mod simd;
mod winograd;

pub use depthwise::{DepthJob, Depthwise};
pub use pack::Packed;

use pulp::Simd;

use super::TOGETHER;
use crate::arch::Activation;

/// Computation of one row of output pixels.
///
/// Pixel `x` is `activation(bias + sum over segments s: weights[s] * segments[s][x *
/// pitch..][..depth] [+ add])`. It has `weights.outputs` values; the row has `out.len() /
/// weights.outputs` pixels.
pub struct RowJob<'a> {
    /// Input values of the segments, from the first input of pixel 0 on.
    pub segments: &'a [&'a [f32]],
    /// Distance between the inputs of neighbouring output pixels, in values.
    pub pitch: usize,
    /// Weight matrix and biases.
    pub weights: &'a Packed,
    /// Residual to add, as long as `out`.
    pub add: Option<&'a [f32]>,
    /// Activation function applied last.
    pub activation: Activation,
    /// Output values, interleaved by pixel.
    pub out: &'a mut [f32],
}

impl RowJob<'_> {
    /// Returns the number of output pixels.
    ///
    /// # Panics
    /// If an access of a kernel would be outside of its slice. The kernels rely on this check for
    /// memory safety.
    fn check(&self) -> usize {
        let outputs = self.weights.outputs();
        let pixels = self.out.len() / outputs;
        assert_eq!(self.out.len(), pixels * outputs);
        assert_eq!(self.segments.len(), self.weights.segments());
        if let Some(add) = self.add {
            assert_eq!(add.len(), self.out.len());
        }
        if pixels > 0 {
            let reach = (pixels - 1) * self.pitch + self.weights.depth();
            assert!(
                self.segments.iter().all(|s| s.len() >= reach),
                "a segment is shorter than the kernel's reach of {reach} values"
            );
        }
        pixels
    }
}

/// Computation of a row block, [`TOGETHER`] rows of a 3x3 convolution; the fields are as in
/// [`RowJob`].
pub struct RowsJob<'a> {
    /// The input rows of all output rows; output row `y` depends on `segments[y..y + 3]`.
    pub segments: [&'a [f32]; TOGETHER + 2],
    /// Values per input pixel.
    pub pitch: usize,
    /// Weight matrix and biases.
    pub weights: &'a Packed,
    /// Residual of each row.
    pub add: [Option<&'a [f32]>; TOGETHER],
    /// Activation function applied last.
    pub activation: Activation,
    /// Output values of each row.
    pub out: [&'a mut [f32]; TOGETHER],
}

impl RowsJob<'_> {
    /// Returns the job of one of the rows.
    fn row(&mut self, y: usize) -> RowJob<'_> {
        let &mut Self { ref segments, pitch, weights, ref add, activation, ref mut out } = self;
        RowJob {
            segments: &segments[y..y + 3],
            pitch,
            weights,
            add: add[y],
            activation,
            out: out[y],
        }
    }

    /// Returns the number of output pixels per row. Panics like [`RowJob::check`].
    fn check(&mut self) -> usize {
        assert_eq!(self.weights.depth(), 3 * self.pitch);
        let pixels: [usize; TOGETHER] = std::array::from_fn(|y| self.row(y).check());
        assert!(pixels.iter().all(|count| *count == pixels[0]));
        pixels[0]
    }
}

/// Set of kernels for one instruction set. The `pulp` token in a variant proves that the processor
/// supports it.
#[derive(Debug, Clone, Copy)]
pub enum Kernels {
    /// Plain Rust.
    Portable,
    /// AVX2 and FMA (x86-64-v3).
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// AVX-512 (x86-64-v4).
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}

impl Kernels {
    /// Returns all kernel sets that this processor supports, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(pulp::x86::V4::try_new().map(Self::Avx512));
            all.extend(pulp::x86::V3::try_new().map(Self::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(pulp::aarch64::Neon::try_new().map(Self::Neon));
        all.push(Self::Portable);
        all
    }

    /// Returns the fastest kernel set, or the supported one that the environment variable
    /// `CNNVIDEO_KERNELS` names.
    pub fn best() -> Self {
        super::choose(&Self::available(), Self::name).unwrap_or(Self::Portable)
    }

    /// Returns the name of the kernel set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
        }
    }

    /// Returns the block size of the weights of a layer with `outputs` outputs: the number of
    /// outputs that the kernel accumulates at a time.
    pub(in crate::cpu) fn block(self, outputs: usize) -> usize {
        match self {
            Self::Portable => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => {
                if outputs <= 8 {
                    8
                } else {
                    16
                }
            }
            #[cfg(target_arch = "x86_64")]
            // With an odd number of vectors, half of the last block would be unused.
            Self::Avx512(_) => {
                if outputs.div_ceil(16) % 2 == 1 {
                    16
                } else {
                    32
                }
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => {
                if outputs <= 8 {
                    8
                } else {
                    16
                }
            }
        }
    }

    /// Computes one row of a depthwise convolution.
    pub fn run_depthwise(self, job: DepthJob<'_>) {
        match self {
            Self::Portable => depthwise::run(pulp::Scalar::new(), job),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => depthwise::run(isa, job),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => depthwise::run(isa, job),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(isa) => depthwise::run(isa, job),
        }
    }

    /// Returns whether [`Self::run_rows`] computes a row block of `pixels` pixels per row with
    /// Winograd F(4x4, 3x3), which is faster than row by row.
    pub fn joins(self, weights: &Packed, pixels: usize) -> bool {
        weights.filters() && pixels >= winograd::NARROWEST
    }

    /// Returns the vector length in floats of kernel sets that have a Winograd kernel.
    fn filter_lanes(self) -> Option<usize> {
        match self {
            Self::Portable => None,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Some(pulp::x86::V3::F32_LANES),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Some(pulp::x86::V4::F32_LANES),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => Some(pulp::aarch64::Neon::F32_LANES),
        }
    }

    /// Computes a row block, with Winograd F(4x4, 3x3) if [`Self::joins`] holds, otherwise row by
    /// row.
    ///
    /// # Panics
    /// If the slices are too short, or the weights were packed for another kernel set.
    pub fn run_rows(self, mut job: RowsJob<'_>) {
        assert_eq!(
            job.weights.block(),
            self.block(job.weights.outputs()),
            "weights packed for other kernels"
        );
        let pixels = job.out[0].len() / job.weights.outputs();
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) if self.joins(job.weights, pixels) => winograd::run::<_, 6>(isa, job),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) if self.joins(job.weights, pixels) => {
                winograd::run::<_, 12>(isa, job)
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon(isa) if self.joins(job.weights, pixels) => winograd::run::<_, 6>(isa, job),
            _ => (0..TOGETHER).for_each(|y| self.run(job.row(y))),
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
        match self {
            Self::Portable => portable::run(job),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => simd::run::<_, 6>(isa, job),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => simd::run::<_, 12>(isa, job),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(isa) => simd::run::<_, 6>(isa, job),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::arch::Window;

    fn values(rng: &mut StdRng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn kernels_agree_on_random_shapes() {
        let mut rng = StdRng::seed_from_u64(7);
        for round in 0..400 {
            let (segments, depth) = (rng.random_range(1..=3), rng.random_range(1..=100));
            let outputs = rng.random_range(1..=70);
            let pixels = rng.random_range(0..=40);
            let pitch = rng.random_range(1..=40);
            let input: Vec<Vec<f32>> =
                (0..segments).map(|_| values(&mut rng, (pixels + 1) * pitch + depth)).collect();
            let input: Vec<&[f32]> = input.iter().map(Vec::as_slice).collect();
            let weights = values(&mut rng, segments * depth * outputs);
            let bias = values(&mut rng, outputs);
            let add = values(&mut rng, pixels * outputs);
            let add = rng.random::<bool>().then_some(add.as_slice());
            let activation =
                [Activation::None, Activation::Relu, Activation::Relu6][rng.random_range(0..3)];

            let compute = |kernels: Kernels| {
                let packed = Packed::new(
                    kernels,
                    segments,
                    depth,
                    outputs,
                    |s, d, o| weights[(s * depth + d) * outputs + o],
                    &bias,
                );
                let mut out = vec![f32::NAN; pixels * outputs];
                kernels.run(RowJob {
                    segments: &input,
                    pitch,
                    weights: &packed,
                    add,
                    activation,
                    out: &mut out,
                });
                out
            };
            let expected = compute(Kernels::Portable);
            for kernels in Kernels::available() {
                for (i, (a, b)) in compute(kernels).iter().zip(&expected).enumerate() {
                    assert!(
                        (a - b).abs() <= 1e-4,
                        "{} round {round} value {i}: {a} {b}",
                        kernels.name()
                    );
                }
            }
        }
    }

    #[test]
    fn rows_made_together_are_those_made_alone() {
        let mut rng = StdRng::seed_from_u64(9);
        let mut joined = 0;
        for round in 0..150 {
            let (channels, outputs) = (8 * rng.random_range(1..=10), rng.random_range(1..=90));
            let pixels = rng.random_range(1..=120);
            let segments: [Vec<f32>; TOGETHER + 2] =
                std::array::from_fn(|_| values(&mut rng, (pixels + 2) * channels));
            let weights = values(&mut rng, 9 * channels * outputs);
            let bias = values(&mut rng, outputs);
            let add: [Vec<f32>; TOGETHER] =
                std::array::from_fn(|_| values(&mut rng, pixels * outputs));
            let residual: bool = rng.random();
            let activation =
                [Activation::None, Activation::Relu, Activation::Relu6][rng.random_range(0..3)];
            for kernels in Kernels::available() {
                let weight =
                    |s: usize, d: usize, o: usize| weights[(s * 3 * channels + d) * outputs + o];
                let packed = Packed::new(kernels, 3, 3 * channels, outputs, weight, &bias);
                let mut together: [_; TOGETHER] =
                    std::array::from_fn(|_| vec![f32::NAN; pixels * outputs]);
                let mut alone = together.clone();
                fn job<'a>(
                    (segments, add): (
                        &'a [Vec<f32>; TOGETHER + 2],
                        Option<&'a [Vec<f32>; TOGETHER]>,
                    ),
                    (pitch, weights, activation): (usize, &'a Packed, Activation),
                    out: &'a mut [Vec<f32>; TOGETHER],
                ) -> RowsJob<'a> {
                    let segments = segments.each_ref().map(Vec::as_slice);
                    let add = std::array::from_fn(|y| add.map(|add| add[y].as_slice()));
                    RowsJob {
                        segments,
                        pitch,
                        weights,
                        add,
                        activation,
                        out: out.each_mut().map(Vec::as_mut_slice),
                    }
                }
                let inputs = (&segments, residual.then_some(&add));
                kernels.run_rows(job(inputs, (channels, &packed, activation), &mut together));
                let mut rows = job(inputs, (channels, &packed, activation), &mut alone);
                (0..TOGETHER).for_each(|y| kernels.run(rows.row(y)));
                for (a, b) in together.iter().flatten().zip(alone.iter().flatten()) {
                    assert!((a - b).abs() <= 1e-3, "{} round {round}: {a} {b}", kernels.name());
                }
                joined += usize::from(kernels.joins(&packed, pixels));
            }
        }
        assert_eq!(joined > 0, Kernels::available().len() > 1);
    }

    #[test]
    fn depthwise_kernels_agree_with_the_sum() {
        let mut rng = StdRng::seed_from_u64(8);
        for round in 0..200 {
            let window =
                Window { side: [3, 5][rng.random_range(0..2)], stride: rng.random_range(1..=2) };
            let (channels, pixels) = (rng.random_range(1..=70), rng.random_range(0..=20));
            let length = (pixels * window.stride + window.side) * channels;
            let rows: Vec<Vec<f32>> = (0..window.side).map(|_| values(&mut rng, length)).collect();
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let weights: Vec<f32> = values(&mut rng, window.side * window.side * channels);
            let bias = values(&mut rng, channels);
            let packed = Depthwise::new(window, &weights, &bias);
            for kernels in Kernels::available() {
                let mut out = vec![f32::NAN; pixels * channels];
                kernels.run_depthwise(DepthJob {
                    segments: &rows,
                    pitch: window.stride * channels,
                    weights: &packed,
                    out: &mut out,
                });
                for (i, value) in out.iter().enumerate() {
                    let (x, c) = (i / channels, i % channels);
                    let mut sum = bias[c];
                    for dy in 0..window.side {
                        for dx in 0..window.side {
                            let input = rows[dy][(x * window.stride + dx) * channels + c];
                            sum += weights[(c * window.side + dy) * window.side + dx] * input;
                        }
                    }
                    assert!(
                        (value - sum.clamp(0.0, 6.0)).abs() < 1e-4,
                        "{} round {round}: {value} {sum}",
                        kernels.name()
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "reach")]
    fn short_input_is_refused() {
        let packed = Packed::new(Kernels::Portable, 1, 8, 1, |_, _, _| 1.0, &[0.0]);
        let mut out = [0.0; 2];
        Kernels::Portable.run(RowJob {
            segments: &[&[0.0; 8]],
            pitch: 1,
            weights: &packed,
            add: None,
            activation: Activation::None,
            out: &mut out,
        });
    }
}
