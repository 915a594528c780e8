// SPDX-License-Identifier: MIT OR Apache-2.0

//! Scenes that drift by fractions of a pixel, as with a hand-held camera.

use cnnvideo_eval::{Noise, Result};
use image::{Rgb, RgbImage};

use super::{Denoiser, column_means, frames, luma, plane_psnr};

/// Horizontal speeds in pixels for each frame; the vertical speed is two fifths of it.
const SPEEDS: [f32; 5] = [0.02, 0.05, 0.1, 0.2, 0.3];
/// Number of frames.
const FRAMES: usize = 40;
/// Sigmas of the noise of R, G and B in 8-bit units.
const SIGMAS: [f32; 2] = [5.0, 25.0];

/// PSNR of the last frame: noisy, after `temporal=false`, and denoised.
pub(super) type Measures = [f64; 3];

/// Prints a row for each sigma and speed.
pub(super) fn run(photographs: &[RgbImage], denoiser: Denoiser) -> Result<()> {
    println!(
        "Drift: the whole scene moves by a fraction of a pixel for each frame; frame {FRAMES}, \
         mean over photographs\n"
    );
    println!("| sigma | pixels for each frame | noisy | temporal=false | denoised |");
    println!("| --- | --- | --- | --- | --- |");
    for sigma in SIGMAS {
        for speed in SPEEDS {
            let rows = measure(photographs, denoiser, sigma, speed, FRAMES)?;
            let means = column_means(&rows).map(|v| format!("{v:.2}")).join(" | ");
            println!("| {sigma} | {speed} | {means} |");
        }
    }
    Ok(())
}

/// Returns measures of all photographs after `count` frames.
pub(super) fn measure(
    photographs: &[RgbImage],
    denoiser: Denoiser,
    sigma: f32,
    speed: f32,
    count: usize,
) -> Result<Vec<Measures>> {
    photographs
        .iter()
        .zip(0..)
        .map(|(photograph, seed)| {
            let mut generator = Noise::new(seed);
            let clean: Vec<_> = (0..count).map(|i| shifted(photograph, speed * i as f32)).collect();
            let noisy = frames(clean.iter().map(|image| {
                let mut image = image.clone();
                generator.add(&mut image, sigma);
                image
            }))?;
            let last = luma(&clean[count - 1])?;
            let result = |properties: &str| -> Result<f64> {
                Ok(plane_psnr(&denoiser.run(&noisy, properties)?[count - 1], &last))
            };
            let of_noisy = plane_psnr(&noisy[count - 1].first_plane(), &last);
            Ok([of_noisy, result("temporal=false")?, result("")?])
        })
        .collect()
}

/// Returns an image moved to the left by `distance` pixels and upwards by two fifths of it, with
/// cubic interpolation. Border pixels are repeated.
fn shifted(image: &RgbImage, distance: f32) -> RgbImage {
    let (width, height) = image.dimensions();
    let (x_taps, y_taps) = (taps(distance), taps(0.4 * distance));
    let pixel = |x: i64, y: i64| {
        let clamped = |at: i64, length: u32| at.clamp(0, i64::from(length) - 1) as u32;
        image.get_pixel(clamped(x, width), clamped(y, height)).0.map(f32::from)
    };
    RgbImage::from_fn(width, height, |x, y| {
        let mut sum = [0.0f32; 3];
        for (dy, of_row) in y_taps {
            for (dx, of_column) in x_taps {
                let values = pixel(i64::from(x) + dx, i64::from(y) + dy);
                for (sum, value) in sum.iter_mut().zip(values) {
                    *sum += of_row * of_column * value;
                }
            }
        }
        Rgb(sum.map(|value| value.round() as u8))
    })
}

/// Returns the offsets and weights of cubic interpolation (Keys, "Cubic convolution interpolation
/// for digital image processing", IEEE Transactions on Acoustics, Speech, and Signal Processing
/// 29(6), 1981) at a distance.
fn taps(distance: f32) -> [(i64, f32); 4] {
    let (whole, t) = (distance.floor() as i64, distance - distance.floor());
    let weights = [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ];
    [0, 1, 2, 3].map(|i| (whole + i as i64 - 1, weights[i]))
}
