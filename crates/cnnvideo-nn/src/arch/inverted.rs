//! The architecture `inverted-unet`.

use serde::{Deserialize, Serialize};

use super::{
    ConvKind, Graph, MAX_BLOCKS, Window,
    builder::{Builder, channels, length, within},
};
use crate::Error;

/// U-Net with an encoder of inverted residual blocks (Sandler et al., "MobileNetV2", 2018). The
/// encoder can start from the ImageNet weights of EfficientNet-Lite (Tan and Le 2019). The decoder
/// is that of a [`ResidualUnet`].
///
/// The first block expands the input to `head` channels with a 3x3 convolution; the other blocks
/// expand with 1x1 convolutions. A side path of 2x2 convolutions with stride 2 leads from the input
/// to the coarsest resolution, where its result is added. It carries the user's marks around
/// encoder layers that were trained on photographs only. The last encoder map of each resolution is
/// the skip connection of the decoder.
///
/// [`ResidualUnet`]: super::ResidualUnet
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvertedUnet {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Hidden channels of the first block.
    pub head: usize,
    /// Encoder, in order.
    pub stages: Vec<Stage>,
    /// Channels of the side path at 1/2, 1/4, ... of the input size, without the coarsest
    /// resolution.
    pub side: Vec<usize>,
    /// Channels inside the residual blocks of the decoder, by resolution, finest first; the last
    /// entry is the coarsest resolution.
    pub up_hidden: Vec<usize>,
    /// Residual blocks of the decoder, by resolution, finest first.
    pub up_blocks: Vec<usize>,
}

/// Consecutive encoder blocks of the same shape. The first one may halve width and height.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Rows and columns of the depthwise kernel: 3 or 5.
    pub side: usize,
    /// Stride of the first block: 1 or 2.
    pub stride: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Ratio of hidden channels to input channels. The first block of the network uses
    /// [`InvertedUnet::head`] instead.
    pub expansion: usize,
    /// Output channels.
    pub channels: usize,
}

impl InvertedUnet {
    /// Upper limit of the number of encoder stages.
    const MAX_STAGES: usize = 16;
    /// Upper limit of the number of resolutions.
    const MAX_LEVELS: usize = 5;
    /// Upper limit of [`Stage::expansion`].
    const MAX_EXPANSION: usize = 16;
    /// Upper limit of the hidden channels of a block.
    const MAX_HIDDEN: usize = 1024;

    /// Builds the layers.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the hyper-parameter that is missing, zero, too large or of
    /// the wrong length.
    pub fn graph(&self) -> Result<Graph, Error> {
        self.check()?;
        let mut b = Builder::default();
        let mut x = b.map(self.inputs, 0);
        let mut skips = Vec::new();
        let mut first = true;
        for (s, stage) in self.stages.iter().enumerate() {
            for i in 0..stage.blocks {
                let stride = if i == 0 { stage.stride } else { 1 };
                if stride == 2 {
                    skips.push(x);
                }
                let (kind, hidden) = if first {
                    (ConvKind::Same3x3, self.head)
                } else {
                    (ConvKind::Point1x1, stage.expansion * b.channels(x))
                };
                let window = Window { side: stage.side, stride };
                x = b.inverted(
                    &format!("{ENCODER}{s}.{i}"),
                    kind,
                    x,
                    [hidden, stage.channels],
                    window,
                );
                first = false;
            }
        }
        let deepest = skips.len();
        let mut side = Graph::INPUT;
        for level in 0..deepest {
            let (outputs, add) = match self.side.get(level) {
                Some(channels) => (*channels, None),
                None => (b.channels(x), Some(x)),
            };
            side = b.conv(&format!("side.{level}"), ConvKind::Down2x2, side, outputs, add);
        }
        x = side;
        for i in 0..self.up_blocks[deepest] {
            x = b.block(&format!("up.{deepest}.{i}"), x, self.up_hidden[deepest]);
        }
        x = b.climb(x, &skips, &self.up_blocks, &self.up_hidden);
        b.conv("tail", ConvKind::Same3x3, x, self.outputs, None);
        Ok(b.graph())
    }

    /// Validates the hyper-parameters.
    fn check(&self) -> Result<(), Error> {
        channels("inputs", self.inputs)?;
        channels("outputs", self.outputs)?;
        channels("head", self.head)?;
        within("stages", self.stages.len(), 1..=Self::MAX_STAGES)?;
        let hidden = |n: usize| within("expansion", n, 1..=Self::MAX_HIDDEN);
        let mut before = None;
        for stage in &self.stages {
            if ![3, 5].contains(&stage.side) {
                return Err(Error::invalid("side", format!("{} is neither 3 nor 5", stage.side)));
            }
            within("stride", stage.stride, if before.is_none() { 1..=1 } else { 1..=2 })?;
            within("blocks", stage.blocks, 1..=MAX_BLOCKS)?;
            within("expansion", stage.expansion, 1..=Self::MAX_EXPANSION)?;
            channels("channels", stage.channels)?;
            if let Some(before) = before {
                hidden(stage.expansion * before)?;
            }
            if stage.blocks > 1 {
                hidden(stage.expansion * stage.channels)?;
            }
            before = Some(stage.channels);
        }
        let levels = 1 + self.stages.iter().filter(|stage| stage.stride == 2).count();
        if !(2..=Self::MAX_LEVELS).contains(&levels) {
            let reason = format!("{levels} resolutions are not between 2 and {}", Self::MAX_LEVELS);
            return Err(Error::invalid("stages", reason));
        }
        length("side", &self.side, levels - 2)?;
        length("up_hidden", &self.up_hidden, levels)?;
        length("up_blocks", &self.up_blocks, levels)?;
        self.side.iter().try_for_each(|&n| channels("side", n))?;
        self.up_hidden.iter().try_for_each(|&n| channels("up_hidden", n))?;
        self.up_blocks.iter().try_for_each(|&n| within("up_blocks", n, 0..=MAX_BLOCKS))
    }
}

/// Prefix of the names of the encoder's layers.
pub const ENCODER: &str = "encoder.";

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> InvertedUnet {
        let stage = |side, stride, blocks, expansion, channels| Stage {
            side,
            stride,
            blocks,
            expansion,
            channels,
        };
        InvertedUnet {
            inputs: 9,
            outputs: 4,
            head: 16,
            stages: vec![stage(3, 1, 1, 1, 8), stage(5, 2, 2, 4, 16)],
            side: vec![],
            up_hidden: vec![8, 12],
            up_blocks: vec![1, 1],
        }
    }

    #[test]
    fn cost_is_counted_by_hand() {
        let graph = small().graph().unwrap();
        let head = 9 * 9 * 16 + 9 * 16 + 16 * 8;
        // Expanded at full size, filtered and projected at half size.
        let halving = 8 * 32 + (25 * 32 + 32 * 16) / 4;
        let second = (16 * 64 + 25 * 64 + 64 * 16) / 4;
        let side = 4 * 9 * 16 / 4;
        let up = side + (2 * 9 * 16 * 12) / 4 + 16 * 8 + 2 * 9 * 8 * 8 + 9 * 8 * 4;
        assert_eq!(graph.macs_per_pixel(), f64::from(head + halving + second + up));
        assert_eq!(graph.granularity(), 2);
        let residual = graph
            .layers
            .iter()
            .filter(|l| matches!(l, super::super::Layer::Inverted { residual: true, .. }));
        assert_eq!(residual.count(), 1);
    }

    #[test]
    fn bad_hyper_parameters_are_named() {
        type Spoil = fn(&mut InvertedUnet);
        let cases: [(&str, Spoil); 13] = [
            ("inputs", |u| u.inputs = 0),
            ("head", |u| u.head = usize::MAX),
            ("stages", |u| u.stages.clear()),
            ("side", |u| u.stages[1].side = 4),
            ("stride", |u| u.stages[0].stride = 2),
            ("blocks", |u| u.stages[1].blocks = 1 << 40),
            ("expansion", |u| u.stages[1].expansion = usize::MAX),
            ("channels", |u| u.stages[1].channels = 0),
            ("stages", |u| u.stages = vec![u.stages[0].clone(); 99]),
            ("stages", |u| u.stages.truncate(1)),
            ("side", |u| u.side.push(1)),
            ("up_hidden", |u| u.up_hidden.push(1)),
            ("up_blocks", |u| u.up_blocks[0] = 99),
        ];
        for (field, spoil) in cases {
            let mut unet = small();
            spoil(&mut unet);
            match unet.graph() {
                Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
