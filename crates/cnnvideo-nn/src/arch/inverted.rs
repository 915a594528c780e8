// SPDX-License-Identifier: MIT OR Apache-2.0

//! The architecture `inverted-unet`.

use serde::{Deserialize, Serialize};

use super::{
    ConvKind, DepthwiseWindow, Graph, MAX_BLOCKS,
    builder::{GraphBuilder, InvertedChannels, check_channels, check_length, check_range},
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
    pub stages: Vec<EncoderStage>,
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
pub struct EncoderStage {
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
    const MAX_RESOLUTIONS: usize = 5;
    /// Upper limit of [`EncoderStage::expansion`].
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
        let mut b = GraphBuilder::default();
        let mut x = b.map(self.inputs, 0);
        let mut skips = Vec::new();
        let mut first = true;
        for (s, stage) in self.stages.iter().enumerate() {
            for i in 0..stage.blocks {
                let stride = if i == 0 { stage.stride } else { 1 };
                if stride == 2 {
                    skips.push(x);
                }
                let (expansion, hidden) = if first {
                    (ConvKind::Conv3x3, self.head)
                } else {
                    (ConvKind::Pointwise, stage.expansion * b.channels(x))
                };
                let name = format!("{ENCODER_PREFIX}{s}.{i}");
                let channels = InvertedChannels { hidden, output: stage.channels };
                let window = DepthwiseWindow { kernel_size: stage.side, stride };
                x = b.inverted_block(&name, expansion, x, channels, window);
                first = false;
            }
        }
        let deepest = skips.len();
        let mut side = Graph::INPUT;
        for stage in 0..deepest {
            let name = format!("side.{stage}");
            side = match self.side.get(stage) {
                Some(channels) => b.conv(name, ConvKind::Strided2x2, side, *channels),
                None => b.conv_with_skip(name, ConvKind::Strided2x2, side, x),
            };
        }
        x = side;
        for i in 0..self.up_blocks[deepest] {
            x = b.residual_block(&format!("up.{deepest}.{i}"), x, self.up_hidden[deepest]);
        }
        x = b.decoder(x, &skips, &self.up_blocks, &self.up_hidden);
        b.tail(x, self.outputs);
        Ok(b.build())
    }

    /// Validates the hyper-parameters.
    fn check(&self) -> Result<(), Error> {
        check_channels("inputs", self.inputs)?;
        check_channels("outputs", self.outputs)?;
        check_channels("head", self.head)?;
        check_range("stages", self.stages.len(), 1..=Self::MAX_STAGES)?;
        let check_hidden = |n: usize| check_range("expansion", n, 1..=Self::MAX_HIDDEN);
        let mut previous = None;
        for stage in &self.stages {
            if ![3, 5].contains(&stage.side) {
                return Err(Error::invalid("side", format!("{} is neither 3 nor 5", stage.side)));
            }
            check_range("stride", stage.stride, if previous.is_none() { 1..=1 } else { 1..=2 })?;
            check_range("blocks", stage.blocks, 1..=MAX_BLOCKS)?;
            check_range("expansion", stage.expansion, 1..=Self::MAX_EXPANSION)?;
            check_channels("channels", stage.channels)?;
            if let Some(channels) = previous {
                check_hidden(stage.expansion * channels)?;
            }
            if stage.blocks > 1 {
                check_hidden(stage.expansion * stage.channels)?;
            }
            previous = Some(stage.channels);
        }
        let resolutions = 1 + self.stages.iter().filter(|stage| stage.stride == 2).count();
        if !(2..=Self::MAX_RESOLUTIONS).contains(&resolutions) {
            let reason = format!(
                "{resolutions} resolutions are not between 2 and {}",
                Self::MAX_RESOLUTIONS
            );
            return Err(Error::invalid("stages", reason));
        }
        check_length("side", &self.side, resolutions - 2)?;
        check_length("up_hidden", &self.up_hidden, resolutions)?;
        check_length("up_blocks", &self.up_blocks, resolutions)?;
        self.side.iter().try_for_each(|&n| check_channels("side", n))?;
        self.up_hidden.iter().try_for_each(|&n| check_channels("up_hidden", n))?;
        self.up_blocks.iter().try_for_each(|&n| check_range("up_blocks", n, 0..=MAX_BLOCKS))
    }
}

/// Prefix of the names of the encoder's layers.
pub const ENCODER_PREFIX: &str = "encoder.";

#[cfg(test)]
mod tests {
    use super::{super::Layer, *};

    fn small_unet() -> InvertedUnet {
        let stage = |side, stride, blocks, expansion, channels| EncoderStage {
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
    fn macs_match_a_manual_count() {
        let graph = small_unet().graph().unwrap();
        let head = 9 * 9 * 16 + 9 * 16 + 16 * 8;
        // The expansion runs at full size, the other two convolutions at half size.
        let halving = 8 * 32 + (25 * 32 + 32 * 16) / 4;
        let second = (16 * 64 + 25 * 64 + 64 * 16) / 4;
        let side = 4 * 9 * 16 / 4;
        let up = side + (2 * 9 * 16 * 12) / 4 + 16 * 8 + 2 * 9 * 8 * 8 + 9 * 8 * 4;
        assert_eq!(graph.macs_per_pixel(), f64::from(head + halving + second + up));
        assert_eq!(graph.granularity(), 2);
        let is_residual = |layer: &&Layer| matches!(layer, Layer::Inverted { residual: true, .. });
        assert_eq!(graph.layers.iter().filter(is_residual).count(), 1);
    }

    #[test]
    fn errors_name_the_bad_hyper_parameter() {
        type Change = fn(&mut InvertedUnet);
        let cases: [(&str, Change); 13] = [
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
        for (field, change) in cases {
            let mut unet = small_unet();
            change(&mut unet);
            match unet.graph() {
                Err(Error::Invalid { field: reported, .. }) => assert_eq!(reported, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
