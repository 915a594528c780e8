//! Architectures: Rust code that turns checked hyper-parameters into a [`Graph`], the list of layers that every
//! backend and the trainer run.

mod unet;

pub use unet::ResidualUnet;

/// Index of a feature map in [`Graph::maps`].
pub type MapId = usize;
/// Index of a convolution in [`Graph::convs`].
pub type ConvId = usize;

/// Kind of a convolution; this fixes its kernel size, stride and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvKind {
    /// 3x3, stride 1, zero padding 1. Weights `[out][in][3][3]`.
    Same3x3,
    /// 2x2, stride 2: halves width and height. Weights `[out][in][2][2]`.
    Down2x2,
    /// Transposed 2x2, stride 2: doubles width and height. Weights `[in][out][2][2]`.
    Up2x2,
}

/// Shape and name of one convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvSpec {
    /// Prefix of its tensors: `NAME.weight` and `NAME.bias`.
    pub name: String,
    pub kind: ConvKind,
    pub inputs: usize,
    pub outputs: usize,
    /// Scale of the weights before training, in thousandths of the usual initialisation.
    pub init_permille: u32,
}

impl ConvSpec {
    /// Shape of the weight tensor.
    pub fn weight_shape(&self) -> [usize; 4] {
        match self.kind {
            ConvKind::Same3x3 => [self.outputs, self.inputs, 3, 3],
            ConvKind::Down2x2 => [self.outputs, self.inputs, 2, 2],
            ConvKind::Up2x2 => [self.inputs, self.outputs, 2, 2],
        }
    }

    /// Multiply-accumulates per output pixel.
    pub fn macs_per_output(&self) -> usize {
        let taps = match self.kind {
            ConvKind::Same3x3 => 9,
            ConvKind::Down2x2 => 4,
            ConvKind::Up2x2 => 1,
        };
        taps * self.inputs * self.outputs
    }
}

/// A feature map: `channels` values per pixel, at `1 / 2^level` of the input's width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSpec {
    pub channels: usize,
    pub level: u32,
}

/// One step of a network. `from` is always written by an earlier layer (or is the input) and differs from `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// `to = conv(from) [+ add]`.
    Conv { conv: ConvId, from: MapId, to: MapId, add: Option<MapId> },
    /// Residual block: `to = from + second(relu(first(from)))`.
    Block { first: ConvId, second: ConvId, from: MapId, to: MapId },
}

impl Layer {
    pub fn to(&self) -> MapId {
        match *self {
            Self::Conv { to, .. } | Self::Block { to, .. } => to,
        }
    }

    pub fn from(&self) -> MapId {
        match *self {
            Self::Conv { from, .. } | Self::Block { from, .. } => from,
        }
    }
}

/// A network as a list of layers over feature maps. Map 0 is the input; the last layer writes the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    pub maps: Vec<MapSpec>,
    pub convs: Vec<ConvSpec>,
    pub layers: Vec<Layer>,
}

impl Graph {
    pub const INPUT: MapId = 0;

    pub fn output(&self) -> MapId {
        self.layers.last().map_or(Self::INPUT, Layer::to)
    }

    pub fn input_channels(&self) -> usize {
        self.maps[Self::INPUT].channels
    }

    pub fn output_channels(&self) -> usize {
        self.maps[self.output()].channels
    }

    /// Width and height of the input must be multiples of this.
    pub fn granularity(&self) -> usize {
        1 << self.maps.iter().map(|m| m.level).max().unwrap_or(0)
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.convs.iter().map(|c| c.weight_shape().iter().product::<usize>() + c.outputs).sum()
    }

    /// Multiply-accumulates per pixel of the input.
    pub fn macs_per_pixel(&self) -> f64 {
        let cost = |conv: ConvId, to: MapId| {
            self.convs[conv].macs_per_output() as f64 / f64::from(1u32 << (2 * self.maps[to].level))
        };
        self.layers
            .iter()
            .map(|layer| match *layer {
                Layer::Conv { conv, to, .. } => cost(conv, to),
                Layer::Block { first, second, to, .. } => cost(first, to) + cost(second, to),
            })
            .sum()
    }
}
