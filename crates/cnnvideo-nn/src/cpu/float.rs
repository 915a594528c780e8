//! Float32 arithmetic: packed weights and calls of the float kernels.

use std::ops::Range;

use super::{
    arithmetic::{Arithmetic, Inputs, Rows, Sign, TOGETHER, Uses},
    kernels::float::{DepthJob, Depthwise, Kernels, Packed, RowJob, RowsJob},
};
use crate::{
    Model, Source,
    arch::{Activation, ConvId, ConvKind, ConvSpec},
    model::ConvWeights,
};

impl Rows for Vec<f32> {
    type Ref<'a> = &'a [f32];
    type Mut<'a> = &'a mut [f32];

    fn zeros(count: usize, _sign: Sign, _uses: Uses) -> Self {
        vec![0.0; count]
    }

    fn clear(&mut self, range: Range<usize>, _sign: Sign) {
        self[range].fill(0.0);
    }

    fn view(&self, range: Range<usize>) -> &[f32] {
        &self[range]
    }

    fn view_mut(&mut self, range: Range<usize>) -> &mut [f32] {
        &mut self[range]
    }

    fn part(rows: Self::Ref<'_>, range: Range<usize>) -> Self::Ref<'_> {
        &rows[range]
    }

    fn part_mut<'a>(rows: &'a mut &mut [f32], range: Range<usize>) -> &'a mut [f32] {
        &mut rows[range]
    }

    fn split(rows: Self::Mut<'_>, at: usize) -> (Self::Mut<'_>, Self::Mut<'_>) {
        rows.split_at_mut(at)
    }

    fn length(rows: &&mut [f32]) -> usize {
        rows.len()
    }

    fn placed<'a>(ring: Self::Mut<'a>, map: Self::Mut<'a>, uses: Uses) -> Self::Mut<'a> {
        if uses == Uses::default() { map } else { ring }
    }

    fn copy(ring: &[f32], map: &mut [f32], uses: Uses) {
        if uses != Uses::default() {
            map.copy_from_slice(ring);
        }
    }
}

/// The weights of a model, packed for one kernel set.
#[derive(Debug)]
pub struct Float {
    kernels: Kernels,
    /// Weights in the order of the graph's convolutions.
    weights: Vec<Weights>,
}

/// Packed weights of one convolution.
#[derive(Debug)]
enum Weights {
    /// One matrix, or for `Up2x2` one for each of the two output rows.
    Matrices(Vec<Packed>),
    /// Weights of a depthwise convolution.
    Depthwise(Depthwise),
}

impl Float {
    /// Packs the weights of a model.
    pub(super) fn new(model: &Model, kernels: Kernels) -> Self {
        let pairs = model.graph().convs.iter().zip(model.weights());
        Self { kernels, weights: pairs.map(|(spec, conv)| pack(kernels, spec, conv)).collect() }
    }

    /// Computes one row with the kernel for the kind of the convolution.
    fn run(
        &self,
        inputs: &Inputs<'_, Self>,
        add: Option<&[f32]>,
        activation: Activation,
        out: &mut [f32],
    ) {
        let (segments, pitch) = (&inputs.segments[..inputs.count], inputs.pitch);
        match &self.weights[inputs.conv] {
            Weights::Matrices(matrices) => {
                self.kernels.run(RowJob {
                    segments,
                    pitch,
                    weights: &matrices[inputs.matrix],
                    add,
                    activation,
                    out,
                });
            }
            Weights::Depthwise(weights) => {
                self.kernels.run_depthwise(DepthJob { segments, pitch, weights, out })
            }
        }
    }
}

impl Arithmetic for Float {
    type Rows = Vec<f32>;

    const INPUT_ALIGNMENT: usize = 1;

    const NAME: &'static str = "fp32";

    fn kernels(&self) -> &'static str {
        self.kernels.name()
    }

    fn read(&self, source: &dyn Source, y: usize, _scratch: &mut [f32], row: &mut [f32]) {
        source.read_row(y, row);
    }

    fn convolve(
        &self,
        inputs: &Inputs<'_, Self>,
        add: Option<&[f32]>,
        activation: Activation,
        out: &mut [f32],
    ) {
        self.run(inputs, add, activation, out);
    }

    fn joins(&self, conv: ConvId, width: usize) -> bool {
        match &self.weights[conv] {
            Weights::Matrices(matrices) => {
                matrices.first().is_some_and(|weights| self.kernels.joins(weights, width))
            }
            Weights::Depthwise(_) => false,
        }
    }

    fn convolve_rows(
        &self,
        inputs: &Inputs<'_, Self>,
        add: [Option<&[f32]>; TOGETHER],
        activation: Activation,
        out: [&mut [f32]; TOGETHER],
    ) {
        let Weights::Matrices(matrices) = &self.weights[inputs.conv] else { return };
        let &Inputs { segments, pitch, matrix, .. } = inputs;
        self.kernels.run_rows(RowsJob {
            segments,
            pitch,
            weights: &matrices[matrix],
            add,
            activation,
            out,
        });
    }

    fn finish(&self, inputs: &Inputs<'_, Self>, out: &mut [f32]) {
        self.run(inputs, None, Activation::None, out);
    }
}

/// Packs the weights of one convolution.
fn pack(kernels: Kernels, spec: &ConvSpec, conv: &ConvWeights) -> Weights {
    if let ConvKind::Depthwise(window) = spec.kind {
        return Weights::Depthwise(Depthwise::new(window, &conv.weight, &conv.bias));
    }
    let matrix = |matrix| {
        let Matrix { segments, depth, outputs } = Matrix::of(spec, spec.inputs);
        let bias = repeat_bias(spec, conv);
        let weight =
            |s: usize, d: usize, o: usize| weight(spec, conv, spec.inputs, matrix, [s, d, o]);
        Packed::new(kernels, segments, depth, outputs, weight, &bias)
    };
    Weights::Matrices((0..matrices(spec)).map(matrix).collect())
}

/// Shape of the weight matrix of a convolution as the kernels compute it: each output pixel is the
/// sum of products of the matrix with `segments` runs of `depth` contiguous input values.
pub(super) struct Matrix {
    /// Runs of input values per output pixel: the rows of the kernel.
    pub segments: usize,
    /// Values per segment: the columns of the kernel times the channels.
    pub depth: usize,
    /// Output values per matrix product.
    pub outputs: usize,
}

impl Matrix {
    /// Returns the shape for input pixels of `channels` values, of which the first `spec.inputs`
    /// are in use and the others are padding.
    pub fn of(spec: &ConvSpec, channels: usize) -> Self {
        let outputs = spec.outputs;
        match spec.kind {
            ConvKind::Same3x3 => Self { segments: 3, depth: 3 * channels, outputs },
            ConvKind::Down2x2 => Self { segments: 2, depth: 2 * channels, outputs },
            // An input pixel yields two neighbouring pixels in each of two output rows.
            ConvKind::Up2x2 => Self { segments: 1, depth: channels, outputs: 2 * outputs },
            ConvKind::Point1x1 => Self { segments: 1, depth: channels, outputs },
            // Depthwise convolutions have a kernel of their own.
            ConvKind::Depthwise(_) => Self { segments: 0, depth: 0, outputs: 0 },
        }
    }
}

/// Returns the number of weight matrices of a convolution: one for each output row that an input
/// row yields.
pub(super) fn matrices(spec: &ConvSpec) -> usize {
    if spec.kind == ConvKind::Up2x2 { 2 } else { 1 }
}

/// Returns the biases of a matrix, one per output; `Up2x2` repeats them for its two output pixels.
pub(super) fn repeat_bias(spec: &ConvSpec, conv: &ConvWeights) -> Vec<f32> {
    if spec.kind == ConvKind::Up2x2 {
        [conv.bias.as_slice(); 2].concat()
    } else {
        conv.bias.clone()
    }
}

/// Returns the weight of matrix number `matrix` at `[segment, input, output]`, for input pixels of
/// `channels` values. The inputs of a segment are ordered by kernel column, then channel. Padding
/// channels have weight 0.
pub(super) fn weight(
    spec: &ConvSpec,
    conv: &ConvWeights,
    channels: usize,
    matrix: usize,
    [segment, input, output]: [usize; 3],
) -> f32 {
    let square = |side: usize| {
        let (column, input) = (input / channels, input % channels);
        if input < spec.inputs {
            conv.weight[((output * spec.inputs + input) * side + segment) * side + column]
        } else {
            0.0
        }
    };
    match spec.kind {
        ConvKind::Same3x3 => square(3),
        ConvKind::Down2x2 => square(2),
        ConvKind::Point1x1 => square(1),
        ConvKind::Depthwise(_) => 0.0,
        ConvKind::Up2x2 => {
            let (column, output) = (output / spec.outputs, output % spec.outputs);
            conv.weight[((input * spec.outputs + output) * 2 + matrix) * 2 + column]
        }
    }
}
