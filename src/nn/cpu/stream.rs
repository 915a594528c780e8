//! Streams the rows of a band through a chain.

use std::ops::Range;

use super::{
    kernels::RowJob,
    map::{Map, Ring, Shape},
    network::Shared,
    plan::{BufferId, Chain, Op},
};
use crate::nn::{RowSink, Source};

/// Memory of one band.
pub(super) struct Scratch {
    /// One for each step of the longest chain.
    rings: Vec<Ring>,
    /// Next row of each step.
    next: Vec<usize>,
    /// A row of the network's output.
    output: Vec<f32>,
    /// A row above or below the picture.
    zeros: Vec<f32>,
}

impl Scratch {
    /// For chains of up to `steps` steps with rows of up to `stride` values.
    pub fn new(steps: usize, stride: usize) -> Self {
        Self {
            rings: (0..steps).map(|_| Ring::new(stride)).collect(),
            next: vec![0; steps],
            output: vec![0.0; stride],
            zeros: vec![0.0; stride],
        }
    }
}

/// Rows of a map that a band writes.
pub(super) struct BandRows<'a> {
    pub step: usize,
    /// Number of the first row.
    pub first: usize,
    pub data: &'a mut [f32],
}

/// What a band makes.
pub(super) struct BandOutput<'a> {
    pub maps: Vec<BandRows<'a>>,
    /// Takes the rows of the last step, unless that has a map.
    pub sink: Option<Box<dyn RowSink + 'a>>,
}

/// A band on its way through a chain.
pub(super) struct Stream<'a> {
    pub network: &'a Shared,
    pub chain: &'a Chain,
    /// All buffers but those that the chain writes, which stand empty.
    pub buffers: &'a [Map],
    pub source: &'a dyn Source,
}

impl Stream<'_> {
    /// Computes rows `band` of the last step, and of the others what these need.
    pub fn run(&self, band: Range<usize>, output: &mut BandOutput<'_>, scratch: &mut Scratch) {
        let mut first = band.start;
        for (i, step) in self.chain.steps.iter().enumerate().rev() {
            scratch.next[i] = first;
            first = match step.op {
                Op::Same { .. } => first.saturating_sub(1),
                Op::Down { .. } => 2 * first,
                Op::Read | Op::Up { .. } => first,
            };
        }
        self.advance(self.chain.steps.len() - 1, band.end, output, scratch);
    }

    /// Makes rows of step `i` up to row `end`.
    fn advance(&self, i: usize, end: usize, output: &mut BandOutput<'_>, scratch: &mut Scratch) {
        while scratch.next[i] < end {
            let y = scratch.next[i];
            let step = &self.chain.steps[i];
            let needed = match step.op {
                Op::Same { .. } => (y + 2).min(step.shape.height),
                Op::Down { .. } => 2 * y + 2,
                Op::Read | Op::Up { .. } => 0,
            };
            if let Some(before) = i.checked_sub(1) {
                self.advance(before, needed, output, scratch);
            }
            self.make_row(i, y, output, scratch);
            scratch.next[i] += 1;
        }
    }

    fn make_row(&self, i: usize, y: usize, output: &mut BandOutput<'_>, scratch: &mut Scratch) {
        let shape = self.chain.steps[i].shape;
        let last = i + 1 == self.chain.steps.len();
        let (before, own) = scratch.rings.split_at_mut(i);
        let before = Before { stream: self, i, rings: before, zeros: &scratch.zeros };
        let map = output.maps.iter_mut().find(|m| m.step == i);
        match (map, last) {
            (Some(map), true) => before.compute(y, map.inner_mut(y, shape)),
            (None, true) => {
                let row = &mut scratch.output[..shape.width * shape.channels];
                before.compute(y, row);
                if let Some(sink) = &mut output.sink {
                    sink.write_row(y, row);
                }
            }
            (map, false) => {
                let row = own[0].start_row(y, shape);
                before.compute(y, row);
                if let Some(map) = map.filter(|m| m.contains(y, shape)) {
                    map.inner_mut(y, shape).copy_from_slice(row);
                }
            }
        }
    }
}

impl BandRows<'_> {
    fn contains(&self, y: usize, shape: Shape) -> bool {
        (self.first..self.first + self.data.len() / shape.stride()).contains(&y)
    }

    fn inner_mut(&mut self, y: usize, shape: Shape) -> &mut [f32] {
        &mut self.data[(y - self.first) * shape.stride()..][..shape.stride()][shape.inner()]
    }
}

/// What step `i` of a stream can read.
struct Before<'a> {
    stream: &'a Stream<'a>,
    i: usize,
    /// Rings of the steps before it.
    rings: &'a [Ring],
    zeros: &'a [f32],
}

impl Before<'_> {
    /// Row `y` of what came `back` steps before, and its shape.
    fn row(&self, back: usize, y: usize) -> (&[f32], Shape) {
        match self.i.checked_sub(back) {
            Some(step) => {
                let shape = self.stream.chain.steps[step].shape;
                (self.rings[step].row(y, shape), shape)
            }
            // Before the first step lies the chain's input; the planner sees to it that there is one.
            None => self.map_row(self.stream.chain.input.unwrap_or(0), y),
        }
    }

    fn map_row(&self, buffer: BufferId, y: usize) -> (&[f32], Shape) {
        let map = &self.stream.buffers[buffer];
        (map.row(y), map.shape)
    }

    fn compute(&self, y: usize, out: &mut [f32]) {
        let Stream { network, chain, source, .. } = self.stream;
        let step = &chain.steps[self.i];
        let kernels = network.kernels;
        match step.op {
            Op::Read => source.read_row(y, out),
            Op::Same { conv, relu, residual } => {
                let shape = Shape { channels: network.model.graph().convs[conv].inputs, ..step.shape };
                let row = |y: Option<usize>| match y {
                    Some(y) if y < shape.height => self.row(1, y).0,
                    _ => &self.zeros[..shape.stride()],
                };
                let segments = [row(y.checked_sub(1)), row(Some(y)), row(Some(y + 1))];
                let add = residual.then(|| inner(self.row(2, y)));
                let weights = &network.weights[conv][0];
                kernels.run(RowJob { segments: &segments, pitch: shape.channels, weights, add, relu, out });
            }
            Op::Down { conv } => {
                let segments = [inner(self.row(1, 2 * y)), inner(self.row(1, 2 * y + 1))];
                let pitch = 2 * network.model.graph().convs[conv].inputs;
                let weights = &network.weights[conv][0];
                kernels.run(RowJob { segments: &segments, pitch, weights, add: None, relu: false, out });
            }
            Op::Up { conv, from, add } => {
                let segments = [inner(self.map_row(from, y / 2))];
                let pitch = network.model.graph().convs[conv].inputs;
                let add = add.map(|add| inner(self.map_row(add, y)));
                let weights = &network.weights[conv][y % 2];
                kernels.run(RowJob { segments: &segments, pitch, weights, add, relu: false, out });
            }
        }
    }
}

/// The pixels of a row without the zeros around them.
fn inner((row, shape): (&[f32], Shape)) -> &[f32] {
    &row[shape.inner()]
}
