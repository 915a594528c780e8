// SPDX-License-Identifier: MIT OR Apache-2.0

//! Objects and photographs of which scenes are made, drawn by a seed.

use std::path::Path;

use image::{
    RgbImage,
    imageops::{FilterType, resize},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::layer::Cutout;
use cnnvideo_eval::{Result, images};

/// Smallest size (width, height) in pixels to which photographs are scaled: that of a frame and of
/// the camera's motion.
const BACKGROUND: [u32; 2] = [560, 376];

/// Objects and photographs.
pub(super) struct Material {
    objects: Vec<Cutout>,
    photographs: Vec<RgbImage>,
}

impl Material {
    /// Reads every other object and photograph: the first, third and so on for an odd seed, the
    /// others for an even one. So seeds for development and for figures can have different
    /// material.
    ///
    /// # Errors
    /// A file cannot be read, or there are too few.
    pub(super) fn load(objects: &Path, photographs: &Path, seed: u64) -> Result<Self> {
        let first = usize::from(seed.is_multiple_of(2));
        let mut cutouts = Vec::new();
        for file in images::image_files(&objects.join("images"))?.iter().skip(first).step_by(2) {
            let mask = objects.join("masks").join(images::stem(file)).with_extension("png");
            cutouts.extend(
                Cutout::open(file, &mask).map_err(|err| format!("{}: {err}", file.display()))?,
            );
        }
        let files = images::image_files(photographs)?;
        let photographs = files.iter().skip(first).step_by(2);
        let photographs: Vec<_> =
            photographs.map(|file| Ok(filling(&images::open_rgb(file)?))).collect::<Result<_>>()?;
        if cutouts.is_empty() || photographs.is_empty() {
            return Err("scenes need at least two whole objects and two photographs".into());
        }
        Ok(Self { objects: cutouts, photographs })
    }

    /// Returns a generator of the draws for a scene.
    pub(super) fn draws(&self, seed: u64, scene: u64) -> Draws<'_> {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(scene);
        Draws { material: self, random: StdRng::seed_from_u64(seed) }
    }
}

/// Scales a photograph so that it covers a background.
fn filling(image: &RgbImage) -> RgbImage {
    let scale = (BACKGROUND[0] as f32 / image.width() as f32)
        .max(BACKGROUND[1] as f32 / image.height() as f32);
    let scaled = |n: u32| (n as f32 * scale).ceil() as u32;
    resize(image, scaled(image.width()), scaled(image.height()), FilterType::CatmullRom)
}

/// Reproducible random draws.
pub(super) struct Draws<'a> {
    material: &'a Material,
    random: StdRng,
}

impl Draws<'_> {
    /// Returns a value between two bounds.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        self.random.random_range(low..high)
    }

    /// Returns 1 or -1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.random.random() { 1.0 } else { -1.0 }
    }

    /// Returns an object of 60 to 100 pixels (square root of the area).
    pub(super) fn object(&mut self) -> Cutout {
        let side = self.between(60.0, 100.0);
        let object = self.material.objects.choose(&mut self.random);
        object.expect("there is an object").resized(side, [230.0, 210.0])
    }

    /// Returns a photograph.
    pub(super) fn photograph(&mut self) -> RgbImage {
        let photograph = self.material.photographs.choose(&mut self.random);
        photograph.expect("there is a photograph").clone()
    }
}
