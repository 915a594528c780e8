// SPDX-License-Identifier: MIT OR Apache-2.0

//! Still scenes: how close cnndenoise comes to the plain mean of all noisy frames.

use cnnvideo_eval::{
    Noise, Result,
    camera::{Mosaic, Sensor},
    frame::RawFrame,
};
use image::RgbImage;

use super::{Denoiser, column_means, frames, luma, plane_psnr, smallest};

/// Numbers of frames after which the result is measured.
pub(super) const FRAME_COUNTS: [usize; 3] = [8, 30, 60];

/// Noise of a still scene.
#[derive(Clone, Copy)]
enum StillNoise {
    /// White noise in R, G and B, with the sigma in 8-bit units.
    White(f32),
    /// Noise of a camera.
    Camera(Sensor),
}

/// Noise by name.
const NOISES: [(&str, StillNoise); 3] = [
    ("white, sigma 15", StillNoise::White(15.0)),
    (
        "camera, 400 photons at white, read noise 4",
        StillNoise::Camera(Sensor { photons: 400.0, read_noise: 4.0 }),
    ),
    (
        "camera, 3000 photons at white, read noise 6",
        StillNoise::Camera(Sensor { photons: 3000.0, read_noise: 6.0 }),
    ),
];

/// PSNR of one photograph.
#[derive(Debug)]
pub(super) struct Measures {
    /// The middle one of the frames that are measured, as it is.
    pub(super) noisy: f64,
    /// The same frame with `temporal=false`.
    pub(super) single: f64,
    /// The frames that are measured.
    pub(super) denoised: [f64; 3],
    /// Mean of the noisy frames up to each of them.
    pub(super) mean: [f64; 3],
}

/// Prints a row for each kind of noise.
pub(super) fn run(photographs: &[RgbImage], denoiser: Denoiser) -> Result<()> {
    let columns = |name: &str| FRAME_COUNTS.map(|count| format!("{name} {count}")).join(" | ");
    println!(
        "Static: a still scene; mean over photographs. Last column: smallest difference of a \
         photograph between frame {0} and the mean of {0} noisy frames\n",
        FRAME_COUNTS[1]
    );
    println!(
        "| noise | noisy | temporal=false | {} | {} | smallest difference |",
        columns("frame"),
        columns("mean of")
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, rows) in measure(photographs, denoiser, FRAME_COUNTS)? {
        let values: Vec<_> = rows
            .iter()
            .map(|Measures { noisy, single, denoised: [a, b, c], mean: [d, e, f] }| {
                [*noisy, *single, *a, *b, *c, *d, *e, *f]
            })
            .collect();
        let means = column_means(&values).map(|v| format!("{v:.2}")).join(" | ");
        let worst = smallest(rows.iter().map(|row| row.denoised[1] - row.mean[1]));
        println!("| {name} | {means} | {worst:+.2} |");
    }
    Ok(())
}

/// Returns measures of all photographs for each kind of noise, by name, after `counts` frames in
/// increasing order.
pub(super) fn measure(
    photographs: &[RgbImage],
    denoiser: Denoiser,
    counts: [usize; 3],
) -> Result<Vec<(&'static str, Vec<Measures>)>> {
    let rows = |noise: StillNoise| -> Result<Vec<_>> {
        let numbered = photographs.iter().zip(0..);
        numbered
            .map(|(photograph, seed)| measure_one(photograph, noise, seed, denoiser, counts))
            .collect()
    };
    NOISES.into_iter().map(|(name, noise)| Ok((name, rows(noise)?))).collect()
}

/// Measures one photograph.
fn measure_one(
    photograph: &RgbImage,
    noise: StillNoise,
    seed: u64,
    denoiser: Denoiser,
    counts: [usize; 3],
) -> Result<Measures> {
    let (clean, noisy) = scene(photograph, noise, seed, counts[2])?;
    let denoised = denoiser.run(&noisy, "")?;
    let single = denoiser.run(&noisy[..counts[1]], "temporal=false")?;
    let middle = counts[1] - 1;
    Ok(Measures {
        noisy: plane_psnr(&noisy[middle].first_plane(), &clean),
        single: plane_psnr(&single[middle], &clean),
        denoised: counts.map(|count| plane_psnr(&denoised[count - 1], &clean)),
        mean: counts.map(|count| plane_psnr(&mean_luma(&noisy[..count]), &clean)),
    })
}

/// Returns luma without noise, and `count` noisy frames.
fn scene(
    photograph: &RgbImage,
    noise: StillNoise,
    seed: u64,
    count: usize,
) -> Result<(Vec<u8>, Vec<RawFrame>)> {
    let mut generator = Noise::new(seed);
    match noise {
        StillNoise::White(sigma) => {
            let noisy = (0..count).map(|_| {
                let mut image = photograph.clone();
                generator.add(&mut image, sigma);
                image
            });
            Ok((luma(photograph)?, frames(noisy)?))
        }
        StillNoise::Camera(sensor) => {
            let mosaic = Mosaic::from_image(photograph);
            let noisy = (0..count).map(|_| mosaic.recorded(sensor, &mut generator).developed());
            Ok((luma(&mosaic.developed())?, frames(noisy)?))
        }
    }
}

/// Returns the mean luma of frames.
fn mean_luma(frames: &[RawFrame]) -> Vec<f64> {
    let mut sums = vec![0.0; frames[0].first_plane().len()];
    for frame in frames {
        let plane = frame.first_plane();
        sums.iter_mut().zip(plane).for_each(|(sum, value)| *sum += f64::from(value));
    }
    sums.iter().map(|sum| sum / frames.len() as f64).collect()
}
