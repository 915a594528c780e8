// SPDX-License-Identifier: MIT OR Apache-2.0

//! The architecture `residual-unet`.

use serde::{Deserialize, Serialize};

use super::{
    ConvKind, Graph, MAX_BLOCKS,
    builder::{GraphBuilder, check_channels, check_length, check_range},
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
    const MAX_STAGES: usize = 5;

    /// Builds the layers.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the hyper-parameter that is missing, zero, too large or of
    /// the wrong length.
    pub fn graph(&self) -> Result<Graph, Error> {
        self.check()?;
        let mut b = GraphBuilder::default();
        let stages = self.widths.len();

        b.map(self.inputs, 0);
        let mut x = b.conv("head", ConvKind::Conv3x3, Graph::INPUT, self.widths[0]);
        let mut skips = Vec::with_capacity(stages - 1);
        for stage in 0..stages {
            for i in 0..self.down_blocks[stage] {
                x = b.residual_block(&format!("down.{stage}.{i}"), x, self.hidden[stage]);
            }
            if stage + 1 < stages {
                skips.push(x);
                let name = format!("down.{stage}.scale");
                x = b.conv(name, ConvKind::Strided2x2, x, self.widths[stage + 1]);
            }
        }
        x = b.decoder(x, &skips, &self.up_blocks, &self.hidden);
        b.tail(x, self.outputs);
        Ok(b.build())
    }

    /// Validates the hyper-parameters.
    fn check(&self) -> Result<(), Error> {
        check_channels("inputs", self.inputs)?;
        check_channels("outputs", self.outputs)?;
        let stages = self.widths.len();
        check_range("widths", stages, 1..=Self::MAX_STAGES)?;
        let lists = [
            ("widths", &self.widths, stages),
            ("hidden", &self.hidden, stages),
            ("down_blocks", &self.down_blocks, stages),
            ("up_blocks", &self.up_blocks, stages - 1),
        ];
        lists
            .into_iter()
            .try_for_each(|(field, list, needed)| check_length(field, list, needed))?;
        for (field, list) in [("widths", &self.widths), ("hidden", &self.hidden)] {
            list.iter().try_for_each(|&n| check_channels(field, n))?;
        }
        for (field, list) in [("down_blocks", &self.down_blocks), ("up_blocks", &self.up_blocks)] {
            list.iter().try_for_each(|&n| check_range(field, n, 0..=MAX_BLOCKS))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small_unet() -> ResidualUnet {
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
    fn macs_match_a_manual_count() {
        let graph = small_unet().graph().unwrap();
        // Per input pixel: head, four convolutions of stage 0, stage 1 (/4), stage 2 (/16),
        // resampling, tail.
        let expected = 9 * 13 * 16
            + 4 * 9 * 256
            + 4 * 9 * 1024 / 4
            + 4 * 9 * 64 * 48 / 16
            + 4 * 16 * 32 / 4
            + 4 * 32 * 64 / 16
            + 64 * 32 / 4
            + 32 * 16
            + 9 * 16 * 12;
        assert_eq!(graph.macs_per_pixel(), f64::from(expected));
        assert_eq!(graph.granularity(), 4);
        assert_eq!((graph.input_channels(), graph.output_channels()), (13, 12));
    }

    #[test]
    fn errors_name_the_bad_hyper_parameter() {
        type Change = fn(&mut ResidualUnet);
        let cases: [(&str, Change); 7] = [
            ("inputs", |u| u.inputs = 0),
            ("outputs", |u| u.outputs = usize::MAX),
            ("widths", |u| u.widths.clear()),
            ("widths", |u| u.widths = vec![16; 60]),
            ("hidden", |u| u.hidden = vec![16]),
            ("up_blocks", |u| u.up_blocks.push(1)),
            ("down_blocks", |u| u.down_blocks[1] = 1 << 40),
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
