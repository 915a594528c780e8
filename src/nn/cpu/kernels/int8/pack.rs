//! Quantised weights in the order in which the kernels read them.

use std::sync::Arc;

use super::{Kernels, MAX_DEPTH};

/// Words in a [`Line`].
pub(super) const LINE: usize = 16;

/// One cache line of weights, so that vector loads never straddle two. A word holds four weights of a byte or two of 16 bits.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u32; LINE]);

/// Form of the values that weights meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Coarse,
    Fine,
}

impl Input {
    /// Largest value by magnitude.
    fn largest(self) -> f32 {
        match self {
            Self::Coarse => 255.0,
            Self::Fine => 32768.0,
        }
    }

    /// Largest weight by magnitude for sums of `taps` products. With bytes it is that of the type; with 16-bit values
    /// the sum must not leave half the range of 32 bits, the other half being for the bias.
    pub fn weight_limit(self, taps: usize) -> i32 {
        match self {
            Self::Coarse => 127,
            Self::Fine => ((1 << 15) / taps.max(1) as i32).clamp(1, 32767),
        }
    }
}

/// A weight matrix to quantise.
pub struct Quantised<'a> {
    pub input: Input,
    /// Value that stands for zero in the input.
    pub zero: u8,
    pub segments: usize,
    /// Values in each segment; whole words.
    pub depth: usize,
    pub outputs: usize,
    /// Products in a sum, where those with zeros that only fill up are not counted.
    pub taps: usize,
    /// `weight(segment, input, output)` for inputs in units of their steps.
    pub weight: &'a dyn Fn(usize, usize, usize) -> f32,
    pub bias: &'a [f32],
    /// One unit of the output.
    pub step: f32,
    /// Units of the output in a unit of what is added.
    pub ratio: f32,
}

/// Weights of [`RowJob`](super::RowJob), in the order of [`float::Packed`](super::super::float::Packed), and what makes outputs of their sums.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Shared by all whose inputs and outputs have other steps.
    matrix: Arc<Matrix>,
    /// Padded with zeros to whole blocks, like `scale`.
    bias: Vec<i32>,
    scale: Vec<f32>,
    ratio: f32,
}

/// Whole numbers, whatever the steps of what they are multiplied with.
#[derive(Debug)]
struct Matrix {
    lines: Vec<Line>,
    /// The same in another form, where kernels have one.
    extra: Option<Vec<Line>>,
    sums: Vec<Sum>,
    input: Input,
    segments: usize,
    depth: usize,
    per_word: usize,
    outputs: usize,
    block: usize,
}

/// What is known of the sums of an output.
#[derive(Debug)]
struct Sum {
    /// One unit of them, for the inputs' steps that the matrix was made with.
    step: f32,
    /// What the inputs' zeros add, and what kernels that take something off the inputs lack.
    offset: i32,
    excess: i32,
    /// Largest magnitude without the bias.
    largest: f32,
}

/// Biases beyond this (in the units of the sums) would use up the range of 32 bits.
const MAX_BIAS: f32 = (1 << 28) as f32;
/// Largest result by magnitude before it is clamped: what conversions to integers can hold, with room for what is added.
const MAX_RESULT: f32 = (1 << 30) as f32;

impl Packed {
    /// Quantises weights, each output with a step of its own, and packs them for some kernels.
    ///
    /// # Panics
    /// If a segment is not of whole words, or too deep.
    pub(in crate::nn::cpu) fn new(kernels: Kernels, weights: Quantised<'_>) -> Self {
        let Quantised { input, zero, segments, depth, outputs, taps, weight, bias, step, ratio } =
            weights;
        let per_word = kernels.weights_per_word(input);
        assert!(depth <= MAX_DEPTH, "{depth} values are too many");
        assert!(depth.is_multiple_of(per_word), "{depth} values are no whole words");
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

    /// The same weights where the steps of inputs are `finer` times what they were, and what comes out is as [`Quantised`] tells.
    pub(in crate::nn::cpu) fn rescaled(
        &self,
        finer: f32,
        bias: &[f32],
        step: f32,
        ratio: f32,
    ) -> Self {
        Self::of(self.matrix.clone(), finer, bias, step, ratio)
    }

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

    pub fn input(&self) -> Input {
        self.matrix.input
    }

    /// Runs of input per pixel.
    pub fn segments(&self) -> usize {
        self.matrix.segments
    }

    /// Values in each run.
    pub fn depth(&self) -> usize {
        self.matrix.depth
    }

    /// Values per output pixel.
    pub fn outputs(&self) -> usize {
        self.matrix.outputs
    }

    /// Outputs that are computed together.
    pub fn block(&self) -> usize {
        self.matrix.block
    }

    pub(super) fn ratio(&self) -> f32 {
        self.ratio
    }

    /// Words in each run.
    pub(super) fn words(&self) -> usize {
        self.matrix.depth / self.matrix.per_word
    }

    /// The weights of the block with output `first`: `segments * words * block` words.
    pub(super) fn block_lines(&self, first: usize) -> &[Line] {
        let lines = self.segments() * self.words() * self.block() / LINE;
        &self.matrix.lines[first / self.block() * lines..][..lines]
    }

    /// Weights in the kernels' other form, of the 16 outputs from `first` on; none where there are none.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn extra_lines(&self, first: usize) -> &[Line] {
        let all = self.matrix.extra.as_deref().unwrap_or_default();
        let lines = all.len() / self.outputs().div_ceil(LINE);
        &all[first / LINE * lines..][..lines]
    }

    /// Bias and scale of the outputs of a block.
    pub(super) fn block_scales(&self, first: usize) -> (&[i32], &[f32]) {
        (&self.bias[first..][..self.block()], &self.scale[first..][..self.block()])
    }
}

/// Blocks are multiples of a line, so each starts on one.
fn lines(words: &[u32]) -> Vec<Line> {
    words.as_chunks::<LINE>().0.iter().map(|line| Line(*line)).collect()
}
