// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evaluation of cnndemosaic on images behind a Bayer pattern, with and without noise.

use std::path::{Path, PathBuf};

use clap::Args;
use cnnvideo::quality::psnr;
use cnnvideo_eval::{
    Noise, Result, element::run_caps, frame::RawFrame, images, init, mse, say_line,
};
use gst::prelude::*;
use image::RgbImage;

/// Pixels at the border that are not measured: other methods do not define them.
const BORDER: u32 = 4;

#[derive(Args)]
pub(crate) struct DemosaicArguments {
    /// Folder with clean images (.png, .jpg)
    #[arg(long)]
    data: PathBuf,
    /// Model file to use instead of the built-in model
    #[arg(long)]
    model: Option<PathBuf>,
    /// Noise sigmas in 8-bit units, separated by commas
    #[arg(long = "levels", value_delimiter = ',', default_value = "0,10,25")]
    sigmas: Vec<f32>,
    /// Peers: descriptions of elements that convert video/x-bayer, as for gst-launch-1.0; {sigma}
    /// stands for the noise sigma
    #[arg(long = "peer")]
    peers: Vec<String>,
    /// Folder to write the demosaicked images to
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Measures PSNR by noise sigma.
pub(crate) fn run(arguments: &DemosaicArguments) -> Result<()> {
    init()?;
    let files = images::image_files(&arguments.data)?;
    say_line!(
        "{} images of {} behind an RGGB pattern, samples of 8 bits; PSNR in dB over R, G and B \
         without {BORDER} pixels at each border, mean over images\n",
        files.len(),
        arguments.data.display()
    )?;
    let peers = arguments.peers.iter().map(|peer| format!(" {peer} |")).collect::<String>();
    say_line!("| sigma | cnndemosaic | cnndemosaic, sigma estimated |{peers}")?;
    say_line!("| --- | --- | --- |{}", " --- |".repeat(arguments.peers.len()))?;
    for &sigma in &arguments.sigmas {
        let mut sums = vec![0.0; 2 + arguments.peers.len()];
        for (number, file) in files.iter().enumerate() {
            let image = images::open_rgb(file)?;
            let raw = noisy_samples(&image, sigma, number as u64);
            let model = arguments.model.as_deref().map_or(String::new(), model_property);
            let peers = arguments.peers.iter().cloned();
            let descriptions = [
                format!("cnndemosaic noise-level={{sigma}}{model}"),
                format!("cnndemosaic{model}"),
            ];
            for (i, description) in descriptions.into_iter().chain(peers).enumerate() {
                let description = description.replace("{sigma}", &sigma.to_string());
                let result = demosaick(&raw, image.dimensions(), &description)?;
                sums[i] += psnr(mse(&cropped(&result), &cropped(&image)));
                if let Some(folder) = &arguments.out {
                    let name = format!("{}-{sigma}-{i}.png", images::stem(file));
                    result.save(folder.join(name))?;
                }
            }
        }
        let cells = sums.iter().map(|sum| format!(" {:.2} |", sum / files.len() as f64));
        say_line!("| {sigma} |{}", cells.collect::<String>())?;
    }
    Ok(())
}

/// Returns the property that selects a model file, in the syntax of gst-launch-1.0.
fn model_property(path: &Path) -> String {
    format!(" model-file={}", path.display())
}

/// Returns the samples of an image behind an RGGB pattern with white noise, clipped and rounded.
/// Rows are padded to multiples of four bytes.
fn noisy_samples(image: &RgbImage, sigma: f32, seed: u64) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    let stride = image.width().next_multiple_of(4);
    let mut samples = vec![0; (stride * image.height()) as usize];
    for (x, y, pixel) in image.enumerate_pixels() {
        let colour = (x % 2 + y % 2) as usize;
        let noisy = f32::from(pixel[colour]) + sigma * noise.sample();
        samples[(stride * y + x) as usize] = noisy.round() as u8;
    }
    samples
}

/// Demosaicks samples with the elements of a description.
fn demosaick(samples: &[u8], (width, height): (u32, u32), description: &str) -> Result<RgbImage> {
    let caps = gst::Caps::builder("video/x-bayer")
        .field("format", "rggb")
        .field("width", width as i32)
        .field("height", height as i32)
        .field("framerate", gst::Fraction::new(25, 1))
        .build();
    let whole = format!("{description} ! videoconvert ! capsfilter caps=video/x-raw,format=RGB");
    let bin = gst::parse::bin_from_description(&whole, true)
        .map_err(|err| format!("{description}: {err}"))?;
    let output = run_caps(bin.upcast_ref(), &caps, &[samples])?;
    let [frame] = &output.frames[..] else { return Err("one frame was expected".into()) };
    to_image(frame, width, height)
}

/// Converts a frame in RGB to an image.
fn to_image(frame: &RawFrame, width: u32, height: u32) -> Result<RgbImage> {
    RgbImage::from_raw(width, height, frame.first_plane())
        .ok_or_else(|| "the frame has another size".into())
}

/// Returns the values of an image without its border.
fn cropped(image: &RgbImage) -> Vec<u8> {
    let (width, height) = (image.width() - 2 * BORDER, image.height() - 2 * BORDER);
    image::imageops::crop_imm(image, BORDER, BORDER, width, height).to_image().into_raw()
}
