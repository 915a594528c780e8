//! How each kind of layer computes a band of rows.

use std::ops::Range;

use super::{
    kernels::{Kernels, RowJob},
    map::{Map, Ring, Shape},
    network::Shared,
    pack::Packed,
};
use crate::nn::{
    RowSink, Size, Source,
    arch::{ConvKind, Graph, Layer},
};

/// Rows of a map that one thread computes.
pub(super) struct Band<'a> {
    pub shape: Shape,
    /// Number of the first row.
    pub first: usize,
    /// The rows, with the zeros around them.
    pub data: &'a mut [f32],
}

impl Band<'_> {
    fn rows(&self) -> Range<usize> {
        self.first..self.first + self.data.len() / self.shape.stride()
    }

    /// The inner pixels of row `y` of the map.
    fn inner_mut(&mut self, y: usize) -> &mut [f32] {
        let row = &mut self.data[(y - self.first) * self.shape.stride()..][..self.shape.stride()];
        &mut row[self.shape.inner()]
    }
}

/// What a layer reads.
pub(super) struct Inputs<'a> {
    pub source: &'a dyn Source,
    /// `None` for the network's input, which comes from `source`.
    pub from: Option<&'a Map>,
    pub add: Option<&'a Map>,
}

/// Memory of one band.
pub(super) struct Scratch {
    /// Rows of the input, or between the two convolutions of a block.
    ring: Ring,
    /// A row of the last layer.
    output: Vec<f32>,
    /// A row above or below the picture.
    zeros: Vec<f32>,
}

impl Scratch {
    pub fn new(graph: &Graph, size: Size) -> Self {
        let shapes = graph.maps.iter().map(|spec| Shape::new(*spec, size));
        let hidden = graph.layers.iter().filter_map(|layer| match *layer {
            Layer::Block { first, to, .. } => {
                Some(Shape { channels: graph.convs[first].outputs, ..Shape::new(graph.maps[to], size) })
            }
            Layer::Conv { .. } => None,
        });
        let widest = shapes.chain(hidden).map(|shape| shape.stride()).max().unwrap_or(0);
        let output = size.width * graph.output_channels();
        Self { ring: Ring::new(widest), output: vec![0.0; output], zeros: vec![0.0; widest] }
    }
}

/// Computes a band of the map that `layer` writes.
pub(super) fn compute_band(
    network: &Shared,
    layer: &Layer,
    inputs: &Inputs<'_>,
    band: Band<'_>,
    scratch: &mut Scratch,
) {
    let kernels = network.kernels;
    match (layer, inputs.from) {
        (Layer::Conv { conv, .. }, None) => {
            let channels = network.model.graph().input_channels();
            head(kernels, &network.weights[*conv][0], inputs.source, channels, band, &mut scratch.ring, &scratch.zeros);
        }
        (Layer::Conv { conv, .. }, Some(from)) => {
            let weights = &network.weights[*conv];
            match network.model.graph().convs[*conv].kind {
                ConvKind::Same3x3 => same(kernels, &weights[0], from, inputs.add, band, &scratch.zeros),
                ConvKind::Down2x2 => down(kernels, &weights[0], from, inputs.add, band),
                ConvKind::Up2x2 => up(kernels, weights, from, inputs.add, band),
            }
        }
        (Layer::Block { first, second, .. }, Some(from)) => {
            let weights = [&network.weights[*first][0], &network.weights[*second][0]];
            block(kernels, weights, from, band, scratch);
        }
        // `CpuNetwork` refuses networks that begin with a block.
        (Layer::Block { .. }, None) => {}
    }
}

/// Computes rows of the last layer and gives them to `sink`.
pub(super) fn compute_output(
    network: &Shared,
    layer: &Layer,
    from: &Map,
    rows: Range<usize>,
    sink: &mut dyn RowSink,
    scratch: &mut Scratch,
) {
    // `CpuNetwork` refuses networks that do not end with a convolution.
    let Layer::Conv { conv, .. } = layer else { return };
    let weights = &network.weights[*conv][0];
    for y in rows {
        let out = &mut scratch.output[..];
        let segments = three_rows(from, y, &scratch.zeros);
        network.kernels.run(RowJob {
            segments: &segments,
            pitch: from.shape.channels,
            weights,
            add: None,
            relu: false,
            out,
        });
        sink.write_row(y, &scratch.output);
    }
}

/// Rows `y - 1` to `y + 1` of a map, zeros where there is none.
fn three_rows<'a>(map: &'a Map, y: usize, zeros: &'a [f32]) -> [&'a [f32]; 3] {
    let row = |y: Option<usize>| match y {
        Some(y) if y < map.shape.height => map.row(y),
        _ => &zeros[..map.shape.stride()],
    };
    [row(y.checked_sub(1)), row(Some(y)), row(Some(y + 1))]
}

/// Inner pixels of the row of a map that is added, if one is.
fn inner_of(map: Option<&Map>, y: usize) -> Option<&[f32]> {
    map.map(|map| &map.row(y)[map.shape.inner()])
}

fn same(kernels: Kernels, weights: &Packed, from: &Map, add: Option<&Map>, mut band: Band<'_>, zeros: &[f32]) {
    for y in band.rows() {
        let segments = three_rows(from, y, zeros);
        let (pitch, add) = (from.shape.channels, inner_of(add, y));
        kernels.run(RowJob { segments: &segments, pitch, weights, add, relu: false, out: band.inner_mut(y) });
    }
}

fn down(kernels: Kernels, weights: &Packed, from: &Map, add: Option<&Map>, mut band: Band<'_>) {
    let pixels = |y: usize| &from.row(y)[from.shape.inner()];
    for y in band.rows() {
        let segments = [pixels(2 * y), pixels(2 * y + 1)];
        let (pitch, add) = (2 * from.shape.channels, inner_of(add, y));
        kernels.run(RowJob { segments: &segments, pitch, weights, add, relu: false, out: band.inner_mut(y) });
    }
}

fn up(kernels: Kernels, weights: &[Packed], from: &Map, add: Option<&Map>, mut band: Band<'_>) {
    for y in band.rows() {
        let segments = [&from.row(y / 2)[from.shape.inner()]];
        let (pitch, add) = (from.shape.channels, inner_of(add, y));
        kernels.run(RowJob {
            segments: &segments,
            pitch,
            weights: &weights[y % 2],
            add,
            relu: false,
            out: band.inner_mut(y),
        });
    }
}

/// First layer: takes its rows from the source, each one as it is needed.
fn head(
    kernels: Kernels,
    weights: &Packed,
    source: &dyn Source,
    channels: usize,
    mut band: Band<'_>,
    ring: &mut Ring,
    zeros: &[f32],
) {
    let shape = Shape { channels, ..band.shape };
    let produce = |y: usize, row: &mut [f32]| source.read_row(y, row);
    through_ring(ring, shape, band.rows(), produce, |y, ring| {
        let segments = ring_rows(ring, y, shape, zeros);
        kernels.run(RowJob {
            segments: &segments,
            pitch: channels,
            weights,
            add: None,
            relu: false,
            out: band.inner_mut(y),
        });
    });
}

/// Residual block: the rows between its two convolutions live in the ring only.
fn block(kernels: Kernels, weights: [&Packed; 2], from: &Map, mut band: Band<'_>, scratch: &mut Scratch) {
    let Scratch { ring, zeros, .. } = scratch;
    let shape = Shape { channels: weights[0].outputs(), ..band.shape };
    let produce = |y: usize, out: &mut [f32]| {
        let segments = three_rows(from, y, zeros);
        let pitch = from.shape.channels;
        kernels.run(RowJob { segments: &segments, pitch, weights: weights[0], add: None, relu: true, out });
    };
    through_ring(ring, shape, band.rows(), produce, |y, ring| {
        let segments = ring_rows(ring, y, shape, zeros);
        let add = inner_of(Some(from), y);
        let out = band.inner_mut(y);
        kernels.run(RowJob { segments: &segments, pitch: shape.channels, weights: weights[1], add, relu: false, out });
    });
}

/// Calls `consume` for each of `rows`, with the row, the one above and the one below in the ring, where they exist.
fn through_ring(
    ring: &mut Ring,
    shape: Shape,
    rows: Range<usize>,
    mut produce: impl FnMut(usize, &mut [f32]),
    mut consume: impl FnMut(usize, &Ring),
) {
    let mut next = rows.start.saturating_sub(1);
    for y in rows {
        while next < (y + 2).min(shape.height) {
            produce(next, ring.start_row(next, shape));
            next += 1;
        }
        consume(y, ring);
    }
}

fn ring_rows<'a>(ring: &'a Ring, y: usize, shape: Shape, zeros: &'a [f32]) -> [&'a [f32]; 3] {
    let row = |y: Option<usize>| match y {
        Some(y) if y < shape.height => ring.row(y, shape),
        _ => &zeros[..shape.stride()],
    };
    [row(y.checked_sub(1)), row(Some(y)), row(Some(y + 1))]
}
