// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evaluation of cnndenoise on scenes that are made from photographs: still scenes, correlated
//! noise, weak noise, slow drifts and areas that a moving object uncovers. Luma PSNR in 4:2:0.

mod correlated;
mod drift;
mod still;
#[cfg(test)]
mod tests;
mod uncover;
mod weak;

use std::path::{Path, PathBuf};

use clap::Args;
use cnnvideo::quality::psnr;
use cnnvideo_eval::{Result, element::run_description, frame::RawFrame, images, init, mse};
use image::{RgbImage, imageops::crop_imm};

/// Largest size (width, height) of a scene in pixels. Larger photographs are cropped to it.
const LARGEST: (u32, u32) = (480, 320);
/// Smallest width and height of a scene in pixels.
const SMALLEST: u32 = 64;

#[derive(Args)]
pub(crate) struct ScenesArguments {
    /// Clean photographs (.png, .jpg) and folders with them; cropped to 480x320 pixels
    #[arg(long, required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Scenes to measure, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "static,correlated,weak,drift,uncover")]
    scenes: Vec<Scene>,
    /// Further properties of cnndenoise, in the syntax of gst-launch-1.0
    #[arg(long, default_value = "")]
    set: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Scene {
    /// A still scene with white noise and with camera noise
    Static,
    /// Noise whose neighbouring pixels are correlated
    Correlated,
    /// A gradient with weak noise
    Weak,
    /// A scene that drifts slowly
    Drift,
    /// An object that moves over a background
    Uncover,
}

/// Measures the scenes and prints a table for each.
pub(crate) fn run(arguments: &ScenesArguments) -> Result<()> {
    init()?;
    let files = images::files_and_folders(&arguments.data)?;
    let photographs = files.iter().map(|file| load(file)).collect::<Result<Vec<_>>>()?;
    let denoiser = Denoiser { settings: &arguments.set };
    println!("Photographs: {}; luma in 4:2:0, PSNR in dB\n", photographs.len());
    for scene in &arguments.scenes {
        match scene {
            Scene::Static => still::run(&photographs, denoiser)?,
            Scene::Correlated => correlated::run(&photographs, denoiser)?,
            Scene::Weak => weak::run(denoiser)?,
            Scene::Drift => drift::run(&photographs, denoiser)?,
            Scene::Uncover => uncover::run(&photographs, denoiser)?,
        }
        println!();
    }
    Ok(())
}

/// Reads a photograph and crops it.
fn load(path: &Path) -> Result<RgbImage> {
    let image = images::open_rgb(path)?;
    if image.width().min(image.height()) < SMALLEST {
        let name = path.display();
        return Err(format!("{name} is smaller than {SMALLEST}x{SMALLEST} pixels").into());
    }
    Ok(cropped(&image, LARGEST))
}

/// Returns the top left part of an image, of an even size (width, height) up to `size`.
fn cropped(image: &RgbImage, size: (u32, u32)) -> RgbImage {
    let (width, height) = (image.width().min(size.0) & !1, image.height().min(size.1) & !1);
    crop_imm(image, 0, 0, width, height).to_image()
}

/// Runs of cnndenoise with the properties that the user sets.
#[derive(Clone, Copy)]
struct Denoiser<'a> {
    settings: &'a str,
}

impl Denoiser<'_> {
    /// Returns luma of the frames after cnndenoise with further `properties`.
    fn run(self, frames: &[RawFrame], properties: &str) -> Result<Vec<Vec<u8>>> {
        let description = format!("cnndenoise {} {properties}", self.settings);
        let output = run_description(description.trim_end(), frames)?;
        Ok(output.frames.iter().map(RawFrame::first_plane).collect())
    }
}

/// Converts images to 4:2:0.
fn frames(images: impl IntoIterator<Item = RgbImage>) -> Result<Vec<RawFrame>> {
    images.into_iter().map(|image| RawFrame::i420_from_image(&image)).collect()
}

/// Returns luma of an image in limited range.
fn luma(image: &RgbImage) -> Result<Vec<u8>> {
    Ok(RawFrame::i420_from_image(image)?.first_plane())
}

/// Returns the PSNR of a plane.
fn plane_psnr<T: Copy + Into<f64>>(plane: &[T], clean: &[u8]) -> f64 {
    psnr(mse(plane, clean))
}

/// Returns the mean of each column.
fn column_means<const N: usize>(rows: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|i| rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64)
}

/// Returns the smallest value, infinite for none.
fn smallest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}
