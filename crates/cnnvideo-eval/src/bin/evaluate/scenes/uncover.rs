// SPDX-License-Identifier: MIT OR Apache-2.0

//! Areas that a moving object uncovers: what temporal fusion loses or gains there.

use std::ops::Range;

use cnnvideo_eval::{Noise, Result, frame::RawFrame};
use image::{
    RgbImage,
    imageops::{crop_imm, replace},
};

use super::{Denoiser, column_means, cropped, frames, luma, smallest};

/// Speeds of the object in pixels for each frame.
const SPEEDS: [f32; 3] = [0.7, 1.4, 4.0];
/// Number of frames.
const FRAMES: usize = 36;
/// First frame whose uncovered pixels count.
const FIRST: usize = 12;
/// Number of frames for which pixels count after they were uncovered.
pub(super) const AGES: usize = 6;
/// Sigma of the noise of R, G and B in 8-bit units.
const SIGMA: f32 = 20.0;

/// Gain over `temporal=false` in dB in uncovered pixels, by frames since.
pub(super) type Gains = [f64; AGES];

/// Prints two rows for each speed.
pub(super) fn run(photographs: &[RgbImage], denoiser: Denoiser) -> Result<()> {
    let ages: String = (0..AGES).map(|age| format!(" {age} |")).collect();
    println!(
        "Uncover: an object from the next photograph moves over each photograph, sigma {SIGMA}; \
         gain in dB over temporal=false in the pixels that it uncovers, by frames since. Pixels \
         for each frame: the object moves by whole pixels at this mean speed\n"
    );
    println!(
        "| pixels for each frame | photographs |{ages}\n| --- | --- |{}",
        " --- |".repeat(AGES)
    );
    for speed in SPEEDS {
        let rows = measure(photographs, denoiser, speed, FRAMES)?;
        let smallest: Gains = std::array::from_fn(|age| smallest(rows.iter().map(|row| row[age])));
        for (name, gains) in [("mean", column_means(&rows)), ("smallest", smallest)] {
            println!("| {speed} | {name} | {} |", gains.map(|v| format!("{v:+.2}")).join(" | "));
        }
    }
    Ok(())
}

/// Returns the gains of all photographs for clips of `count` frames.
pub(super) fn measure(
    photographs: &[RgbImage],
    denoiser: Denoiser,
    speed: f32,
    count: usize,
) -> Result<Vec<Gains>> {
    if photographs.len() < 2 {
        return Err("uncovered areas need two photographs or more".into());
    }
    let next = photographs.iter().cycle().skip(1);
    photographs
        .iter()
        .zip(next)
        .zip(0..)
        .map(|((background, object), seed)| {
            Scene::new(background, object, speed).measure(denoiser, count, seed)
        })
        .collect()
}

/// An object that moves to the right over a background.
struct Scene {
    background: RgbImage,
    object: RgbImage,
    speed: f32,
}

impl Scene {
    /// Takes the object, a quarter as wide and half as high as the scene, from the centre of a
    /// photograph.
    fn new(background: &RgbImage, photograph: &RgbImage, speed: f32) -> Self {
        let background = cropped(background, photograph.dimensions());
        let (width, height) = background.dimensions();
        let object = crop_imm(photograph, width * 3 / 8, height / 4, width / 4, height / 2);
        Self { object: object.to_image(), background, speed }
    }

    /// Returns the left edge of the object in a frame.
    fn left(&self, frame: usize) -> u32 {
        self.background.width() / 8 + (self.speed * frame as f32).round() as u32
    }

    /// Returns the top edge of the object.
    fn top(&self) -> u32 {
        self.background.height() / 4
    }

    /// Returns a frame without noise.
    fn frame(&self, frame: usize) -> RgbImage {
        let mut image = self.background.clone();
        replace(&mut image, &self.object, self.left(frame).into(), self.top().into());
        image
    }

    /// Returns the columns that are covered in the previous frame and not in `frame`.
    fn uncovered_columns(&self, frame: usize) -> Range<usize> {
        let width = self.background.width();
        let [from, to] = [frame - 1, frame].map(|frame| self.left(frame).min(width) as usize);
        from..to
    }

    /// Measures a clip of `count` frames.
    fn measure(&self, denoiser: Denoiser, count: usize, seed: u64) -> Result<Gains> {
        let mut generator = Noise::new(seed);
        let clean: Vec<RgbImage> = (0..count).map(|i| self.frame(i)).collect();
        let noisy: Vec<RawFrame> = frames(clean.iter().map(|image| {
            let mut image = image.clone();
            generator.add(&mut image, SIGMA);
            image
        }))?;
        let clean = clean.iter().map(luma).collect::<Result<Vec<_>>>()?;
        let [single, fused] = ["temporal=false", ""].map(|properties| -> Result<Gains> {
            Ok(self.errors(&denoiser.run(&noisy, properties)?, &clean))
        });
        let (single, fused) = (single?, fused?);
        Ok(std::array::from_fn(|age| 10.0 * (single[age] / fused[age]).log10()))
    }

    /// Returns sums of squared errors in uncovered pixels, by frames since.
    fn errors(&self, planes: &[Vec<u8>], clean: &[Vec<u8>]) -> Gains {
        std::array::from_fn(|age| {
            let first = FIRST..planes.len() - age;
            first.map(|i| self.error(i, &planes[i + age], &clean[i + age])).sum()
        })
    }

    /// Returns the sum of squared errors of a plane in the pixels that `frame` uncovers.
    fn error(&self, frame: usize, plane: &[u8], clean: &[u8]) -> f64 {
        let width = self.background.width() as usize;
        let (top, columns) = (self.top() as usize, self.uncovered_columns(frame));
        let rows = top..top + self.object.height() as usize;
        let squared = |i: usize| (f64::from(plane[i]) - f64::from(clean[i])).powi(2);
        rows.flat_map(|y| columns.clone().map(move |x| y * width + x)).map(squared).sum()
    }
}
