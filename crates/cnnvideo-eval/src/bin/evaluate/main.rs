//! Quality evaluation of the elements on images and clips with ground truth.
//!
//! `cargo run --release --example evaluate -- denoise --data DIR`

mod boundaries;
mod element;
mod report;
mod segment;
mod smooth;
mod stability;
mod video;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use cnnvideo::{
    denoise::{Networks, Parameters, Rung},
    frame::{Colour, Format, Picture, PictureMut},
    nn::{Device, Precision},
    quality::psnr,
};
use cnnvideo_eval::{Noise, mse};
use gst::prelude::*;
use image::RgbImage;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(about = "Measures the quality of the cnnvideo elements on images and clips")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

// Options that select the network of cnndenoise.
#[derive(clap::Args)]
struct Network {
    /// Model file to use instead of the built-in models
    #[arg(long)]
    model: Option<PathBuf>,
    /// Quality preset of the built-in models
    #[arg(long, value_enum, default_value = "fast")]
    quality: Quality,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Quality {
    /// The fastest network
    Fast,
    /// A compromise between speed and quality
    Balanced,
    /// The network with the best quality
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
    /// Measure PSNR of cnndenoise on RGB images with white Gaussian noise, and the error of its
    /// noise estimate
    Denoise {
        /// Folder with clean images (.png, .jpg)
        #[arg(long)]
        data: PathBuf,
        #[command(flatten)]
        network: Network,
        /// Noise sigmas in 8-bit units, separated by commas
        #[arg(long, value_delimiter = ',', default_value = "15,25,50")]
        levels: Vec<f32>,
    },
    /// Measure PSNR of cnndenoise on a clip with white noise in luma, with and without temporal
    /// denoising
    Video(video::Video),
    /// Measure how many clicks cnnsegment needs, on images with the mask of one object each
    Segment(segment::Segment),
    /// Run any elements over images and clips and write an HTML page and JSON
    Report(report::Report),
    /// Measure how well a region of cnnsegment follows an object through a clip
    SegmentVideo(segment::SegmentVideo),
    /// Measure PSNR and SSIM of cnnsmooth on images with texture over structure
    Smooth(smooth::Smooth),
    /// Measure how well gradients predict annotated boundaries in photographs before and after
    /// cnnsmooth
    SmoothBoundaries(boundaries::Boundaries),
    /// Measure flicker: motion-compensated frame differences of cnnsmooth's output and of its input
    SmoothVideo(stability::Stability),
    /// Measure how much of gratings and bars cnnsmooth keeps, by scale
    SmoothResponse {
        /// Model file to use instead of the built-in model
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
        "{} images of {}; PSNR in dB over R, G and B, mean over images",
        pictures.len(),
        data.display()
    );
    println!(
        "unclipped: float noise, via the library; 8-bit: clipped and rounded, via the element\n"
    );
    println!(
        "| sigma | noisy unclipped | denoised unclipped | noisy 8-bit | denoised 8-bit \
         | denoised 8-bit, sigma estimated | estimates within 10% or 1.5 |"
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
        return Err(format!("no images (.png, .jpg) in {}", folder.display()).into());
    }
    files.iter().map(|f| Ok(image::open(f)?.into_rgb8())).collect()
}

/// Denoises float values through the library, because no video format carries values outside 0 to
/// 255.
fn through_library(
    noisy: &[f32],
    (width, height): (u32, u32),
    network: &Network,
    level: f32,
) -> Result<Vec<f32>> {
    let (width, height) = (width as usize, height as usize);
    // With int8, the input would be clipped.
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
    // Published PSNR figures clip the result to the displayable range.
    output.iter_mut().for_each(|v| *v = v.clamp(0.0, 255.0));
    Ok(output)
}

/// Denoises an image as a video of one frame. Also returns the noise sigma that the element used.
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
