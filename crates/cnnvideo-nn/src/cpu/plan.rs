// SPDX-License-Identifier: MIT OR Apache-2.0

//! Planner: divides a network into chains of layers, and assigns feature maps to buffers.
//!
//! The layers between two changes of resolution form a [`Chain`]. Rows stream through all steps of
//! a chain while they are in cache. Only the maps that another chain or a skip connection reads are
//! written to memory.

use std::ops::Range;

use super::{
    arithmetic::{Arithmetic, Reads, Signedness},
    kernels::ROW_BLOCK,
    map::{BufferSpec, MapShape, RingSize},
};
use crate::{
    Error, Size,
    arch::{Activation, ConvId, ConvKind, DepthwiseWindow, Graph, Layer, MapId},
};

/// Index of a buffer that holds a whole feature map.
pub(super) type BufferId = usize;

/// Operation of one step of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// Reads rows from the source. Always first in its chain.
    ReadSource,
    /// Transposed 2x2 convolution of the map `input`, plus the skip connection `skip`. Always first
    /// in its chain.
    Transposed2x2 { conv: ConvId, input: BufferId, skip: Option<BufferId> },
    /// 3x3 convolution; see [`Op::residual_distance`] for `residual`.
    Conv3x3 { conv: ConvId, activation: Activation, residual: bool },
    /// 1x1 convolution; see [`Op::residual_distance`] for `residual`.
    Pointwise { conv: ConvId, activation: Activation, residual: bool },
    /// Depthwise convolution with ReLU6.
    Depthwise { conv: ConvId, window: DepthwiseWindow },
    /// 2x2 convolution with stride 2, plus the map `skip`. Always last in its chain.
    Strided2x2 { conv: ConvId, skip: Option<BufferId> },
}

/// Distances that [`Op::residual_distance`] returns.
const RESIDUAL_DISTANCES: [usize; 2] = [2, 3];

impl Op {
    /// Returns whether the output can be negative.
    pub(super) fn sign(self) -> Signedness {
        match self {
            Self::Conv3x3 { activation: Activation::None, .. }
            | Self::Pointwise { activation: Activation::None, .. } => Signedness::Signed,
            Self::Conv3x3 { .. } | Self::Pointwise { .. } | Self::Depthwise { .. } => {
                Signedness::NonNegative
            }
            Self::ReadSource | Self::Transposed2x2 { .. } | Self::Strided2x2 { .. } => {
                Signedness::Signed
            }
        }
    }

    /// Returns the distance, in steps, to the earlier step whose output the residual connection
    /// adds: the one before the residual block (two 3x3 convolutions) or before the inverted
    /// residual block (three convolutions). If that is before the first step, the residual
    /// connection adds the input of the chain.
    pub(super) fn residual_distance(self) -> Option<usize> {
        match self {
            Self::Conv3x3 { residual: true, .. } => Some(2),
            Self::Pointwise { residual: true, .. } => Some(3),
            _ => None,
        }
    }
}

/// One step of a chain: an operation and its output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The operation.
    pub op: Op,
    /// Shape of the output.
    pub shape: MapShape,
    /// Buffer that keeps the whole output map, if another chain reads it.
    pub store: Option<BufferId>,
}

impl Step {
    /// Returns the number of rows that the step computes at a time: a row block if the kernels
    /// prefer that, otherwise one.
    pub(super) fn row_block<A: Arithmetic>(&self, arithmetic: &A) -> usize {
        match self.op {
            Op::Conv3x3 { conv, .. } if arithmetic.prefers_row_blocks(conv, self.shape.width) => {
                ROW_BLOCK
            }
            _ => 1,
        }
    }
}

/// Steps through which rows stream together.
#[derive(Debug)]
pub(super) struct Chain {
    /// Buffer that the first step reads, unless that is [`Op::ReadSource`] or
    /// [`Op::Transposed2x2`].
    pub input: Option<BufferId>,
    /// The steps in order. If the last one has no `store`, it writes the network's output.
    pub steps: Vec<Step>,
}

/// The chains of a network, and its buffers.
#[derive(Debug)]
pub(super) struct Plan {
    /// Chains in the order in which they run.
    pub chains: Vec<Chain>,
    /// Buffers for whole feature maps.
    pub buffers: Vec<BufferSpec>,
}

impl Plan {
    /// Plans a network for inputs of `size`, whose channels are padded to a multiple of
    /// `alignment`.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that cannot be divided into chains.
    pub(super) fn new(graph: &Graph, size: Size, alignment: usize) -> Result<Self, Error> {
        let mut planner = Planner {
            graph,
            size,
            alignment,
            buffers: Vec::new(),
            owners: Vec::new(),
            buffer_of: vec![None; graph.maps.len()],
        };
        let mut chains = Vec::new();
        for layers in split_into_chains(graph) {
            chains.push(planner.chain(layers)?);
        }
        let unread = |shape| BufferSpec { shape, reads: Reads::default() };
        let mut buffers: Vec<_> = planner.buffers.into_iter().map(unread).collect();
        chains.iter().for_each(|chain| chain.mark_reads(&mut buffers));
        Ok(Self { chains, buffers })
    }
}

impl Chain {
    /// Returns the last step, whose rows are divided into bands.
    pub(super) fn last_step(&self) -> &Step {
        self.steps.last().expect("a chain has at least one step")
    }

    /// Returns whether the last step computes the network's output.
    pub(super) fn computes_output(&self) -> bool {
        self.last_step().store.is_none()
    }

    /// Returns the distances to later steps whose residual connection adds the output of step `i`.
    fn distances_to_residuals(&self, i: usize) -> impl Iterator<Item = usize> {
        RESIDUAL_DISTANCES.into_iter().filter(move |distance| {
            let step = self.steps.get(i + distance);
            step.is_some_and(|step| step.op.residual_distance() == Some(*distance))
        })
    }

    /// Returns the operations of later steps of the chain that read the output of step `i`.
    pub(super) fn reads(&self, i: usize) -> Reads {
        let later_steps = self.steps.len() - 1 - i;
        // The convolution that computes the network's output reads i16 residuals, because u8
        // activations are too coarse for it.
        let before_output = later_steps == 1 && self.computes_output();
        let added = before_output || self.distances_to_residuals(i).next().is_some();
        Reads { convolved: later_steps > 0, added }
    }

    /// Returns the size that the ring buffer of step `i` needs. A step can run ahead of its reader
    /// by up to one row less than its row block.
    pub(super) fn ring_size<A: Arithmetic>(&self, i: usize, arithmetic: &A) -> RingSize {
        let row_block = |step: &Step| step.row_block(arithmetic);
        let stride = self.steps[i].shape.stride();
        let own = row_block(&self.steps[i]);
        let Some(next) = self.steps.get(i + 1) else { return RingSize { slots: own, stride } };
        let read = match next.op {
            Op::Conv3x3 { .. } => row_block(next) + 2,
            Op::Strided2x2 { .. } => 2,
            Op::Depthwise { window, .. } => window.kernel_size,
            Op::ReadSource | Op::Transposed2x2 { .. } | Op::Pointwise { .. } => 1,
        };
        // A residual must be kept until the steps in between have computed their rows.
        let added = self.distances_to_residuals(i).map(|distance| {
            let ahead = self.steps[i + 1..=i + distance].iter().map(|step| row_block(step) - 1);
            ahead.sum::<usize>() + distance + 1
        });
        RingSize { slots: added.fold(read, usize::max) + own - 1, stride }
    }

    /// Marks in `buffers` what this chain reads.
    fn mark_reads(&self, buffers: &mut [BufferSpec]) {
        for (i, step) in self.steps.iter().enumerate() {
            match step.op {
                Op::Transposed2x2 { input, skip, .. } => {
                    buffers[input].reads.convolved = true;
                    skip.into_iter().for_each(|skip| buffers[skip].reads.added = true);
                }
                Op::Strided2x2 { skip: Some(skip), .. } => buffers[skip].reads.added = true,
                _ => {}
            }
            if let Some(input) = self.input {
                buffers[input].reads.convolved |= i == 0;
                // The residual connection reaches back to the step before the first one.
                buffers[input].reads.added |= step.op.residual_distance() == Some(i + 1);
            }
        }
    }
}

/// Divides the layers into chains: after each `Strided2x2`, before each `Transposed2x2`, and before
/// and after each inverted block. An inverted block is enough work for a chain of its own, and
/// chains of several would recompute more overlapping rows at the edges of bands. Returns ranges of
/// layers.
fn split_into_chains(graph: &Graph) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut first = 0;
    for (i, layer) in graph.layers.iter().enumerate() {
        let (before, after) = match *layer {
            Layer::Conv { conv, .. } => (
                graph.convs[conv].kind == ConvKind::Transposed2x2,
                graph.convs[conv].kind == ConvKind::Strided2x2,
            ),
            Layer::Residual { .. } => (false, false),
            Layer::Inverted { .. } => (true, true),
        };
        if before && i > first {
            ranges.push(first..i);
            first = i;
        }
        if after {
            ranges.push(first..i + 1);
            first = i + 1;
        }
    }
    if first < graph.layers.len() {
        ranges.push(first..graph.layers.len());
    }
    ranges
}

/// Returns the error for a graph that cannot be divided into chains.
fn unsupported_graph() -> Error {
    Error::Backend { backend: "cpu", reason: "the graph cannot be divided into chains".to_owned() }
}

/// State of the planner.
struct Planner<'a> {
    graph: &'a Graph,
    size: Size,
    alignment: usize,
    buffers: Vec<MapShape>,
    /// Map that each buffer currently holds.
    owners: Vec<MapId>,
    /// Buffer of each map that is stored.
    buffer_of: Vec<Option<BufferId>>,
}

impl Planner<'_> {
    /// Plans the chain of a range of layers.
    fn chain(&mut self, layers: Range<usize>) -> Result<Chain, Error> {
        let graph = self.graph;
        let mut chain = Chain { input: None, steps: Vec::new() };
        let first = &graph.layers[layers.start];
        let mut current = first.input();
        let upsamples = matches!(first, Layer::Conv { conv, .. }
            if graph.convs[*conv].kind == ConvKind::Transposed2x2);
        // `Op::Transposed2x2` names the buffer that it reads.
        if !upsamples && current == Graph::INPUT {
            let shape = self.shape(Graph::INPUT);
            chain.steps.push(Step { op: Op::ReadSource, shape, store: None });
        } else if !upsamples {
            chain.input = Some(self.stored(current)?);
        }
        for layer in &graph.layers[layers.clone()] {
            if layer.input() != current {
                return Err(unsupported_graph());
            }
            current = layer.output();
            self.add_steps(&mut chain, layer)?;
            if current != graph.output() && self.is_used_after(current, layers.end) {
                let buffer = self.take_buffer(current, layers.start);
                chain.steps.last_mut().expect("each layer adds steps").store = Some(buffer);
            }
        }
        // The residual connection of a 3x3 convolution reaches two steps back, so such a step
        // cannot be the first one.
        let starts_in_residual = matches!(
            chain.steps.first(),
            Some(Step { op: Op::Conv3x3 { residual: true, .. }, .. })
        );
        let ends_nowhere = chain.computes_output() && current != graph.output();
        if starts_in_residual || ends_nowhere { Err(unsupported_graph()) } else { Ok(chain) }
    }

    /// Appends the steps of a layer to a chain.
    fn add_steps(&self, chain: &mut Chain, layer: &Layer) -> Result<(), Error> {
        let convs = &self.graph.convs;
        let shape = self.shape(layer.output());
        let is_first = chain.steps.is_empty();
        let mut push = |op: Op, shape: MapShape| chain.steps.push(Step { op, shape, store: None });
        match *layer {
            Layer::Conv { conv, input, skip, .. } => {
                let op = match convs[conv].kind {
                    ConvKind::Transposed2x2 if is_first => {
                        let skip = skip.map(|map| self.stored(map)).transpose()?;
                        Op::Transposed2x2 { conv, input: self.stored(input)?, skip }
                    }
                    ConvKind::Conv3x3 if skip.is_none() => {
                        Op::Conv3x3 { conv, activation: Activation::None, residual: false }
                    }
                    ConvKind::Strided2x2 => {
                        let skip = skip.map(|map| self.stored(map)).transpose()?;
                        Op::Strided2x2 { conv, skip }
                    }
                    _ => return Err(unsupported_graph()),
                };
                push(op, shape);
            }
            Layer::Residual { first, second, .. } => {
                let hidden = MapShape { channels: convs[first].out_channels, ..shape };
                let activation = Activation::Relu;
                push(Op::Conv3x3 { conv: first, activation, residual: false }, hidden);
                let activation = Activation::None;
                push(Op::Conv3x3 { conv: second, activation, residual: true }, shape);
            }
            Layer::Inverted { expand, depthwise, project, input, residual, .. } => {
                let ConvKind::Depthwise(window) = convs[depthwise].kind else {
                    return Err(unsupported_graph());
                };
                let activation = Activation::Relu6;
                let expansion = match convs[expand].kind {
                    ConvKind::Conv3x3 if !residual => {
                        Op::Conv3x3 { conv: expand, activation, residual: false }
                    }
                    ConvKind::Pointwise if chain.input.is_some() => {
                        Op::Pointwise { conv: expand, activation, residual: false }
                    }
                    _ => return Err(unsupported_graph()),
                };
                let channels = convs[expand].out_channels;
                let padding = window.pad_before().max(window.pad_after()).max(1);
                push(expansion, MapShape { channels, padding, ..self.shape(input) });
                push(Op::Depthwise { conv: depthwise, window }, MapShape { channels, ..shape });
                let activation = Activation::None;
                push(Op::Pointwise { conv: project, activation, residual }, shape);
            }
        }
        Ok(())
    }

    /// Returns the buffer of a map that an earlier chain has stored.
    fn stored(&self, map: MapId) -> Result<BufferId, Error> {
        self.buffer_of.get(map).copied().flatten().ok_or_else(unsupported_graph)
    }

    /// Returns the shape of a map. The channels of the network's input are padded.
    fn shape(&self, map: MapId) -> MapShape {
        let mut spec = self.graph.maps[map];
        if map == Graph::INPUT {
            spec.channels = spec.channels.next_multiple_of(self.alignment);
        }
        MapShape::new(spec, self.size)
    }

    /// Returns the last layer that reads a map.
    fn last_use(&self, map: MapId) -> Option<usize> {
        let reads = |layer: &Layer| {
            layer.input() == map
                || matches!(layer, Layer::Conv { skip: Some(skip), .. } if *skip == map)
        };
        self.graph.layers.iter().rposition(reads)
    }

    /// Returns whether `layer` or a later layer reads a map.
    fn is_used_after(&self, map: MapId, layer: usize) -> bool {
        self.last_use(map).is_some_and(|last| last >= layer)
    }

    /// Assigns a buffer to `map`, the output of the chain that begins with layer `first`. Reuses a
    /// buffer of the same shape whose map neither this chain nor a later one reads.
    fn take_buffer(&mut self, map: MapId, first: usize) -> BufferId {
        let shape = self.shape(map);
        let free = (0..self.buffers.len())
            .find(|&b| self.buffers[b] == shape && !self.is_used_after(self.owners[b], first));
        let buffer = free.unwrap_or_else(|| {
            self.buffers.push(shape);
            self.owners.push(map);
            self.buffers.len() - 1
        });
        self.owners[buffer] = map;
        self.buffer_of[map] = Some(buffer);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::ResidualUnet;

    fn unet() -> Graph {
        let list = |values: &[usize]| values.to_vec();
        let unet = ResidualUnet {
            inputs: 8,
            outputs: 6,
            widths: list(&[16, 32, 64]),
            hidden: list(&[16, 32, 48]),
            down_blocks: list(&[1, 1, 2]),
            up_blocks: list(&[1, 1]),
        };
        unet.graph().unwrap()
    }

    #[test]
    fn a_three_stage_unet_has_five_chains_and_five_buffers() {
        let plan = Plan::new(&unet(), Size { width: 64, height: 32 }, 1).unwrap();
        let lengths: Vec<usize> = plan.chains.iter().map(|c| c.steps.len()).collect();
        // Read, head, block, down; block, down; two blocks; up, block; up, block, tail.
        assert_eq!(lengths, [5, 3, 4, 3, 4]);
        // Two skip connections, and three maps between chains: 32x16 and 16x8 in the encoder, then
        // one in the decoder.
        assert_eq!(plan.buffers.len(), 5);
        let stores =
            plan.chains.iter().flat_map(|c| &c.steps).filter(|s| s.store.is_some()).count();
        assert_eq!(stores, 6);
    }

    #[test]
    fn chains_do_not_overwrite_the_buffers_that_they_read() {
        let plan = Plan::new(&unet(), Size { width: 64, height: 32 }, 1).unwrap();
        for chain in &plan.chains {
            let mut reads: Vec<BufferId> = chain.input.into_iter().collect();
            for step in &chain.steps {
                match step.op {
                    Op::Transposed2x2 { input, skip, .. } => {
                        reads.extend(skip.into_iter().chain([input]));
                    }
                    Op::Strided2x2 { skip, .. } => reads.extend(skip),
                    _ => {}
                }
            }
            assert!(
                chain.steps.iter().filter_map(|s| s.store).all(|store| !reads.contains(&store))
            );
        }
    }

    #[test]
    fn unsupported_graphs_are_errors() {
        let mut graph = unet();
        // The planner does not support a head convolution that adds its own input.
        let Layer::Conv { skip, .. } = &mut graph.layers[0] else { panic!("the head is missing") };
        *skip = Some(Graph::INPUT);
        assert!(Plan::new(&graph, Size { width: 64, height: 32 }, 1).is_err());
    }
}
