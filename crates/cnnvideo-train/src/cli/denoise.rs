// SPDX-License-Identifier: MIT OR Apache-2.0

//! The subcommand `denoise`: trains a denoising network.

use std::path::PathBuf;

use clap::ValueEnum;
use cnnvideo::denoise::{RGB, YUV420};
use cnnvideo_train::{Error, denoise};

use super::{
    network::{UnetSizes, residual_unet},
    run::RunArguments,
};

#[derive(Clone, Copy, ValueEnum)]
enum Domain {
    /// R, G and B
    Rgb,
    /// Y at full resolution, U and V at half resolution
    Yuv420,
}

#[derive(clap::Args)]
pub(super) struct DenoiseArguments {
    /// Folder with photographs (.jpg, .png); subfolders are included, except those named `eval`
    /// or `video`
    #[arg(long)]
    data: PathBuf,
    /// Planes that the network processes
    #[arg(long, value_enum, default_value = "yuv420")]
    domain: Domain,
    /// Share of the patches whose noise is not white: correlated between R, G and B, or
    /// low-frequency in chroma
    #[arg(long, default_value_t = 0.05)]
    coloured: f64,
    /// Share of the patches whose noisy pixels are clipped and rounded to 8 bits, as in video
    #[arg(long, default_value_t = 0.5)]
    clipped: f64,
    /// Share of the steps with camera noise (sensor noise after demosaicking)
    #[arg(long, default_value_t = 0.0)]
    camera: f64,
    /// Share of the steps that train on temporally fused frames of synthetic clips
    #[arg(long, default_value_t = 0.0)]
    fused: f64,
    /// Channels of each U-Net stage, the full-resolution stage first
    #[arg(long, value_delimiter = ',', default_value = "16,32,64")]
    widths: Vec<usize>,
    /// Hidden channels of the residual blocks in each stage
    #[arg(long, value_delimiter = ',', default_value = "16,32,48")]
    hidden: Vec<usize>,
    /// Number of residual blocks in each stage of the encoder
    #[arg(long, value_delimiter = ',', default_value = "1,1,2")]
    down_blocks: Vec<usize>,
    /// Number of residual blocks in each stage of the decoder (all stages but the lowest
    /// resolution)
    #[arg(long, value_delimiter = ',', default_value = "1,1")]
    up_blocks: Vec<usize>,
    #[command(flatten)]
    run: RunArguments,
}

impl DenoiseArguments {
    /// Trains the network.
    pub(super) fn run(self) -> Result<(), Error> {
        let signature = match self.domain {
            Domain::Rgb => RGB,
            Domain::Yuv420 => YUV420,
        };
        let sizes = UnetSizes {
            widths: self.widths,
            hidden: self.hidden,
            down_blocks: self.down_blocks,
            up_blocks: self.up_blocks,
        };
        denoise::train(&denoise::DenoisingOptions {
            run: self.run.into_options(signature, residual_unet(signature.io, sizes)),
            data: self.data,
            coloured: self.coloured.clamp(0.0, 1.0),
            clipped: self.clipped.clamp(0.0, 1.0),
            fused: self.fused.clamp(0.0, 1.0),
            camera: self.camera.clamp(0.0, 1.0),
        })
    }
}
