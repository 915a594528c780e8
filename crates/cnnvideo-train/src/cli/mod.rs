// SPDX-License-Identifier: MIT OR Apache-2.0

//! Command line of the training program: one module for each subcommand.

mod deband;
mod demosaic;
mod denoise;
mod level;
mod network;
mod run;
mod segment;
mod smooth;
mod smooth_set;
mod texture;

use clap::{Parser, Subcommand};
use cnnvideo_train::Error;

/// Command line of the training program.
#[derive(Parser)]
#[command(about = "Trains the networks of the cnnvideo plugin")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train the network of cnndeband
    Deband(deband::DebandArguments),
    /// Train the network of cnndemosaic
    Demosaic(demosaic::DemosaicArguments),
    /// Train a denoising network of cnndenoise
    Denoise(denoise::DenoiseArguments),
    /// Train the noise estimator of cnndenoise
    Level(level::LevelArguments),
    /// Train the network of cnnsmooth
    Smooth(smooth::SmoothArguments),
    /// Train the segmentation network of cnnsegment
    Segment(segment::SegmentArguments),
    /// Train the masking network of watermarkembed
    Texture(texture::TextureArguments),
    /// Write test images for cnnsmooth: texture over structure, and the structure alone
    SmoothSet(smooth_set::SmoothSetArguments),
}

impl Arguments {
    /// Runs the subcommand.
    pub(crate) fn run(self) -> Result<(), Error> {
        match self.command {
            Command::Deband(arguments) => arguments.run(),
            Command::Demosaic(arguments) => arguments.run(),
            Command::Denoise(arguments) => arguments.run(),
            Command::Level(arguments) => arguments.run(),
            Command::Smooth(arguments) => arguments.run(),
            Command::Segment(arguments) => arguments.run(),
            Command::Texture(arguments) => arguments.run(),
            Command::SmoothSet(arguments) => arguments.run(),
        }
    }
}
