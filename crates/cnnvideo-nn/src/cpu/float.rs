// SPDX-License-Identifier: MIT OR Apache-2.0

//! Float32 arithmetic: packed weights and calls of the float kernels.

use std::ops::Range;

use super::{
    arithmetic::{Arithmetic, ConvInputs, Reads, Signedness, Storage},
    kernels::{
        ROW_BLOCK,
        float::{
            DepthwiseJob, FloatKernels, FloatRowBlockJob, FloatRowJob, PackedDepthwise,
            PackedWeights,
        },
    },
    matrix::ConvMatrices,
};
use crate::{
    Model, Source,
    arch::{Activation, ConvId, ConvKind, ConvSpec},
    model::ConvWeights,
};

impl Storage for Vec<f32> {
    type Ref<'a> = &'a [f32];
    type Mut<'a> = &'a mut [f32];

    fn zeros(count: usize, _sign: Signedness, _reads: Reads) -> Self {
        vec![0.0; count]
    }

    fn clear(&mut self, range: Range<usize>, _sign: Signedness) {
        self[range].fill(0.0);
    }

    fn view(&self, range: Range<usize>) -> &[f32] {
        &self[range]
    }

    fn view_mut(&mut self, range: Range<usize>) -> &mut [f32] {
        &mut self[range]
    }

    fn slice(rows: Self::Ref<'_>, range: Range<usize>) -> Self::Ref<'_> {
        &rows[range]
    }

    fn slice_mut<'a>(rows: &'a mut &mut [f32], range: Range<usize>) -> &'a mut [f32] {
        &mut rows[range]
    }

    fn split_at(rows: Self::Mut<'_>, index: usize) -> (Self::Mut<'_>, Self::Mut<'_>) {
        rows.split_at_mut(index)
    }

    fn len(rows: &&mut [f32]) -> usize {
        rows.len()
    }

    fn destination<'a>(ring: Self::Mut<'a>, map: Self::Mut<'a>, reads: Reads) -> Self::Mut<'a> {
        if reads == Reads::default() { map } else { ring }
    }

    fn copy_to_map(ring: &[f32], map: &mut [f32], reads: Reads) {
        if reads != Reads::default() {
            map.copy_from_slice(ring);
        }
    }
}

/// The weights of a model, packed for one kernel set.
#[derive(Debug)]
pub struct FloatArithmetic {
    kernels: FloatKernels,
    /// Weights in the order of the graph's convolutions.
    weights: Vec<PackedConv>,
}

/// Packed weights of one convolution.
#[derive(Debug)]
enum PackedConv {
    /// The matrices of the convolution, see [`ConvMatrices`].
    Matrices(Vec<PackedWeights>),
    /// Weights of a depthwise convolution.
    Depthwise(PackedDepthwise),
}

impl FloatArithmetic {
    /// Packs the weights of a model.
    pub(super) fn new(model: &Model, kernels: FloatKernels) -> Self {
        let pairs = model.graph().convs.iter().zip(model.weights());
        Self { kernels, weights: pairs.map(|(spec, conv)| pack(kernels, spec, conv)).collect() }
    }

    /// Computes one row with the kernel for the kind of the convolution.
    fn run(
        &self,
        inputs: &ConvInputs<'_, Self>,
        residual: Option<&[f32]>,
        activation: Activation,
        out: &mut [f32],
    ) {
        let (segments, pitch) = (&inputs.segments[..inputs.count], inputs.pitch);
        match &self.weights[inputs.conv] {
            PackedConv::Matrices(matrices) => {
                self.kernels.run(FloatRowJob {
                    segments,
                    pitch,
                    weights: &matrices[inputs.matrix],
                    residual,
                    activation,
                    out,
                });
            }
            PackedConv::Depthwise(weights) => {
                self.kernels.run_depthwise(DepthwiseJob { segments, pitch, weights, out })
            }
        }
    }
}

impl Arithmetic for FloatArithmetic {
    type Storage = Vec<f32>;

    const INPUT_ALIGNMENT: usize = 1;

    const ALIGNED_ROW_BLOCKS: bool = true;

    const NAME: &'static str = "fp32";

    fn kernel_set(&self) -> &'static str {
        self.kernels.name()
    }

    fn read_input(&self, source: &dyn Source, y: usize, _scratch: &mut [f32], row: &mut [f32]) {
        source.read_row(y, row);
    }

    fn convolve(
        &self,
        inputs: &ConvInputs<'_, Self>,
        residual: Option<&[f32]>,
        activation: Activation,
        out: &mut [f32],
    ) {
        self.run(inputs, residual, activation, out);
    }

    fn prefers_row_blocks(&self, conv: ConvId, width: usize) -> bool {
        match &self.weights[conv] {
            PackedConv::Matrices(matrices) => self.kernels.prefers_row_blocks(&matrices[0], width),
            PackedConv::Depthwise(_) => false,
        }
    }

    fn convolve_row_block(
        &self,
        inputs: &ConvInputs<'_, Self>,
        residuals: [Option<&[f32]>; ROW_BLOCK],
        activation: Activation,
        out: [&mut [f32]; ROW_BLOCK],
    ) {
        let PackedConv::Matrices(matrices) = &self.weights[inputs.conv] else {
            unreachable!("only 3x3 convolutions have row blocks");
        };
        let &ConvInputs { segments, pitch, matrix, .. } = inputs;
        self.kernels.run_row_block(FloatRowBlockJob {
            segments,
            pitch,
            weights: &matrices[matrix],
            residuals,
            activation,
            out,
        });
    }

    fn convolve_output(&self, inputs: &ConvInputs<'_, Self>, out: &mut [f32]) {
        self.run(inputs, None, Activation::None, out);
    }
}

/// Packs the weights of one convolution.
fn pack(kernels: FloatKernels, spec: &ConvSpec, conv: &ConvWeights) -> PackedConv {
    if let ConvKind::Depthwise(window) = spec.kind {
        return PackedConv::Depthwise(PackedDepthwise::new(window, &conv.weight, &conv.bias));
    }
    let matrices = ConvMatrices::new(spec, conv, spec.in_channels);
    let (shape, bias) = (matrices.shape(), matrices.bias());
    let pack =
        |matrix| PackedWeights::new(kernels, shape, |index| matrices.weight(matrix, index), &bias);
    PackedConv::Matrices((0..matrices.count()).map(pack).collect())
}
