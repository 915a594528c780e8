//! Streaming executor: computes the rows of one band, through all steps of a chain.
//!
//! Execution is demand-driven. Before a step computes a row, it advances the previous step to the
//! last row that it reads. Each step keeps its recent rows in a ring buffer. Rows that overlap
//! between bands are computed by both.

use std::ops::Range;

use super::{
    arithmetic::{Arithmetic, Inputs, MAX_SEGMENTS, Rows, RowsMut, RowsRef, Sign, TOGETHER, Uses},
    map::{Map, Ring, Shape},
    plan::{BufferId, Chain, Op},
};
use crate::{RowSink, Source, arch::Activation};

/// Working memory of one band.
pub(super) struct Scratch<A: Arithmetic> {
    /// Ring buffers, one for each step of the longest chain.
    rings: Vec<Ring<A::Rows>>,
    /// Next row that each step computes.
    next: Vec<usize>,
    /// End of the rows that each step may compute in this band.
    end: Vec<usize>,
    /// A row of the network's input or output in float32.
    values: Vec<f32>,
    /// A row of zeros that pads a signed map above and below.
    zeros: A::Rows,
    /// A row of zeros that pads the output of a ReLU above and below.
    positive_zeros: A::Rows,
}

impl<A: Arithmetic> Scratch<A> {
    /// Allocates ring buffers of `[slots, stride]` for each step, and rows of up to `stride`
    /// values.
    pub fn new(rings: &[[usize; 2]], stride: usize) -> Self {
        Self {
            rings: rings.iter().map(|[rows, stride]| Ring::new(*rows, *stride)).collect(),
            next: vec![0; rings.len()],
            end: vec![0; rings.len()],
            values: vec![0.0; stride],
            zeros: A::Rows::zeros(stride, Sign::Signed, Uses::ALL),
            positive_zeros: A::Rows::zeros(stride, Sign::Positive, Uses::ALL),
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
    pub rows: RowsMut<'a, A>,
}

/// Destinations of a band's results.
pub(super) struct BandOutput<'a, A: Arithmetic> {
    /// Rows of the whole maps that steps of the chain store.
    pub maps: Vec<BandRows<'a, A>>,
    /// Receiver of the network's output, if the chain computes it.
    pub sink: Option<Box<dyn RowSink + 'a>>,
}

/// A chain with all that its bands read.
pub(super) struct Stream<'a, A: Arithmetic> {
    /// Packed weights and kernels.
    pub arithmetic: &'a A,
    /// The chain.
    pub chain: &'a Chain,
    /// Whole feature maps. Those that the chain writes are replaced by empty ones.
    pub buffers: &'a [Map<A::Rows>],
    /// Input of the network.
    pub source: &'a dyn Source,
}

impl<A: Arithmetic> Stream<'_, A> {
    /// Computes rows `band` of the last step, and the rows of the other steps that these depend on.
    pub fn run(
        &self,
        band: Range<usize>,
        output: &mut BandOutput<'_, A>,
        scratch: &mut Scratch<A>,
    ) {
        let mut rows = band.clone();
        for (i, step) in self.chain.steps.iter().enumerate().rev() {
            (scratch.next[i], scratch.end[i]) = (rows.start, rows.end);
            rows.end = self.needed(i, rows.end - 1);
            rows.start = match step.op {
                Op::Same { .. } => rows.start.saturating_sub(1),
                Op::Down { .. } => 2 * rows.start,
                Op::Depthwise { window, .. } => {
                    (rows.start * window.stride).saturating_sub(window.before())
                }
                Op::Read | Op::Up { .. } | Op::Point { .. } => rows.start,
            };
        }
        self.advance(self.chain.steps.len() - 1, band.end, output, scratch);
    }

    /// Returns the end of the rows of the previous step that row `y` of step `i` depends on.
    fn needed(&self, i: usize, y: usize) -> usize {
        let step = &self.chain.steps[i];
        match step.op {
            Op::Same { .. } => (y + 2).min(step.shape.height),
            Op::Down { .. } => 2 * y + 2,
            Op::Depthwise { window, .. } => {
                let rows = step.shape.height * window.stride;
                (y * window.stride + window.side - window.before()).min(rows)
            }
            Op::Point { .. } => y + 1,
            Op::Read | Op::Up { .. } => 0,
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
        let together = self.chain.steps[i].together(self.arithmetic);
        while scratch.next[i] < end {
            let y = scratch.next[i];
            let count = if y + together <= scratch.end[i] { together } else { 1 };
            if let Some(before) = i.checked_sub(1) {
                self.advance(before, self.needed(i, y + count - 1), output, scratch);
            }
            if i + 1 == self.chain.steps.len() && self.chain.steps[i].store.is_none() {
                self.finish_row(i, y, output, scratch);
            } else if count == 1 {
                self.make_rows(i, y, output, scratch, |before, values, [out]| {
                    before.compute(y, values, out)
                });
            } else {
                self.make_rows(i, y, output, scratch, |before, _, out| before.compute_rows(y, out));
            }
            scratch.next[i] += count;
        }
    }

    /// Computes row `y` of the network's output and writes it to the sink.
    fn finish_row(
        &self,
        i: usize,
        y: usize,
        output: &mut BandOutput<'_, A>,
        scratch: &mut Scratch<A>,
    ) {
        let shape = self.chain.steps[i].shape;
        let (before, _, values) = self.split(i, scratch);
        let row = &mut values[..shape.width * shape.channels];
        before.finish(y, row);
        if let Some(sink) = &mut output.sink {
            sink.write_row(y, row);
        }
    }

    /// Computes rows `y..y + N` of step `i` into its ring buffer and, if the step stores its
    /// output, into the whole map.
    fn make_rows<const N: usize>(
        &self,
        i: usize,
        y: usize,
        output: &mut BandOutput<'_, A>,
        scratch: &mut Scratch<A>,
        compute: impl FnOnce(&Before<'_, A>, &mut [f32], [RowsMut<'_, A>; N]),
    ) {
        let step = &self.chain.steps[i];
        let uses = self.chain.uses(i);
        let mut map = output.maps.iter_mut().find(|m| m.step == i);
        let (before, own, values) = self.split(i, scratch);
        let rows = own.start_rows(y, step.shape, step.op.sign());
        let rows = match &mut map {
            Some(map) => {
                let mut kept = map.rows_mut::<N>(y, step.shape).into_iter();
                rows.map(|row| match kept.next().flatten() {
                    Some(kept) => A::Rows::placed(row, kept, uses),
                    None => row,
                })
            }
            None => rows,
        };
        compute(&before, values, rows);
        if let Some(map) = map {
            for (y, kept) in (y..).zip(map.rows_mut::<N>(y, step.shape)) {
                let ring = inner::<A>((own.row(y, step.shape), step.shape));
                kept.into_iter().for_each(|kept| A::Rows::copy(ring, kept, uses));
            }
        }
    }

    /// Borrows the inputs of step `i`, its ring buffer and a row of floats.
    fn split<'a>(
        &'a self,
        i: usize,
        scratch: &'a mut Scratch<A>,
    ) -> (Before<'a, A>, &'a mut Ring<A::Rows>, &'a mut [f32]) {
        let Scratch { rings, values, zeros, positive_zeros, .. } = scratch;
        let (before, own) = rings.split_at_mut(i);
        (Before { stream: self, i, rings: before, zeros, positive_zeros }, &mut own[0], values)
    }
}

impl<A: Arithmetic> BandRows<'_, A> {
    /// Returns the inner pixels of rows `y..y + N`, with `None` for rows that are outside of the
    /// band.
    fn rows_mut<const N: usize>(&mut self, y: usize, shape: Shape) -> [Option<RowsMut<'_, A>>; N] {
        let (stride, inner) = (shape.stride(), shape.inner());
        let own = self.first..self.first + A::Rows::length(&self.rows) / stride;
        let (start, end) = (
            y.clamp(own.start, own.end) - own.start,
            (y + N).clamp(own.start, own.end) - own.start,
        );
        let mut rest = Some(A::Rows::part_mut(&mut self.rows, start * stride..end * stride));
        std::array::from_fn(|i| {
            let rows = rest.take_if(|_| own.contains(&(y + i)))?;
            let (row, others) = A::Rows::split(rows, stride);
            rest = Some(others);
            let (_, row) = A::Rows::split(row, inner.start);
            Some(A::Rows::split(row, inner.len()).0)
        })
    }
}

/// Everything that step `i` of a chain can read.
struct Before<'a, A: Arithmetic> {
    stream: &'a Stream<'a, A>,
    i: usize,
    /// Ring buffers of the previous steps.
    rings: &'a [Ring<A::Rows>],
    zeros: &'a A::Rows,
    positive_zeros: &'a A::Rows,
}

impl<A: Arithmetic> Before<'_, A> {
    /// Returns the shape of the output of the step `back` steps before, or of the chain's input.
    fn shape(&self, back: usize) -> Shape {
        match self.i.checked_sub(back) {
            Some(step) => self.stream.chain.steps[step].shape,
            None => self.stream.buffers[self.input()].shape,
        }
    }

    /// Returns the buffer of the chain's input. The planner guarantees that it exists where a step
    /// reads it.
    fn input(&self) -> BufferId {
        self.stream.chain.input.unwrap_or(0)
    }

    /// Returns row `y` of the output of the step `back` steps before (or of the chain's input), and
    /// its shape.
    fn row(&self, back: usize, y: usize) -> (RowsRef<'_, A>, Shape) {
        match self.i.checked_sub(back) {
            Some(step) => (self.rings[step].row(y, self.shape(back)), self.shape(back)),
            None => self.map_row(self.input(), y),
        }
    }

    /// Returns row `y` of a whole map, and its shape.
    fn map_row(&self, buffer: BufferId, y: usize) -> (RowsRef<'_, A>, Shape) {
        let map = &self.stream.buffers[buffer];
        (map.row(y), map.shape)
    }

    /// Returns row `y` of the previous step's output from `margin` pixels left of the first pixel
    /// on; a row of zeros if `y` is outside of the map.
    fn padded_row(&self, y: Option<usize>, margin: usize) -> RowsRef<'_, A> {
        let shape = self.shape(1);
        let inside = (shape.margin - margin) * shape.channels..shape.stride();
        match y {
            Some(y) if y < shape.height => A::Rows::part(self.row(1, y).0, inside),
            _ => {
                let sign = self
                    .i
                    .checked_sub(1)
                    .map_or(Sign::Signed, |i| self.stream.chain.steps[i].op.sign());
                let zeros = if sign == Sign::Positive { self.positive_zeros } else { self.zeros };
                zeros.view(0..inside.len())
            }
        }
    }

    /// Computes row `y` of a feature map. `values` is scratch memory for a row of input.
    fn compute(&self, y: usize, values: &mut [f32], out: RowsMut<'_, A>) {
        let Stream { arithmetic, chain, source, .. } = self.stream;
        let add = match chain.steps[self.i].op {
            Op::Read => return arithmetic.read(*source, y, values, out),
            Op::Same { residual: true, .. } => Some(inner::<A>(self.row(2, y))),
            Op::Point { residual: true, .. } => Some(inner::<A>(self.row(3, y))),
            Op::Up { add: Some(add), .. } | Op::Down { add: Some(add), .. } => {
                Some(inner::<A>(self.map_row(add, y)))
            }
            _ => None,
        };
        let activation = match chain.steps[self.i].op {
            Op::Same { activation, .. } | Op::Point { activation, .. } => activation,
            Op::Depthwise { .. } => Activation::Relu6,
            Op::Read | Op::Up { .. } | Op::Down { .. } => Activation::None,
        };
        if let Some(inputs) = self.inputs(y) {
            arithmetic.convolve(&inputs, add, activation, out);
        }
    }

    /// Computes a row block of a feature map, [`TOGETHER`] rows from row `y` on.
    fn compute_rows(&self, y: usize, out: [RowsMut<'_, A>; TOGETHER]) {
        let Op::Same { conv, activation, residual } = self.stream.chain.steps[self.i].op else {
            return;
        };
        let segments = std::array::from_fn(|i| self.padded_row((y + i).checked_sub(1), 1));
        let inputs = Inputs {
            conv,
            matrix: 0,
            segments,
            count: MAX_SEGMENTS,
            pitch: self.shape(1).channels,
        };
        let add = std::array::from_fn(|i| residual.then(|| inner::<A>(self.row(2, y + i))));
        self.stream.arithmetic.convolve_rows(&inputs, add, activation, out);
    }

    /// Computes row `y` of the network's output.
    fn finish(&self, y: usize, out: &mut [f32]) {
        if let Some(inputs) = self.inputs(y) {
            self.stream.arithmetic.finish(&inputs, out);
        }
    }

    /// Returns the inputs of row `y` of a convolution, or `None` for `Read`.
    fn inputs(&self, y: usize) -> Option<Inputs<'_, A>> {
        Some(match self.stream.chain.steps[self.i].op {
            Op::Read => return None,
            Op::Same { conv, .. } => {
                let [a, b, c] =
                    [y.checked_sub(1), Some(y), Some(y + 1)].map(|y| self.padded_row(y, 1));
                Inputs {
                    conv,
                    matrix: 0,
                    segments: [a, b, c, c, c, c],
                    count: 3,
                    pitch: self.shape(1).channels,
                }
            }
            Op::Point { conv, .. } => {
                let row = self.row(1, y);
                Inputs {
                    conv,
                    matrix: 0,
                    segments: [inner::<A>(row); MAX_SEGMENTS],
                    count: 1,
                    pitch: row.1.channels,
                }
            }
            Op::Depthwise { conv, window } => {
                let first = y * window.stride;
                let segments = std::array::from_fn(|i| {
                    self.padded_row((first + i).checked_sub(window.before()), window.before())
                });
                let pitch = window.stride * self.shape(1).channels;
                Inputs { conv, matrix: 0, segments, count: window.side, pitch }
            }
            Op::Down { conv, .. } => {
                let rows = [self.row(1, 2 * y), self.row(1, 2 * y + 1)];
                let [a, b] = rows.map(inner::<A>);
                Inputs {
                    conv,
                    matrix: 0,
                    segments: [a, b, b, b, b, b],
                    count: 2,
                    pitch: 2 * rows[0].1.channels,
                }
            }
            Op::Up { conv, from, .. } => {
                let row = self.map_row(from, y / 2);
                let pixels = inner::<A>(row);
                Inputs {
                    conv,
                    matrix: y % 2,
                    segments: [pixels; MAX_SEGMENTS],
                    count: 1,
                    pitch: row.1.channels,
                }
            }
        })
    }
}

/// Returns the pixels of a row without their padding.
fn inner<A: Arithmetic>((row, shape): (RowsRef<'_, A>, Shape)) -> RowsRef<'_, A> {
    A::Rows::part(row, shape.inner())
}
