//! Architectures: Rust code that turns checked hyper-parameters into a [`Graph`], the list of layers that every
//! backend and the trainer run.

mod builder;
mod inverted;
mod unet;

use serde::{Deserialize, Serialize};

#[cfg(feature = "torch")]
pub(crate) use inverted::ENCODER;
pub use inverted::{InvertedUnet, Stage};
pub use unet::ResidualUnet;

use super::Error;

/// Most channels of a map, and blocks in a row.
const MAX_CHANNELS: usize = 512;
const MAX_BLOCKS: usize = 32;

/// An architecture with its hyper-parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Architecture {
    ResidualUnet(ResidualUnet),
    InvertedUnet(InvertedUnet),
}

impl Architecture {
    /// Names in model files.
    pub const NAMES: [&str; 2] = ["residual-unet", "inverted-unet"];

    /// # Errors
    /// [`Error::Invalid`] for a name that is none of [`Self::NAMES`], or hyper-parameters that are not of that architecture.
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

    pub fn name(&self) -> &'static str {
        match self {
            Self::ResidualUnet(_) => Self::NAMES[0],
            Self::InvertedUnet(_) => Self::NAMES[1],
        }
    }

    /// Channels of input and output.
    pub fn ends(&self) -> [usize; 2] {
        match self {
            Self::ResidualUnet(unet) => [unet.inputs, unet.outputs],
            Self::InvertedUnet(unet) => [unet.inputs, unet.outputs],
        }
    }

    /// Builds the layers.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the hyper-parameter that is wrong.
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

/// Kind of a convolution; this fixes its kernel size, stride and padding.
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
    /// Depthwise: each channel by itself. Weights `[channels][1][side][side]`.
    Depthwise(Window),
}

/// What a depthwise convolution reads for a pixel: `side` rows and columns from `stride` times its place on, less [`Self::before`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub side: usize,
    pub stride: usize,
}

impl Window {
    /// Zeros left of and above a map. With a stride of 2, even sizes get fewer there than on the other side, as TensorFlow pads.
    pub fn before(self) -> usize {
        (self.side - self.stride) / 2
    }

    /// Zeros right of and below a map of an even size.
    pub fn after(self) -> usize {
        self.side - self.stride - self.before()
    }
}

/// What follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    None,
    Relu,
    /// A ReLU that goes no higher than 6.
    Relu6,
}

impl Activation {
    /// Values are kept within.
    pub fn range(self) -> Option<[f32; 2]> {
        match self {
            Self::None => None,
            Self::Relu => Some([0.0, f32::INFINITY]),
            Self::Relu6 => Some([0.0, 6.0]),
        }
    }
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
            ConvKind::Point1x1 => [self.outputs, self.inputs, 1, 1],
            ConvKind::Depthwise(window) => [self.outputs, 1, window.side, window.side],
        }
    }

    /// Multiply-accumulates per output pixel.
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
    /// Inverted residual block: `to = [from +] project(relu6(depth(relu6(expand(from)))))`.
    Inverted {
        expand: ConvId,
        depth: ConvId,
        project: ConvId,
        from: MapId,
        to: MapId,
        residual: bool,
    },
}

impl Layer {
    pub fn to(&self) -> MapId {
        match *self {
            Self::Conv { to, .. } | Self::Block { to, .. } | Self::Inverted { to, .. } => to,
        }
    }

    pub fn from(&self) -> MapId {
        match *self {
            Self::Conv { from, .. } | Self::Block { from, .. } | Self::Inverted { from, .. } => {
                from
            }
        }
    }
}

impl Layer {
    /// The convolution that reads `from`.
    pub fn reader(&self) -> ConvId {
        match *self {
            Self::Conv { conv, .. }
            | Self::Block { first: conv, .. }
            | Self::Inverted { expand: conv, .. } => conv,
        }
    }

    /// The convolution that makes `to`.
    pub fn writer(&self) -> ConvId {
        match *self {
            Self::Conv { conv, .. }
            | Self::Block { second: conv, .. }
            | Self::Inverted { project: conv, .. } => conv,
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
