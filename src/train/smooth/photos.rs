//! Photographs with their structure, and where people see edges in them.

use image::{GrayImage, RgbImage};
use ndarray::Array2;
use rand::{Rng, rngs::StdRng};

use super::{Options, Patch, rtv};
use crate::{
    frame::luma::yuv,
    train::{
        Error,
        data::{files_below, fnv1a},
    },
};

/// Scales at which photographs' structure is computed, in turns; relative total variation's `sigma` is this much smaller.
const PHOTO_SCALES: [f32; 4] = [3.0, 6.0, 10.0, 16.0];
const SCALE_OVER_SIGMA: f32 = 2.5;
const PHOTO_LAMBDA: f32 = 0.012;
/// Photographs used, with one scale each.
const MOST_PHOTOS: usize = 220;

/// A photograph, its structure at one scale, and where people see edges.
pub(super) struct Photo {
    picture: RgbImage,
    /// Of luma, and of chroma at half the size.
    structure: Array2<f32>,
    chroma: [Array2<f32>; 2],
    boundaries: GrayImage,
    scale: f32,
}

impl Photo {
    pub fn load_all(options: &Options) -> Result<Vec<Self>, Error> {
        let mut photos = Vec::new();
        for file in files_below(&options.photos)? {
            let name = file.file_stem().unwrap_or_default();
            let boundaries = options.boundaries.join(name).with_extension("png");
            if !boundaries.exists() {
                continue;
            }
            let open =
                |file: &std::path::Path| image::open(file).map_err(|err| Error::file(file, err));
            let (picture, boundaries) = (open(&file)?.into_rgb8(), open(&boundaries)?.into_luma8());
            if picture.dimensions() != boundaries.dimensions() {
                return Err(Error::file(&file, "its boundaries are of another size"));
            }
            let scale = PHOTO_SCALES[fnv1a(name.as_encoded_bytes()) as usize % PHOTO_SCALES.len()];
            let pixel = |x: usize, y: usize| {
                let (x, y) =
                    ((x as u32).min(picture.width() - 1), (y as u32).min(picture.height() - 1));
                picture.get_pixel(x, y).0.map(f32::from)
            };
            let (width, height) = (picture.width() as usize, picture.height() as usize);
            let sigma = scale / SCALE_OVER_SIGMA;
            let plane =
                Array2::from_shape_fn((height, width), |(y, x)| yuv(pixel(x, y))[0] / 255.0);
            let structure = rtv::structure(&plane, PHOTO_LAMBDA, sigma) * 255.0;
            // Chroma at half the size.
            let chroma = [0, 1].map(|i| {
                let plane =
                    Array2::from_shape_fn((height.div_ceil(2), width.div_ceil(2)), |(y, x)| {
                        let (x, y) = (2 * x, 2 * y);
                        let all = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)];
                        all.map(|(x, y)| yuv(pixel(x, y))[1 + i]).iter().sum::<f32>() / 4.0 / 255.0
                    });
                rtv::structure(&plane, PHOTO_LAMBDA, (sigma / 2.0).max(0.5)) * 255.0
            });
            photos.push(Self { picture, structure, chroma, boundaries, scale });
            if photos.len() == MOST_PHOTOS {
                break;
            }
        }
        if photos.is_empty() {
            return Err(Error::NoPhotos(options.photos.display().to_string()));
        }
        Ok(photos)
    }

    pub fn patch(&self, side: usize, rng: &mut StdRng) -> Patch {
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
        Patch {
            picture: all.clone().map(rgb).collect(),
            target: all.clone().map(structure).collect(),
            edges: all.map(edge).collect(),
            scale: self.scale,
            exact: false,
        }
    }
}
