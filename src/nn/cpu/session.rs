use std::sync::Arc;

use rayon::prelude::*;

use super::{
    layers::{Band, Inputs, Scratch, compute_band, compute_output},
    map::{Map, Shape},
    network::Shared,
    threads::Threads,
};
use crate::nn::{
    Error, Output, Session, Size, Source,
    arch::{Graph, Layer, MapId},
    io::bands,
};

/// Below this many rows a band costs more at its edges than it gains in balance.
const MIN_BAND_ROWS: usize = 32;
/// Bands per thread, so that a thread that was held up leaves work to the others.
const BANDS_PER_THREAD: usize = 3;

/// A network at one picture size, with all the memory that it needs.
pub(super) struct CpuSession {
    network: Arc<Shared>,
    size: Size,
    threads: Threads,
    steps: Vec<Step>,
    /// Maps by number; a step takes its own out while it runs.
    buffers: Vec<Map>,
    scratch: Vec<Scratch>,
}

/// A layer with the buffers of its maps. The input and the output have none.
struct Step {
    layer: Layer,
    from: Option<usize>,
    add: Option<usize>,
    to: Option<usize>,
    rows_per_band: usize,
}

impl CpuSession {
    pub fn new(network: Arc<Shared>, size: Size, threads: Threads) -> Self {
        let graph = network.model.graph();
        let (steps, shapes) = plan(graph, size, threads.count());
        let bands = steps.iter().map(|s| Shape::new(graph.maps[s.layer.to()], size).height.div_ceil(s.rows_per_band));
        let scratch = (0..bands.max().unwrap_or(1)).map(|_| Scratch::new(graph, size)).collect();
        Self { steps, buffers: shapes.into_iter().map(Map::new).collect(), scratch, network, size, threads }
    }
}

impl Session for CpuSession {
    fn size(&self) -> Size {
        self.size
    }

    fn run(&mut self, source: &dyn Source, output: &mut dyn Output) -> Result<(), Error> {
        let Self { network, size, threads, steps, buffers, scratch } = self;
        threads.enter(|| {
            for step in steps.iter() {
                match step.to {
                    Some(to) => run_layer(network, step, to, buffers, scratch, source),
                    None => run_last(network, step, *size, buffers, scratch, output),
                }
            }
        });
        Ok(())
    }
}

/// Computes a map, its bands side by side.
fn run_layer(
    network: &Shared,
    step: &Step,
    to: usize,
    buffers: &mut [Map],
    scratch: &mut [Scratch],
    source: &dyn Source,
) {
    let shape = buffers[to].shape;
    let mut data = std::mem::take(&mut buffers[to].data);
    let inputs = Inputs { source, from: step.from.map(|b| &buffers[b]), add: step.add.map(|b| &buffers[b]) };
    let bands = data.par_chunks_mut(step.rows_per_band * shape.stride()).zip(scratch.par_iter_mut()).enumerate();
    bands.with_max_len(1).for_each(|(i, (data, scratch))| {
        let band = Band { shape, first: i * step.rows_per_band, data };
        compute_band(network, &step.layer, &inputs, band, scratch);
    });
    buffers[to].data = data;
}

/// Computes the last layer, whose rows go to the output.
fn run_last(
    network: &Shared,
    step: &Step,
    size: Size,
    buffers: &[Map],
    scratch: &mut [Scratch],
    output: &mut dyn Output,
) {
    let Some(from) = step.from.map(|b| &buffers[b]) else { return };
    let bands = bands(size.height, size.height.div_ceil(step.rows_per_band), 1);
    let sinks = output.split(&bands);
    let items = sinks.into_par_iter().zip(bands).zip(scratch.par_iter_mut());
    items.with_max_len(1).for_each(|((mut sink, band), scratch)| {
        compute_output(network, &step.layer, from, band, sink.as_mut(), scratch);
    });
}

/// Gives each map a buffer that is free while the map lives, and each layer its bands.
fn plan(graph: &Graph, size: Size, threads: usize) -> (Vec<Step>, Vec<Shape>) {
    let last_use = |map: MapId| {
        let uses =
            |layer: &Layer| layer.from() == map || matches!(layer, Layer::Conv { add: Some(add), .. } if *add == map);
        graph.layers.iter().rposition(uses)
    };
    let mut shapes: Vec<Shape> = Vec::new();
    let mut owner: Vec<Option<MapId>> = Vec::new();
    let mut buffer_of: Vec<Option<usize>> = vec![None; graph.maps.len()];
    let mut steps = Vec::with_capacity(graph.layers.len());
    for (i, layer) in graph.layers.iter().enumerate() {
        let to = layer.to();
        let shape = Shape::new(graph.maps[to], size);
        if to != graph.output() {
            // A buffer whose map is read by this very layer is still in use.
            let free = (0..shapes.len())
                .find(|&b| shapes[b] == shape && owner[b].is_none_or(|map| last_use(map).is_none_or(|last| last < i)));
            let buffer = free.unwrap_or_else(|| {
                shapes.push(shape);
                owner.push(None);
                shapes.len() - 1
            });
            owner[buffer] = Some(to);
            buffer_of[to] = Some(buffer);
        }
        let add = if let Layer::Conv { add, .. } = layer { add.and_then(|map| buffer_of[map]) } else { None };
        let per_thread = (shape.height / (threads * MIN_BAND_ROWS)).clamp(1, BANDS_PER_THREAD);
        // Even, for the layers that write two rows at a time.
        let rows_per_band = shape.height.div_ceil(threads * per_thread).next_multiple_of(2);
        steps.push(Step { layer: layer.clone(), from: buffer_of[layer.from()], add, to: buffer_of[to], rows_per_band });
    }
    (steps, shapes)
}
