// SPDX-License-Identifier: MIT OR Apache-2.0

//! Clips of the report, and their images on its page.

use std::path::Path;

use cnnvideo_eval::{Result, element::error_of, frame::RawFrame, images};
use gst::prelude::*;
use image::{GrayImage, RgbImage};
use ndarray::Array2;

/// Maximum width of an image on the page in pixels; wider ones are downscaled.
const MAX_WIDTH: u32 = 420;

/// The frames of one source.
#[derive(Clone)]
pub(super) struct Clip {
    /// File name without extension.
    pub(super) name: String,
    pub(super) frames: Vec<RawFrame>,
}

/// Returns a frame as an image for the page.
pub(super) fn frame_image(frame: &RawFrame) -> Result<RgbImage> {
    Ok(limit_width(frame.to_image()?))
}

/// Returns a plane of 8-bit values as an image for the page.
pub(super) fn plane_image(plane: &Array2<f32>) -> RgbImage {
    let (height, width) = plane.dim();
    let image = GrayImage::from_fn(width as u32, height as u32, |x, y| {
        image::Luma([plane[[y as usize, x as usize]] as u8])
    });
    limit_width(image::DynamicImage::ImageLuma8(image).into_rgb8())
}

/// Downscales an image to at most [`MAX_WIDTH`] pixels in width.
fn limit_width(image: RgbImage) -> RgbImage {
    if image.width() <= MAX_WIDTH {
        return image;
    }
    let height = (image.height() * MAX_WIDTH / image.width()).max(1);
    image::imageops::resize(&image, MAX_WIDTH, height, image::imageops::FilterType::Triangle)
}

/// Loads a source: images of a file or folder, each as a clip of one frame, or the first frames of
/// a video.
pub(super) fn load(path: &Path, max_frames: usize, max_images: usize) -> Result<Vec<Clip>> {
    let still = |path: &Path| -> Result<Clip> {
        let frame = RawFrame::from_image(&images::open_rgb(path)?)?;
        Ok(Clip { name: images::stem(path), frames: vec![frame] })
    };
    if path.is_dir() {
        let files = images::image_files(path)?;
        files.iter().take(max_images).map(|file| still(file)).collect()
    } else if images::is_image(path) {
        Ok(vec![still(path)?])
    } else {
        Ok(vec![load_video(path, max_frames)?])
    }
}

fn load_video(path: &Path, max_frames: usize) -> Result<Clip> {
    let uri = glib::filename_to_uri(std::fs::canonicalize(path)?, None)?;
    let description = format!(
        "uridecodebin uri=\"{uri}\" ! videoconvert ! video/x-raw,format=I420 ! appsink name=o \
         sync=false max-buffers=4"
    );
    let pipeline =
        gst::parse::launch(&description)?.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let output = pipeline
        .by_name("o")
        .and_then(|e| e.downcast::<gst_app::AppSink>().ok())
        .ok_or("no sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut clip = Clip { name: images::stem(path), frames: Vec::new() };
    while clip.frames.len() < max_frames
        && let Some(sample) = output.try_pull_sample(gst::ClockTime::from_seconds(20))
    {
        clip.frames.push(RawFrame::from_sample(&sample)?);
    }
    let error = error_of(&pipeline);
    pipeline.set_state(gst::State::Null)?;
    match error {
        Some(error) => Err(format!("{}: {error}", path.display()).into()),
        None if clip.frames.is_empty() => Err(format!("{}: no frames", path.display()).into()),
        None => Ok(clip),
    }
}
