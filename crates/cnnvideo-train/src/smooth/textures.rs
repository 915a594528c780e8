// SPDX-License-Identifier: MIT OR Apache-2.0

//! Textures of a known period: photographed textures after a high-pass, and regular patterns.

use std::{f32::consts::TAU, path::Path};

use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::drawings::Half;
use crate::{Error, data::image_files};
use cnnvideo::smooth::texture_period;

/// Ratio of the period to the standard deviation of the Gaussian that the high-pass subtracts. Of a
/// wave of twice the period, an eighth of the amplitude is left.
const HIGH_PASS: f32 = 6.0;

/// Side of a tile in pixels.
const SIDE: usize = 256;
/// Periods in pixels that tiles are created for.
const PERIODS: [f32; 10] = [1.7, 2.4, 3.4, 4.8, 6.7, 9.5, 13.5, 19.0, 27.0, 38.0];
/// Share of the textures that are regular patterns. The others are photographed.
const PATTERN_SHARE: f64 = 0.35;
/// Number of tiles from each photograph.
const TILES: usize = 6;
/// Quantisation of a tile's values: units for a standard deviation of 1.
const STEPS: f32 = 32.0;

/// Cuts of the high-pass relative to the nominal period of a texture. Elements of one period differ
/// in size and brightness, which is energy above the period and part of the texture.
pub(super) const CUTS: [f32; 3] = [1.0, 1.8, 3.0];

/// High-pass filtered tiles of photographed textures, with mean 0 and standard deviation 1, by
/// the nearest period above their spectral centroid (order of [`PERIODS`]).
pub(super) struct Textures(Vec<Vec<Array2<i8>>>);

impl Textures {
    /// Creates tiles from the photographs of one half below `folder`. Skips folders with a name
    /// in `held_back`.
    ///
    /// # Errors
    /// [`Error::File`] if a folder or image cannot be read, [`Error::NoPhotos`] if there is no
    /// texture of a known period.
    pub(super) fn load(
        folder: &Path,
        half: Half,
        held_back: &[String],
        seed: u64,
    ) -> Result<Self, Error> {
        let mut files = image_files(folder)?;
        files.retain(|f| half.contains(f) && !held_back.iter().any(|class| is_of_class(f, class)));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut tiles: Vec<Vec<_>> = PERIODS.map(|_| Vec::new()).into();
        for file in &files {
            let picture = image::open(file).map_err(|err| Error::file(file, err))?.into_luma8();
            let (width, height) = (picture.width() as usize, picture.height() as usize);
            let plane = Array2::from_shape_fn((height, width), |(y, x)| {
                f32::from(picture.get_pixel(x as u32, y as u32).0[0])
            });
            for i in 0..TILES {
                let period = PERIODS[(i * 3 + rng.random_range(0..3)) % PERIODS.len()];
                let cut = period * CUTS[rng.random_range(0..CUTS.len())];
                let tile = high_pass_of_period(&random_tile(&plane, &mut rng), cut);
                let period = texture_period(&tile.view()).unwrap_or(f32::INFINITY);
                if let Some(period) = PERIODS.iter().position(|p| period <= *p) {
                    tiles[period].push(tile.mapv(|v| (v * STEPS).round() as i8));
                }
            }
        }
        if tiles.iter().all(Vec::is_empty) {
            return Err(Error::NoPhotos(folder.display().to_string()));
        }
        Ok(Self(tiles))
    }

    /// Returns a random texture of `side` x `side` pixels whose period is at most `period`, with
    /// mean 0 and a standard deviation near 1.
    pub(super) fn fine(&self, side: usize, period: f32, rng: &mut StdRng) -> Vec<f32> {
        if rng.random_bool(PATTERN_SHARE) {
            return pattern(side, period, rng);
        }
        let periods = self.0.iter().zip(PERIODS).take_while(|(_, p)| *p <= period * 1.02);
        let Some((tiles, _)) = periods.filter(|(tiles, _)| !tiles.is_empty()).last() else {
            return pattern(side, period, rng);
        };
        let tile = &tiles[rng.random_range(0..tiles.len())];
        let (x0, y0) = (rng.random_range(0..SIDE), rng.random_range(0..SIDE));
        let (transpose, flip) = (rng.random::<bool>(), rng.random::<bool>());
        let mirrored =
            |n: usize| if n % (2 * SIDE) < SIDE { n % SIDE } else { SIDE - 1 - n % SIDE };
        (0..side * side)
            .map(|i| {
                let (x, y) = if transpose { (i / side, i % side) } else { (i % side, i / side) };
                let x = if flip { side - 1 - x } else { x };
                f32::from(tile[[mirrored(y0 + y), mirrored(x0 + x)]]) / STEPS
            })
            .collect()
    }
}

/// Returns whether the folder of `file` has the name `class`.
fn is_of_class(file: &Path, class: &str) -> bool {
    file.parent().and_then(Path::file_name).is_some_and(|folder| folder == class)
}

/// Returns a regular pattern of one period: stripes, checks or dots, with soft or hard edges; mean
/// 0 and standard deviation 1.
pub(super) fn pattern(side: usize, period: f32, rng: &mut StdRng) -> Vec<f32> {
    let angle = rng.random_range(0.0..TAU);
    let (sin, cos) = angle.sin_cos();
    let (phase_x, phase_y) = (rng.random_range(0.0..TAU), rng.random_range(0.0..TAU));
    let kind = rng.random_range(0..3);
    // Hard edges need a few pixels for each period.
    let hardness = if period > 4.0 { rng.random_range(0.0..6.0f32) } else { 0.0 };
    let (warp_amplitude, radius) =
        (rng.random_range(0.0..1.5f32), rng.random_range(3.0..9.0f32) * period);
    let values: Vec<f32> = (0..side * side)
        .map(|i| {
            let (x, y) = ((i % side) as f32, (i / side) as f32);
            let (u, v) = (x * cos + y * sin, y * cos - x * sin);
            let warp = warp_amplitude * (v / radius * TAU).sin();
            let a = (u / period * TAU + phase_x + warp).sin();
            let b = (v / period * TAU + phase_y).sin();
            let value = match kind {
                0 => a,
                1 => a * b,
                _ => (a + b) * 0.5,
            };
            if hardness > 0.5 { (value * hardness).tanh() } else { value }
        })
        .collect();
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let std = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / values.len() as f32)
        .sqrt()
        .max(1e-3);
    values.into_iter().map(|v| (v - mean) / std).collect()
}

/// Returns a random smooth displacement of up to 12 pixels, as on curved surfaces.
fn bend(rng: &mut StdRng) -> impl Fn(f32) -> f32 + use<> {
    let length = rng.random_range(120.0..400.0f32);
    let (amplitude, phase) = (rng.random_range(0.0..12.0f32), rng.random_range(0.0..TAU));
    move |at| amplitude * (at / length * TAU + phase).sin()
}

/// Resamples a tile of an image with random rotation, scale and bending; mirrors the image beyond
/// its edges.
fn random_tile(plane: &Array2<f32>, rng: &mut StdRng) -> Array2<f32> {
    let (height, width) = plane.dim();
    let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
    let scale = rng.random_range(0.6..1.6f32);
    let bends = [bend(rng), bend(rng)];
    let mirrored = |n: i32, size: usize| {
        let n = n.rem_euclid(2 * size as i32) as usize;
        if n < size { n } else { 2 * size - 1 - n }
    };
    Array2::from_shape_fn((SIDE, SIDE), |(y, x)| {
        let (x, y) =
            ((x as f32 - SIDE as f32 / 2.0) * scale, (y as f32 - SIDE as f32 / 2.0) * scale);
        let (x, y) = (x + bends[0](y), y + bends[1](x));
        let (u, v) =
            (x * cos + y * sin + width as f32 / 2.0, y * cos - x * sin + height as f32 / 2.0);
        let (i, j) = (u.floor(), v.floor());
        let at = |dx: i32, dy: i32| {
            plane[[mirrored(j as i32 + dy, height), mirrored(i as i32 + dx, width)]]
        };
        let (a, b) = (u - i, v - j);
        (1.0 - b) * ((1.0 - a) * at(0, 0) + a * at(1, 0))
            + b * ((1.0 - a) * at(0, 1) + a * at(1, 1))
    })
}

/// Removes periods above `period` from a plane, and normalises it to mean 0 and standard deviation
/// 1.
pub(super) fn high_pass_of_period(plane: &Array2<f32>, period: f32) -> Array2<f32> {
    let mut fine = high_pass(plane, period / HIGH_PASS);
    let mean = fine.mean().expect("a texture has pixels");
    let std = fine.std(0.0).max(1e-3);
    fine.mapv_inplace(|v| (v - mean) / std);
    fine
}

/// Subtracts the Gaussian mean from a plane.
fn high_pass(plane: &Array2<f32>, sigma: f32) -> Array2<f32> {
    plane - &gaussian_blur(plane, sigma)
}

/// Returns the Gaussian mean of a plane, mirrored beyond its edges.
pub(super) fn gaussian_blur(plane: &Array2<f32>, sigma: f32) -> Array2<f32> {
    let radius = (3.0 * sigma).ceil() as i32;
    let taps: Vec<f32> =
        (-radius..=radius).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let sum: f32 = taps.iter().sum();
    let across = |plane: &Array2<f32>| {
        let width = plane.ncols() as i32;
        let place = |x: i32| {
            let x = x.rem_euclid(2 * width);
            (if x < width { x } else { 2 * width - 1 - x }) as usize
        };
        let mut result = Array2::zeros(plane.dim());
        for (row, mut to) in plane.rows().into_iter().zip(result.rows_mut()) {
            let padded: Vec<f32> = (-radius..width + radius).map(|x| row[place(x)]).collect();
            for (to, window) in to.iter_mut().zip(padded.windows(taps.len())) {
                *to = window.iter().zip(&taps).map(|(v, t)| v * t).sum::<f32>() / sum;
            }
        }
        result
    };
    across(&across(plane).reversed_axes().as_standard_layout().to_owned())
        .reversed_axes()
        .as_standard_layout()
        .to_owned()
}
