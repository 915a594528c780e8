// SPDX-License-Identifier: MIT OR Apache-2.0

//! Convolutions as matrix products, the form in which the kernels compute them.

use crate::{
    arch::{ConvKind, ConvSpec},
    model::ConvWeights,
};

/// Shape of a weight matrix. Each output pixel is the sum of products of the matrix with `segments`
/// runs of `depth` contiguous input values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MatrixShape {
    /// Runs of input values per output pixel: the rows of the kernel.
    pub segments: usize,
    /// Values per segment: the columns of the kernel times the channels.
    pub depth: usize,
    /// Output values per matrix product.
    pub outputs: usize,
}

/// Index of a weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightIndex {
    /// Segment, below [`MatrixShape::segments`].
    pub segment: usize,
    /// Input within the segment, below [`MatrixShape::depth`].
    pub input: usize,
    /// Output, below [`MatrixShape::outputs`].
    pub output: usize,
}

/// The weight matrices of a convolution. Depthwise convolutions have none, but kernels of their
/// own.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvMatrices<'a> {
    spec: &'a ConvSpec,
    weights: &'a ConvWeights,
    /// Values per input pixel: `spec.in_channels` and padding.
    channels: usize,
}

impl<'a> ConvMatrices<'a> {
    /// Returns the matrices for input pixels of `channels` values, of which the first
    /// `spec.in_channels` are in use and the others are padding.
    ///
    /// # Panics
    /// For a depthwise convolution.
    pub(super) fn new(spec: &'a ConvSpec, weights: &'a ConvWeights, channels: usize) -> Self {
        assert!(
            !matches!(spec.kind, ConvKind::Depthwise(_)),
            "depthwise convolutions have no matrix"
        );
        Self { spec, weights, channels }
    }

    /// Returns the shape of the matrices.
    pub(super) fn shape(&self) -> MatrixShape {
        let (channels, outputs) = (self.channels, self.spec.out_channels);
        match self.spec.kind {
            ConvKind::Conv3x3 => MatrixShape { segments: 3, depth: 3 * channels, outputs },
            ConvKind::Strided2x2 => MatrixShape { segments: 2, depth: 2 * channels, outputs },
            // An input pixel yields two neighbouring pixels in each of two output rows.
            ConvKind::Transposed2x2 => {
                MatrixShape { segments: 1, depth: channels, outputs: 2 * outputs }
            }
            ConvKind::Pointwise => MatrixShape { segments: 1, depth: channels, outputs },
            ConvKind::Depthwise(_) => unreachable!("`new` refuses depthwise convolutions"),
        }
    }

    /// Returns the number of matrices: one for each output row that an input row yields.
    pub(super) fn count(&self) -> usize {
        if self.spec.kind == ConvKind::Transposed2x2 { 2 } else { 1 }
    }

    /// Returns the biases of a matrix, one per output; `Transposed2x2` repeats them for its two
    /// output pixels.
    pub(super) fn bias(&self) -> Vec<f32> {
        if self.spec.kind == ConvKind::Transposed2x2 {
            [self.weights.bias.as_slice(); 2].concat()
        } else {
            self.weights.bias.clone()
        }
    }

    /// Returns a weight of a matrix. The inputs of a segment are ordered by kernel column, then
    /// channel. Padding channels have weight 0.
    pub(super) fn weight(&self, matrix: usize, index: WeightIndex) -> f32 {
        let WeightIndex { segment, input, output } = index;
        let Self { spec, weights, channels } = self;
        let square = |size: usize| {
            let (column, input) = (input / channels, input % channels);
            if input < spec.in_channels {
                weights.weight
                    [((output * spec.in_channels + input) * size + segment) * size + column]
            } else {
                0.0
            }
        };
        match spec.kind {
            ConvKind::Conv3x3 => square(3),
            ConvKind::Strided2x2 => square(2),
            ConvKind::Pointwise => square(1),
            ConvKind::Transposed2x2 => {
                let (column, output) = (output / spec.out_channels, output % spec.out_channels);
                weights.weight[((input * spec.out_channels + output) * 2 + matrix) * 2 + column]
            }
            ConvKind::Depthwise(_) => unreachable!("`new` refuses depthwise convolutions"),
        }
    }
}
