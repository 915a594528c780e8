// SPDX-License-Identifier: MIT OR Apache-2.0

//! Quality evaluation of the elements on images and clips with ground truth.
//!
//! `cargo run --release --package cnnvideo-eval --bin evaluate -- denoise --data DIR`

mod boundaries;
mod demosaic;
mod denoise;
mod regions;
mod report;
mod scenes;
mod segment;
mod sheet;
mod smooth;
mod stability;
mod video;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use cnnvideo_eval::output::run_program;

#[derive(Parser)]
#[command(about = "Measures the quality of the cnnvideo elements on images and clips")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure PSNR of cnndenoise on RGB images with white Gaussian noise, and the error of its
    /// noise estimate
    Denoise(denoise::DenoiseArguments),
    /// Measure PSNR of cnndemosaic on images behind a Bayer pattern, with and without noise
    Demosaic(demosaic::DemosaicArguments),
    /// Measure PSNR of cnndenoise on a clip with white noise in luma, with and without temporal
    /// denoising
    Video(video::VideoArguments),
    /// Measure cnndenoise on photographs that are made into difficult scenes: still scenes,
    /// correlated noise, weak noise and areas that a moving object uncovers
    Scenes(scenes::ScenesArguments),
    /// Measure how many clicks cnnsegment needs, on images with the mask of one object each
    Segment(segment::SegmentArguments),
    /// Run any elements over images and clips and write an HTML page and JSON
    Report(report::ReportArguments),
    /// Measure how well a region of cnnsegment follows an object through a clip
    SegmentVideo(segment::SegmentVideoArguments),
    /// Measure how regions of cnnsegment survive covers, turning and leaving, in scenes made from
    /// photographs and in a clip
    RegionsVideo(regions::RegionsVideoArguments),
    /// Write a picture sheet: photographs before and after elements
    Sheet(sheet::SheetArguments),
    /// Measure PSNR and SSIM of cnnsmooth on images with texture over structure
    Smooth(smooth::SmoothArguments),
    /// Measure how well gradients predict annotated boundaries in photographs before and after
    /// cnnsmooth
    SmoothBoundaries(boundaries::BoundariesArguments),
    /// Measure flicker: motion-compensated frame differences of cnnsmooth's output and of its input
    SmoothVideo(stability::StabilityArguments),
    /// Measure how much of gratings and bars cnnsmooth keeps, by scale
    SmoothResponse {
        /// Model file to use instead of the built-in model
        #[arg(long)]
        model: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    run_program("evaluate", || match command {
        Command::Demosaic(arguments) => demosaic::run(&arguments),
        Command::Denoise(arguments) => denoise::run(&arguments),
        Command::Video(arguments) => video::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::RegionsVideo(arguments) => regions::run(&arguments),
        Command::Scenes(arguments) => scenes::run(&arguments),
        Command::Segment(arguments) => segment::run(&arguments),
        Command::SegmentVideo(arguments) => segment::track(&arguments),
        Command::Sheet(arguments) => sheet::run(&arguments),
        Command::Smooth(arguments) => smooth::run(&arguments),
        Command::SmoothBoundaries(arguments) => boundaries::run(&arguments),
        Command::SmoothVideo(arguments) => stability::run(&arguments),
        Command::SmoothResponse { model } => smooth::response(model.as_deref()),
    })
}
