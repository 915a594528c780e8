// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boundary detection by gradients on photographs before and after cnnsmooth, compared with
//! annotated boundaries.
//!
//! The measure is that of Martin et al., "Learning to Detect Natural Image Boundaries", IEEE
//! Transactions on Pattern Analysis and Machine Intelligence 26(5), 2004, with one threshold for
//! all photographs. A pixel counts as matched if a pixel of the other map lies within the
//! tolerance; there is no one-to-one assignment.

use std::path::{Path, PathBuf};

use clap::Args;
use cnnvideo::segment::distance::squared_distance_transform;
use image::RgbImage;
use ndarray::{Array2, s};

use cnnvideo_eval::{
    Result, colour::full_range_luma, element::run_element, frame::RawFrame, images, init, say_line,
};

/// Matching tolerance as a share of the image diagonal.
const TOLERANCE: f32 = 0.0075;
/// Thresholds of the luma gradient in 8-bit units per pixel.
const THRESHOLDS: [f32; 16] =
    [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 18.0, 22.0, 27.0, 33.0, 40.0];

#[derive(Args)]
pub(crate) struct BoundariesArguments {
    /// Folder with photographs
    #[arg(long)]
    photos: PathBuf,
    /// Folder with the annotated boundaries as greyscale images of the same names, as written by
    /// scripts/bsds500
    #[arg(long)]
    boundaries: PathBuf,
    /// Number of photographs to skip, in the order of their names: those that the network was
    /// trained on
    #[arg(long, default_value_t = 220)]
    skip: usize,
    /// Maximum number of photographs to use
    #[arg(long, default_value_t = 60)]
    count: usize,
    /// Model file to use instead of the built-in model
    #[arg(long)]
    model: Option<PathBuf>,
    /// Smoothing scales, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "4,8,16")]
    scales: Vec<f32>,
}

/// Boundary pixels at one threshold.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Detected pixels.
    detected: f64,
    /// Detected pixels near an annotated boundary.
    detected_near_annotated: f64,
    /// Annotated pixels, weighted by annotators.
    annotated: f64,
    /// Annotated pixels near a detected one, weighted by annotators.
    annotated_near_detected: f64,
}

/// Measures precision and recall of the boundaries.
pub(crate) fn run(arguments: &BoundariesArguments) -> Result<()> {
    init()?;
    let pairs: Vec<_> = images::image_files(&arguments.photos)?
        .into_iter()
        .map(|photo| {
            let annotated = arguments.boundaries.join(images::stem(&photo)).with_extension("png");
            (photo, annotated)
        })
        .filter(|(_, annotated)| annotated.exists())
        .skip(arguments.skip)
        .take(arguments.count)
        .collect();
    if pairs.is_empty() {
        return Err("no photograph has boundaries of the same name; check --skip".into());
    }
    let mut counts = vec![[Counts::default(); THRESHOLDS.len()]; 1 + arguments.scales.len()];
    for (photo, annotated) in &pairs {
        let (photo, annotated) = (images::open_rgb(photo)?, image::open(annotated)?.into_luma8());
        let (width, height) = photo.dimensions();
        if annotated.dimensions() != (width, height) {
            return Err("a photograph and its boundaries differ in size".into());
        }
        let annotated =
            Array2::from_shape_vec((height as usize, width as usize), annotated.into_raw())?;
        let smoothed = arguments
            .scales
            .iter()
            .map(|scale| smoothed(&photo, *scale, arguments.model.as_deref()))
            .collect::<Result<Vec<_>>>()?;
        let versions = std::iter::once(photo.as_raw()).chain(&smoothed);
        for (version, counts) in versions.zip(&mut counts) {
            let strength = non_maximum_suppressed(&full_range_luma(version, (width, height)));
            counts.iter_mut().zip(THRESHOLDS).for_each(|(counts, threshold)| {
                counts.add(&strength.mapv(|s| s >= threshold), &annotated);
            });
        }
    }
    say_line!("{} photographs, tolerance {TOLERANCE} of the diagonal\n", pairs.len())?;
    say_line!("| | best F | precision | recall | at threshold |\n| --- | --- | --- | --- | --- |")?;
    let names = arguments.scales.iter().map(|scale| format!("cnnsmooth scale={scale}"));
    for (name, counts) in std::iter::once("photographs".to_owned()).chain(names).zip(&counts) {
        let all =
            counts.iter().zip(THRESHOLDS).map(|(counts, threshold)| (counts.measure(), threshold));
        let best = all.max_by(|a, b| a.0[0].total_cmp(&b.0[0]));
        let ([f, precision, recall], threshold) = best.expect("there are thresholds");
        say_line!("| {name} | {f:.3} | {precision:.3} | {recall:.3} | {threshold} |")?;
    }
    Ok(())
}

impl Counts {
    /// Adds the pixels of one photograph.
    fn add(&mut self, detected: &Array2<bool>, annotated: &Array2<u8>) {
        let (height, width) = annotated.dim();
        let reach = TOLERANCE * (width as f32).hypot(height as f32);
        let to_annotated = squared_distance(&annotated.mapv(|v| v > 0), reach);
        let to_detected = squared_distance(detected, reach);
        let squared_reach = reach * reach;
        for ((detected, annotated), (to_annotated, to_detected)) in
            detected.iter().zip(annotated).zip(to_annotated.iter().zip(&to_detected))
        {
            if *detected {
                self.detected += 1.0;
                self.detected_near_annotated += f64::from(u8::from(*to_annotated <= squared_reach));
            }
            // Pixels are weighted by the number of annotators who drew them.
            self.annotated += f64::from(*annotated);
            self.annotated_near_detected +=
                f64::from(*annotated) * f64::from(u8::from(*to_detected <= squared_reach));
        }
    }

    /// Returns F-measure, precision and recall.
    fn measure(&self) -> [f64; 3] {
        let (precision, recall) = (
            self.detected_near_annotated / self.detected.max(1.0),
            self.annotated_near_detected / self.annotated.max(1.0),
        );
        [2.0 * precision * recall / (precision + recall).max(1e-9), precision, recall]
    }
}

/// Returns the squared distance to the nearest set pixel, or a value beyond the square of `reach`.
fn squared_distance(set: &Array2<bool>, reach: f32) -> Array2<f32> {
    // `squared_distance_transform` takes pixels outside the image as set, so a margin keeps them
    // beyond the reach.
    let margin = reach.ceil() as usize + 1;
    let (height, width) = set.dim();
    let mut unset = Array2::from_elem((height + 2 * margin, width + 2 * margin), true);
    let inner = s![margin..margin + height, margin..margin + width];
    unset.slice_mut(inner).zip_mut_with(set, |unset, set| *unset = !set);
    squared_distance_transform(&unset.view()).slice(inner).to_owned()
}

fn smoothed(photo: &RgbImage, scale: f32, model: Option<&Path>) -> Result<Vec<u8>> {
    let element = gst::ElementFactory::make("cnnsmooth").property("scale", scale);
    let element = element.property("model-file", model.and_then(Path::to_str)).build()?;
    Ok(run_element(&element, &[RawFrame::from_image(photo)?])?.frames[0].first_plane())
}

/// Returns the gradient magnitude of luma after non-maximum suppression (Canny 1986).
fn non_maximum_suppressed(luma: &Array2<f32>) -> Array2<f32> {
    let (height, width) = luma.dim();
    let at = |y: isize, x: isize| {
        luma[[y.clamp(0, height as isize - 1) as usize, x.clamp(0, width as isize - 1) as usize]]
    };
    let gradient = |y: isize, x: isize| {
        let across = |dy| at(y + dy, x + 1) - at(y + dy, x - 1);
        let down = |dx| at(y + 1, x + dx) - at(y - 1, x + dx);
        [
            (across(-1) + 2.0 * across(0) + across(1)) / 8.0,
            (down(-1) + 2.0 * down(0) + down(1)) / 8.0,
        ]
    };
    let gradients =
        Array2::from_shape_fn((height, width), |(y, x)| gradient(y as isize, x as isize));
    let length = |y: isize, x: isize| {
        let [gx, gy] = gradients
            [[y.clamp(0, height as isize - 1) as usize, x.clamp(0, width as isize - 1) as usize]];
        gx.hypot(gy)
    };
    Array2::from_shape_fn((height, width), |(y, x)| {
        let ([gx, gy], y, x) = (gradients[[y, x]], y as isize, x as isize);
        let own = gx.hypot(gy);
        // Neighbours in gradient direction, rounded to one of eight directions.
        let direction = |v: f32| if v.abs() > 0.383 * own { v.signum() as isize } else { 0 };
        let (dx, dy) = (direction(gx), direction(gy));
        if own >= length(y + dy, x + dx) && own > length(y - dy, x - dx) { own } else { 0.0 }
    })
}
