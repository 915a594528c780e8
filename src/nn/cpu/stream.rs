//! Streams the rows of a band through a chain.

use std::ops::Range;

use super::{
    arithmetic::{Arithmetic, Inputs, MAX_SEGMENTS, Rows, RowsMut, RowsRef, Sign, TOGETHER, Uses},
    map::{Map, Ring, Shape},
    plan::{BufferId, Chain, Op},
};
use crate::nn::{RowSink, Source, arch::Activation};

/// Memory of one band.
pub(super) struct Scratch<A: Arithmetic> {
    /// One for each step of the longest chain.
    rings: Vec<Ring<A::Rows>>,
    /// Next row of each step, and the one after its last.
    next: Vec<usize>,
    end: Vec<usize>,
    /// A row of the network's input or output.
    values: Vec<f32>,
    /// Rows above or below the picture.
    zeros: A::Rows,
    positive_zeros: A::Rows,
}

impl<A: Arithmetic> Scratch<A> {
    /// With rings of so many rows of up to so many values for each step, and rows of up to `stride` values.
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

/// Rows of a map that a band writes.
pub(super) struct BandRows<'a, A: Arithmetic> {
    pub step: usize,
    /// Number of the first row.
    pub first: usize,
    pub rows: RowsMut<'a, A>,
}

/// What a band makes.
pub(super) struct BandOutput<'a, A: Arithmetic> {
    pub maps: Vec<BandRows<'a, A>>,
    /// Takes the rows of the last step, unless that has a map.
    pub sink: Option<Box<dyn RowSink + 'a>>,
}

/// A band on its way through a chain.
pub(super) struct Stream<'a, A: Arithmetic> {
    pub arithmetic: &'a A,
    pub chain: &'a Chain,
    /// All buffers but those that the chain writes, which stand empty.
    pub buffers: &'a [Map<A::Rows>],
    pub source: &'a dyn Source,
}

impl<A: Arithmetic> Stream<'_, A> {
    /// Computes rows `band` of the last step, and of the others what these need.
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

    /// Rows of the step before that there must be for row `y` of step `i`.
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

    /// Makes rows of step `i` up to row `end`, or a few more of those that will be needed.
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

    /// Makes row `y` of the network's output.
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

    /// Makes `N` rows of a feature map, from row `y` on, where later steps or a map are to have them.
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

    /// What step `i` reads, what it writes, and a row of floats.
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
    /// The pixels of `N` rows, from row `y` on, as far as they are the band's.
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

/// What step `i` of a stream can read.
struct Before<'a, A: Arithmetic> {
    stream: &'a Stream<'a, A>,
    i: usize,
    /// Rings of the steps before it.
    rings: &'a [Ring<A::Rows>],
    zeros: &'a A::Rows,
    positive_zeros: &'a A::Rows,
}

impl<A: Arithmetic> Before<'_, A> {
    /// Shape of what came `back` steps before.
    fn shape(&self, back: usize) -> Shape {
        match self.i.checked_sub(back) {
            Some(step) => self.stream.chain.steps[step].shape,
            None => self.stream.buffers[self.input()].shape,
        }
    }

    /// What lies before the first step; the planner sees to it that it is there where it is needed.
    fn input(&self) -> BufferId {
        self.stream.chain.input.unwrap_or(0)
    }

    /// Row `y` of what came `back` steps before, and its shape.
    fn row(&self, back: usize, y: usize) -> (RowsRef<'_, A>, Shape) {
        match self.i.checked_sub(back) {
            Some(step) => (self.rings[step].row(y, self.shape(back)), self.shape(back)),
            None => self.map_row(self.input(), y),
        }
    }

    fn map_row(&self, buffer: BufferId, y: usize) -> (RowsRef<'_, A>, Shape) {
        let map = &self.stream.buffers[buffer];
        (map.row(y), map.shape)
    }

    /// Row `y` of what the step before made, with `margin` zeros around it; only zeros outside of the picture.
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

    /// Makes row `y` of a feature map.
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

    /// Makes [`TOGETHER`] rows of a feature map, from row `y` on.
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

    /// Makes row `y` of the network's output.
    fn finish(&self, y: usize, out: &mut [f32]) {
        if let Some(inputs) = self.inputs(y) {
            self.stream.arithmetic.finish(&inputs, out);
        }
    }

    /// What row `y` of a convolution reads; `None` if the step is none.
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

/// The pixels of a row without the zeros around them.
fn inner<A: Arithmetic>((row, shape): (RowsRef<'_, A>, Shape)) -> RowsRef<'_, A> {
    A::Rows::part(row, shape.inner())
}
