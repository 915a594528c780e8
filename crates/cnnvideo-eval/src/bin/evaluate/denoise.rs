// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evaluation of cnndenoise on RGB images with white noise, and of its noise estimate.

use std::path::{Path, PathBuf};

use clap::Args;
use cnnvideo::{
    denoise::{BitDepth, Networks, Parameters, Quality},
    frame::{Colour, Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision},
    quality::psnr,
};
use cnnvideo_eval::{
    Noise, Result, element::run_element, frame::RawFrame, images, init, mse, say_line,
};
use gst::prelude::*;

#[derive(Args)]
pub(crate) struct DenoiseArguments {
    /// Folder with clean images (.png, .jpg)
    #[arg(long)]
    data: PathBuf,
    /// Model file to use instead of the built-in models
    #[arg(long)]
    model: Option<PathBuf>,
    /// Quality preset of the built-in models
    #[arg(long, value_enum, default_value = "fast")]
    quality: QualityArgument,
    /// Noise sigmas in 8-bit units, separated by commas
    #[arg(long = "levels", value_delimiter = ',', default_value = "15,25,50")]
    sigmas: Vec<f32>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum QualityArgument {
    /// The fastest network
    Fast,
    /// A compromise between speed and quality
    Balanced,
    /// The network with the best quality
    Best,
}

impl QualityArgument {
    /// Returns the preset of the library.
    fn preset(self) -> Quality {
        match self {
            Self::Fast => Quality::Fast,
            Self::Balanced => Quality::Balanced,
            Self::Best => Quality::Best,
        }
    }

    /// Returns the value of the element's property.
    fn property(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Best => "best",
        }
    }
}

/// Measures PSNR by noise sigma.
pub(crate) fn run(arguments: &DenoiseArguments) -> Result<()> {
    init()?;
    let images = images::load_rgb(&arguments.data)?;
    say_line!(
        "{} images of {}; PSNR in dB over R, G and B, mean over images",
        images.len(),
        arguments.data.display()
    )?;
    say_line!(
        "unclipped: float noise, via the library; 8-bit: clipped and rounded, via the element\n"
    )?;
    say_line!(
        "| sigma | noisy unclipped | denoised unclipped | noisy 8-bit | denoised 8-bit \
         | denoised 8-bit, sigma estimated | estimates within 10% or 1.5 |"
    )?;
    say_line!("| --- | --- | --- | --- | --- | --- | --- |")?;
    for sigma in &arguments.sigmas {
        let mut sums = [0.0; 5];
        let mut estimates = 0;
        for (number, image) in images.iter().enumerate() {
            let clean: Vec<f32> = image.as_raw().iter().map(|v| f32::from(*v)).collect();
            let mut noise = Noise::new(number as u64);
            let noisy: Vec<f32> = clean.iter().map(|v| v + sigma * noise.sample()).collect();
            let clipped: Vec<u8> = noisy.iter().map(|v| v.round() as u8).collect();
            let size = image.dimensions();
            let unclipped = denoise_in_float(&noisy, size, arguments, *sigma)?;
            let clipped_frame = [RawFrame::from_rgb(&clipped, size)?];
            let (given, _) = run_cnndenoise(&clipped_frame, arguments, Some(*sigma))?;
            let (blind, estimate) = run_cnndenoise(&clipped_frame, arguments, None)?;
            let errors = [
                mse(&noisy, &clean),
                mse(&unclipped, &clean),
                mse(&clipped, &clean),
                mse(&given, &clean),
                mse(&blind, &clean),
            ];
            sums.iter_mut().zip(errors).for_each(|(sum, mse)| *sum += psnr(mse));
            estimates += usize::from((estimate - sigma).abs() <= (0.1 * sigma).max(1.5));
        }
        let [a, b, c, d, e] = sums.map(|sum| sum / images.len() as f64);
        say_line!(
            "| {sigma} | {a:.2} | {b:.2} | {c:.2} | {d:.2} | {e:.2} | {estimates} of {} |",
            images.len()
        )?;
    }
    Ok(())
}

/// Denoises float values through the library, because no video format carries values outside 0 to
/// 255.
fn denoise_in_float(
    noisy: &[f32],
    size: (u32, u32),
    arguments: &DenoiseArguments,
    sigma: f32,
) -> Result<Vec<f32>> {
    let (width, height) = (size.0 as usize, size.1 as usize);
    // With int8, the input would be clipped.
    let networks = match &arguments.model {
        Some(path) => Networks::from_file(path.clone(), Device::Auto, Precision::Fp32)?,
        None => Networks::built_in(arguments.quality.preset(), Device::Auto, Precision::Fp32)?,
    };
    let mut denoiser = networks.denoiser(Colour::Rgb, BitDepth::Eight, 0)?;
    let mut output = noisy.to_vec();
    let input = Picture::new(Format::RGB, width, height, &[Plane::new(noisy, 3 * width)])?;
    let planes = [PlaneMut::new(output.as_mut_slice(), 3 * width)];
    let mut view = PictureMut::new(Format::RGB, width, height, planes)?;
    let parameters = Parameters { sigma: Some(sigma), temporal: false, ..Parameters::default() };
    denoiser.process(&input, &mut view, &parameters, None, Field::First)?;
    // Published PSNR figures clip the result to the displayable range.
    output.iter_mut().for_each(|v| *v = v.clamp(0.0, 255.0));
    Ok(output)
}

/// Denoises an RGB image with the element; without a `sigma`, the element estimates it. Returns
/// interleaved RGB and the sigma that the element used.
fn run_cnndenoise(
    noisy: &[RawFrame; 1],
    arguments: &DenoiseArguments,
    sigma: Option<f32>,
) -> Result<(Vec<u8>, f32)> {
    let element = gst::ElementFactory::make("cnndenoise")
        .property("noise-level", sigma.unwrap_or(-1.0))
        .property("model-file", arguments.model.as_deref().and_then(Path::to_str))
        .property_from_str("quality", arguments.quality.property())
        .build()?;
    let denoised = run_element(&element, noisy)?.frames[0].first_plane();
    Ok((denoised, element.property("estimated-noise-level")))
}
