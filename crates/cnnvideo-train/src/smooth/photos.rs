// SPDX-License-Identifier: MIT OR Apache-2.0

//! Photographs with targets for structure (relative total variation) and edges (annotated
//! boundaries).

use std::path::{Path, PathBuf};

use image::{GrayImage, RgbImage};
use ndarray::Array2;
use rand::{Rng, rngs::StdRng};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{SmoothingOptions, drawings::RgbPixels, patches::TrainingPatch, rtv};
use crate::{
    Error,
    data::{fnv1a, image_files},
};
use cnnvideo::frame::luma::{rgb_to_yuv, yuv_to_rgb};

/// Scales at which the structure of photographs is computed; a hash of the file name selects one.
const PHOTO_SCALES: [f32; 5] = [3.0, 6.0, 10.0, 16.0, 26.0];
/// Ratio of the scale to `sigma` of relative total variation.
const SCALE_OVER_SIGMA: f32 = 2.5;
/// Smoothness weight of relative total variation.
const PHOTO_LAMBDA: f32 = 0.012;
/// Maximum number of photographs; each is used at one scale.
const MAX_PHOTOS: usize = 220;

/// A photograph with its structure at one scale and its annotated boundaries.
pub(super) struct StructurePhoto {
    picture: RgbImage,
    /// Structure of luma, 0 to 255.
    structure: Array2<f32>,
    /// Structure of U and V at half the size, 0 to 255.
    chroma: [Array2<f32>; 2],
    /// Annotated boundaries, 255 where all annotators drew one.
    boundaries: GrayImage,
    /// Scale of the structure in pixels.
    scale: f32,
}

impl StructurePhoto {
    /// Loads the photographs that have annotated boundaries and computes their structure.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be read or sizes differ, [`Error::NoPhotos`] if no
    /// photograph has boundaries.
    pub(super) fn load_all(options: &SmoothingOptions) -> Result<Vec<Self>, Error> {
        let with_boundaries = image_files(&options.photos)?.into_iter().filter_map(|photo| {
            let name = photo.file_stem().expect("a listed file has a name");
            let boundaries = options.boundaries.join(name).with_extension("png");
            boundaries.exists().then_some((photo, boundaries))
        });
        let files: Vec<_> = with_boundaries.take(MAX_PHOTOS).collect();
        let load = |(photo, boundaries): &(PathBuf, PathBuf)| Self::load(photo, boundaries);
        let photos = files.par_iter().map(load).collect::<Result<Vec<_>, _>>()?;
        if photos.is_empty() {
            return Err(Error::NoPhotos(options.photos.display().to_string()));
        }
        Ok(photos)
    }

    /// Loads a photograph and its annotated boundaries, and computes its structure.
    fn load(photo: &Path, boundaries: &Path) -> Result<Self, Error> {
        let open = |file: &Path| image::open(file).map_err(|err| Error::file(file, err));
        let (picture, boundaries) = (open(photo)?.into_rgb8(), open(boundaries)?.into_luma8());
        if picture.dimensions() != boundaries.dimensions() {
            return Err(Error::file(photo, "its annotated boundaries have another size"));
        }
        let name = photo.file_stem().expect("a listed file has a name");
        let scale = PHOTO_SCALES[fnv1a(name.as_encoded_bytes()) as usize % PHOTO_SCALES.len()];
        let pixel = |x: usize, y: usize| {
            let (x, y) =
                ((x as u32).min(picture.width() - 1), (y as u32).min(picture.height() - 1));
            picture.get_pixel(x, y).0.map(f32::from)
        };
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let sigma = scale / SCALE_OVER_SIGMA;
        let plane =
            Array2::from_shape_fn((height, width), |(y, x)| rgb_to_yuv(pixel(x, y))[0] / 255.0);
        let structure = rtv::structure(&plane, PHOTO_LAMBDA, sigma) * 255.0;
        let chroma = [0, 1].map(|i| {
            let plane = Array2::from_shape_fn((height.div_ceil(2), width.div_ceil(2)), |(y, x)| {
                let (x, y) = (2 * x, 2 * y);
                let all = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)];
                all.map(|(x, y)| rgb_to_yuv(pixel(x, y))[1 + i]).iter().sum::<f32>() / 4.0 / 255.0
            });
            rtv::structure(&plane, PHOTO_LAMBDA, (sigma / 2.0).max(0.5)) * 255.0
        });
        Ok(Self { picture, structure, chroma, boundaries, scale })
    }

    /// Draws the structure alone of a random patch of `side` x `side` pixels.
    pub(super) fn structure_patch(&self, side: usize, rng: &mut StdRng) -> RgbPixels {
        self.patch(side, rng).target.into_iter().map(yuv_to_rgb).collect()
    }

    /// Draws a random patch of `side` x `side` pixels.
    pub(super) fn patch(&self, side: usize, rng: &mut StdRng) -> TrainingPatch {
        let x0 = rng.random_range(0..=self.picture.width() as usize - side);
        let y0 = rng.random_range(0..=self.picture.height() as usize - side);
        let flip = rng.random::<bool>();
        let place = |i: usize| {
            let x = if flip { side - 1 - i % side } else { i % side };
            (x0 + x, y0 + i / side)
        };
        let rgb = |i: usize| {
            let (x, y) = place(i);
            self.picture.get_pixel(x as u32, y as u32).0.map(f32::from)
        };
        let edge = |i: usize| {
            let (x, y) = place(i);
            f32::from(self.boundaries.get_pixel(x as u32, y as u32).0[0]) / 255.0
        };
        let structure = |i: usize| {
            let (x, y) = place(i);
            let [u, v] = [0, 1].map(|c| self.chroma[c][[y / 2, x / 2]]);
            [self.structure[[y, x]], u, v]
        };
        let all = 0..side * side;
        TrainingPatch {
            picture: all.clone().map(rgb).collect(),
            target: all.clone().map(structure).collect(),
            edges: all.map(edge).collect(),
            scale: self.scale,
            exact: false,
        }
    }
}
