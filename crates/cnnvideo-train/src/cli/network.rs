// SPDX-License-Identifier: MIT OR Apache-2.0

//! Architectures from command line arguments.

use cnnvideo::nn::{
    IoSpec,
    arch::{Architecture, EncoderStage, InvertedUnet, ResidualUnet},
};

/// Sizes of a residual U-Net; the first element of each list is for full resolution.
pub(super) struct UnetSizes {
    /// Channels of each stage.
    pub(super) widths: Vec<usize>,
    /// Hidden channels of the residual blocks in each stage.
    pub(super) hidden: Vec<usize>,
    /// Number of residual blocks in each stage of the encoder.
    pub(super) down_blocks: Vec<usize>,
    /// Number of residual blocks in each stage of the decoder, one stage less.
    pub(super) up_blocks: Vec<usize>,
}

/// Returns a residual U-Net of the given sizes.
pub(super) fn residual_unet(io: IoSpec, sizes: UnetSizes) -> Architecture {
    let UnetSizes { widths, hidden, down_blocks, up_blocks } = sizes;
    Architecture::ResidualUnet(ResidualUnet {
        inputs: io.input_channels(),
        outputs: io.output,
        widths,
        hidden,
        down_blocks,
        up_blocks,
    })
}

/// Returns a U-Net with an encoder like EfficientNet-Lite0 down to 1/8 of its input size (the input
/// is half the size of the frame), with 16 additional channels in the head for the user's input.
///
/// `up_hidden` holds the hidden channels of the residual blocks in the decoder, the full-resolution
/// stage first.
pub(super) fn efficientnet_lite(io: IoSpec, up_hidden: Vec<usize>) -> Architecture {
    let stage = |side, stride, blocks, expansion, channels| EncoderStage {
        side,
        stride,
        blocks,
        expansion,
        channels,
    };
    Architecture::InvertedUnet(InvertedUnet {
        inputs: io.input_channels(),
        outputs: io.output,
        head: 32 + 16,
        stages: vec![
            stage(3, 1, 1, 1, 16 + 8),
            stage(3, 2, 1, 4, 24),
            stage(3, 1, 1, 6, 24),
            stage(5, 2, 2, 6, 40),
            stage(3, 2, 3, 6, 80),
            stage(5, 1, 3, 6, 112),
        ],
        side: vec![16, 32],
        up_hidden,
        up_blocks: vec![1, 1, 1, 3],
    })
}
