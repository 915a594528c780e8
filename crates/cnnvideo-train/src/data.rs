// SPDX-License-Identifier: MIT OR Apache-2.0

//! Photographs in memory, split into training and validation set, and random patches of them.

use std::path::{Path, PathBuf};

use image::RgbImage;
use rand::{Rng, rngs::StdRng};
use tch::{Kind, Tensor};

use super::{Error, clips};

/// One in this many photographs is kept for validation, on average.
const VALIDATION_INTERVAL: u64 = 25;
/// Names of folders that hold evaluation data. Files below them are never used for training.
const EXCLUDED_FOLDERS: [&str; 2] = ["eval", "video"];

/// Photographs to train or to validate on.
pub(crate) struct PhotoSet(pub(super) Vec<RgbImage>);

/// All photographs below a folder, split by a hash of the file name.
pub(crate) struct Photos {
    /// Photographs to train on.
    pub(crate) train: PhotoSet,
    /// Photographs to validate on.
    pub(crate) validation: PhotoSet,
}

impl Photos {
    /// Loads every `.jpg` and `.png` below `folder`, except below folders named `eval` or `video`.
    /// Skips photographs whose shorter side is less than `min_side` pixels.
    ///
    /// # Errors
    /// [`Error::File`] if a folder or photograph cannot be read, [`Error::NoPhotos`] if there
    /// are none to train on or none to validate on.
    pub(crate) fn load(folder: &Path, min_side: u32) -> Result<Self, Error> {
        let files = image_files(folder)?;
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for file in &files {
            let picture = image::open(file).map_err(|err| Error::file(file, err))?.into_rgb8();
            if picture.width().min(picture.height()) < min_side {
                continue;
            }
            let name = file.file_name().expect("a listed file has a name").to_string_lossy();
            let set = if is_for_validation(&name, VALIDATION_INTERVAL) {
                &mut validation
            } else {
                &mut train
            };
            set.push(picture);
        }
        if train.is_empty() || validation.is_empty() {
            return Err(Error::NoPhotos(folder.display().to_string()));
        }
        Ok(Self { train: PhotoSet(train), validation: PhotoSet(validation) })
    }
}

impl std::fmt::Display for Photos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [train, validation] = [&self.train, &self.validation].map(|set| set.0.len());
        write!(f, "{train} photographs to train on, {validation} to validate")
    }
}

impl PhotoSet {
    /// Draws `count` random square patches with random flips and transposition:
    /// `[count, 3, side, side]`, values 0 to 255.
    ///
    /// # Panics
    /// If there are no photographs or one is smaller than `side`.
    pub(crate) fn patches(&self, rng: &mut StdRng, count: usize, side: usize) -> Tensor {
        let mut data = Vec::with_capacity(count * side * side * 3);
        for _ in 0..count {
            let photo = &self.0[rng.random_range(0..self.0.len())];
            let x0 = rng.random_range(0..=photo.width() as usize - side);
            let y0 = rng.random_range(0..=photo.height() as usize - side);
            let (flip_x, flip_y, turn) =
                (rng.random::<bool>(), rng.random::<bool>(), rng.random::<bool>());
            crop(photo, &mut data, side, |x, y| {
                let (x, y) = if turn { (y, x) } else { (x, y) };
                (
                    x0 + if flip_x { side - 1 - x } else { x },
                    y0 + if flip_y { side - 1 - y } else { y },
                )
            });
        }
        to_nchw(&data, count, side)
    }

    /// Draws a synthetic clip of `frames` square frames: `[frames, 3, side, side]`, values 0 to
    /// 255.
    pub(crate) fn clip(&self, rng: &mut StdRng, side: usize, frames: usize) -> Tensor {
        let all: Vec<f32> = clips::clip(&self.0, side, frames, rng).into_iter().flatten().collect();
        to_nchw(&all, frames, side)
    }

    /// Returns the central `side` x `side` patch of each of the first `count` photographs, in the
    /// layout of [`Self::patches`].
    pub(crate) fn central_patches(&self, count: usize, side: usize) -> Tensor {
        let photos = &self.0[..count.min(self.0.len())];
        let mut data = Vec::new();
        for photo in photos {
            let (x0, y0) =
                ((photo.width() as usize - side) / 2, (photo.height() as usize - side) / 2);
            crop(photo, &mut data, side, |x, y| (x0 + x, y0 + y));
        }
        to_nchw(&data, photos.len(), side)
    }
}

/// Appends a `side` x `side` crop of `photo` to `data` as R, G, B values. `map` maps coordinates
/// of the crop to coordinates of the photograph.
fn crop(
    photo: &RgbImage,
    data: &mut Vec<f32>,
    side: usize,
    map: impl Fn(usize, usize) -> (usize, usize),
) {
    for y in 0..side {
        for x in 0..side {
            let (px, py) = map(x, y);
            data.extend(photo.get_pixel(px as u32, py as u32).0.map(f32::from));
        }
    }
}

/// Converts interleaved R, G, B values to a float tensor `[count, 3, side, side]`.
fn to_nchw(data: &[f32], count: usize, side: usize) -> Tensor {
    let (count, side) = (count as i64, side as i64);
    Tensor::from_slice(data)
        .view([count, side, side, 3])
        .permute([0, 3, 1, 2])
        .contiguous()
        .to_kind(Kind::Float)
}

/// Returns every image file below a folder in sorted order, except below folders that hold
/// evaluation data.
///
/// # Errors
/// [`Error::File`] if a folder cannot be read.
pub(crate) fn image_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(|err| Error::file(folder, err))? {
        let path = entry.map_err(|err| Error::file(folder, err))?.path();
        if path.is_dir() {
            if !EXCLUDED_FOLDERS.iter().any(|excluded| path.ends_with(excluded)) {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|e| {
            ["jpg", "jpeg", "png"].iter().any(|known| e.eq_ignore_ascii_case(known))
        }) {
            files.push(path);
        }
    }
    Ok(())
}

/// Returns whether a file is kept for validation: one in `interval` files on average, chosen by a
/// hash of the name.
pub(crate) fn is_for_validation(name: &str, interval: u64) -> bool {
    fnv1a(name.as_bytes()).is_multiple_of(interval)
}

/// 64-bit FNV-1a hash (Fowler, Noll, Vo). It makes the split the same on every machine and
/// toolchain.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}
