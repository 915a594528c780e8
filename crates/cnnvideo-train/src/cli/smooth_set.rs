// SPDX-License-Identifier: MIT OR Apache-2.0

//! The subcommand `smooth-set`: writes test images.

use std::path::PathBuf;

use cnnvideo_train::{
    Error,
    smooth::{Half, TextureSource, write_set},
};

#[derive(clap::Args)]
pub(super) struct SmoothSetArguments {
    /// Folder with drawings on transparent background (.png)
    #[arg(long)]
    drawings: PathBuf,
    /// Folder with photographs of textures
    #[arg(long)]
    textures: PathBuf,
    /// Folder to write to
    #[arg(long)]
    out: PathBuf,
    /// Use the half of the data that networks are trained on, for tuning; the default is the
    /// evaluation half
    #[arg(long)]
    training: bool,
    /// Use generated textures only, of the kinds that networks are never trained on; with
    /// --training, of the others
    #[arg(long)]
    generated: bool,
    /// Number of image pairs to write
    #[arg(long, default_value_t = 48)]
    count: usize,
}

impl SmoothSetArguments {
    /// Writes the images.
    pub(super) fn run(self) -> Result<(), Error> {
        let half = if self.training { Half::Training } else { Half::Evaluation };
        let source =
            if self.generated { TextureSource::Generators } else { TextureSource::Photographs };
        write_set(&self.drawings, &self.textures, &self.out, half, source, self.count)
    }
}
