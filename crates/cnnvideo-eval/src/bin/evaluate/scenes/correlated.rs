// SPDX-License-Identifier: MIT OR Apache-2.0

//! Noise whose neighbouring pixels are correlated: the automatic level beside the given one.

use cnnvideo_eval::{Noise, Result, frame::RawFrame};
use image::RgbImage;

use super::{Denoiser, column_means, frames, luma, plane_psnr, smallest};

/// Sigmas of the noise of R, G and B in 8-bit units.
const SIGMAS: [f32; 3] = [5.0, 14.0, 20.0];
/// Standard deviations in pixels of the Gaussian that blurs the noise; 0 for white noise.
const BLURS: [f32; 8] = [0.0, 0.4, 0.5, 0.6, 0.7, 0.9, 1.1, 1.4];
/// Number of frames; the last one is measured.
const FRAMES: usize = 8;
/// Sigma of luma in limited range for noise that R, G and B share, relative to theirs.
const LUMA_GAIN: f32 = 219.0 / 255.0;

/// PSNR of one photograph.
#[derive(Debug)]
pub(super) struct Measures {
    /// Of the noisy frame.
    pub(super) noisy: f64,
    /// With the level that cnndenoise estimates.
    pub(super) automatic: f64,
    /// With the true level.
    pub(super) given: f64,
}

/// Prints a row for each sigma and blur.
pub(super) fn run(photographs: &[RgbImage], denoiser: Denoiser) -> Result<()> {
    println!(
        "Correlated: noise that R, G and B share, blurred by a Gaussian of some pixels; frame \
         {FRAMES} of a still scene, mean over photographs. Last column: smallest difference of a \
         photograph between the automatic and the given level\n"
    );
    println!("| sigma | blur | noisy | automatic | level given | smallest difference |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for sigma in SIGMAS {
        for blur in BLURS {
            let rows = measure(photographs, denoiser, sigma, blur)?;
            let values: Vec<_> = rows.iter().map(|m| [m.noisy, m.automatic, m.given]).collect();
            let means = column_means(&values).map(|v| format!("{v:.2}")).join(" | ");
            let worst = smallest(rows.iter().map(|m| m.automatic - m.given));
            println!("| {sigma} | {blur} | {means} | {worst:+.2} |");
        }
    }
    Ok(())
}

/// Returns measures of all photographs.
pub(super) fn measure(
    photographs: &[RgbImage],
    denoiser: Denoiser,
    sigma: f32,
    blur: f32,
) -> Result<Vec<Measures>> {
    let given = format!("noise-level={}", sigma * LUMA_GAIN);
    let measure_one = |(photograph, seed): (&RgbImage, u64)| {
        let noisy = scene(photograph, sigma, blur, seed)?;
        let clean = luma(photograph)?;
        let denoised = |properties: &str| -> Result<f64> {
            Ok(plane_psnr(&denoiser.run(&noisy, properties)?[FRAMES - 1], &clean))
        };
        Ok(Measures {
            noisy: plane_psnr(&noisy[FRAMES - 1].first_plane(), &clean),
            automatic: denoised("")?,
            given: denoised(&given)?,
        })
    };
    photographs.iter().zip(0..).map(measure_one).collect()
}

/// Returns the noisy frames.
fn scene(photograph: &RgbImage, sigma: f32, blur: f32, seed: u64) -> Result<Vec<RawFrame>> {
    let mut generator = Noise::new(seed);
    frames((0..FRAMES).map(|_| {
        let plane = generator.plane(photograph.dimensions(), blur);
        let mut image = photograph.clone();
        for (pixel, noise) in image.pixels_mut().zip(&plane) {
            pixel.0 = pixel.0.map(|v| (f32::from(v) + sigma * noise).round() as u8);
        }
        image
    }))
}
