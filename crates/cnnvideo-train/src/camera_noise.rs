// SPDX-License-Identifier: MIT OR Apache-2.0

//! Synthesis of camera noise: sensor noise after demosaicking, optionally low-pass filtered and
//! compressed.

use rand::{Rng, rngs::StdRng};
use tch::{Kind, Tensor};

use super::{
    Error,
    colour::rgb_to_channels,
    compression::{DctQuantiser, ROUND_UP_FROM},
    noise::{ImageGroup, NoisyBatch, SampleDepth, log_uniform, low_pass_noise},
};
use cnnvideo::denoise::{CONTROL_PER_SIGMA, ColourDomain};

/// Camera noise: shot noise and read noise of a sensor with a Bayer pattern, demosaicked,
/// optionally low-pass filtered (as by scaling) and, for 4:2:0, compressed.
pub(crate) struct CameraNoise {
    /// Planes that the network processes.
    domain: ColourDomain,
    /// Variance of the shot noise per unit of linear light (0 to 1), one value for each image.
    shot_variance: Tensor,
    /// Standard deviation of the read noise in linear light, one value for each image.
    read_sigma: Tensor,
    /// Blend factor between the noise (0) and its low-pass filtered version (1), one value for each
    /// image.
    low_pass_share: Tensor,
    /// Compression of the images; only for 4:2:0.
    compression: Option<Compression>,
    /// Sample depth of the noisy images.
    depth: SampleDepth,
}

/// Share of the batches in 4:2:0 that are compressed.
const COMPRESSED_SHARE: f64 = 0.5;
/// Range of the shot noise variance per unit of linear light.
const SHOT_VARIANCE: [f64; 2] = [3e-4, 2e-2];
/// Range of the read noise standard deviation in linear light.
const READ_SIGMA: [f64; 2] = [1e-3, 3e-2];
/// Exponent of the transfer function between code values and linear light.
const GAMMA: f64 = 2.2;

impl CameraNoise {
    /// Draws the noise of `count` images.
    pub(crate) fn draw(
        domain: ColourDomain,
        count: usize,
        group: ImageGroup,
        depth: SampleDepth,
        rng: &mut StdRng,
    ) -> Self {
        let mut column = |draw: &dyn Fn(&mut StdRng) -> f32| {
            let first = draw(rng);
            let values: Vec<f32> = (0..count)
                .map(|_| if group == ImageGroup::Clip { first } else { draw(rng) })
                .collect();
            Tensor::from_slice(&values).view([count as i64, 1, 1, 1])
        };
        let within = |range: [f64; 2]| move |rng: &mut StdRng| log_uniform(range, rng) as f32;
        Self {
            domain,
            shot_variance: column(&within(SHOT_VARIANCE)),
            read_sigma: column(&within(READ_SIGMA)),
            low_pass_share: column(&|rng| if rng.random_bool(0.5) { 0.0 } else { rng.random() }),
            compression: (domain == ColourDomain::Yuv420 && rng.random_bool(COMPRESSED_SHARE))
                .then(|| Compression::draw(count, group, rng)),
            depth,
        }
    }

    /// Adds sensor noise to RGB images, `[n, 3, height, width]`, values 0 to 255. Each call draws
    /// new noise. Does not compress.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn add_sensor_noise(&self, rgb: &Tensor) -> Result<Tensor, Error> {
        let [shot_variance, read_sigma, low_pass_share] =
            [&self.shot_variance, &self.read_sigma, &self.low_pass_share]
                .map(|t| t.to_device(rgb.device()));
        let light = (rgb / 255.0).f_pow_tensor_scalar(GAMMA)?;
        let noise = light.randn_like() * (shot_variance * &light + read_sigma.square()).f_sqrt()?;
        let noise = demosaic(&noise)?;
        let noise = &noise + low_pass_share * (low_pass_noise(&noise)? * 0.375 - &noise);
        Ok((light + noise).f_clamp(0.0, 1.0)?.f_pow_tensor_scalar(1.0 / GAMMA)? * 255.0)
    }

    /// Adds noise as [`SyntheticNoise::add`](super::noise::SyntheticNoise::add) does. The control
    /// maps hold the measured root mean square of the noise of each image, compression errors
    /// included.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn add(&self, rgb: &Tensor) -> Result<NoisyBatch, Error> {
        let noisy_rgb = self.add_sensor_noise(rgb)?;
        let (clean, mut noisy) =
            (rgb_to_channels(rgb, self.domain)?, rgb_to_channels(&noisy_rgb, self.domain)?);
        if let Some(compression) = &self.compression {
            noisy = compression.compress(&noisy)?;
        }
        if self.depth == SampleDepth::EightBit {
            noisy = (noisy * 255.0).f_round()?.f_clamp(-128.0, 127.0)? / 255.0;
        }
        let size = clean.size();
        let main_channels = if self.domain == ColourDomain::Rgb { size[1] } else { 4 };
        let error = &noisy - &clean;
        let control = |first: i64, count: i64| -> Result<Tensor, tch::TchError> {
            let variance = error.f_narrow(1, first, count)?.f_square()?.f_mean_dim(
                &[1i64, 2, 3][..],
                true,
                Kind::Float,
            )?;
            (variance.f_sqrt()? * (255.0 * f64::from(CONTROL_PER_SIGMA)))
                .f_expand([size[0], 1, size[2], size[3]], false)
        };
        let mut controls = vec![control(0, main_channels)?];
        if main_channels < size[1] {
            controls.push(control(main_channels, size[1] - main_channels)?);
        }
        Ok(NoisyBatch { clean, noisy, controls: Tensor::f_cat(&controls, 1)? })
    }
}

/// Compression parameters of images in 4:2:0.
struct Compression {
    /// DCT quantiser.
    dct_quantiser: DctQuantiser,
    /// Quantisation steps of each image, `[n, 64, 1, 1]`.
    steps: Tensor,
    /// Fraction of a step from which coefficients are rounded up.
    round_up_from: f64,
}

impl Compression {
    /// Draws the parameters of `count` images.
    fn draw(count: usize, group: ImageGroup, rng: &mut StdRng) -> Self {
        let dct_quantiser = DctQuantiser::new();
        let first = dct_quantiser.draw(rng);
        let steps: Vec<_> = (0..count)
            .map(|_| match group {
                ImageGroup::Clip => first.shallow_clone(),
                ImageGroup::Independent => dct_quantiser.draw(rng),
            })
            .collect();
        Self {
            steps: Tensor::cat(&steps, 0),
            dct_quantiser,
            round_up_from: rng.random_range(ROUND_UP_FROM),
        }
    }

    /// Compresses the planes of a 4:2:0 network, `[n, 6, height / 2, width / 2]`.
    fn compress(&self, planes: &Tensor) -> Result<Tensor, Error> {
        let steps = self.steps.to_device(planes.device());
        let coded = |plane: &Tensor| -> Result<Tensor, Error> {
            let coded = self.dct_quantiser.compress(
                &(plane * 255.0 + 128.0),
                &steps,
                self.round_up_from,
            )?;
            Ok((coded.f_clamp(0.0, 255.0)? - 128.0) / 255.0)
        };
        let luma = coded(&planes.f_narrow(1, 0, 4)?.f_pixel_shuffle(2)?)?.f_pixel_unshuffle(2)?;
        let [u, v] = [4, 5].map(|i| planes.narrow(1, i, 1));
        Ok(Tensor::f_cat(&[luma, coded(&u)?, coded(&v)?], 1)?)
    }
}

/// Applies a Bayer pattern and bilinear demosaicking to noise in R, G and B: each pixel keeps one
/// component, the others are interpolated from its neighbours.
fn demosaic(noise: &Tensor) -> Result<Tensor, Error> {
    let size = noise.size();
    let tile = |values: [f32; 4]| Tensor::from_slice(&values).view([1, 1, 2, 2]);
    let sites = Tensor::f_cat(
        &[tile([1.0, 0.0, 0.0, 0.0]), tile([0.0, 1.0, 1.0, 0.0]), tile([0.0, 0.0, 0.0, 1.0])],
        1,
    )?;
    let sites = sites.to_device(noise.device()).f_repeat([
        1,
        1,
        size[2].div_euclid(2) + 1,
        size[3].div_euclid(2) + 1,
    ])?;
    let sites = sites.f_narrow(2, 0, size[2])?.f_narrow(3, 0, size[3])?;
    let line = [0.5f32, 1.0, 0.5];
    let cross = |i: usize, j: usize| line[i] * line[j];
    let plus =
        |i: usize, j: usize| [[0.0, 0.25, 0.0], [0.25, 1.0, 0.25], [0.0, 0.25, 0.0f32]][i][j];
    let kernel = |tap: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
        (0..9).map(|i| tap(i / 3, i % 3)).collect()
    };
    let kernels = [kernel(&cross), kernel(&plus), kernel(&cross)].concat();
    let kernels = Tensor::from_slice(&kernels).view([3, 1, 3, 3]).to_device(noise.device());
    let padded = (noise * sites).f_reflection_pad2d([2, 2, 2, 2])?;
    let filtered = padded.f_conv2d(&kernels, None::<Tensor>, [1, 1], [0, 0], [1, 1], 3)?;
    Ok(filtered.f_narrow(2, 1, size[2])?.f_narrow(3, 1, size[3])?)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use tch::Device;

    use super::*;

    #[test]
    fn camera_noise_matches_its_control_map_and_is_not_white() {
        tch::manual_seed(2);
        let grey = Tensor::full([2, 3, 64, 64], 110.0, (Kind::Float, Device::Cpu));
        let mut rng = StdRng::seed_from_u64(5);
        for domain in [ColourDomain::Yuv420, ColourDomain::Rgb] {
            let batch =
                CameraNoise::draw(domain, 2, ImageGroup::Independent, SampleDepth::Float, &mut rng)
                    .add(&grey)
                    .unwrap();
            let main_channels = if domain == ColourDomain::Rgb { 12 } else { 4 };
            let error = (&batch.noisy - &batch.clean)
                .narrow(0, 0, 1)
                .narrow(1, 0, main_channels)
                .f_pixel_shuffle(2)
                .unwrap()
                * 255.0;
            let variance = |t: &Tensor| t.square().mean(Kind::Float).double_value(&[]);
            let control_sigma = f64::from(batch.sigmas().unwrap()[0]);
            assert!(
                (variance(&error).sqrt() - control_sigma).abs() < 0.01 * control_sigma,
                "{domain:?}"
            );
            // For white noise, the variance of neighbour differences is twice that of the noise.
            let across = error.narrow(3, 1, 63) - error.narrow(3, 0, 63);
            let ratio = variance(&across) / variance(&error);
            assert!((0.1..1.7).contains(&ratio), "{domain:?}: {ratio}");
        }
    }
}
