// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images with structure but without texture: drawings in flat colours, composited over each other.

use std::path::Path;

use image::{RgbaImage, imageops};
use rand::{Rng, rngs::StdRng};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::{
    Error,
    data::{fnv1a, image_files},
};

/// Range of the length that the longer side of a drawing is resized to, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 140..=460;
/// Maximum number of drawings; decoding more takes minutes and gigabytes.
const MAX_DRAWINGS: usize = 3000;

/// Difference between neighbouring pixels, in 8-bit units, that counts as a step.
const STEP: u8 = 14;
/// Maximum share of pixels with a step beside them; drawings with more have texture themselves.
const MAX_STEP_SHARE: f32 = 0.14;

/// The pixels of an image: R, G and B from 0 to 255, row-major.
pub(super) type RgbPixels = Vec<[f32; 3]>;

/// Drawings with transparent backgrounds.
pub(crate) struct Drawings(Vec<RgbaImage>);

/// One of the two halves of the drawings and textures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The half that networks are trained on.
    Training,
    /// The half that is never trained on.
    Evaluation,
}

impl Half {
    /// Returns whether a file belongs to this half; decided by a hash of the file name.
    pub(crate) fn contains(self, path: &Path) -> bool {
        let name = path.file_name().expect("a listed file has a name").to_string_lossy();
        (fnv1a(name.as_bytes()) % 2 == 1) == (self == Self::Evaluation)
    }
}

impl Drawings {
    /// Loads the `.png` files of one half below `folder`. Skips files that do not decode (some
    /// collections contain such files), drawings that are too small, and drawings with too much
    /// texture.
    ///
    /// # Errors
    /// [`Error::File`] if a folder cannot be read, [`Error::NoPhotos`] if it has no usable drawing.
    pub(crate) fn load(folder: &Path, half: Half) -> Result<Self, Error> {
        let mut files = image_files(folder)?;
        files.retain(|f| f.extension().is_some_and(|e| e == "png") && half.contains(f));
        let step = files.len().div_ceil(MAX_DRAWINGS).max(1);
        let drawings: Vec<_> =
            files.par_iter().step_by(step).filter_map(|file| load_drawing(file)).collect();
        if drawings.is_empty() {
            return Err(Error::NoPhotos(folder.display().to_string()));
        }
        Ok(Self(drawings))
    }

    /// Returns the number of drawings.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Draws a scene of `side` by `side` pixels: a uniform or gradient background, drawings, and
    /// bars at least `width` pixels wide.
    pub(crate) fn scene(&self, side: usize, width: f32, rng: &mut StdRng) -> RgbPixels {
        let mut scene = background(side, rng);
        for _ in 0..rng.random_range(1..=3) {
            self.paste(&mut scene, side, rng);
        }
        if rng.random_bool(0.4) {
            for _ in 0..rng.random_range(1..=3) {
                bar(&mut scene, side, width, rng);
            }
        }
        // Leaves headroom so that added texture is not clipped.
        let (low, high) = (rng.random_range(0.0..60.0f32), rng.random_range(190.0..255.0f32));
        scene.iter_mut().flatten().for_each(|v| *v = low + *v / 255.0 * (high - low));
        scene
    }

    /// Places one drawing on a patch so that at least half of it is visible. Returns its colours
    /// and its coverage from 0 to 1.
    pub(crate) fn patch_of_one(&self, side: usize, rng: &mut StdRng) -> (RgbPixels, Vec<f32>) {
        let drawing = &self.0[rng.random_range(0..self.0.len())];
        let (width, height) = (drawing.width() as f32, drawing.height() as f32);
        let scale = rng.random_range(0.25..1.0f32) * side as f32 / width.max(height);
        let x0 =
            rng.random_range(-0.3..=0.3f32) * side as f32 + 0.5 * (side as f32 - scale * width);
        let y0 =
            rng.random_range(-0.3..=0.3f32) * side as f32 + 0.5 * (side as f32 - scale * height);
        let (mut colours, mut coverage) = (vec![[0.0; 3]; side * side], vec![0.0; side * side]);
        for (i, (colour, coverage)) in colours.iter_mut().zip(&mut coverage).enumerate() {
            let x = ((i % side) as f32 + 0.5 - x0) / scale;
            let y = ((i / side) as f32 + 0.5 - y0) / scale;
            if x >= 0.0 && y >= 0.0 && x < width && y < height {
                let [r, g, b, a] = drawing.get_pixel(x as u32, y as u32).0.map(f32::from);
                (*colour, *coverage) = ([r, g, b], a / 255.0);
            }
        }
        (colours, coverage)
    }

    /// Composites a random drawing over the scene.
    fn paste(&self, scene: &mut RgbPixels, side: usize, rng: &mut StdRng) {
        let drawing = &self.0[rng.random_range(0..self.0.len())];
        let (width, height) = (drawing.width() as i32, drawing.height() as i32);
        let half = side as i32 / 2;
        let x0 = rng.random_range(half - width..=half);
        let y0 = rng.random_range(half - height..=half);
        let flip = rng.random::<bool>();
        for y in y0.max(0)..(y0 + height).min(side as i32) {
            for x in x0.max(0)..(x0 + width).min(side as i32) {
                let from = if flip { width - 1 - (x - x0) } else { x - x0 };
                let [r, g, b, a] = drawing.get_pixel(from as u32, (y - y0) as u32).0.map(f32::from);
                let pixel = &mut scene[y as usize * side + x as usize];
                for (to, from) in pixel.iter_mut().zip([r, g, b]) {
                    *to += a / 255.0 * (from - *to);
                }
            }
        }
    }
}

/// Decodes a drawing and resizes it. Returns `None` if it cannot be decoded or is not usable.
fn load_drawing(file: &Path) -> Option<RgbaImage> {
    let picture = image::open(file).ok()?.into_rgba8();
    let longer = picture.width().max(picture.height());
    let name = file.file_name().expect("a listed file has a name").to_string_lossy().into_owned();
    let side = SIDES.start() + (fnv1a(name.as_bytes()) >> 8) as u32 % (SIDES.end() - SIDES.start());
    let scaled = |n: u32| (n * side / longer.max(1)).max(1);
    if longer <= 64 {
        return None;
    }
    let drawing = imageops::resize(
        &picture,
        scaled(picture.width()),
        scaled(picture.height()),
        if side < longer {
            imageops::FilterType::Triangle
        } else {
            imageops::FilterType::CatmullRom
        },
    );
    (step_share(&drawing) < MAX_STEP_SHARE).then_some(drawing)
}

/// Returns the share of a drawing's pixels with a step beside them. It is high for hatching, lace
/// and maps, which are texture themselves.
fn step_share(drawing: &RgbaImage) -> f32 {
    let (width, height) = drawing.dimensions();
    let (mut visible, mut steps) = (0u32, 0u32);
    for y in 0..height.saturating_sub(1) {
        for x in 0..width.saturating_sub(1) {
            let [a, b, c] =
                [(x, y), (x + 1, y), (x, y + 1)].map(|(x, y)| drawing.get_pixel(x, y).0);
            if a[3] < 128 {
                continue;
            }
            let step = |other: [u8; 4]| {
                a.iter()
                    .zip(other)
                    .map(|(a, b)| a.abs_diff(b))
                    .max()
                    .expect("a pixel has components")
            };
            visible += 1;
            steps += u32::from(step(b).max(step(c)) > STEP);
        }
    }
    steps as f32 / visible.max(1) as f32
}

fn colour(rng: &mut StdRng) -> [f32; 3] {
    std::array::from_fn(|_| rng.random_range(0.0..255.0))
}

/// Draws a uniform or gradient background.
pub(crate) fn background(side: usize, rng: &mut StdRng) -> RgbPixels {
    let a = if rng.random_bool(0.4) { [255.0; 3] } else { colour(rng) };
    let b = if rng.random_bool(0.5) { a } else { colour(rng) };
    let (dx, dy) = (rng.random_range(-1.0..1.0f32), rng.random_range(-1.0..1.0f32));
    let at = |i: usize| {
        let (x, y) = ((i % side) as f32 / side as f32 - 0.5, (i / side) as f32 / side as f32 - 0.5);
        (0.5 + x * dx + y * dy).clamp(0.0, 1.0)
    };
    (0..side * side).map(|i| std::array::from_fn(|c| a[c] + at(i) * (b[c] - a[c]))).collect()
}

/// Draws a bar or a disc of random colour with antialiased edges.
fn bar(scene: &mut RgbPixels, side: usize, width: f32, rng: &mut StdRng) {
    let colour = colour(rng);
    let coverage = shape(side, width, rng);
    for (pixel, coverage) in scene.iter_mut().zip(coverage) {
        for (to, from) in pixel.iter_mut().zip(colour) {
            *to += coverage * (from - *to);
        }
    }
}

/// Draws a bar or a disc, at least `width` pixels wide, that is a little lighter or darker than the
/// image under it.
pub(crate) fn faint_bar(scene: &mut RgbPixels, side: usize, width: f32, rng: &mut StdRng) {
    let contrast = rng.random_range(8.0..60.0f32) * if rng.random() { 1.0 } else { -1.0 };
    let coverage = shape(side, width, rng);
    for (pixel, coverage) in scene.iter_mut().zip(coverage) {
        pixel.iter_mut().for_each(|v| *v += coverage * contrast);
    }
}

/// Returns the coverage of each pixel by a random bar or disc, 0 to 1.
fn shape(side: usize, width: f32, rng: &mut StdRng) -> impl Iterator<Item = f32> {
    let angle = rng.random_range(0.0..std::f32::consts::PI);
    let (sin, cos) = angle.sin_cos();
    let half_width = 0.5 * width * rng.random_range(1.0..2.0f32);
    let centre = [rng.random_range(0.0..side as f32), rng.random_range(0.0..side as f32)];
    let half_length =
        if rng.random_bool(0.3) { half_width } else { side as f32 * rng.random_range(0.3..2.0f32) };
    (0..side * side).map(move |i| {
        let (x, y) = ((i % side) as f32 - centre[0], (i / side) as f32 - centre[1]);
        let (across, along) = ((x * cos + y * sin).abs(), (y * cos - x * sin).abs());
        (half_width - across + 0.5).clamp(0.0, 1.0) * (half_length - along + 0.5).clamp(0.0, 1.0)
    })
}
