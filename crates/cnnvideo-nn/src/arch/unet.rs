//! The architecture `residual-unet`.

use serde::{Deserialize, Serialize};

use super::{
    ConvKind, Graph, MAX_BLOCKS,
    builder::{Builder, channels, length, within},
};
use crate::Error;

/// U-Net (Ronneberger et al. 2015) of residual blocks, with sums instead of concatenations at the
/// skip connections.
///
/// Stage `l` works at `1 / 2^l` of the input size with `widths[l]` channels. Its residual blocks
/// are `x + conv(relu(conv(x)))` (He et al. 2016) with `hidden[l]` channels: `down_blocks[l]` of
/// them in the encoder and, on all stages but the deepest, `up_blocks[l]` in the decoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualUnet {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Channels of each stage, finest first.
    pub widths: Vec<usize>,
    /// Channels inside the residual blocks of each stage.
    pub hidden: Vec<usize>,
    /// Residual blocks of each stage in the encoder.
    pub down_blocks: Vec<usize>,
    /// Residual blocks of each stage but the deepest in the decoder.
    pub up_blocks: Vec<usize>,
}

impl ResidualUnet {
    /// Upper limit of the number of stages.
    const MAX_LEVELS: usize = 5;

    /// Builds the layers.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the hyper-parameter that is missing, zero, too large or of
    /// the wrong length.
    pub fn graph(&self) -> Result<Graph, Error> {
        self.check()?;
        let mut b = Builder::default();
        let levels = self.widths.len();

        b.map(self.inputs, 0);
        let mut x = b.conv("head", ConvKind::Same3x3, Graph::INPUT, self.widths[0], None);
        let mut skips = Vec::with_capacity(levels - 1);
        for level in 0..levels {
            for i in 0..self.down_blocks[level] {
                x = b.block(&format!("down.{level}.{i}"), x, self.hidden[level]);
            }
            if level + 1 < levels {
                skips.push(x);
                x = b.conv(
                    &format!("down.{level}.scale"),
                    ConvKind::Down2x2,
                    x,
                    self.widths[level + 1],
                    None,
                );
            }
        }
        x = b.climb(x, &skips, &self.up_blocks, &self.hidden);
        b.conv("tail", ConvKind::Same3x3, x, self.outputs, None);
        Ok(b.graph())
    }

    /// Validates the hyper-parameters.
    fn check(&self) -> Result<(), Error> {
        channels("inputs", self.inputs)?;
        channels("outputs", self.outputs)?;
        let levels = self.widths.len();
        within("widths", levels, 1..=Self::MAX_LEVELS)?;
        let lists = [
            ("widths", &self.widths, levels),
            ("hidden", &self.hidden, levels),
            ("down_blocks", &self.down_blocks, levels),
            ("up_blocks", &self.up_blocks, levels - 1),
        ];
        lists.into_iter().try_for_each(|(field, list, needed)| length(field, list, needed))?;
        for (field, list) in [("widths", &self.widths), ("hidden", &self.hidden)] {
            list.iter().try_for_each(|&n| channels(field, n))?;
        }
        for (field, list) in [("down_blocks", &self.down_blocks), ("up_blocks", &self.up_blocks)] {
            list.iter().try_for_each(|&n| within(field, n, 0..=MAX_BLOCKS))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> ResidualUnet {
        ResidualUnet {
            inputs: 13,
            outputs: 12,
            widths: vec![16, 32, 64],
            hidden: vec![16, 32, 48],
            down_blocks: vec![1, 1, 2],
            up_blocks: vec![1, 1],
        }
    }

    #[test]
    fn cost_is_counted_by_hand() {
        let graph = small().graph().unwrap();
        // Per input pixel: head, four convolutions of stage 0, stage 1 (/4), stage 2 (/16),
        // resampling, tail.
        let by_hand = 9 * 13 * 16
            + 4 * 9 * 256
            + 4 * 9 * 1024 / 4
            + 4 * 9 * 64 * 48 / 16
            + 4 * 16 * 32 / 4
            + 4 * 32 * 64 / 16
            + 64 * 32 / 4
            + 32 * 16
            + 9 * 16 * 12;
        assert_eq!(graph.macs_per_pixel(), f64::from(by_hand));
        assert_eq!(graph.granularity(), 4);
        assert_eq!((graph.input_channels(), graph.output_channels()), (13, 12));
    }

    #[test]
    fn bad_hyper_parameters_are_named() {
        type Spoil = fn(&mut ResidualUnet);
        let cases: [(&str, Spoil); 7] = [
            ("inputs", |u| u.inputs = 0),
            ("outputs", |u| u.outputs = usize::MAX),
            ("widths", |u| u.widths.clear()),
            ("widths", |u| u.widths = vec![16; 60]),
            ("hidden", |u| u.hidden = vec![16]),
            ("up_blocks", |u| u.up_blocks.push(1)),
            ("down_blocks", |u| u.down_blocks[1] = 1 << 40),
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
