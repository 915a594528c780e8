// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evaluation of cnndenoise on a noisy clip: PSNR by frame, with and without temporal denoising.

use std::path::{Path, PathBuf};

use clap::Args;
use cnnvideo::quality::psnr;
use cnnvideo_eval::{
    Noise, Result,
    element::{run_element, set_from_text},
    frame::RawFrame,
    images, init, mse,
    output::{create_folder, write_image},
    say_line,
};
use gst::prelude::*;

#[derive(Args)]
pub(crate) struct VideoArguments {
    /// Folder with the frames of a clip (.png, .jpg), ordered by name
    #[arg(long)]
    data: PathBuf,
    /// Model file to use instead of the built-in models
    #[arg(long)]
    model: Option<PathBuf>,
    /// Sigma of the noise in luma in 8-bit units
    #[arg(long = "level", default_value_t = 25.0)]
    sigma: f32,
    /// Maximum number of frames to use
    #[arg(long, default_value_t = 40)]
    frames: usize,
    /// Folder with a second clip of the same size, appended to simulate a scene cut
    #[arg(long)]
    then: Option<PathBuf>,
    /// Property of cnndenoise as `name=value`; may be given several times
    #[arg(long)]
    set: Vec<String>,
    /// Folder to write luma of the last frame to: clean, noisy and denoised
    #[arg(long)]
    pictures: Option<PathBuf>,
}

/// Measures PSNR by frame.
pub(crate) fn run(arguments: &VideoArguments) -> Result<()> {
    init()?;
    let mut clip = images::load_rgb(&arguments.data)?;
    clip.truncate(arguments.frames.max(1));
    if let Some(then) = &arguments.then {
        clip.extend(images::load_rgb(then)?.into_iter().take(arguments.frames));
    }
    let clean = clip.iter().map(RawFrame::i420_from_image).collect::<Result<Vec<_>>>()?;
    let mut noise = Noise::new(1);
    let mut noisy = clean.clone();
    noisy.iter_mut().for_each(|frame| frame.add_noise(arguments.sigma, &mut noise));
    let single = run_cnndenoise(arguments, &noisy, false)?;
    let temporal = run_cnndenoise(arguments, &noisy, true)?;
    let (width, height) = clean[0].size();
    say_line!("{} frames, {width}x{height}; luma PSNR in dB", clean.len())?;
    say_line!(
        "| frame | noisy | temporal=false | temporal=true | gain |\n\
         | --- | --- | --- | --- | --- |"
    )?;
    let luma_psnr = |a: &RawFrame, b: &RawFrame| psnr(mse(&a.first_plane(), &b.first_plane()));
    let rows: Vec<_> = (0..clean.len())
        .map(|i| [&noisy[i], &single[i], &temporal[i]].map(|frame| luma_psnr(&clean[i], frame)))
        .collect();
    for (i, [a, b, c]) in rows.iter().enumerate() {
        let near_cut = arguments.then.is_some() && i.abs_diff(arguments.frames) < 4;
        if i < 10 || i % 10 == 9 || near_cut {
            say_line!("| {i} | {a:.2} | {b:.2} | {c:.2} | {:+.2} |", c - b)?;
        }
    }
    let mean = |rows: &[[f64; 3]], k: usize| {
        rows.iter().map(|r| r[k]).sum::<f64>() / rows.len().max(1) as f64
    };
    let after_start = &rows[8.min(rows.len() - 1)..];
    let [a, b, c] = [0, 1, 2].map(|k| mean(after_start, k));
    say_line!("| mean from frame 8 | {a:.2} | {b:.2} | {c:.2} | {:+.2} |", c - b)?;
    let worst = after_start.iter().map(|r| r[2] - r[1]).fold(f64::INFINITY, f64::min);
    say_line!("worst gain of a frame from frame 8: {worst:+.2}")?;
    if let Some(folder) = &arguments.pictures {
        create_folder(folder)?;
        let last = clean.len() - 1;
        for (name, frames) in
            [("clean", &clean), ("noisy", &noisy), ("single", &single), ("temporal", &temporal)]
        {
            let picture = image::GrayImage::from_raw(width, height, frames[last].first_plane())
                .ok_or("the elements changed the size of the frames")?;
            write_image(&folder.join(format!("{name}.png")), &picture)?;
        }
    }
    Ok(())
}

/// Denoises the frames.
fn run_cnndenoise(
    arguments: &VideoArguments,
    frames: &[RawFrame],
    temporal: bool,
) -> Result<Vec<RawFrame>> {
    let element = gst::ElementFactory::make("cnndenoise").property("temporal", temporal).build()?;
    element.set_property("model-file", arguments.model.as_deref().and_then(Path::to_str));
    for setting in &arguments.set {
        let (name, value) = setting.split_once('=').ok_or("--set needs name=value")?;
        set_from_text(&element, name, value)?;
    }
    Ok(run_element(&element, frames)?.frames)
}
