//! Float32 weights in the order in which the kernels read them.

use super::{Kernels, winograd};

/// Floats in a [`Line`].
pub(super) const LINE: usize = 16;

/// One cache line of weights. The alignment ensures that no vector load crosses a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [f32; LINE]);

/// Weight matrix of a [`RowJob`](super::RowJob) in the order `[block][segment][input][output of the
/// block]`, zero-padded to whole blocks of outputs.
#[derive(Debug, Clone)]
pub struct Packed {
    lines: Vec<Line>,
    /// Weights transformed for Winograd F(4x4, 3x3), if the kernel set and the shape support it.
    filtered: Option<Vec<Line>>,
    /// Biases, zero-padded to whole blocks.
    bias: Vec<Line>,
    segments: usize,
    depth: usize,
    outputs: usize,
    block: usize,
}

impl Packed {
    /// Packs the weights `weight(segment, input, output)` for a kernel set.
    pub(in crate::cpu) fn new(
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

    /// Returns the number of segments per pixel.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Returns the number of values in each segment.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Returns the number of values per output pixel.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the number of outputs per block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Returns the weights of one block: `segments * depth * block` values from the start of the
    /// first line.
    pub(super) fn block_lines(&self, block: usize) -> &[Line] {
        let floats = self.segments * self.depth * self.block;
        // Each block must start on a line of its own if there are several. Then the block size is a
        // multiple of 16; a block of 8 outputs is always the only one.
        &self.lines[block * floats / LINE..((block + 1) * floats).div_ceil(LINE)]
    }

    /// Returns whether there are weights for Winograd F(4x4, 3x3).
    pub(super) fn filters(&self) -> bool {
        self.filtered.is_some()
    }

    /// Returns the Winograd weights of one block.
    pub(super) fn filtered_lines(&self, block: usize) -> &[Line] {
        let filtered = self.filtered.as_deref().unwrap_or_default();
        let count = filtered.len() / self.outputs.div_ceil(self.block);
        &filtered[block * count..][..count]
    }

    /// Returns the biases of one block.
    pub(super) fn block_bias(&self, block: usize) -> &[Line] {
        &self.bias[block * self.block / LINE..((block + 1) * self.block).div_ceil(LINE)]
    }
}

/// Copies values to cache lines; the last line is zero-padded.
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
