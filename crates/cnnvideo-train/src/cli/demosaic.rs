// SPDX-License-Identifier: MIT OR Apache-2.0

//! The subcommand `demosaic`: trains the network of `cnndemosaic`.

use std::path::PathBuf;

use cnnvideo::demosaic::SIGNATURE;
use cnnvideo_train::{Error, demosaic};

use super::{
    network::{UnetSizes, residual_unet},
    run::RunArguments,
};

#[derive(clap::Args)]
pub(super) struct DemosaicArguments {
    /// Folder with photographs (.jpg, .png); subfolders are included, except those named `eval`
    /// or `video`
    #[arg(long)]
    data: PathBuf,
    /// Channels of each U-Net stage, the finest stage first
    #[arg(long, value_delimiter = ',', default_value = "16,32,64")]
    widths: Vec<usize>,
    /// Hidden channels of the residual blocks in each stage
    #[arg(long, value_delimiter = ',', default_value = "16,32,48")]
    hidden: Vec<usize>,
    /// Number of residual blocks in each stage of the encoder
    #[arg(long, value_delimiter = ',', default_value = "1,1,1")]
    down_blocks: Vec<usize>,
    /// Number of residual blocks in each stage of the decoder (all stages but the lowest
    /// resolution)
    #[arg(long, value_delimiter = ',', default_value = "1,1")]
    up_blocks: Vec<usize>,
    #[command(flatten)]
    run: RunArguments,
}

impl DemosaicArguments {
    /// Trains the network.
    pub(super) fn run(self) -> Result<(), Error> {
        let sizes = UnetSizes {
            widths: self.widths,
            hidden: self.hidden,
            down_blocks: self.down_blocks,
            up_blocks: self.up_blocks,
        };
        demosaic::train(&demosaic::DemosaicOptions {
            run: self.run.into_options(SIGNATURE, residual_unet(SIGNATURE.io, sizes)),
            data: self.data,
        })
    }
}
