// SPDX-License-Identifier: MIT OR Apache-2.0

//! The subcommand `segment`: trains the segmentation network.

use std::path::PathBuf;

use cnnvideo::segment::SIGNATURE;
use cnnvideo_train::{Error, segment};

use super::{network::efficientnet_lite, run::RunArguments};

#[derive(clap::Args)]
pub(super) struct SegmentArguments {
    /// Folder with the photographs of BSDS500
    #[arg(long)]
    photos: PathBuf,
    /// Folder with the regions annotated in them, as written by scripts/bsds500
    #[arg(long)]
    regions: PathBuf,
    /// Folder with drawings on transparent background (.png), such as Debian's openclipart-png
    #[arg(long)]
    drawings: PathBuf,
    /// Hidden channels of the residual blocks in the decoder, the full-resolution stage first
    #[arg(long, value_delimiter = ',', default_value = "12,24,32,32")]
    hidden: Vec<usize>,
    #[command(flatten)]
    run: RunArguments,
}

impl SegmentArguments {
    /// Trains the network.
    pub(super) fn run(self) -> Result<(), Error> {
        segment::train(&segment::SegmentationOptions {
            run: self.run.into_options(SIGNATURE, efficientnet_lite(SIGNATURE.io, self.hidden)),
            photos: self.photos,
            regions: self.regions,
            drawings: self.drawings,
        })
    }
}
