//! Builder of [`Graph`]s, and checks of hyper-parameters that the architectures share.

use std::ops::RangeInclusive;

use super::{ConvId, ConvKind, ConvSpec, Graph, Layer, MAX_CHANNELS, MapId, MapSpec, Window};
use crate::Error;

/// Checks that a number of channels is between 1 and the limit.
///
/// # Errors
/// [`Error::Invalid`] for `field`.
pub(super) fn channels(field: &str, n: usize) -> Result<(), Error> {
    within(field, n, 1..=MAX_CHANNELS)
}

/// Checks that a hyper-parameter is in `range`.
///
/// # Errors
/// [`Error::Invalid`] for `field`.
pub(super) fn within(field: &str, n: usize, range: RangeInclusive<usize>) -> Result<(), Error> {
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
pub(super) fn length(field: &str, list: &[usize], needed: usize) -> Result<(), Error> {
    if list.len() == needed {
        Ok(())
    } else {
        Err(Error::invalid(field, format!("{} entries, expected {needed}", list.len())))
    }
}

/// A graph under construction. Each method appends one or more layers and returns the map that they
/// write.
#[derive(Default)]
pub(super) struct Builder {
    maps: Vec<MapSpec>,
    convs: Vec<ConvSpec>,
    layers: Vec<Layer>,
}

impl Builder {
    /// Appends a feature map at a U-Net stage.
    pub fn map(&mut self, channels: usize, level: u32) -> MapId {
        self.maps.push(MapSpec { channels, level });
        self.maps.len() - 1
    }

    /// Appends a convolution.
    fn spec(
        &mut self,
        name: String,
        kind: ConvKind,
        inputs: usize,
        outputs: usize,
        init_permille: u32,
    ) -> ConvId {
        self.convs.push(ConvSpec { name, kind, inputs, outputs, init_permille });
        self.convs.len() - 1
    }

    /// Appends a convolution of `from`, to which the skip connection `add` is added.
    pub fn conv(
        &mut self,
        name: &str,
        kind: ConvKind,
        from: MapId,
        outputs: usize,
        add: Option<MapId>,
    ) -> MapId {
        let MapSpec { channels, level } = self.maps[from];
        // No ReLU follows, so the factor sqrt(2) of the He initialisation would let the activations
        // grow. The tail starts with small weights, so that the initial network output is close to
        // zero.
        let conv = self.spec(
            name.to_owned(),
            kind,
            channels,
            outputs,
            if name == "tail" { 100 } else { 707 },
        );
        let level = match kind {
            ConvKind::Same3x3 | ConvKind::Point1x1 => level,
            ConvKind::Depthwise(window) => level + (window.stride as u32 - 1),
            ConvKind::Down2x2 => level + 1,
            ConvKind::Up2x2 => level - 1,
        };
        let to = self.map(outputs, level);
        self.layers.push(Layer::Conv { conv, from, to, add });
        to
    }

    /// Appends a residual block with `hidden` channels.
    pub fn block(&mut self, name: &str, from: MapId, hidden: usize) -> MapId {
        let MapSpec { channels, level } = self.maps[from];
        let first = self.spec(format!("{name}.0"), ConvKind::Same3x3, channels, hidden, 1000);
        // A residual branch with small initial weights trains far better than one at full scale.
        let second = self.spec(format!("{name}.1"), ConvKind::Same3x3, hidden, channels, 100);
        let to = self.map(channels, level);
        self.layers.push(Layer::Block { first, second, from, to });
        to
    }

    /// Appends an inverted residual block. `kind` is the convolution that expands to `hidden`
    /// channels.
    pub fn inverted(
        &mut self,
        name: &str,
        kind: ConvKind,
        from: MapId,
        [hidden, outputs]: [usize; 2],
        window: Window,
    ) -> MapId {
        let MapSpec { channels, level } = self.maps[from];
        let expand = self.spec(format!("{name}.expand"), kind, channels, hidden, 1000);
        let depth =
            self.spec(format!("{name}.depth"), ConvKind::Depthwise(window), hidden, hidden, 1000);
        let project =
            self.spec(format!("{name}.project"), ConvKind::Point1x1, hidden, outputs, 707);
        let to = self.map(outputs, level + (window.stride as u32 - 1));
        let residual = kind == ConvKind::Point1x1 && window.stride == 1 && channels == outputs;
        self.layers.push(Layer::Inverted { expand, depth, project, from, to, residual });
        to
    }

    /// Appends the decoder. For each of `skips` (finest first), from the coarsest to the finest, it
    /// upsamples, adds the skip connection and applies `blocks[level]` residual blocks with
    /// `hidden[level]` channels.
    pub fn climb(
        &mut self,
        mut x: MapId,
        skips: &[MapId],
        blocks: &[usize],
        hidden: &[usize],
    ) -> MapId {
        for (level, skip) in skips.iter().enumerate().rev() {
            x = self.conv(
                &format!("up.{level}.scale"),
                ConvKind::Up2x2,
                x,
                self.channels(*skip),
                Some(*skip),
            );
            for i in 0..blocks[level] {
                x = self.block(&format!("up.{level}.{i}"), x, hidden[level]);
            }
        }
        x
    }

    /// Returns the channels of a map.
    pub fn channels(&self, map: MapId) -> usize {
        self.maps[map].channels
    }

    /// Returns the finished graph.
    pub fn graph(self) -> Graph {
        Graph { maps: self.maps, convs: self.convs, layers: self.layers }
    }
}
