//! Measures the elements on pictures with known noise.
//!
//! `cargo run --release --example evaluate -- denoise --data DIR`

mod boundaries;
mod element;
mod report;
mod segment;
mod smooth;
mod stability;
#[path = "../support/mod.rs"]
mod support;
mod video;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use gst::prelude::*;
use gstcnnvideo::{
    denoise::{Networks, Parameters, Rung},
    frame::{Colour, Format, Picture, PictureMut},
    nn::{Device, Precision},
    quality::psnr,
};
use image::RgbImage;
use support::{Noise, mse};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(about = "Measures the elements of the cnnvideo plugin")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

/// Which network of cnndenoise.
#[derive(clap::Args)]
struct Network {
    /// Model file to use instead of the built-in ones.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Which of the built-in ones.
    #[arg(long, value_enum, default_value = "fast")]
    quality: Quality,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Quality {
    Fast,
    Balanced,
    Best,
}

impl From<Quality> for Rung {
    fn from(quality: Quality) -> Self {
        match quality {
            Quality::Fast => Self::Fast,
            Quality::Balanced => Self::Balanced,
            Quality::Best => Self::Best,
        }
    }
}

#[derive(Subcommand)]
enum Task {
    /// PSNR of cnndenoise on RGB pictures with white Gaussian noise, and the error of the estimated noise level.
    Denoise {
        /// Folder with clean pictures (.png, .jpg).
        #[arg(long)]
        data: PathBuf,
        #[command(flatten)]
        network: Network,
        /// Noise levels.
        #[arg(long, value_delimiter = ',', default_value = "15,25,50")]
        levels: Vec<f32>,
    },
    /// PSNR of cnndenoise on a clip with white noise in luma, averaged along time and frame by frame.
    Video(video::Video),
    /// Clicks that cnnsegment's regions need, on pictures with the mask of one object each.
    Segment(segment::Segment),
    /// Runs any elements over pictures and clips: a page to look at, and JSON.
    Report(report::Report),
    /// How well a region of cnnsegment follows an object through a clip.
    SegmentVideo(segment::SegmentVideo),
    /// PSNR and SSIM of cnnsmooth on pictures with texture over structure.
    Smooth(smooth::Smooth),
    /// How well people's boundaries are found in photographs before and after cnnsmooth.
    SmoothBoundaries(boundaries::Boundaries),
    /// How much cnnsmooth's frames differ along the motion of a clip, beside the clip's own.
    SmoothVideo(stability::Stability),
    /// What cnnsmooth leaves of gratings and bars, by scale.
    SmoothResponse {
        /// Model file to use instead of the built-in one.
        #[arg(long)]
        model: Option<PathBuf>,
    },
}

fn main() {
    let result = match Arguments::parse().task {
        Task::Denoise { data, network, levels } => denoise(&data, &network, &levels),
        Task::Video(task) => video::run(&task),
        Task::Report(task) => report::run(&task),
        Task::Segment(task) => segment::run(&task),
        Task::SegmentVideo(task) => segment::video(&task),
        Task::Smooth(task) => smooth::run(&task),
        Task::SmoothBoundaries(task) => boundaries::run(&task),
        Task::SmoothVideo(task) => stability::run(&task),
        Task::SmoothResponse { model } => smooth::response(model.as_deref()),
    };
    if let Err(err) = result {
        eprintln!("evaluate: {err}");
        std::process::exit(1);
    }
}

fn denoise(data: &Path, network: &Network, levels: &[f32]) -> Result<()> {
    gst::init()?;
    gstcnnvideo::plugin_register_static()?;
    let pictures = load(data)?;
    println!(
        "{} pictures of {}; PSNR in dB over R, G and B, mean over pictures",
        pictures.len(),
        data.display()
    );
    println!(
        "unclipped: float noise through the library; 8-bit: clipped and rounded, through the element\n"
    );
    println!(
        "| sigma | noisy unclipped | denoised unclipped | noisy 8-bit | denoised 8-bit | estimating its level | estimate within 10% or 1.5 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for level in levels {
        let mut sums = [0.0; 5];
        let mut estimates = 0;
        for (number, picture) in pictures.iter().enumerate() {
            let clean: Vec<f32> = picture.as_raw().iter().map(|v| f32::from(*v)).collect();
            let mut noise = Noise::new(number as u64);
            let noisy: Vec<f32> = clean.iter().map(|v| v + level * noise.next()).collect();
            let clipped: Vec<u8> = noisy.iter().map(|v| v.round() as u8).collect();
            let size = picture.dimensions();
            let unclipped = through_library(&noisy, size, network, *level)?;
            let given = through_element(&clipped, size, network, Some(*level))?;
            let (blind, estimate) = through_element(&clipped, size, network, None)?;
            let results = [
                mse(&noisy, &clean),
                mse(&unclipped, &clean),
                mse(&clipped, &clean),
                mse(&given.0, &clean),
                mse(&blind, &clean),
            ];
            sums.iter_mut().zip(results).for_each(|(sum, mse)| *sum += psnr(mse));
            estimates += usize::from((estimate - level).abs() <= (0.1 * level).max(1.5));
        }
        let [a, b, c, d, e] = sums.map(|sum| sum / pictures.len() as f64);
        println!(
            "| {level} | {a:.2} | {b:.2} | {c:.2} | {d:.2} | {e:.2} | {estimates} of {} |",
            pictures.len()
        );
    }
    Ok(())
}

fn load(folder: &Path) -> Result<Vec<RgbImage>> {
    let mut files = std::fs::read_dir(folder)?
        .map(|e| e.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "png" || e == "jpg"));
    files.sort();
    if files.is_empty() {
        return Err(format!("no pictures in {}", folder.display()).into());
    }
    files.iter().map(|f| Ok(image::open(f)?.into_rgb8())).collect()
}

/// Denoises values of any size, which no video format could carry.
fn through_library(
    noisy: &[f32],
    (width, height): (u32, u32),
    network: &Network,
    level: f32,
) -> Result<Vec<f32>> {
    let (width, height) = (width as usize, height as usize);
    // 8-bit integers would clip the picture.
    let networks = match &network.model {
        Some(path) => Networks::from_file(path.clone(), Device::Auto, Precision::Fp32)?,
        None => Networks::built_in(network.quality.into(), Device::Auto, Precision::Fp32)?,
    };
    let mut denoiser = networks.denoiser(Colour::Rgb, false, 0)?;
    let format = Format::packed_rgb([0, 1, 2], None, 3);
    let mut output = noisy.to_vec();
    let input = Picture::new(format, width, height, &[(noisy, 3 * width)])?;
    let mut view = PictureMut::new(format, width, height, [(output.as_mut_slice(), 3 * width)])?;
    denoiser.process(
        &input,
        &mut view,
        &Parameters { noise_level: Some(level), strength: 1.0, temporal: false },
        None,
        0,
    )?;
    // As every published figure: what a picture can show is compared.
    output.iter_mut().for_each(|v| *v = v.clamp(0.0, 255.0));
    Ok(output)
}

/// Denoises a picture as a video of one frame; also returns the noise level that the element assumed.
fn through_element(
    noisy: &[u8],
    size: (u32, u32),
    network: &Network,
    level: Option<f32>,
) -> Result<(Vec<u8>, f32)> {
    let element = gst::ElementFactory::make("cnndenoise")
        .property("noise-level", level.unwrap_or(-1.0))
        .build()?;
    element.set_property("model-file", network.model.as_deref().and_then(Path::to_str));
    let quality = match network.quality {
        Quality::Fast => "fast",
        Quality::Balanced => "balanced",
        Quality::Best => "best",
    };
    element.set_property_from_str("quality", quality);
    let denoised = element::through(&element, noisy, size)?;
    Ok((denoised, element.property("estimated-noise-level")))
}
