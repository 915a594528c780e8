//! Architectures: code that turns validated hyper-parameters into a [`Graph`], the list of layers
//! that every backend and the trainer run.

mod builder;
mod inverted;
mod unet;

use serde::{Deserialize, Serialize};

pub use inverted::ENCODER;
pub use inverted::{InvertedUnet, Stage};
pub use unet::ResidualUnet;

use super::Error;

/// Upper limit of the channels of a feature map.
const MAX_CHANNELS: usize = 512;
/// Upper limit of the number of blocks in a sequence.
const MAX_BLOCKS: usize = 32;

/// An architecture with its hyper-parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Architecture {
    /// U-Net of residual blocks.
    ResidualUnet(ResidualUnet),
    /// U-Net with an encoder of inverted residual blocks.
    InvertedUnet(InvertedUnet),
}

impl Architecture {
    /// Names in model files, in the order of the variants.
    pub const NAMES: [&str; 2] = ["residual-unet", "inverted-unet"];

    /// Parses the hyper-parameters, a JSON object, of the architecture called `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is not in [`Self::NAMES`], or for hyper-parameters that
    /// do not fit the architecture.
    pub fn parse(name: &str, hyper_parameters: &str) -> Result<Self, Error> {
        let wrong = |err: serde_json::Error| Error::invalid("hyper-parameters", err.to_string());
        match name {
            "residual-unet" => {
                Ok(Self::ResidualUnet(serde_json::from_str(hyper_parameters).map_err(wrong)?))
            }
            "inverted-unet" => {
                Ok(Self::InvertedUnet(serde_json::from_str(hyper_parameters).map_err(wrong)?))
            }
            _ => Err(Error::invalid("architecture", format!("none of {}", Self::NAMES.join(", ")))),
        }
    }

    /// Returns the name in model files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ResidualUnet(_) => Self::NAMES[0],
            Self::InvertedUnet(_) => Self::NAMES[1],
        }
    }

    /// Returns the numbers of input and output channels.
    pub fn ends(&self) -> [usize; 2] {
        match self {
            Self::ResidualUnet(unet) => [unet.inputs, unet.outputs],
            Self::InvertedUnet(unet) => [unet.inputs, unet.outputs],
        }
    }

    /// Builds the list of layers.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the wrong hyper-parameter.
    pub fn graph(&self) -> Result<Graph, Error> {
        match self {
            Self::ResidualUnet(unet) => unet.graph(),
            Self::InvertedUnet(unet) => unet.graph(),
        }
    }
}

/// Index of a feature map in [`Graph::maps`].
pub type MapId = usize;
/// Index of a convolution in [`Graph::convs`].
pub type ConvId = usize;

/// Kind of a convolution. It fixes kernel size, stride and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvKind {
    /// 3x3, stride 1, zero padding 1. Weights `[out][in][3][3]`.
    Same3x3,
    /// 2x2, stride 2: halves width and height. Weights `[out][in][2][2]`.
    Down2x2,
    /// Transposed 2x2, stride 2: doubles width and height. Weights `[in][out][2][2]`.
    Up2x2,
    /// 1x1. Weights `[out][in][1][1]`.
    Point1x1,
    /// Depthwise: one filter per channel, zero padding. Weights `[channels][1][side][side]`.
    Depthwise(Window),
}

/// Kernel size and stride of a depthwise convolution. Output pixel `n` reads `side` inputs per
/// direction, from `n * stride - before()` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the kernel.
    pub side: usize,
    /// Stride in both directions, 1 or 2.
    pub stride: usize,
}

impl Window {
    /// Returns the zero padding at the left and the upper border. With stride 2 and an even input
    /// size it is one less than [`Self::after`], as in TensorFlow's `SAME` padding.
    pub fn before(self) -> usize {
        (self.side - self.stride) / 2
    }

    /// Returns the zero padding at the right and the lower border of a map of even size.
    pub fn after(self) -> usize {
        self.side - self.stride - self.before()
    }
}

/// Activation function applied after a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Identity.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// Returns the limits that the activation clamps to, or `None` for the identity.
    pub fn range(self) -> Option<[f32; 2]> {
        match self {
            Self::None => None,
            Self::Relu => Some([0.0, f32::INFINITY]),
            Self::Relu6 => Some([0.0, 6.0]),
        }
    }
}

/// Name and shape of one convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvSpec {
    /// Prefix of its tensors: `NAME.weight` and `NAME.bias`.
    pub name: String,
    /// Kernel size, stride and padding.
    pub kind: ConvKind,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Scale of the initial weights for training, in thousandths of the default (He)
    /// initialisation.
    pub init_permille: u32,
}

impl ConvSpec {
    /// Returns the shape of the weight tensor; see [`ConvKind`] for the order of its axes.
    pub fn weight_shape(&self) -> [usize; 4] {
        match self.kind {
            ConvKind::Same3x3 => [self.outputs, self.inputs, 3, 3],
            ConvKind::Down2x2 => [self.outputs, self.inputs, 2, 2],
            ConvKind::Up2x2 => [self.inputs, self.outputs, 2, 2],
            ConvKind::Point1x1 => [self.outputs, self.inputs, 1, 1],
            ConvKind::Depthwise(window) => [self.outputs, 1, window.side, window.side],
        }
    }

    /// Returns the multiply-accumulate operations per output pixel.
    pub fn macs_per_output(&self) -> usize {
        let taps = match self.kind {
            ConvKind::Same3x3 => 9,
            ConvKind::Down2x2 => 4,
            ConvKind::Up2x2 | ConvKind::Point1x1 => 1,
            ConvKind::Depthwise(window) => return window.side * window.side * self.outputs,
        };
        taps * self.inputs * self.outputs
    }
}

/// A feature map: `channels` values per pixel, at `1 / 2^level` of the width and height of the
/// input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSpec {
    /// Number of channels.
    pub channels: usize,
    /// U-Net stage: the number of halvings from the input size.
    pub level: u32,
}

/// One layer of a network. `from` is the input or the output of an earlier layer, and differs from
/// `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// `to = conv(from) [+ add]`.
    Conv { conv: ConvId, from: MapId, to: MapId, add: Option<MapId> },
    /// Residual block: `to = from + second(relu(first(from)))`.
    Block { first: ConvId, second: ConvId, from: MapId, to: MapId },
    /// Inverted residual block: `to = [from +] project(relu6(depth(relu6(expand(from)))))`.
    Inverted {
        /// Convolution to the hidden channels.
        expand: ConvId,
        /// Depthwise convolution of the hidden channels.
        depth: ConvId,
        /// 1x1 convolution from the hidden channels to those of `to`.
        project: ConvId,
        /// Input map.
        from: MapId,
        /// Output map.
        to: MapId,
        /// Whether the block adds its input to its output.
        residual: bool,
    },
}

impl Layer {
    /// Returns the map that the layer writes.
    pub fn to(&self) -> MapId {
        match *self {
            Self::Conv { to, .. } | Self::Block { to, .. } | Self::Inverted { to, .. } => to,
        }
    }

    /// Returns the map that the layer reads. A skip connection of [`Layer::Conv`] is a second
    /// input.
    pub fn from(&self) -> MapId {
        match *self {
            Self::Conv { from, .. } | Self::Block { from, .. } | Self::Inverted { from, .. } => {
                from
            }
        }
    }
}

impl Layer {
    /// Returns the convolution that reads `from`.
    pub fn reader(&self) -> ConvId {
        match *self {
            Self::Conv { conv, .. }
            | Self::Block { first: conv, .. }
            | Self::Inverted { expand: conv, .. } => conv,
        }
    }

    /// Returns the convolution that writes `to`.
    pub fn writer(&self) -> ConvId {
        match *self {
            Self::Conv { conv, .. }
            | Self::Block { second: conv, .. }
            | Self::Inverted { project: conv, .. } => conv,
        }
    }
}

/// A network as a list of layers over feature maps. Map 0 is the input; the last layer writes the
/// output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Shapes of the feature maps.
    pub maps: Vec<MapSpec>,
    /// Shapes of the convolutions.
    pub convs: Vec<ConvSpec>,
    /// Layers in the order in which they run.
    pub layers: Vec<Layer>,
}

impl Graph {
    /// The map that holds the network's input.
    pub const INPUT: MapId = 0;

    /// Returns the map that holds the network's output.
    pub fn output(&self) -> MapId {
        self.layers.last().map_or(Self::INPUT, Layer::to)
    }

    /// Returns the channels of the input.
    pub fn input_channels(&self) -> usize {
        self.maps[Self::INPUT].channels
    }

    /// Returns the channels of the output.
    pub fn output_channels(&self) -> usize {
        self.maps[self.output()].channels
    }

    /// Returns the number that the width and the height of the input must be multiples of.
    pub fn granularity(&self) -> usize {
        1 << self.maps.iter().map(|m| m.level).max().unwrap_or(0)
    }

    /// Returns the number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.convs.iter().map(|c| c.weight_shape().iter().product::<usize>() + c.outputs).sum()
    }

    /// Returns the multiply-accumulate operations per pixel of the input.
    pub fn macs_per_pixel(&self) -> f64 {
        let cost = |conv: ConvId, map: MapId| {
            self.convs[conv].macs_per_output() as f64
                / f64::from(1u32 << (2 * self.maps[map].level))
        };
        self.layers
            .iter()
            .map(|layer| match *layer {
                Layer::Conv { conv, to, .. } => cost(conv, to),
                Layer::Block { first, second, to, .. } => cost(first, to) + cost(second, to),
                Layer::Inverted { expand, depth, project, from, to, .. } => {
                    cost(expand, from) + cost(depth, to) + cost(project, to)
                }
            })
            .sum()
    }
}
