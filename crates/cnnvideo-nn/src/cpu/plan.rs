//! Planner: divides a network into chains of layers, and assigns feature maps to buffers.
//!
//! The layers between two changes of resolution form a [`Chain`]. Rows stream through all steps of
//! a chain while they are in cache. Only the maps that another chain or a skip connection reads are
//! written to memory.

use crate::{
    Error, Size,
    arch::{Activation, ConvId, ConvKind, Graph, Layer, MapId, Window},
};

use super::{
    arithmetic::{Arithmetic, Sign, TOGETHER, Uses},
    map::Shape,
};

/// Index of a buffer that holds a whole feature map.
pub(super) type BufferId = usize;

/// Operation of one step of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// Reads rows from the source. Always first in its chain.
    Read,
    /// Transposed 2x2 convolution of the map `from`, plus the skip connection `add`. Always first
    /// in its chain.
    Up { conv: ConvId, from: BufferId, add: Option<BufferId> },
    /// 3x3 convolution; `residual` adds the output of the step two steps before.
    Same { conv: ConvId, activation: Activation, residual: bool },
    /// 1x1 convolution; `residual` adds the output of the step three steps before, or the chain's
    /// input.
    Point { conv: ConvId, activation: Activation, residual: bool },
    /// Depthwise convolution with ReLU6.
    Depthwise { conv: ConvId, window: Window },
    /// 2x2 convolution with stride 2, plus the map `add`. Always last in its chain.
    Down { conv: ConvId, add: Option<BufferId> },
}

impl Op {
    /// Returns whether the output can be negative.
    pub fn sign(self) -> Sign {
        match self {
            Self::Same { activation: Activation::None, .. }
            | Self::Point { activation: Activation::None, .. } => Sign::Signed,
            Self::Same { .. } | Self::Point { .. } | Self::Depthwise { .. } => Sign::Positive,
            Self::Read | Self::Up { .. } | Self::Down { .. } => Sign::Signed,
        }
    }
}

/// One step of a chain: an operation and its output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The operation.
    pub op: Op,
    /// Shape of the output.
    pub shape: Shape,
    /// Buffer that keeps the whole output map, if another chain reads it.
    pub store: Option<BufferId>,
}

impl Step {
    /// Returns the number of rows that the step computes at a time: a row block if the kernels
    /// prefer that, otherwise one.
    pub fn together<A: Arithmetic>(&self, arithmetic: &A) -> usize {
        match self.op {
            Op::Same { conv, .. } if arithmetic.joins(conv, self.shape.width) => TOGETHER,
            _ => 1,
        }
    }
}

/// Steps through which rows stream together.
#[derive(Debug)]
pub(super) struct Chain {
    /// Buffer that the first step reads, unless that is a `Read` or `Up`.
    pub input: Option<BufferId>,
    /// The steps in order. If the last one has no `store`, it writes the network's output.
    pub steps: Vec<Step>,
}

/// The chains of a network, and its buffers.
#[derive(Debug)]
pub(super) struct Plan {
    /// Chains in the order in which they run.
    pub chains: Vec<Chain>,
    /// Shape of each buffer, and the operations that read it.
    pub buffers: Vec<(Shape, Uses)>,
}

impl Plan {
    /// Plans a network for inputs of `size`, whose channels are padded to a multiple of
    /// `alignment`.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that cannot be divided into chains.
    pub fn new(graph: &Graph, size: Size, alignment: usize) -> Result<Self, Error> {
        let mut planner = Planner {
            graph,
            size,
            alignment,
            buffers: Vec::new(),
            owners: Vec::new(),
            buffer_of: vec![None; graph.maps.len()],
        };
        let mut chains = Vec::new();
        for layers in split(graph) {
            chains.push(planner.chain(layers)?);
        }
        let mut buffers: Vec<_> =
            planner.buffers.into_iter().map(|shape| (shape, Uses::default())).collect();
        chains.iter().for_each(|chain| chain.tell_uses(&mut buffers));
        Ok(Self { chains, buffers })
    }
}

impl Chain {
    /// Returns step `i + back` if it is a residual connection that adds the output of step `i`.
    fn adding(&self, i: usize, back: usize) -> Option<&Step> {
        self.steps.get(i + back).filter(|step| match step.op {
            Op::Same { residual, .. } => residual && back == 2,
            Op::Point { residual, .. } => residual && back == 3,
            _ => false,
        })
    }

    /// Returns the operations of later steps of the chain that read the output of step `i`.
    pub fn uses(&self, i: usize) -> Uses {
        let rest = self.steps.get(i + 1..).unwrap_or_default();
        // The convolution that computes the network's output reads i16 residuals, because u8
        // activations are too coarse for it.
        let before_output = matches!(rest, [last] if last.store.is_none());
        let added = before_output || [2, 3].iter().any(|back| self.adding(i, *back).is_some());
        Uses { convolved: !rest.is_empty(), added }
    }

    /// Returns the number of slots that the ring buffer of step `i` needs. A step can run ahead of
    /// its reader by up to one row less than its row block.
    pub fn rows<A: Arithmetic>(&self, i: usize, arithmetic: &A) -> usize {
        let together = |step: &Step| step.together(arithmetic);
        let own = together(&self.steps[i]);
        let Some(next) = self.steps.get(i + 1) else { return own };
        let read = match next.op {
            Op::Same { .. } => together(next) + 2,
            Op::Down { .. } => 2,
            Op::Depthwise { window, .. } => window.side,
            Op::Read | Op::Up { .. } | Op::Point { .. } => 1,
        };
        // A residual must be kept until the steps in between have computed their rows.
        let added = |back: usize| match self.adding(i, back) {
            Some(_) => {
                self.steps[i + 1..=i + back].iter().map(|step| together(step) - 1).sum::<usize>()
                    + back
                    + 1
            }
            None => 0,
        };
        read.max(added(2)).max(added(3)) + own - 1
    }

    /// Marks the uses of all buffers that this chain reads.
    fn tell_uses(&self, buffers: &mut [(Shape, Uses)]) {
        for (i, step) in self.steps.iter().enumerate() {
            match step.op {
                Op::Up { from, add, .. } => {
                    buffers[from].1.convolved = true;
                    add.into_iter().for_each(|add| buffers[add].1.added = true);
                }
                Op::Down { add: Some(add), .. } => buffers[add].1.added = true,
                _ => {}
            }
            if let Some(input) = self.input {
                buffers[input].1.convolved |= i == 0;
                // A residual connection of step 1 (`Same`) or step 2 (`Point`) reaches back to the
                // chain's input.
                buffers[input].1.added |= match step.op {
                    Op::Same { residual, .. } => residual && i == 1,
                    Op::Point { residual, .. } => residual && i == 2,
                    _ => false,
                };
            }
        }
    }
}

/// Divides the layers into chains: after each `Down2x2`, before each `Up2x2`, and before and after
/// each inverted block. An inverted block is enough work for a chain of its own, and chains of
/// several would recompute more overlapping rows at the edges of bands. Returns ranges of layers.
fn split(graph: &Graph) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut first = 0;
    for (i, layer) in graph.layers.iter().enumerate() {
        let (before, after) = match *layer {
            Layer::Conv { conv, .. } => (
                graph.convs[conv].kind == ConvKind::Up2x2,
                graph.convs[conv].kind == ConvKind::Down2x2,
            ),
            Layer::Block { .. } => (false, false),
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
fn unknown() -> Error {
    Error::Backend { backend: "cpu", reason: "the graph cannot be divided into chains".to_owned() }
}

/// State of the planner.
struct Planner<'a> {
    graph: &'a Graph,
    size: Size,
    alignment: usize,
    buffers: Vec<Shape>,
    /// Map that each buffer currently holds.
    owners: Vec<MapId>,
    /// Buffer of each map that is stored.
    buffer_of: Vec<Option<BufferId>>,
}

impl Planner<'_> {
    /// Plans the chain of a range of layers.
    fn chain(&mut self, layers: std::ops::Range<usize>) -> Result<Chain, Error> {
        let graph = self.graph;
        let mut chain = Chain { input: None, steps: Vec::new() };
        let mut current = graph.layers[layers.start].from();
        match (&graph.layers[layers.start], current) {
            (Layer::Conv { conv, .. }, _) if graph.convs[*conv].kind == ConvKind::Up2x2 => (),
            (_, Graph::INPUT) => chain.steps.push(Step {
                op: Op::Read,
                shape: self.shape(Graph::INPUT),
                store: None,
            }),
            _ => chain.input = Some(self.stored(current)?),
        }
        for layer in &graph.layers[layers.clone()] {
            if layer.from() != current {
                return Err(unknown());
            }
            current = layer.to();
            let shape = self.shape(current);
            let step = |op: Op, shape: Shape| Step { op, shape, store: None };
            match *layer {
                Layer::Conv { conv, from, add, .. } => {
                    chain.steps.push(match graph.convs[conv].kind {
                        ConvKind::Up2x2 if chain.steps.is_empty() => {
                            let add = add.map(|map| self.stored(map)).transpose()?;
                            step(Op::Up { conv, from: self.stored(from)?, add }, shape)
                        }
                        ConvKind::Same3x3 if add.is_none() => step(
                            Op::Same { conv, activation: Activation::None, residual: false },
                            shape,
                        ),
                        ConvKind::Down2x2 => step(
                            Op::Down { conv, add: add.map(|map| self.stored(map)).transpose()? },
                            shape,
                        ),
                        _ => return Err(unknown()),
                    })
                }
                Layer::Block { first, second, .. } => {
                    let hidden = Shape { channels: graph.convs[first].outputs, ..shape };
                    let activation = Activation::Relu;
                    chain
                        .steps
                        .push(step(Op::Same { conv: first, activation, residual: false }, hidden));
                    let activation = Activation::None;
                    chain
                        .steps
                        .push(step(Op::Same { conv: second, activation, residual: true }, shape));
                }
                Layer::Inverted { expand, depth, project, from, residual, .. } => {
                    let ConvKind::Depthwise(window) = graph.convs[depth].kind else {
                        return Err(unknown());
                    };
                    let activation = Activation::Relu6;
                    let op = match graph.convs[expand].kind {
                        ConvKind::Same3x3 if !residual => {
                            Op::Same { conv: expand, activation, residual }
                        }
                        ConvKind::Point1x1 if chain.input.is_some() => {
                            Op::Point { conv: expand, activation, residual: false }
                        }
                        _ => return Err(unknown()),
                    };
                    let channels = graph.convs[expand].outputs;
                    let margin = window.before().max(window.after()).max(1);
                    chain.steps.push(step(op, Shape { channels, margin, ..self.shape(from) }));
                    chain.steps.push(step(
                        Op::Depthwise { conv: depth, window },
                        Shape { channels, ..shape },
                    ));
                    let op = Op::Point { conv: project, activation: Activation::None, residual };
                    chain.steps.push(step(op, shape));
                }
            }
            if current != graph.output() && self.is_used_after(current, layers.end) {
                let buffer = self.take_buffer(current, layers.start);
                if let Some(step) = chain.steps.last_mut() {
                    step.store = Some(buffer);
                }
            }
        }
        // `residual` of a `Same` step refers to the output two steps before, so such a step cannot
        // be first.
        let starts_in_residual =
            matches!(chain.steps.first(), Some(Step { op: Op::Same { residual: true, .. }, .. }));
        let ends_nowhere =
            chain.steps.last().is_none_or(|s| s.store.is_none()) && current != graph.output();
        if starts_in_residual || ends_nowhere { Err(unknown()) } else { Ok(chain) }
    }

    /// Returns the buffer of a map that an earlier chain has stored.
    fn stored(&self, map: MapId) -> Result<BufferId, Error> {
        self.buffer_of.get(map).copied().flatten().ok_or_else(unknown)
    }

    /// Returns the shape of a map. The channels of the network's input are padded.
    fn shape(&self, map: MapId) -> Shape {
        let mut spec = self.graph.maps[map];
        if map == Graph::INPUT {
            spec.channels = spec.channels.next_multiple_of(self.alignment);
        }
        Shape::new(spec, self.size)
    }

    /// Returns the last layer that reads a map.
    fn last_use(&self, map: MapId) -> Option<usize> {
        let reads = |layer: &Layer| {
            layer.from() == map
                || matches!(layer, Layer::Conv { add: Some(add), .. } if *add == map)
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
    fn a_unet_is_five_chains_and_few_buffers() {
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
    fn no_chain_overwrites_what_it_reads() {
        let plan = Plan::new(&unet(), Size { width: 64, height: 32 }, 1).unwrap();
        for chain in &plan.chains {
            let mut reads: Vec<BufferId> = chain.input.into_iter().collect();
            for step in &chain.steps {
                match step.op {
                    Op::Up { from, add, .. } => reads.extend(add.into_iter().chain([from])),
                    Op::Down { add, .. } => reads.extend(add),
                    _ => {}
                }
            }
            assert!(
                chain.steps.iter().filter_map(|s| s.store).all(|store| !reads.contains(&store))
            );
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let mut graph = unet();
        // The planner does not support a head convolution that adds its own input.
        if let Layer::Conv { add, .. } = &mut graph.layers[0] {
            *add = Some(Graph::INPUT);
        }
        assert!(Plan::new(&graph, Size { width: 64, height: 32 }, 1).is_err());
    }
}
