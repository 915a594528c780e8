// SPDX-License-Identifier: MIT OR Apache-2.0

//! Weight quantisation, and quantised weights in the order in which the kernels read them.

use std::sync::Arc;

use super::{Int8Kernels, MAX_DEPTH, StorageForm};
use crate::cpu::matrix::{MatrixShape, WeightIndex};

/// Words in a [`WordLine`].
pub(super) const LINE: usize = 16;

/// One cache line of weights. The alignment ensures that no vector load crosses a cache line. A
/// word holds four 8-bit weights or two 16-bit weights.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct WordLine(pub(super) [u32; LINE]);

/// Scales of the output of a matrix.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct OutputScales {
    /// Scale of the output.
    pub output: f32,
    /// Scale of the residual that the epilogue adds, divided by the scale of the output.
    pub residual: f32,
}

/// A float32 weight matrix with the parameters of its quantisation.
pub(in crate::cpu) struct MatrixToQuantise<'a> {
    /// Storage form of the input.
    pub input_form: StorageForm,
    /// Zero point of the input.
    pub zero_point: u8,
    /// Shape. The depth is a multiple of the weights per word.
    pub shape: MatrixShape,
    /// Products per accumulator, without those of padding weights.
    pub taps: usize,
    /// Returns a weight, multiplied by the scale of its input.
    pub weight: &'a dyn Fn(WeightIndex) -> f32,
    /// One bias per output.
    pub bias: &'a [f32],
    /// Scales of the output.
    pub scales: OutputScales,
}

/// Quantised weight matrix of an [`Int8RowJob`](super::Int8RowJob) in the order of
/// [`PackedWeights`](super::super::float::PackedWeights), with the biases and scales of its
/// outputs.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct QuantisedWeights {
    /// Quantised weights, shared between all sets of activation scales.
    matrix: Arc<QuantisedMatrix>,
    /// Biases in units of the accumulators, zero point corrections included; zero-padded to whole
    /// blocks.
    bias: Vec<i32>,
    /// Requantisation scales: units of the output per unit of the accumulator; zero-padded to whole
    /// blocks.
    scale: Vec<f32>,
    /// Units of the output per unit of the residual that the epilogue adds.
    residual_scale: f32,
}

/// Quantised weights, independent of the activation scales.
#[derive(Debug)]
struct QuantisedMatrix {
    /// Weights in the order `[block][segment][word][output of the block]`.
    lines: Vec<WordLine>,
    /// Weights in a second form, if the kernel set has one for this shape.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no kernel reads it"))]
    alternative: Option<Vec<WordLine>>,
    /// The accumulator of each output.
    accumulators: Vec<Accumulator>,
    input_form: StorageForm,
    shape: MatrixShape,
    weights_per_word: usize,
    /// Outputs per block.
    block: usize,
}

/// Properties of the accumulator of one output.
#[derive(Debug)]
struct Accumulator {
    /// Scale, with the input scales that the matrix was quantised for.
    scale: f32,
    /// Correction for the zero point of the input.
    zero_point_correction: i32,
    /// Correction for kernels that subtract a constant from the inputs.
    input_offset_correction: i32,
    /// Largest possible magnitude without the bias.
    max_magnitude: f32,
}

/// Upper limit of the magnitude of biases in units of the accumulator, which keeps the accumulator
/// within 32 bits.
const MAX_BIAS: f32 = (1 << 28) as f32;
/// Upper limit of the magnitude of scaled accumulators before the clamp. It leaves room for the
/// residual within the range of the conversion to 32-bit integers.
const MAX_SCALED: f32 = (1 << 30) as f32;

impl QuantisedWeights {
    /// Quantises weights with one scale per output, and packs them for a kernel set.
    ///
    /// # Panics
    /// If a segment is not a whole number of words, or has more than [`MAX_DEPTH`] values.
    pub(in crate::cpu) fn new(kernels: Int8Kernels, matrix: MatrixToQuantise<'_>) -> Self {
        let MatrixToQuantise { input_form, zero_point, shape, taps, weight, bias, scales } = matrix;
        let MatrixShape { segments, depth, outputs } = shape;
        let per_word = kernels.weights_per_word(input_form);
        assert!(depth <= MAX_DEPTH, "{depth} values are too many");
        assert!(depth.is_multiple_of(per_word), "{depth} values are not a multiple of {per_word}");
        let block = kernels.block(outputs);
        let padded = outputs.next_multiple_of(block);
        let limit = input_form.weight_limit(taps) as f32;
        let indices = |output: usize| {
            (0..segments).flat_map(move |segment| {
                (0..depth).map(move |input| WeightIndex { segment, input, output })
            })
        };
        let weight_scales: Vec<f32> = (0..outputs)
            .map(|o| {
                let largest = indices(o).map(|index| weight(index).abs()).fold(0.0, f32::max);
                (largest / limit).max(bias[o].abs() / MAX_BIAS).max(f32::MIN_POSITIVE * 1e6)
            })
            .collect();
        let quantise = |index: WeightIndex| {
            if index.output < outputs {
                let scaled = weight(index) / weight_scales[index.output];
                scaled.round_ties_even().clamp(-limit, limit) as i32
            } else {
                0
            }
        };

        let mut words = Vec::with_capacity(padded * segments * depth / per_word);
        for first in (0..padded).step_by(block) {
            for segment in 0..segments {
                for d in (0..depth).step_by(per_word) {
                    for output in first..first + block {
                        let bits = 32 / per_word;
                        let mask = u32::MAX >> (32 - bits);
                        words.push((0..per_word).fold(0, |word, i| {
                            let index = WeightIndex { segment, input: d + i, output };
                            word | (quantise(index) as u32 & mask) << (bits * i)
                        }));
                    }
                }
            }
        }
        let accumulators = (0..outputs).map(|o| {
            let values = || indices(o).map(quantise);
            let sum: i32 = values().sum();
            let max_input = input_form.max_magnitude();
            Accumulator {
                scale: weight_scales[o],
                zero_point_correction: -sum * i32::from(zero_point),
                input_offset_correction: sum * kernels.input_offset(input_form),
                max_magnitude: values().map(|v| v.unsigned_abs() as f32 * max_input).sum(),
            }
        });
        let matrix = QuantisedMatrix {
            accumulators: accumulators.collect(),
            alternative: kernels.pack_alternative(input_form, shape, &quantise),
            lines: lines(&words),
            input_form,
            shape,
            weights_per_word: per_word,
            block,
        };
        Self::from_matrix(Arc::new(matrix), 1.0, bias, scales)
    }

    /// Returns the same quantised weights for other scales: those of the inputs are `input_ratio`
    /// times the original ones.
    pub(in crate::cpu) fn with_scales(
        &self,
        input_ratio: f32,
        bias: &[f32],
        scales: OutputScales,
    ) -> Self {
        Self::from_matrix(self.matrix.clone(), input_ratio, bias, scales)
    }

    /// Computes biases and scales for a quantised matrix.
    fn from_matrix(
        matrix: Arc<QuantisedMatrix>,
        input_ratio: f32,
        bias: &[f32],
        scales: OutputScales,
    ) -> Self {
        let padded = matrix.shape.outputs.next_multiple_of(matrix.block);
        let (mut biases, mut requantisation) = (vec![0; padded], vec![0.0; padded]);
        for (o, (accumulator, bias)) in matrix.accumulators.iter().zip(bias).enumerate() {
            let unit = accumulator.scale * input_ratio;
            let own = (bias / unit).round_ties_even().clamp(-MAX_BIAS, MAX_BIAS) as i32
                + accumulator.zero_point_correction;
            let largest = accumulator.max_magnitude + own.unsigned_abs() as f32 + 1.0;
            requantisation[o] = (unit / scales.output).min(MAX_SCALED / largest);
            biases[o] = own + accumulator.input_offset_correction;
        }
        let residual_scale = scales.residual.min(MAX_SCALED / 32768.0);
        Self { matrix, bias: biases, scale: requantisation, residual_scale }
    }

    /// Returns the storage form of the input.
    pub(in crate::cpu) fn input_form(&self) -> StorageForm {
        self.matrix.input_form
    }

    /// Returns the number of values per output pixel.
    pub(in crate::cpu) fn outputs(&self) -> usize {
        self.matrix.shape.outputs
    }

    /// Returns the number of segments per pixel.
    pub(super) fn segments(&self) -> usize {
        self.matrix.shape.segments
    }

    /// Returns the number of values in each segment.
    pub(super) fn depth(&self) -> usize {
        self.matrix.shape.depth
    }

    /// Returns the number of outputs per block.
    pub(super) fn block(&self) -> usize {
        self.matrix.block
    }

    /// Returns the units of the output per unit of the residual that the epilogue adds.
    pub(super) fn residual_scale(&self) -> f32 {
        self.residual_scale
    }

    /// Returns the number of words in each segment.
    pub(super) fn words(&self) -> usize {
        self.depth() / self.matrix.weights_per_word
    }

    /// Returns the weights of the block that begins with output `first`: `segments * words * block`
    /// words.
    pub(super) fn block_lines(&self, first: usize) -> &[WordLine] {
        let lines = self.segments() * self.words() * self.block() / LINE;
        &self.matrix.lines[first / self.block() * lines..][..lines]
    }

    /// Returns whether there are weights in the second form.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn has_alternative(&self) -> bool {
        self.matrix.alternative.is_some()
    }

    /// Returns the weights of the 16 outputs from `first` on in the second form.
    ///
    /// # Panics
    /// If there is no second form.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn alternative_lines(&self, first: usize) -> &[WordLine] {
        let all = self.matrix.alternative.as_deref();
        let all = all.expect("the caller has checked `has_alternative`");
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
fn lines(words: &[u32]) -> Vec<WordLine> {
    words.as_chunks::<LINE>().0.iter().map(|line| WordLine(*line)).collect()
}
