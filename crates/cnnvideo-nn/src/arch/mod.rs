// SPDX-License-Identifier: MIT OR Apache-2.0

//! Architectures: code that turns validated hyper-parameters into a [`Graph`], the list of layers
//! that every backend and the trainer run.

mod builder;
mod inverted;
mod unet;

use serde::{Deserialize, Serialize};

pub use inverted::{ENCODER_PREFIX, EncoderStage, InvertedUnet};
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

    /// Returns the channels of the input.
    pub fn input_channels(&self) -> usize {
        match self {
            Self::ResidualUnet(unet) => unet.inputs,
            Self::InvertedUnet(unet) => unet.inputs,
        }
    }

    /// Returns the channels of the output.
    pub fn output_channels(&self) -> usize {
        match self {
            Self::ResidualUnet(unet) => unet.outputs,
            Self::InvertedUnet(unet) => unet.outputs,
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
    Conv3x3,
    /// 2x2, stride 2: halves width and height. Weights `[out][in][2][2]`.
    Strided2x2,
    /// Transposed 2x2, stride 2: doubles width and height. Weights `[in][out][2][2]`.
    Transposed2x2,
    /// 1x1. Weights `[out][in][1][1]`.
    Pointwise,
    /// Depthwise: one filter per channel, zero padding. Weights `[channels][1][size][size]`.
    Depthwise(DepthwiseWindow),
}

/// Kernel size and stride of a depthwise convolution. Output pixel `n` reads `kernel_size` inputs
/// per direction, from `n * stride - pad_before()` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthwiseWindow {
    /// Rows and columns of the kernel.
    pub kernel_size: usize,
    /// Stride in both directions, 1 or 2.
    pub stride: usize,
}

impl DepthwiseWindow {
    /// Returns the zero padding at the left and the upper border. With stride 2 and an even input
    /// size it is one less than [`Self::pad_after`], as in TensorFlow's `SAME` padding.
    pub fn pad_before(self) -> usize {
        (self.kernel_size - self.stride) / 2
    }

    /// Returns the zero padding at the right and the lower border of a map of even size.
    pub fn pad_after(self) -> usize {
        self.kernel_size - self.stride - self.pad_before()
    }

    /// Returns by how many U-Net stages the output is smaller than the input: 1 for stride 2.
    pub(crate) fn halvings(self) -> u32 {
        if self.stride == 2 { 1 } else { 0 }
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
    /// Limits of ReLU6.
    pub(crate) const RELU6_RANGE: [f32; 2] = [0.0, 6.0];

    /// Returns the limits that the activation clamps to, or `None` for the identity.
    pub fn clamp_range(self) -> Option<[f32; 2]> {
        match self {
            Self::None => None,
            Self::Relu => Some([0.0, f32::INFINITY]),
            Self::Relu6 => Some(Self::RELU6_RANGE),
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
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Scale of the initial weights for training, in thousandths of the default (He)
    /// initialisation.
    pub init_permille: u32,
}

impl ConvSpec {
    /// Returns the shape of the weight tensor; see [`ConvKind`] for the order of its axes.
    pub fn weight_shape(&self) -> [usize; 4] {
        match self.kind {
            ConvKind::Conv3x3 => [self.out_channels, self.in_channels, 3, 3],
            ConvKind::Strided2x2 => [self.out_channels, self.in_channels, 2, 2],
            ConvKind::Transposed2x2 => [self.in_channels, self.out_channels, 2, 2],
            ConvKind::Pointwise => [self.out_channels, self.in_channels, 1, 1],
            ConvKind::Depthwise(window) => {
                [self.out_channels, 1, window.kernel_size, window.kernel_size]
            }
        }
    }

    /// Returns the multiply-accumulate operations per output pixel.
    pub fn macs_per_output(&self) -> usize {
        let taps = match self.kind {
            ConvKind::Conv3x3 => 9,
            ConvKind::Strided2x2 => 4,
            ConvKind::Transposed2x2 | ConvKind::Pointwise => 1,
            ConvKind::Depthwise(window) => {
                return window.kernel_size * window.kernel_size * self.out_channels;
            }
        };
        taps * self.in_channels * self.out_channels
    }
}

/// A feature map: `channels` values per pixel, at `1 / 2^stage` of the width and height of the
/// input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSpec {
    /// Number of channels.
    pub channels: usize,
    /// U-Net stage: the number of halvings from the input size.
    pub stage: u32,
}

/// One layer of a network. Its input is the input of the network or the output of an earlier layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Convolution: `output = conv(input) [+ skip]`.
    Conv {
        /// The convolution.
        conv: ConvId,
        /// Input map.
        input: MapId,
        /// Output map.
        output: MapId,
        /// Map to add to the output of the convolution: the skip connection.
        skip: Option<MapId>,
    },
    /// Residual block: `output = input + second(relu(first(input)))`.
    Residual {
        /// Convolution of the input.
        first: ConvId,
        /// Convolution of the hidden channels.
        second: ConvId,
        /// Input map.
        input: MapId,
        /// Output map.
        output: MapId,
    },
    /// Inverted residual block:
    /// `output = [input +] project(relu6(depthwise(relu6(expand(input)))))`.
    Inverted {
        /// Convolution to the hidden channels.
        expand: ConvId,
        /// Depthwise convolution of the hidden channels.
        depthwise: ConvId,
        /// 1x1 convolution from the hidden channels to those of `output`.
        project: ConvId,
        /// Input map.
        input: MapId,
        /// Output map.
        output: MapId,
        /// Whether the block adds its input to its output.
        residual: bool,
    },
}

impl Layer {
    /// Returns the map that the layer reads. A skip connection of [`Layer::Conv`] is a second
    /// input.
    pub fn input(&self) -> MapId {
        match *self {
            Self::Conv { input, .. }
            | Self::Residual { input, .. }
            | Self::Inverted { input, .. } => input,
        }
    }

    /// Returns the map that the layer writes.
    pub fn output(&self) -> MapId {
        match *self {
            Self::Conv { output, .. }
            | Self::Residual { output, .. }
            | Self::Inverted { output, .. } => output,
        }
    }

    /// Returns the convolution that reads [`Self::input`].
    pub fn input_conv(&self) -> ConvId {
        match *self {
            Self::Conv { conv, .. }
            | Self::Residual { first: conv, .. }
            | Self::Inverted { expand: conv, .. } => conv,
        }
    }

    /// Returns the convolution that writes [`Self::output`].
    pub fn output_conv(&self) -> ConvId {
        match *self {
            Self::Conv { conv, .. }
            | Self::Residual { second: conv, .. }
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
    ///
    /// # Panics
    /// If the graph has no layers.
    pub fn output(&self) -> MapId {
        self.layers.last().expect("every architecture has layers").output()
    }

    /// Returns the channels of the input.
    pub fn input_channels(&self) -> usize {
        self.maps[Self::INPUT].channels
    }

    /// Returns the channels of the output.
    ///
    /// # Panics
    /// If the graph has no layers.
    pub fn output_channels(&self) -> usize {
        self.maps[self.output()].channels
    }

    /// Returns the number that the width and the height of the input must be multiples of.
    ///
    /// # Panics
    /// If the graph has no maps.
    pub fn granularity(&self) -> usize {
        1 << self.maps.iter().map(|m| m.stage).max().expect("every graph has the input map")
    }

    /// Returns the number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.convs.iter().map(|c| c.weight_shape().iter().product::<usize>() + c.out_channels).sum()
    }

    /// Returns the multiply-accumulate operations per pixel of the input.
    pub fn macs_per_pixel(&self) -> f64 {
        let cost = |conv: ConvId, map: MapId| {
            self.convs[conv].macs_per_output() as f64
                / f64::from(1u32 << (2 * self.maps[map].stage))
        };
        self.layers
            .iter()
            .map(|layer| match *layer {
                Layer::Conv { conv, output, .. } => cost(conv, output),
                Layer::Residual { first, second, output, .. } => {
                    cost(first, output) + cost(second, output)
                }
                Layer::Inverted { expand, depthwise, project, input, output, .. } => {
                    cost(expand, input) + cost(depthwise, output) + cost(project, output)
                }
            })
            .sum()
    }
}
