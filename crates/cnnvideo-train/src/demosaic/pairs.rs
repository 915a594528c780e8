// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training pairs for demosaicking: photographs, and their noisy samples behind a Bayer pattern.

use rand::{Rng, rngs::StdRng};
use tch::{Kind, Tensor};

use crate::{Error, data::PhotoSet, noise::log_uniform, prefetch::BatchSource};
use cnnvideo::demosaic::{CELL_SAMPLES, KERNEL_SIDE, KERNEL_UNIT, KERNELS, control};

/// Share of the photographs that are reduced to half their size, so that their chroma is as sharp
/// as their luma. JPEG files often have chroma of half the size.
const REDUCED_SHARE: f64 = 0.65;
/// Share of the patches with changed saturation, and the range of the factor.
const SATURATED_SHARE: f64 = 0.5;
const SATURATION: [f64; 2] = [0.6, 2.2];
/// Share of the patches whose colours are exchanged.
const EXCHANGED_SHARE: f64 = 0.3;
/// Share of the patches in linear light.
const LINEAR_SHARE: f64 = 0.35;
/// Exponent of the transfer function between code values and linear light.
const GAMMA: f64 = 2.2;
/// Range of the exposure in linear light.
const EXPOSURE: [f64; 2] = [0.25, 1.0];
/// Range of the gains of red and blue in linear light: sensors are more sensitive to green.
const WHITE_BALANCE: [f64; 2] = [0.4, 1.0];
/// Shares of the patches without noise and with noise of one sigma. In the others, its variance
/// grows with the value (shot noise).
const CLEAN_SHARE: f64 = 0.4;
const WHITE_SHARE: f64 = 0.35;
/// Range of the noise sigma in 8-bit units; with shot noise, at a value of 128.
const SIGMA: [f64; 2] = [0.5, 40.0];
/// Share of the patches whose samples are rounded to 8 bits and clipped.
const ROUNDED_SHARE: f64 = 0.6;

/// Patches and their samples behind a Bayer pattern.
pub(super) struct MosaicBatch {
    /// Patches, `[n, 3, side, side]`, values 0 to 255.
    pub clean: Tensor,
    /// Noisy samples of red, green, green and blue, `[n, 4, side / 2, side / 2]`, values 0 to 255.
    pub samples: Tensor,
    /// Noise of each patch.
    pub noise: Noise,
}

/// Variance of the noise: `constant + slope * value`, `[n, 1, 1, 1]` each, in 8-bit units.
pub(super) struct Noise {
    pub constant: Tensor,
    pub slope: Tensor,
}

impl Noise {
    /// Returns noise of one sigma for `count` patches.
    pub(super) fn white(count: usize, sigma: f64) -> Self {
        let all =
            |value| Tensor::full([count as i64, 1, 1, 1], value, (Kind::Float, tch::Device::Cpu));
        Self { constant: all(sigma * sigma), slope: all(0.0) }
    }

    /// Draws the noise of `count` patches.
    fn draw(count: usize, rng: &mut StdRng) -> Self {
        let (mut constants, mut slopes) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let kind: f64 = rng.random();
            let variance = log_uniform(SIGMA, rng).powi(2);
            let (constant, slope) = if kind < CLEAN_SHARE {
                (0.0, 0.0)
            } else if kind < CLEAN_SHARE + WHITE_SHARE {
                (variance, 0.0)
            } else {
                let read_share = rng.random_range(0.01..0.6);
                (variance * read_share, variance * (1.0 - read_share) / 128.0)
            };
            constants.push(constant as f32);
            slopes.push(slope as f32);
        }
        let column = |values: &[f32]| Tensor::from_slice(values).view([count as i64, 1, 1, 1]);
        Self { constant: column(&constants), slope: column(&slopes) }
    }

    /// Returns the noise sigma at `values`.
    fn sigmas(&self, values: &Tensor) -> Result<Tensor, Error> {
        Ok((values.f_clamp(0.0, 255.0)? * &self.slope + &self.constant).f_sqrt()?)
    }
}

impl MosaicBatch {
    /// Adds noise to patches behind a Bayer pattern. The samples are rounded to 8 bits where
    /// `rounded`, `[n, 1, 1, 1]`, is 1.
    pub(super) fn new(clean: Tensor, noise: Noise, rounded: &Tensor) -> Result<Self, Error> {
        let samples = mosaic(&clean)?;
        let noisy = &samples + samples.f_randn_like()? * noise.sigmas(&samples)?;
        let codes = noisy.f_round()?.f_clamp(0.0, 255.0)?;
        let samples = &noisy + rounded * (codes - &noisy);
        Ok(Self { clean, samples, noise })
    }

    /// Returns the network's input, see [`cnnvideo::demosaic::SIGNATURE`].
    pub(super) fn input(&self) -> Result<Tensor, Error> {
        let means = self.samples.f_mean_dim(&[1i64][..], true, Kind::Float)?;
        let sigmas = self.noise.sigmas(&means)?;
        let controls = sigmas * f64::from(control(1.0));
        Ok(Tensor::f_cat(&[(&self.samples - 128.0) / 255.0, controls], 1)?)
    }

    /// Demosaicks the samples linearly: `[n, 3, side, side]`, values about 0 to 255.
    pub(super) fn linear(&self) -> Result<Tensor, Error> {
        let padded = self.samples.f_reflection_pad2d([1, 1, 1, 1])?;
        let kernels = linear_kernels();
        let unshuffled = padded.f_conv2d(&kernels, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?;
        Ok(unshuffled.f_pixel_shuffle(2)?)
    }
}

/// Returns the samples of a Bayer pattern: `[n, 4, side / 2, side / 2]`.
fn mosaic(rgb: &Tensor) -> Result<Tensor, Error> {
    // Channels are red at the four pixels of a cell, then green, then blue.
    let cells = rgb.f_pixel_unshuffle(2)?;
    Ok(cells.f_index_select(1, &Tensor::from_slice(&[0i64, 5, 6, 11]))?)
}

/// Returns linear demosaicking as a convolution of cells, `[12, 4, 3, 3]`.
fn linear_kernels() -> Tensor {
    let samples = CELL_SAMPLES;
    let mut weights = vec![0f32; 3 * samples * samples * 9];
    for (pixel, colours) in KERNELS.iter().enumerate() {
        for (colour, kernel) in colours.iter().enumerate() {
            for (i, weight) in kernel.as_flattened().iter().enumerate() {
                // Position in the 6x6 pixels of 3x3 cells.
                let y = 2 + pixel / 2 + i / KERNEL_SIDE - 2;
                let x = 2 + pixel % 2 + i % KERNEL_SIDE - 2;
                let sample = 2 * (y % 2) + x % 2;
                let row = (samples * colour + pixel) * samples + sample;
                weights[9 * row + 3 * (y / 2) + x / 2] += *weight as f32 / KERNEL_UNIT as f32;
            }
        }
    }
    Tensor::from_slice(&weights).view([12, 4, 3, 3])
}

/// Source of training batches.
pub(super) struct PairSource<'a> {
    pub photos: &'a PhotoSet,
    pub count: usize,
    pub side: usize,
    /// Whether all samples are rounded to 8 bits, as the int8 network reads them.
    pub rounded: bool,
}

impl BatchSource for PairSource<'_> {
    type Batch = MosaicBatch;

    fn draw(&self, rng: &mut StdRng) -> Result<MosaicBatch, Error> {
        let patches = (0..self.count).map(|_| self.clean(rng)).collect::<Result<Vec<_>, _>>()?;
        let noise = Noise::draw(self.count, rng);
        let rounded: Vec<f32> = (0..self.count)
            .map(|_| f32::from(u8::from(self.rounded || rng.random_bool(ROUNDED_SHARE))))
            .collect();
        let rounded = Tensor::from_slice(&rounded).view([-1, 1, 1, 1]);
        MosaicBatch::new(Tensor::f_cat(&patches, 0)?, noise, &rounded)
    }
}

impl PairSource<'_> {
    /// Returns a noise-free patch.
    fn clean(&self, rng: &mut StdRng) -> Result<Tensor, Error> {
        let mut rgb = if rng.random_bool(REDUCED_SHARE) {
            half(&self.photos.patches(rng, 1, 2 * self.side))?
        } else {
            self.photos.patches(rng, 1, self.side)
        };
        if rng.random_bool(SATURATED_SHARE) {
            let grey = rgb.f_mean_dim(&[1i64][..], true, Kind::Float)?;
            rgb = (&grey + (rgb - &grey) * log_uniform(SATURATION, rng)).f_clamp(0.0, 255.0)?;
        }
        if rng.random_bool(EXCHANGED_SHARE) {
            let order = [[1i64, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]];
            let order = order[rng.random_range(0..order.len())];
            rgb = rgb.f_index_select(1, &Tensor::from_slice(&order))?;
        }
        if rng.random_bool(LINEAR_SHARE) {
            let exposure = log_uniform(EXPOSURE, rng);
            let gains = [
                exposure * log_uniform(WHITE_BALANCE, rng),
                exposure,
                exposure * log_uniform(WHITE_BALANCE, rng),
            ]
            .map(|gain| gain as f32);
            let gains = Tensor::from_slice(&gains).view([1, 3, 1, 1]);
            rgb = (rgb / 255.0).f_pow_tensor_scalar(GAMMA)? * gains * 255.0;
        }
        Ok(rgb)
    }
}

/// Returns pictures at half their size.
pub(super) fn half(rgb: &Tensor) -> Result<Tensor, Error> {
    Ok(rgb.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_demosaicking_keeps_slopes() {
        let axis = Tensor::arange(32, (Kind::Float, tch::Device::Cpu));
        let slope = axis.view([1, 1, 1, 32]) * 3.0 + axis.view([1, 1, 32, 1]) + 20.0;
        let clean = slope.repeat([1, 3, 1, 1]);
        let rounded = Tensor::zeros([1, 1, 1, 1], (Kind::Float, tch::Device::Cpu));
        let batch = MosaicBatch::new(clean, Noise::white(1, 0.0), &rounded).unwrap();
        let error = (batch.linear().unwrap() - &batch.clean).narrow(2, 2, 28).narrow(3, 2, 28);
        assert!(error.abs().max().double_value(&[]) < 1e-3);
    }
}
