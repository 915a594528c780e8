// SPDX-License-Identifier: MIT OR Apache-2.0

//! Float32 weights in the order in which the kernels read them.

use super::{FloatKernels, winograd};
use crate::cpu::matrix::{MatrixShape, WeightIndex};

/// Floats in a [`FloatLine`].
pub(super) const LINE: usize = 16;

/// One cache line of weights. The alignment ensures that no vector load crosses a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct FloatLine(pub(super) [f32; LINE]);

/// Weight matrix of a [`FloatRowJob`](super::FloatRowJob) in the order
/// `[block][segment][input][output of the block]`, zero-padded to whole blocks of outputs.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct PackedWeights {
    lines: Vec<FloatLine>,
    /// Weights transformed for Winograd F(4x4, 3x3), if the shape suits it.
    winograd: Option<Vec<FloatLine>>,
    /// Biases, zero-padded to whole blocks.
    bias: Vec<FloatLine>,
    shape: MatrixShape,
    /// Outputs per block.
    block: usize,
}

impl PackedWeights {
    /// Packs weights for a kernel set.
    pub(in crate::cpu) fn new(
        kernels: FloatKernels,
        shape: MatrixShape,
        weight: impl Fn(WeightIndex) -> f32,
        bias: &[f32],
    ) -> Self {
        let MatrixShape { segments, depth, outputs } = shape;
        let block = kernels.block(outputs);
        let blocks = outputs.div_ceil(block);
        let mut values = Vec::with_capacity(blocks * segments * depth * block);
        for first in (0..outputs).step_by(block) {
            for segment in 0..segments {
                for input in 0..depth {
                    values.extend((first..first + block).map(|output| {
                        if output < outputs {
                            weight(WeightIndex { segment, input, output })
                        } else {
                            0.0
                        }
                    }));
                }
            }
        }
        let winograd = winograd::pack(shape, block, &weight);
        let mut padded = bias.to_vec();
        padded.resize(blocks * block, 0.0);
        Self { lines: lines(&values), winograd, bias: lines(&padded), shape, block }
    }

    /// Returns the shape of the matrix.
    pub(super) fn shape(&self) -> MatrixShape {
        self.shape
    }

    /// Returns the number of outputs per block.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Returns the weights of one block: `segments * depth * block` values from the start of the
    /// first line.
    pub(super) fn block_lines(&self, block: usize) -> &[FloatLine] {
        let floats = self.shape.segments * self.shape.depth * self.block;
        // Each block must start on a line of its own if there are several. Then the block size is a
        // multiple of 16; a block of 8 outputs is always the only one.
        &self.lines[block * floats / LINE..((block + 1) * floats).div_ceil(LINE)]
    }

    /// Returns whether there are weights for Winograd F(4x4, 3x3).
    pub(super) fn has_winograd(&self) -> bool {
        self.winograd.is_some()
    }

    /// Returns the Winograd weights of one block.
    ///
    /// # Panics
    /// If there are no Winograd weights.
    pub(super) fn winograd_lines(&self, block: usize) -> &[FloatLine] {
        let all = self.winograd.as_deref().expect("the caller has checked `has_winograd`");
        let count = all.len() / self.shape.outputs.div_ceil(self.block);
        &all[block * count..][..count]
    }

    /// Returns the biases of one block.
    pub(super) fn block_bias(&self, block: usize) -> &[FloatLine] {
        &self.bias[block * self.block / LINE..((block + 1) * self.block).div_ceil(LINE)]
    }
}

/// Copies values to cache lines; the last line is zero-padded.
pub(super) fn lines(values: &[f32]) -> Vec<FloatLine> {
    values
        .chunks(LINE)
        .map(|chunk| {
            let mut line = FloatLine([0.0; LINE]);
            line.0[..chunk.len()].copy_from_slice(chunk);
            line
        })
        .collect()
}
