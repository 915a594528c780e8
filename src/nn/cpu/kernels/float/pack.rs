//! Weights in the order in which the kernels read them.

use super::{Kernels, winograd};

/// Floats in a [`Line`].
pub(super) const LINE: usize = 16;

/// One cache line of weights, so that vector loads never straddle two.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [f32; LINE]);

/// A weight matrix for [`RowJob`](super::RowJob): blocks of outputs, in each block all segments in turn, in each
/// segment its inputs in turn, and for each input one value per output of the block.
#[derive(Debug, Clone)]
pub struct Packed {
    lines: Vec<Line>,
    /// The same for minimal filtering, where kernels do that.
    filtered: Option<Vec<Line>>,
    /// Biases, padded with zeros to whole blocks.
    bias: Vec<Line>,
    segments: usize,
    depth: usize,
    outputs: usize,
    block: usize,
}

impl Packed {
    /// Packs `weight(segment, input, output)` for some kernels.
    pub(in crate::nn::cpu) fn new(
        kernels: Kernels,
        segments: usize,
        depth: usize,
        outputs: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: &[f32],
    ) -> Self {
        let block = kernels.block(outputs);
        let blocks = outputs.div_ceil(block);
        let mut values = Vec::with_capacity(blocks * segments * depth * block);
        for first in (0..outputs).step_by(block) {
            for segment in 0..segments {
                for input in 0..depth {
                    values.extend(
                        (first..first + block)
                            .map(|o| if o < outputs { weight(segment, input, o) } else { 0.0 }),
                    );
                }
            }
        }
        let matrix = [segments, depth, outputs];
        let filtered = kernels
            .filter_lanes()
            .and_then(|lanes| winograd::pack(matrix, [block, lanes], &weight));
        let mut padded = bias.to_vec();
        padded.resize(blocks * block, 0.0);
        Self {
            lines: lines(&values),
            filtered,
            bias: lines(&padded),
            segments,
            depth,
            outputs,
            block,
        }
    }

    /// Runs of input per pixel.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Values in each run.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Values per output pixel.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Outputs that are computed together.
    pub fn block(&self) -> usize {
        self.block
    }

    /// The weights of one block: `segments * depth * block` values from the start of the first line.
    pub(super) fn block_lines(&self, block: usize) -> &[Line] {
        let floats = self.segments * self.depth * self.block;
        // Only with several blocks must each start on a line of its own; a block is then a multiple of 16 wide,
        // or 8 wide and alone.
        &self.lines[block * floats / LINE..((block + 1) * floats).div_ceil(LINE)]
    }

    /// Whether there are weights for minimal filtering.
    pub(super) fn filters(&self) -> bool {
        self.filtered.is_some()
    }

    /// Those of one block.
    pub(super) fn filtered_lines(&self, block: usize) -> &[Line] {
        let filtered = self.filtered.as_deref().unwrap_or_default();
        let count = filtered.len() / self.outputs.div_ceil(self.block);
        &filtered[block * count..][..count]
    }

    /// The biases of one block.
    pub(super) fn block_bias(&self, block: usize) -> &[Line] {
        &self.bias[block * self.block / LINE..((block + 1) * self.block).div_ceil(LINE)]
    }
}

pub(super) fn lines(values: &[f32]) -> Vec<Line> {
    values
        .chunks(LINE)
        .map(|chunk| {
            let mut line = Line([0.0; LINE]);
            line.0[..chunk.len()].copy_from_slice(chunk);
            line
        })
        .collect()
}
