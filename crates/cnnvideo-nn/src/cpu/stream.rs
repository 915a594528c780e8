// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streaming executor: computes the rows of one band, through all steps of a chain.
//!
//! Execution is demand-driven. Before a step computes a row, it advances the previous step to the
//! last row that it reads. Each step keeps its recent rows in a ring buffer. Rows that overlap
//! between bands are computed by both.

use std::ops::Range;

use super::{
    arithmetic::{
        Arithmetic, ConvInputs, MAX_SEGMENTS, Reads, Signedness, Storage, StorageMut, StorageRef,
    },
    kernels::ROW_BLOCK,
    map::{FeatureMap, MapShape, Ring, RingSize},
    plan::{BufferId, Chain, Op},
};
use crate::{RowSink, Source, arch::Activation};

/// Working memory of one band.
pub(super) struct Scratch<A: Arithmetic> {
    /// Ring buffers, one for each step of the longest chain.
    rings: Vec<Ring<A::Storage>>,
    /// Next row that each step computes.
    next: Vec<usize>,
    /// End of the rows that each step may compute in this band.
    end: Vec<usize>,
    /// A row of the network's input or output in float32.
    values: Vec<f32>,
    /// A row of zeros that pads a signed map above and below.
    signed_zeros: A::Storage,
    /// A row of zeros that pads the output of a ReLU above and below.
    nonnegative_zeros: A::Storage,
}

impl<A: Arithmetic> Scratch<A> {
    /// Allocates a ring buffer for each step, and rows of up to `stride` values.
    pub(super) fn new(rings: &[RingSize], stride: usize) -> Self {
        Self {
            rings: rings.iter().map(|size| Ring::new(*size)).collect(),
            next: vec![0; rings.len()],
            end: vec![0; rings.len()],
            values: vec![0.0; stride],
            signed_zeros: A::Storage::zeros(stride, Signedness::Signed, Reads::ALL),
            nonnegative_zeros: A::Storage::zeros(stride, Signedness::NonNegative, Reads::ALL),
        }
    }
}

/// Rows of a whole map that a band writes.
pub(super) struct BandRows<'a, A: Arithmetic> {
    /// Step whose output it is.
    pub step: usize,
    /// Index of the first row.
    pub first: usize,
    /// Rows of the band with their padding.
    pub rows: StorageMut<'a, A>,
}

/// Destinations of a band's results.
pub(super) struct BandOutput<'a, A: Arithmetic> {
    /// Rows of the whole maps that steps of the chain store.
    pub maps: Vec<BandRows<'a, A>>,
    /// Receiver of the network's output, if the chain computes it.
    pub sink: Option<Box<dyn RowSink + 'a>>,
}

/// Executes a chain, one band at a time.
pub(super) struct ChainRunner<'a, A: Arithmetic> {
    /// Packed weights and kernels.
    pub arithmetic: &'a A,
    /// The chain.
    pub chain: &'a Chain,
    /// Whole feature maps. Those that the chain writes are replaced by empty ones.
    pub buffers: &'a [FeatureMap<A::Storage>],
    /// Input of the network.
    pub source: &'a dyn Source,
}

impl<A: Arithmetic> ChainRunner<'_, A> {
    /// Computes rows `band` of the last step, and the rows of the other steps that these depend on.
    pub(super) fn run(
        &self,
        band: Range<usize>,
        output: &mut BandOutput<'_, A>,
        scratch: &mut Scratch<A>,
    ) {
        let mut rows = band.clone();
        for (i, step) in self.chain.steps.iter().enumerate().rev() {
            if A::ALIGNED_ROW_BLOCKS {
                rows = self.align_to_row_blocks(i, rows);
            }
            (scratch.next[i], scratch.end[i]) = (rows.start, rows.end);
            rows.end = self.required_rows(i, rows.end - 1);
            rows.start = match step.op {
                Op::Conv3x3 { .. } => rows.start.saturating_sub(1),
                Op::Strided2x2 { .. } => 2 * rows.start,
                Op::Depthwise { window, .. } => {
                    (rows.start * window.stride).saturating_sub(window.pad_before())
                }
                Op::ReadSource | Op::Transposed2x2 { .. } | Op::Pointwise { .. } => rows.start,
            };
        }
        self.advance(self.chain.steps.len() - 1, band.end, output, scratch);
    }

    /// Returns the number of rows that step `i` computes at a time.
    fn row_block(&self, i: usize) -> usize {
        // Rows of the network's output go to a sink one by one.
        let is_output = i + 1 == self.chain.steps.len() && self.chain.computes_output();
        if is_output { 1 } else { self.chain.steps[i].row_block(self.arithmetic) }
    }

    /// Extends rows of step `i` to the row blocks that start at multiples of the row-block size.
    /// Rows after the last whole block of the map are computed one by one.
    fn align_to_row_blocks(&self, i: usize, rows: Range<usize>) -> Range<usize> {
        let row_block = self.row_block(i);
        let height = self.chain.steps[i].shape.height;
        let in_blocks = height - height % row_block;
        let end =
            if rows.end <= in_blocks { rows.end.next_multiple_of(row_block) } else { rows.end };
        rows.start - rows.start % row_block..end
    }

    /// Returns the end of the rows of the previous step that row `y` of step `i` depends on.
    fn required_rows(&self, i: usize, y: usize) -> usize {
        let step = &self.chain.steps[i];
        match step.op {
            Op::Conv3x3 { .. } => (y + 2).min(step.shape.height),
            Op::Strided2x2 { .. } => 2 * y + 2,
            Op::Depthwise { window, .. } => {
                let rows = step.shape.height * window.stride;
                (y * window.stride + window.kernel_size - window.pad_before()).min(rows)
            }
            Op::Pointwise { .. } => y + 1,
            Op::ReadSource | Op::Transposed2x2 { .. } => 0,
        }
    }

    /// Computes rows of step `i` up to row `end`, or beyond it to complete a row block.
    fn advance(
        &self,
        i: usize,
        end: usize,
        output: &mut BandOutput<'_, A>,
        scratch: &mut Scratch<A>,
    ) {
        let is_output = i + 1 == self.chain.steps.len() && self.chain.computes_output();
        let row_block = self.row_block(i);
        while scratch.next[i] < end {
            let y = scratch.next[i];
            let count = if y + row_block <= scratch.end[i] { row_block } else { 1 };
            if let Some(previous) = i.checked_sub(1) {
                self.advance(previous, self.required_rows(i, y + count - 1), output, scratch);
            }
            if is_output {
                self.output_row(i, y, output, scratch);
            } else if count == 1 {
                self.compute_rows(i, y, output, scratch, |inputs, values, [out]| {
                    inputs.compute_row(y, values, out)
                });
            } else {
                self.compute_rows(i, y, output, scratch, |inputs, _, out| {
                    inputs.compute_row_block(y, out)
                });
            }
            scratch.next[i] += count;
        }
    }

    /// Computes row `y` of the network's output and writes it to the sink.
    fn output_row(
        &self,
        i: usize,
        y: usize,
        output: &mut BandOutput<'_, A>,
        scratch: &mut Scratch<A>,
    ) {
        let shape = self.chain.steps[i].shape;
        let (inputs, _, values) = self.split_scratch(i, scratch);
        let row = &mut values[..shape.width * shape.channels];
        self.arithmetic.convolve_output(&inputs.conv_inputs(y), row);
        let sink = output.sink.as_mut().expect("bands of the last chain have sinks");
        sink.write_row(y, row);
    }

    /// Computes rows `y..y + N` of step `i` into its ring buffer and, if the step stores its
    /// output, into the whole map.
    fn compute_rows<const N: usize>(
        &self,
        i: usize,
        y: usize,
        output: &mut BandOutput<'_, A>,
        scratch: &mut Scratch<A>,
        compute: impl FnOnce(&StepInputs<'_, A>, &mut [f32], [StorageMut<'_, A>; N]),
    ) {
        let step = &self.chain.steps[i];
        let reads = self.chain.reads(i);
        let mut map = output.maps.iter_mut().find(|m| m.step == i);
        let (inputs, own, values) = self.split_scratch(i, scratch);
        let rows = own.rows_mut(y, step.shape, step.op.sign());
        let rows = match &mut map {
            Some(map) => {
                let mut stored = map.rows_mut::<N>(y, step.shape).into_iter();
                rows.map(|row| match stored.next().flatten() {
                    Some(stored) => A::Storage::destination(row, stored, reads),
                    None => row,
                })
            }
            None => rows,
        };
        compute(&inputs, values, rows);
        if let Some(map) = map {
            for (y, stored) in (y..).zip(map.rows_mut::<N>(y, step.shape)) {
                let ring = without_padding::<A>((own.row(y, step.shape), step.shape));
                stored.into_iter().for_each(|map| A::Storage::copy_to_map(ring, map, reads));
            }
        }
    }

    /// Borrows the inputs of step `i`, its ring buffer and a row of floats.
    fn split_scratch<'a>(
        &'a self,
        i: usize,
        scratch: &'a mut Scratch<A>,
    ) -> (StepInputs<'a, A>, &'a mut Ring<A::Storage>, &'a mut [f32]) {
        let Scratch { rings, values, signed_zeros, nonnegative_zeros, .. } = scratch;
        let (rings, own) = rings.split_at_mut(i);
        (
            StepInputs { runner: self, i, rings, signed_zeros, nonnegative_zeros },
            &mut own[0],
            values,
        )
    }
}

impl<A: Arithmetic> BandRows<'_, A> {
    /// Returns the inner pixels of rows `y..y + N`, with `None` for rows that are outside of the
    /// band.
    fn rows_mut<const N: usize>(
        &mut self,
        y: usize,
        shape: MapShape,
    ) -> [Option<StorageMut<'_, A>>; N] {
        let (stride, inner) = (shape.stride(), shape.inner());
        let own = self.first..self.first + A::Storage::len(&self.rows) / stride;
        let (start, end) = (
            y.clamp(own.start, own.end) - own.start,
            (y + N).clamp(own.start, own.end) - own.start,
        );
        let mut rest = Some(A::Storage::slice_mut(&mut self.rows, start * stride..end * stride));
        std::array::from_fn(|i| {
            let rows = rest.take_if(|_| own.contains(&(y + i)))?;
            let (row, others) = A::Storage::split_at(rows, stride);
            rest = Some(others);
            let (_, row) = A::Storage::split_at(row, inner.start);
            Some(A::Storage::split_at(row, inner.len()).0)
        })
    }
}

/// Everything that step `i` of a chain can read.
struct StepInputs<'a, A: Arithmetic> {
    runner: &'a ChainRunner<'a, A>,
    i: usize,
    /// Ring buffers of the previous steps.
    rings: &'a [Ring<A::Storage>],
    signed_zeros: &'a A::Storage,
    nonnegative_zeros: &'a A::Storage,
}

impl<A: Arithmetic> StepInputs<'_, A> {
    /// Returns the shape of the output of the step `distance` steps before, or of the chain's
    /// input.
    fn shape(&self, distance: usize) -> MapShape {
        match self.i.checked_sub(distance) {
            Some(step) => self.runner.chain.steps[step].shape,
            None => self.runner.buffers[self.chain_input()].shape,
        }
    }

    /// Returns the buffer of the chain's input.
    fn chain_input(&self) -> BufferId {
        self.runner.chain.input.expect("the planner assigns an input to chains that read one")
    }

    /// Returns row `y` of the output of the step `distance` steps before (or of the chain's input),
    /// and its shape.
    fn row(&self, distance: usize, y: usize) -> (StorageRef<'_, A>, MapShape) {
        match self.i.checked_sub(distance) {
            Some(step) => (self.rings[step].row(y, self.shape(distance)), self.shape(distance)),
            None => self.map_row(self.chain_input(), y),
        }
    }

    /// Returns row `y` of a whole map, and its shape.
    fn map_row(&self, buffer: BufferId, y: usize) -> (StorageRef<'_, A>, MapShape) {
        let map = &self.runner.buffers[buffer];
        (map.row(y), map.shape)
    }

    /// Returns a row of zeros of the previous step's output.
    fn zeros(&self) -> &A::Storage {
        // The input of a chain is the output of a convolution without activation function.
        let previous = self.i.checked_sub(1).map(|i| self.runner.chain.steps[i].op);
        match previous.map_or(Signedness::Signed, Op::sign) {
            Signedness::Signed => self.signed_zeros,
            Signedness::NonNegative => self.nonnegative_zeros,
        }
    }

    /// Returns row `y` of the previous step's output from `padding` pixels left of the first pixel
    /// on; a row of zeros if `y` is outside of the map.
    fn padded_row(&self, y: Option<usize>, padding: usize) -> StorageRef<'_, A> {
        let shape = self.shape(1);
        let range = (shape.padding - padding) * shape.channels..shape.stride();
        match y {
            Some(y) if y < shape.height => A::Storage::slice(self.row(1, y).0, range),
            _ => self.zeros().view(0..range.len()),
        }
    }

    /// Computes row `y` of a feature map. `values` is scratch memory for a row of input.
    fn compute_row(&self, y: usize, values: &mut [f32], out: StorageMut<'_, A>) {
        let ChainRunner { arithmetic, chain, source, .. } = self.runner;
        let op = chain.steps[self.i].op;
        let residual = match op {
            Op::ReadSource => return arithmetic.read_input(*source, y, values, out),
            Op::Transposed2x2 { skip, .. } | Op::Strided2x2 { skip, .. } => {
                skip.map(|skip| without_padding::<A>(self.map_row(skip, y)))
            }
            Op::Conv3x3 { .. } | Op::Pointwise { .. } | Op::Depthwise { .. } => {
                op.residual_distance().map(|distance| without_padding::<A>(self.row(distance, y)))
            }
        };
        let activation = match op {
            Op::Conv3x3 { activation, .. } | Op::Pointwise { activation, .. } => activation,
            Op::Depthwise { .. } => Activation::Relu6,
            Op::ReadSource | Op::Transposed2x2 { .. } | Op::Strided2x2 { .. } => Activation::None,
        };
        arithmetic.convolve(&self.conv_inputs(y), residual, activation, out);
    }

    /// Computes a row block of a feature map, [`ROW_BLOCK`] rows from row `y` on.
    fn compute_row_block(&self, y: usize, out: [StorageMut<'_, A>; ROW_BLOCK]) {
        let op = self.runner.chain.steps[self.i].op;
        let Op::Conv3x3 { conv, activation, .. } = op else {
            unreachable!("only 3x3 convolutions have row blocks, not {op:?}");
        };
        let segments = std::array::from_fn(|i| self.padded_row((y + i).checked_sub(1), 1));
        let inputs = ConvInputs {
            conv,
            matrix: 0,
            segments,
            count: MAX_SEGMENTS,
            pitch: self.shape(1).channels,
        };
        let distance = op.residual_distance();
        let residuals = std::array::from_fn(|i| {
            distance.map(|distance| without_padding::<A>(self.row(distance, y + i)))
        });
        self.runner.arithmetic.convolve_row_block(&inputs, residuals, activation, out);
    }

    /// Returns the inputs of row `y` of a convolution.
    fn conv_inputs(&self, y: usize) -> ConvInputs<'_, A> {
        match self.runner.chain.steps[self.i].op {
            Op::ReadSource => unreachable!("reading the source is no convolution"),
            Op::Conv3x3 { conv, .. } => {
                let [a, b, c] =
                    [y.checked_sub(1), Some(y), Some(y + 1)].map(|y| self.padded_row(y, 1));
                ConvInputs {
                    conv,
                    matrix: 0,
                    segments: [a, b, c, c, c, c],
                    count: 3,
                    pitch: self.shape(1).channels,
                }
            }
            Op::Pointwise { conv, .. } => {
                let row = self.row(1, y);
                ConvInputs {
                    conv,
                    matrix: 0,
                    segments: [without_padding::<A>(row); MAX_SEGMENTS],
                    count: 1,
                    pitch: row.1.channels,
                }
            }
            Op::Depthwise { conv, window } => {
                let first = y * window.stride;
                let segments = std::array::from_fn(|i| {
                    let padding = window.pad_before();
                    self.padded_row((first + i).checked_sub(padding), padding)
                });
                let pitch = window.stride * self.shape(1).channels;
                ConvInputs { conv, matrix: 0, segments, count: window.kernel_size, pitch }
            }
            Op::Strided2x2 { conv, .. } => {
                let rows = [self.row(1, 2 * y), self.row(1, 2 * y + 1)];
                let [a, b] = rows.map(without_padding::<A>);
                ConvInputs {
                    conv,
                    matrix: 0,
                    segments: [a, b, b, b, b, b],
                    count: 2,
                    pitch: 2 * rows[0].1.channels,
                }
            }
            Op::Transposed2x2 { conv, input, .. } => {
                let row = self.map_row(input, y / 2);
                ConvInputs {
                    conv,
                    matrix: y % 2,
                    segments: [without_padding::<A>(row); MAX_SEGMENTS],
                    count: 1,
                    pitch: row.1.channels,
                }
            }
        }
    }
}

/// Returns the pixels of a row without their padding.
fn without_padding<A: Arithmetic>(
    (row, shape): (StorageRef<'_, A>, MapShape),
) -> StorageRef<'_, A> {
    A::Storage::slice(row, shape.inner())
}
