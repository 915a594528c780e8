// SPDX-License-Identifier: MIT OR Apache-2.0

//! Int8 arithmetic: quantised weights, quantisation of the input and calls of the int8 kernels.
//! [`kernels::int8`](super::kernels::int8) describes the number formats.

mod formats;
mod input;
mod storage;

use super::{
    arithmetic::{Arithmetic, ConvInputs},
    kernels::{
        ROW_BLOCK,
        int8::{
            Epilogue, Int8Kernels, Int8RowBlockJob, Int8RowJob, MatrixToQuantise, QuantisedWeights,
            Segments, StorageForm,
        },
    },
    matrix::{ConvMatrices, MatrixShape, WeightIndex},
    network::PackedSet,
};
use crate::{
    Error, Model, Source,
    arch::{Activation, ConvId, ConvKind},
};
use formats::{ConvFormat, RESIDUAL_UNITS, conv_formats};
use input::InputQuantiser;
use storage::{QuantisedMap, QuantisedMut, QuantisedRef, zero_point};

/// The quantised weights of a model, packed for one kernel set and one set of activation scales.
#[derive(Debug)]
pub struct Int8Arithmetic {
    kernels: Int8Kernels,
    /// Weight matrices of each convolution, in the order of the graph's convolutions; see
    /// [`ConvMatrices`].
    weights: Vec<Vec<PackedMatrix>>,
    input: InputQuantiser,
}

/// Upper limit of the outputs of a 3x3 convolution that is computed for two neighbouring pixels at
/// a time. The outputs of both pixels fit one block of 16 accumulators.
const MAX_PAIRED_OUTPUTS: usize = 8;

/// One packed weight matrix.
#[derive(Debug)]
struct PackedMatrix {
    /// The matrix for one output pixel.
    single: QuantisedWeights,
    /// The matrix for two neighbouring output pixels, over the union of their inputs. Without it,
    /// convolutions with few outputs would leave most lanes of a vector unused.
    pairs: Option<QuantisedWeights>,
}

impl Int8Arithmetic {
    /// Quantises and packs the weights for the activation scales that are valid for all inputs.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a model without activation scales, with a number of channels that is
    /// not a multiple of 4, or with layers that cannot run in int8.
    pub(super) fn new(model: &Model, kernels: Int8Kernels) -> Result<Self, Error> {
        let quantisation = model.quantisation().ok_or_else(|| {
            Error::invalid(
                "quantisation",
                "the model has no activation scales for int8; run it in float32",
            )
        })?;
        let graph = model.graph();
        let mut weights: Vec<Vec<PackedMatrix>> = graph.convs.iter().map(|_| Vec::new()).collect();
        for format in conv_formats(graph, &quantisation.activation_scales)? {
            let ConvFormat { conv, input_form, input_sign, scales } = format;
            let spec = &graph.convs[conv];
            let channels = if conv == 0 {
                spec.in_channels.next_multiple_of(Self::INPUT_ALIGNMENT)
            } else {
                spec.in_channels
            };
            if !channels.is_multiple_of(4) {
                let reason = format!(
                    "{channels} channels are not a multiple of 4, so the model cannot run in int8"
                );
                return Err(Error::invalid(format!("{} inputs", spec.name), reason));
            }
            let units = if input_form == StorageForm::I16 { 1.0 / RESIDUAL_UNITS } else { 1.0 };
            let input_scale = |channel: usize| match conv {
                // The weights of padding channels are zero.
                0 if channel >= quantisation.input_scales.len() => 1.0,
                0 => quantisation.input_scales[channel],
                _ => quantisation.activation_scales[conv] * units,
            };
            let matrices = ConvMatrices::new(spec, &model.weights()[conv], channels);
            let (shape, bias) = (matrices.shape(), matrices.bias());
            let MatrixShape { segments, depth, outputs } = shape;
            for matrix in 0..matrices.count() {
                let weight = |index: WeightIndex| {
                    matrices.weight(matrix, index) * input_scale(index.input % channels)
                };
                let single = MatrixToQuantise {
                    input_form,
                    zero_point: match input_form {
                        StorageForm::U8 => zero_point(input_sign),
                        StorageForm::I16 => 0,
                    },
                    shape,
                    taps: segments * depth,
                    weight: &weight,
                    bias: &bias,
                    scales,
                };
                // The inputs of the second pixel begin one pixel later.
                let shifted = |WeightIndex { segment, input, output }: WeightIndex| match input
                    .checked_sub(output / outputs * channels)
                {
                    Some(input) if input < depth => {
                        weight(WeightIndex { segment, input, output: output % outputs })
                    }
                    _ => 0.0,
                };
                let paired = spec.kind == ConvKind::Conv3x3 && outputs <= MAX_PAIRED_OUTPUTS;
                let pairs = paired.then(|| {
                    let pairs = MatrixToQuantise {
                        shape: MatrixShape {
                            segments,
                            depth: depth + channels,
                            outputs: 2 * outputs,
                        },
                        weight: &shifted,
                        bias: &bias.repeat(2),
                        ..single
                    };
                    QuantisedWeights::new(kernels, pairs)
                });
                let single = QuantisedWeights::new(kernels, single);
                weights[conv].push(PackedMatrix { single, pairs });
            }
        }
        let input = InputQuantiser::new(model.io, &quantisation.input_scales)?;
        Ok(Self { kernels, weights, input })
    }

    /// Returns the weights for the low-noise scales of the model that `self` was created from, in
    /// ascending order of their limits.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub(super) fn low_noise_sets(&self, model: &Model) -> Result<Vec<PackedSet<Self>>, Error> {
        let quantisation = model.quantisation().expect("`new` has checked that there are scales");
        let sets = quantisation.low_noise.iter().map(|set| {
            let arithmetic =
                self.with_scales(model, &quantisation.activation_scales, &set.activation_scales)?;
            Ok(PackedSet { max_control: set.max_control, arithmetic })
        });
        sets.collect()
    }

    /// Returns the same quantised weights with the activation scales `new` in place of `old`.
    fn with_scales(&self, model: &Model, old: &[f32], new: &[f32]) -> Result<Self, Error> {
        let graph = model.graph();
        let mut weights: Vec<Vec<PackedMatrix>> = graph.convs.iter().map(|_| Vec::new()).collect();
        for ConvFormat { conv, scales, .. } in conv_formats(graph, new)? {
            let spec = &graph.convs[conv];
            // The first convolution reads the input, whose scales are the same in all sets.
            let input_ratio = if conv == 0 { 1.0 } else { new[conv] / old[conv] };
            let conv_weights = &model.weights()[conv];
            let bias = ConvMatrices::new(spec, conv_weights, spec.in_channels).bias();
            let rescale = |PackedMatrix { single, pairs }: &PackedMatrix| PackedMatrix {
                single: single.with_scales(input_ratio, &bias, scales),
                pairs: pairs
                    .as_ref()
                    .map(|pairs| pairs.with_scales(input_ratio, &bias.repeat(2), scales)),
            };
            weights[conv] = self.weights[conv].iter().map(rescale).collect();
        }
        Ok(Self { kernels: self.kernels, weights, input: self.input.clone() })
    }

    /// Computes one row, in pairs of pixels where the convolution has a matrix for that.
    fn run(&self, inputs: &ConvInputs<'_, Self>, epilogue: Epilogue<'_>) {
        let PackedMatrix { single, pairs } = &self.weights[inputs.conv][inputs.matrix];
        let Some(pairs) = pairs else {
            return self.run_matrix(single, inputs, 0, inputs.pitch, epilogue);
        };
        let pixels = epilogue.values() / single.outputs() / 2 * 2;
        let (even, last) = epilogue.split_at(pixels * single.outputs());
        self.run_matrix(pairs, inputs, 0, 2 * inputs.pitch, even);
        self.run_matrix(single, inputs, pixels * inputs.pitch, inputs.pitch, last);
    }

    /// Multiplies a matrix with the inputs from value `first` of each segment on.
    fn run_matrix(
        &self,
        weights: &QuantisedWeights,
        inputs: &ConvInputs<'_, Self>,
        first: usize,
        pitch: usize,
        epilogue: Epilogue<'_>,
    ) {
        match weights.input_form() {
            StorageForm::U8 => {
                let segments = inputs.segments.map(|s| &s.activations_u8[first..]);
                let segments = Segments::U8(&segments[..inputs.count]);
                self.kernels.run(Int8RowJob { segments, pitch, weights, epilogue });
            }
            StorageForm::I16 => {
                let segments = inputs.segments.map(|s| &s.residuals_i16[first..]);
                let segments = Segments::I16(&segments[..inputs.count]);
                self.kernels.run(Int8RowJob { segments, pitch, weights, epilogue });
            }
        }
    }
}

impl Arithmetic for Int8Arithmetic {
    type Storage = QuantisedMap;

    const INPUT_ALIGNMENT: usize = 4;

    const ALIGNED_ROW_BLOCKS: bool = false;

    const NAME: &'static str = "int8";

    fn kernel_set(&self) -> &'static str {
        self.kernels.name()
    }

    fn read_input(
        &self,
        source: &dyn Source,
        y: usize,
        scratch: &mut [f32],
        row: QuantisedMut<'_>,
    ) {
        let channels = self.input.channels();
        let stride = channels.next_multiple_of(Self::INPUT_ALIGNMENT);
        let values = &mut scratch[..row.activations_u8.len() / stride * channels];
        source.read_row(y, values);
        self.input.quantise(y, values, row.activations_u8, stride);
    }

    fn convolve(
        &self,
        inputs: &ConvInputs<'_, Self>,
        residual: Option<QuantisedRef<'_>>,
        activation: Activation,
        out: QuantisedMut<'_>,
    ) {
        self.run(inputs, epilogue(residual, activation, out));
    }

    fn prefers_row_blocks(&self, conv: ConvId, width: usize) -> bool {
        let matrix = self.weights[conv].first().expect("every convolution has a matrix");
        self.kernels.prefers_row_blocks(&matrix.single, width)
    }

    fn convolve_row_block(
        &self,
        inputs: &ConvInputs<'_, Self>,
        residuals: [Option<QuantisedRef<'_>>; ROW_BLOCK],
        activation: Activation,
        out: [QuantisedMut<'_>; ROW_BLOCK],
    ) {
        let weights = &self.weights[inputs.conv][inputs.matrix].single;
        let mut residuals = residuals.into_iter();
        let epilogues = out.map(|out| {
            let residual = residuals.next().expect("there is a residual for each row");
            epilogue(residual, activation, out)
        });
        let segments = inputs.segments.map(|s| s.activations_u8);
        let pitch = inputs.pitch;
        self.kernels.run_row_block(Int8RowBlockJob { segments, pitch, weights, epilogues });
    }

    fn convolve_output(&self, inputs: &ConvInputs<'_, Self>, out: &mut [f32]) {
        self.run(inputs, Epilogue::Float { out });
    }
}

/// Returns the epilogue that writes a row of a feature map. The only activation function in int8
/// networks is ReLU.
fn epilogue<'a>(
    residual: Option<QuantisedRef<'a>>,
    activation: Activation,
    out: QuantisedMut<'a>,
) -> Epilogue<'a> {
    let QuantisedMut { activations_u8, residuals_i16 } = out;
    match activation {
        Activation::None => Epilogue::Signed {
            residual_in: residual.map(|residual| residual.residuals_i16),
            residuals_i16,
            activations_u8,
        },
        Activation::Relu => Epilogue::Relu { activations_u8 },
        Activation::Relu6 => unreachable!("`conv_formats` refuses layers with ReLU6"),
    }
}
