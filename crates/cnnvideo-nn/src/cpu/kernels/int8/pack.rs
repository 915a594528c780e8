//! Weight quantisation, and quantised weights in the order in which the kernels read them.

use std::sync::Arc;

use super::{Kernels, MAX_DEPTH};

/// Words in a [`Line`].
pub(super) const LINE: usize = 16;

/// One cache line of weights. The alignment ensures that no vector load crosses a cache line. A
/// word holds four 8-bit weights or two 16-bit weights.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u32; LINE]);

/// Storage form of the inputs of a weight matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// u8 activations.
    Coarse,
    /// i16 residuals.
    Fine,
}

impl Input {
    /// Returns the largest magnitude of a value.
    fn largest(self) -> f32 {
        match self {
            Self::Coarse => 255.0,
            Self::Fine => 32768.0,
        }
    }

    /// Returns the largest magnitude of quantised weights for accumulators of `taps` products. For
    /// u8 activations it is the limit of an 8-bit weight. For i16 residuals it keeps the sum within
    /// half of the 32-bit range and leaves the other half to the bias.
    pub fn weight_limit(self, taps: usize) -> i32 {
        match self {
            Self::Coarse => 127,
            Self::Fine => ((1 << 15) / taps.max(1) as i32).clamp(1, 32767),
        }
    }
}

/// A float32 weight matrix with the parameters of its quantisation.
pub struct Quantised<'a> {
    /// Storage form of the input.
    pub input: Input,
    /// Zero point of the input.
    pub zero: u8,
    /// Number of segments.
    pub segments: usize,
    /// Values in each segment, a multiple of the weights per word.
    pub depth: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Products per accumulator, without those of padding weights.
    pub taps: usize,
    /// `weight(segment, input, output)`, multiplied by the scale of the input.
    pub weight: &'a dyn Fn(usize, usize, usize) -> f32,
    /// One bias per output.
    pub bias: &'a [f32],
    /// Scale of the output.
    pub step: f32,
    /// Scale of the residual that the epilogue adds, divided by the scale of the output.
    pub ratio: f32,
}

/// Quantised weight matrix of a [`RowJob`](super::RowJob) in the order of
/// [`float::Packed`](super::super::float::Packed), with the biases and scales of its outputs.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Quantised weights, shared between all sets of activation scales.
    matrix: Arc<Matrix>,
    /// Biases in units of the accumulators, zero point corrections included; zero-padded to whole
    /// blocks.
    bias: Vec<i32>,
    /// Requantisation scales: units of the output per unit of the accumulator; zero-padded to whole
    /// blocks.
    scale: Vec<f32>,
    /// Units of the output per unit of the residual that the epilogue adds.
    ratio: f32,
}

/// Quantised weights, independent of the activation scales.
#[derive(Debug)]
struct Matrix {
    /// Weights in the order `[block][segment][word][output of the block]`.
    lines: Vec<Line>,
    /// Weights in a second form, if the kernel set has one for this shape.
    extra: Option<Vec<Line>>,
    /// Properties of the accumulator of each output.
    sums: Vec<Sum>,
    input: Input,
    segments: usize,
    depth: usize,
    per_word: usize,
    outputs: usize,
    block: usize,
}

/// Properties of the accumulator of one output.
#[derive(Debug)]
struct Sum {
    /// Scale of the accumulator, with the input scales that the matrix was quantised for.
    step: f32,
    /// Correction for the zero point of the input.
    offset: i32,
    /// Correction for kernels that subtract a constant from the inputs.
    excess: i32,
    /// Largest possible magnitude of the accumulator without the bias.
    largest: f32,
}

/// Upper limit of the magnitude of biases in units of the accumulator, which keeps the accumulator
/// within 32 bits.
const MAX_BIAS: f32 = (1 << 28) as f32;
/// Upper limit of the magnitude of scaled accumulators before the clamp. It leaves room for the
/// residual within the range of the conversion to 32-bit integers.
const MAX_RESULT: f32 = (1 << 30) as f32;

impl Packed {
    /// Quantises weights with one scale per output, and packs them for a kernel set.
    ///
    /// # Panics
    /// If a segment is not a whole number of words, or has more than [`MAX_DEPTH`] values.
    pub(in crate::cpu) fn new(kernels: Kernels, weights: Quantised<'_>) -> Self {
        let Quantised { input, zero, segments, depth, outputs, taps, weight, bias, step, ratio } =
            weights;
        let per_word = kernels.weights_per_word(input);
        assert!(depth <= MAX_DEPTH, "{depth} values are too many");
        assert!(depth.is_multiple_of(per_word), "{depth} values are not a multiple of {per_word}");
        let block = kernels.block(outputs);
        let padded = outputs.next_multiple_of(block);
        let limit = input.weight_limit(taps) as f32;
        let places = || (0..segments).flat_map(|s| (0..depth).map(move |d| (s, d)));
        let steps: Vec<f32> = (0..outputs)
            .map(|o| {
                let largest = places().map(|(s, d)| weight(s, d, o).abs()).fold(0.0, f32::max);
                (largest / limit).max(bias[o].abs() / MAX_BIAS).max(f32::MIN_POSITIVE * 1e6)
            })
            .collect();
        let quantise = |s: usize, d: usize, o: usize| {
            if o < outputs {
                (weight(s, d, o) / steps[o]).round_ties_even().clamp(-limit, limit) as i32
            } else {
                0
            }
        };

        let mut words = Vec::with_capacity(padded * segments * depth / per_word);
        for first in (0..padded).step_by(block) {
            for segment in 0..segments {
                for d in (0..depth).step_by(per_word) {
                    for o in first..first + block {
                        let bits = 32 / per_word;
                        let mask = u32::MAX >> (32 - bits);
                        words.push((0..per_word).fold(0, |word, i| {
                            word | (quantise(segment, d + i, o) as u32 & mask) << (bits * i)
                        }));
                    }
                }
            }
        }
        let sums = (0..outputs).map(|o| {
            let values = || places().map(|(s, d)| quantise(s, d, o));
            let sum: i32 = values().sum();
            Sum {
                step: steps[o],
                offset: -sum * i32::from(zero),
                excess: sum * kernels.excess(input),
                largest: values().map(|v| v.unsigned_abs() as f32 * input.largest()).sum(),
            }
        });
        let matrix = Matrix {
            extra: kernels.extra(input, [segments, depth, outputs], &quantise),
            sums: sums.collect(),
            lines: lines(&words),
            input,
            segments,
            depth,
            per_word,
            outputs,
            block,
        };
        Self::of(Arc::new(matrix), 1.0, bias, step, ratio)
    }

    /// Returns the same quantised weights for inputs whose scale is `finer` times that of the
    /// original ones. The other parameters are as in [`Quantised`].
    pub(in crate::cpu) fn rescaled(&self, finer: f32, bias: &[f32], step: f32, ratio: f32) -> Self {
        Self::of(self.matrix.clone(), finer, bias, step, ratio)
    }

    /// Computes biases and scales for a quantised matrix.
    fn of(matrix: Arc<Matrix>, finer: f32, bias: &[f32], step: f32, ratio: f32) -> Self {
        let padded = matrix.outputs.next_multiple_of(matrix.block);
        let (mut biases, mut scales) = (vec![0; padded], vec![0.0; padded]);
        for (o, (sum, bias)) in matrix.sums.iter().zip(bias).enumerate() {
            let unit = sum.step * finer;
            let own =
                (bias / unit).round_ties_even().clamp(-MAX_BIAS, MAX_BIAS) as i32 + sum.offset;
            scales[o] =
                (unit / step).min(MAX_RESULT / (sum.largest + own.unsigned_abs() as f32 + 1.0));
            biases[o] = own + sum.excess;
        }
        Self { matrix, bias: biases, scale: scales, ratio: ratio.min(MAX_RESULT / 32768.0) }
    }

    /// Returns the storage form of the input.
    pub fn input(&self) -> Input {
        self.matrix.input
    }

    /// Returns the number of segments per pixel.
    pub fn segments(&self) -> usize {
        self.matrix.segments
    }

    /// Returns the number of values in each segment.
    pub fn depth(&self) -> usize {
        self.matrix.depth
    }

    /// Returns the number of values per output pixel.
    pub fn outputs(&self) -> usize {
        self.matrix.outputs
    }

    /// Returns the number of outputs per block.
    pub fn block(&self) -> usize {
        self.matrix.block
    }

    /// Returns the units of the output per unit of the residual that the epilogue adds.
    pub(super) fn ratio(&self) -> f32 {
        self.ratio
    }

    /// Returns the number of words in each segment.
    pub(super) fn words(&self) -> usize {
        self.matrix.depth / self.matrix.per_word
    }

    /// Returns the weights of the block that begins with output `first`: `segments * words * block`
    /// words.
    pub(super) fn block_lines(&self, first: usize) -> &[Line] {
        let lines = self.segments() * self.words() * self.block() / LINE;
        &self.matrix.lines[first / self.block() * lines..][..lines]
    }

    /// Returns the weights of the 16 outputs from `first` on in the second form; an empty slice if
    /// there is none.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn extra_lines(&self, first: usize) -> &[Line] {
        let all = self.matrix.extra.as_deref().unwrap_or_default();
        let lines = all.len() / self.outputs().div_ceil(LINE);
        &all[first / LINE * lines..][..lines]
    }

    /// Returns the biases and scales of the block that begins with output `first`.
    pub(super) fn block_scales(&self, first: usize) -> (&[i32], &[f32]) {
        (&self.bias[first..][..self.block()], &self.scale[first..][..self.block()])
    }
}

/// Copies words to cache lines. The number of words is a multiple of a line, because block sizes
/// are.
fn lines(words: &[u32]) -> Vec<Line> {
    words.as_chunks::<LINE>().0.iter().map(|line| Line(*line)).collect()
}
