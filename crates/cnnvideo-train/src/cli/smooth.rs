// SPDX-License-Identifier: MIT OR Apache-2.0

//! The subcommand `smooth`: trains the smoothing network.

use std::path::PathBuf;

use cnnvideo::smooth::SIGNATURE;
use cnnvideo_train::{Error, smooth};

use super::{
    network::{UnetSizes, residual_unet},
    run::RunArguments,
};

#[derive(clap::Args)]
pub(super) struct SmoothArguments {
    /// Folder with drawings on transparent background (.png), such as Debian's openclipart-png
    #[arg(long)]
    drawings: PathBuf,
    /// Folder with photographs of textures
    #[arg(long)]
    textures: PathBuf,
    /// Folders of textures that are held back from training, to measure on unfamiliar classes
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    hold_back: Vec<String>,
    /// Folder with the photographs of BSDS500
    #[arg(long)]
    photos: PathBuf,
    /// Folder with their annotated boundaries as images, as written by scripts/bsds500
    #[arg(long)]
    boundaries: PathBuf,
    /// Share of the loss, 0 to 1, that judges the solver's output rather than the predicted
    /// guidance map
    #[arg(long, default_value_t = 0.0)]
    solved: f64,
    /// Channels of each U-Net stage, the full-resolution stage first
    #[arg(long, value_delimiter = ',', default_value = "8,32,40,48,64")]
    widths: Vec<usize>,
    /// Hidden channels of the residual blocks in each stage
    #[arg(long, value_delimiter = ',', default_value = "8,16,32,48,64")]
    hidden: Vec<usize>,
    /// Number of residual blocks in each stage of the encoder
    #[arg(long, value_delimiter = ',', default_value = "0,0,1,1,1")]
    down_blocks: Vec<usize>,
    /// Number of residual blocks in each stage of the decoder (all stages but the lowest
    /// resolution)
    #[arg(long, value_delimiter = ',', default_value = "0,1,0,0")]
    up_blocks: Vec<usize>,
    #[command(flatten)]
    run: RunArguments,
}

impl SmoothArguments {
    /// Trains the network.
    pub(super) fn run(self) -> Result<(), Error> {
        let sizes = UnetSizes {
            widths: self.widths,
            hidden: self.hidden,
            down_blocks: self.down_blocks,
            up_blocks: self.up_blocks,
        };
        smooth::train(&smooth::SmoothingOptions {
            run: self.run.into_options(SIGNATURE, residual_unet(SIGNATURE.io, sizes)),
            drawings: self.drawings,
            textures: self.textures,
            held_back: self.hold_back,
            photos: self.photos,
            boundaries: self.boundaries,
            solver_loss_share: self.solved.clamp(0.0, 1.0),
        })
    }
}
