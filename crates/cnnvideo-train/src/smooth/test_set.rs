// SPDX-License-Identifier: MIT OR Apache-2.0

//! Test images for `cnnsmooth`: pairs of an image with texture over structure and the structure
//! alone.

use std::path::Path;

use image::RgbImage;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    drawings::{Drawings, Half, RgbPixels},
    generators::Generator,
    textures::Textures,
};
use crate::{Error, files::write_file};

/// Side of the images in pixels.
const SIDE: usize = 320;
/// Smoothing scales of the images, in turn.
const SCALES: [f32; 4] = [4.0, 8.0, 12.0, 16.0];
/// Range of the standard deviation of the texture in 8-bit units.
const CONTRAST: std::ops::Range<f32> = 8.0..26.0;

/// Where the textures of test images come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextureSource {
    /// Photographs of textures and regular patterns.
    Photographs,
    /// The generators of the half.
    Generators,
}

/// Writes `count` pairs `NUMBER-SCALE-input.png` and `NUMBER-SCALE-target.png`: a drawing with
/// texture of periods up to the scale, and the same drawing without texture.
///
/// The pairs are the same in each call. Parameters must not be tuned on pairs of
/// [`Half::Evaluation`].
///
/// # Errors
/// Folders that cannot be read or written.
pub fn write(
    drawings: &Path,
    textures: &Path,
    out: &Path,
    half: Half,
    source: TextureSource,
    count: usize,
) -> Result<(), Error> {
    let drawings = Drawings::load(drawings, half)?;
    let textures = Textures::load(textures, half, &[], 1)?;
    std::fs::create_dir_all(out).map_err(|err| Error::file(out, err))?;
    for number in 0..count {
        let mut rng = StdRng::seed_from_u64(number as u64);
        let scale = SCALES[number % SCALES.len()];
        let mut scene = drawings.scene(SIDE, 2.0 * scale, &mut rng);
        save(&scene, &out.join(format!("{number:03}-{scale}-target.png")))?;
        let period = scale * rng.random_range(0.5..1.0f32);
        let texture = match source {
            TextureSource::Photographs => textures.fine(SIDE, period, &mut rng),
            TextureSource::Generators => Generator::draw(half, SIDE, period, &mut rng),
        };
        let contrast = rng.random_range(CONTRAST);
        for (pixel, texture) in scene.iter_mut().zip(texture) {
            pixel.iter_mut().for_each(|v| *v += contrast * texture);
        }
        save(&scene, &out.join(format!("{number:03}-{scale}-input.png")))?;
    }
    Ok(())
}

fn save(scene: &RgbPixels, path: &Path) -> Result<(), Error> {
    let picture = RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        image::Rgb(scene[y as usize * SIDE + x as usize].map(|v| (v + 0.5) as u8))
    });
    write_file(path, |temporary| Ok(picture.save(temporary)?))
}
