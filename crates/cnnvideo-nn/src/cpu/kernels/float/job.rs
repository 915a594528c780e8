// SPDX-License-Identifier: MIT OR Apache-2.0

//! Descriptions of the computations of the float32 kernels.

use super::{super::ROW_BLOCK, pack::PackedWeights};
use crate::arch::Activation;

/// Computation of one row of output pixels.
///
/// Pixel `x` is `activation(bias + sum over segments s: weights[s] * segments[s][x *
/// pitch..][..depth] [+ residual])`. It has `weights.outputs` values; the row has `out.len() /
/// weights.outputs` pixels.
pub(in crate::cpu) struct FloatRowJob<'a> {
    /// Input values of the segments, from the first input of pixel 0 on.
    pub segments: &'a [&'a [f32]],
    /// Distance between the inputs of neighbouring output pixels, in values.
    pub pitch: usize,
    /// Weight matrix and biases.
    pub weights: &'a PackedWeights,
    /// Residual to add, as long as `out`.
    pub residual: Option<&'a [f32]>,
    /// Activation function applied last.
    pub activation: Activation,
    /// Output values, interleaved by pixel.
    pub out: &'a mut [f32],
}

impl FloatRowJob<'_> {
    /// Returns the number of output pixels.
    ///
    /// # Panics
    /// If an access of a kernel would be outside of its slice. The kernels rely on this check for
    /// memory safety.
    pub(super) fn check(&self) -> usize {
        let shape = self.weights.shape();
        let pixels = self.out.len() / shape.outputs;
        assert_eq!(self.out.len(), pixels * shape.outputs);
        assert_eq!(self.segments.len(), shape.segments);
        if let Some(residual) = self.residual {
            assert_eq!(residual.len(), self.out.len());
        }
        if pixels > 0 {
            let reach = (pixels - 1) * self.pitch + shape.depth;
            assert!(
                self.segments.iter().all(|s| s.len() >= reach),
                "a segment is shorter than the kernel's reach of {reach} values"
            );
        }
        pixels
    }
}

/// Computation of a row block, [`ROW_BLOCK`] rows of a 3x3 convolution; the fields are as in
/// [`FloatRowJob`].
pub(in crate::cpu) struct FloatRowBlockJob<'a> {
    /// The input rows of all output rows; output row `y` depends on `segments[y..y + 3]`.
    pub segments: [&'a [f32]; ROW_BLOCK + 2],
    /// Values per input pixel.
    pub pitch: usize,
    /// Weight matrix and biases.
    pub weights: &'a PackedWeights,
    /// Residual of each row.
    pub residuals: [Option<&'a [f32]>; ROW_BLOCK],
    /// Activation function applied last.
    pub activation: Activation,
    /// Output values of each row.
    pub out: [&'a mut [f32]; ROW_BLOCK],
}

impl FloatRowBlockJob<'_> {
    /// Returns the job of one of the rows.
    pub(super) fn row(&mut self, y: usize) -> FloatRowJob<'_> {
        let &mut Self { ref segments, pitch, weights, residuals, activation, ref mut out } = self;
        FloatRowJob {
            segments: &segments[y..y + 3],
            pitch,
            weights,
            residual: residuals[y],
            activation,
            out: out[y],
        }
    }

    /// Returns the number of output pixels per row. Panics like [`FloatRowJob::check`].
    pub(super) fn check(&mut self) -> usize {
        assert_eq!(self.weights.shape().depth, 3 * self.pitch);
        let pixels: [usize; ROW_BLOCK] = std::array::from_fn(|y| self.row(y).check());
        assert!(pixels.iter().all(|count| *count == pixels[0]));
        pixels[0]
    }
}
