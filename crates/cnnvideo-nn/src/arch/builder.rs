// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builder of [`Graph`]s, and checks of hyper-parameters that the architectures share.

use std::ops::RangeInclusive;

use super::{
    ConvId, ConvKind, ConvSpec, DepthwiseWindow, Graph, Layer, MAX_CHANNELS, MapId, MapSpec,
};
use crate::Error;

/// Checks that a number of channels is between 1 and the limit.
///
/// # Errors
/// [`Error::Invalid`] for `field`.
pub(super) fn check_channels(field: &str, n: usize) -> Result<(), Error> {
    check_range(field, n, 1..=MAX_CHANNELS)
}

/// Checks that a hyper-parameter is in `range`.
///
/// # Errors
/// [`Error::Invalid`] for `field`.
pub(super) fn check_range(
    field: &str,
    n: usize,
    range: RangeInclusive<usize>,
) -> Result<(), Error> {
    if range.contains(&n) {
        Ok(())
    } else {
        Err(Error::invalid(
            field,
            format!("{n} is not between {} and {}", range.start(), range.end()),
        ))
    }
}

/// Checks the length of a list of hyper-parameters.
///
/// # Errors
/// [`Error::Invalid`] for `field`.
pub(super) fn check_length(field: &str, list: &[usize], needed: usize) -> Result<(), Error> {
    if list.len() == needed {
        Ok(())
    } else {
        Err(Error::invalid(field, format!("{} entries, expected {needed}", list.len())))
    }
}

/// [`ConvSpec::init_permille`] of a convolution that a ReLU follows: the He initialisation.
const INIT_BEFORE_RELU: u32 = 1000;
/// [`ConvSpec::init_permille`] of a convolution without an activation function. With the factor
/// sqrt(2) of the He initialisation, the activations would grow from layer to layer.
const INIT_LINEAR: u32 = 707;
/// [`ConvSpec::init_permille`] of the last convolution of a residual block, which trains far better
/// from small weights, and of the tail, so that the initial output of the network is close to zero.
const INIT_SMALL: u32 = 100;

/// Output channels of the parts of an inverted residual block.
pub(super) struct InvertedChannels {
    /// Channels of the expansion and the depthwise convolution.
    pub hidden: usize,
    /// Output channels of the block.
    pub output: usize,
}

/// A graph under construction. Each method appends one or more layers and returns the map that they
/// write.
#[derive(Default)]
pub(super) struct GraphBuilder {
    maps: Vec<MapSpec>,
    convs: Vec<ConvSpec>,
    layers: Vec<Layer>,
}

impl GraphBuilder {
    /// Appends a feature map at a U-Net stage.
    pub(super) fn map(&mut self, channels: usize, stage: u32) -> MapId {
        self.maps.push(MapSpec { channels, stage });
        self.maps.len() - 1
    }

    /// Appends a convolution.
    fn spec(
        &mut self,
        name: String,
        kind: ConvKind,
        in_channels: usize,
        out_channels: usize,
        init_permille: u32,
    ) -> ConvId {
        self.convs.push(ConvSpec { name, kind, in_channels, out_channels, init_permille });
        self.convs.len() - 1
    }

    /// Appends a layer with one convolution of `input`.
    fn conv_layer(
        &mut self,
        name: String,
        kind: ConvKind,
        input: MapId,
        out_channels: usize,
        skip: Option<MapId>,
        init_permille: u32,
    ) -> MapId {
        let MapSpec { channels, stage } = self.maps[input];
        let stage = match kind {
            ConvKind::Conv3x3 | ConvKind::Pointwise => stage,
            ConvKind::Depthwise(window) => stage + window.halvings(),
            ConvKind::Strided2x2 => stage + 1,
            ConvKind::Transposed2x2 => stage - 1,
        };
        let conv = self.spec(name, kind, channels, out_channels, init_permille);
        let output = self.map(out_channels, stage);
        self.layers.push(Layer::Conv { conv, input, output, skip });
        output
    }

    /// Appends a convolution of `input`.
    pub(super) fn conv(
        &mut self,
        name: impl Into<String>,
        kind: ConvKind,
        input: MapId,
        out_channels: usize,
    ) -> MapId {
        self.conv_layer(name.into(), kind, input, out_channels, None, INIT_LINEAR)
    }

    /// Appends a convolution of `input` with as many output channels as `skip`, which is added to
    /// its output.
    pub(super) fn conv_with_skip(
        &mut self,
        name: impl Into<String>,
        kind: ConvKind,
        input: MapId,
        skip: MapId,
    ) -> MapId {
        let out_channels = self.channels(skip);
        self.conv_layer(name.into(), kind, input, out_channels, Some(skip), INIT_LINEAR)
    }

    /// Appends the convolution that computes the network's output.
    pub(super) fn tail(&mut self, input: MapId, out_channels: usize) -> MapId {
        let (name, kind) = ("tail".to_owned(), ConvKind::Conv3x3);
        self.conv_layer(name, kind, input, out_channels, None, INIT_SMALL)
    }

    /// Appends a residual block with `hidden` channels.
    pub(super) fn residual_block(&mut self, name: &str, input: MapId, hidden: usize) -> MapId {
        let MapSpec { channels, stage } = self.maps[input];
        let conv = ConvKind::Conv3x3;
        let first = self.spec(format!("{name}.0"), conv, channels, hidden, INIT_BEFORE_RELU);
        let second = self.spec(format!("{name}.1"), conv, hidden, channels, INIT_SMALL);
        let output = self.map(channels, stage);
        self.layers.push(Layer::Residual { first, second, input, output });
        output
    }

    /// Appends an inverted residual block. `expansion` is the kind of the convolution that expands
    /// to the hidden channels.
    pub(super) fn inverted_block(
        &mut self,
        name: &str,
        expansion: ConvKind,
        input: MapId,
        to: InvertedChannels,
        window: DepthwiseWindow,
    ) -> MapId {
        let MapSpec { channels, stage } = self.maps[input];
        let hidden = to.hidden;
        let expand =
            self.spec(format!("{name}.expand"), expansion, channels, hidden, INIT_BEFORE_RELU);
        let depthwise = ConvKind::Depthwise(window);
        let depthwise =
            self.spec(format!("{name}.depth"), depthwise, hidden, hidden, INIT_BEFORE_RELU);
        let pointwise = ConvKind::Pointwise;
        let project =
            self.spec(format!("{name}.project"), pointwise, hidden, to.output, INIT_LINEAR);
        let output = self.map(to.output, stage + window.halvings());
        let residual =
            expansion == ConvKind::Pointwise && window.stride == 1 && channels == to.output;
        self.layers.push(Layer::Inverted { expand, depthwise, project, input, output, residual });
        output
    }

    /// Appends the decoder. For each of `skips` (finest first), from the coarsest to the finest, it
    /// upsamples, adds the skip connection and applies `blocks[stage]` residual blocks with
    /// `hidden[stage]` channels.
    pub(super) fn decoder(
        &mut self,
        mut x: MapId,
        skips: &[MapId],
        blocks: &[usize],
        hidden: &[usize],
    ) -> MapId {
        for (stage, skip) in skips.iter().enumerate().rev() {
            x = self.conv_with_skip(format!("up.{stage}.scale"), ConvKind::Transposed2x2, x, *skip);
            for i in 0..blocks[stage] {
                x = self.residual_block(&format!("up.{stage}.{i}"), x, hidden[stage]);
            }
        }
        x
    }

    /// Returns the channels of a map.
    pub(super) fn channels(&self, map: MapId) -> usize {
        self.maps[map].channels
    }

    /// Returns the finished graph.
    pub(super) fn build(self) -> Graph {
        Graph { maps: self.maps, convs: self.convs, layers: self.layers }
    }
}
