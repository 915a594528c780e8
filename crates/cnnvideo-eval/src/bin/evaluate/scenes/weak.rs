// SPDX-License-Identifier: MIT OR Apache-2.0

//! Weak noise on a gradient: the error that remains.

use cnnvideo_eval::{Noise, Result, frame::RawFrame, mse};
use ndarray::Array2;

use super::{Denoiser, LARGEST};

/// Sigmas of the noise of luma in 8-bit units.
const SIGMAS: [f32; 4] = [1.0, 1.5, 2.5, 4.0];
/// Number of frames; the last one is measured.
const FRAMES: usize = 12;
/// Luma at the left edge.
const DARKEST: f32 = 60.0;
/// Pixels for each step of luma.
const PIXELS_PER_STEP: f32 = 32.0;

/// Root mean square errors in 8-bit units.
#[derive(Debug)]
pub(super) struct Measures {
    /// Of the noisy frame.
    pub(super) noisy: f64,
    /// With `temporal=false`.
    pub(super) single: f64,
    /// After cnndenoise.
    pub(super) denoised: f64,
    /// Of the gradient rounded to 8 bits, which no 8-bit output falls below by much.
    pub(super) rounded: f64,
}

/// Prints a row for each sigma.
pub(super) fn run(denoiser: Denoiser) -> Result<()> {
    println!(
        "Weak: a gradient in luma of one step in {PIXELS_PER_STEP} pixels; root mean square error \
         of frame {FRAMES} in 8-bit units\n"
    );
    println!("| sigma | noisy | temporal=false | denoised | rounded gradient |");
    println!("| --- | --- | --- | --- | --- |");
    for sigma in SIGMAS {
        let Measures { noisy, single, denoised, rounded } = measure(denoiser, LARGEST, sigma)?;
        println!("| {sigma} | {noisy:.2} | {single:.2} | {denoised:.2} | {rounded:.2} |");
    }
    Ok(())
}

/// Measures a gradient of `size` (width, height).
pub(super) fn measure(denoiser: Denoiser, size: (u32, u32), sigma: f32) -> Result<Measures> {
    let mut generator = Noise::new(1);
    let shape = (size.1 as usize, size.0 as usize);
    let clean = Array2::from_shape_fn(shape, |(_, x)| DARKEST + x as f32 / PIXELS_PER_STEP);
    let noisy = (0..FRAMES)
        .map(|_| RawFrame::from_luma(&(&clean + &(sigma * generator.plane(size, 0.0)))))
        .collect::<Result<Vec<_>>>()?;
    let clean: Vec<f32> = clean.iter().copied().collect();
    let error = |plane: &[u8]| mse(plane, &clean).sqrt();
    let denoised = |properties: &str| -> Result<f64> {
        Ok(error(&denoiser.run(&noisy, properties)?[FRAMES - 1]))
    };
    let rounded: Vec<u8> = clean.iter().map(|v| v.round() as u8).collect();
    Ok(Measures {
        noisy: error(&noisy[FRAMES - 1].first_plane()),
        single: denoised("temporal=false")?,
        denoised: denoised("")?,
        rounded: error(&rounded),
    })
}
