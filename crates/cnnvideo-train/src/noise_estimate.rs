// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training of the noise estimator: a network that predicts a map of noise sigma for one component.
//!
//! Its input are squares of single components, four beside each other as the element lays them out.
//! At each position it predicts the logarithm of the noise sigma and the log scale of the error of
//! that prediction. The loss is the negative log-likelihood of a Laplace distribution with the
//! predicted scale (Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for
//! Computer Vision?", NeurIPS 2017). The idea of a sigma map is from Guo et al., "Toward
//! Convolutional Blind Denoising of Real Photographs" (CVPR 2019).

use std::path::PathBuf;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::{Device, Kind, Tensor};

use super::{
    Error,
    camera_noise::CameraNoise,
    colour::{rgb_to_luma, weights_and_offset},
    compression::{DctQuantiser, ROUND_UP_FROM},
    data::Photos,
    noise::{ImageGroup, SampleDepth, blurred_noise, log_uniform},
    prefetch::BatchSource,
    run::{self, RunOptions, TrainingTask},
};
use cnnvideo::{
    denoise::{
        ColourDomain,
        estimate::{LOG_OFFSET, MAX_LOG_UNCERTAINTY, ROOT_SCALE},
    },
    nn::{self, arch::Graph},
};

/// Share of the squares that are luma, R, G or B at full resolution. The others are chroma at half
/// resolution.
const FULL_RESOLUTION_SHARE: f64 = 0.6;
/// Share of the squares with camera noise.
const CAMERA_SHARE: f64 = 0.4;
/// Share without noise, among the squares without camera noise.
const CLEAN_SHARE: f64 = 0.1;
/// Share of the squares that are compressed.
const COMPRESSED_SHARE: f64 = 0.4;
/// Range of the sigma of synthetic (not camera) noise in 8-bit units.
const SIGMA_RANGE: [f64; 2] = [0.5, 65.0];
/// Share of the squares whose synthetic noise is blurred, as by demosaicking or scaling.
const BLURRED_SHARE: f64 = 0.45;
/// Share of the blurred squares that are blurred in one direction only, as by analogue video.
const STREAKED_SHARE: f64 = 0.15;
/// Range of the standard deviation of the Gaussian blur in pixels.
const BLUR_RANGE: [f64; 2] = [0.3, 2.0];
/// Side in pixels of the areas over which the true noise sigma is measured where it varies within a
/// square.
const AREA: i64 = 16;
/// Number of validation photographs.
const VALIDATION_PICTURES: usize = 24;
/// Side of the validation patches in pixels.
const VALIDATION_SIDE: usize = 256;

/// Options of a training run for the noise estimator.
#[derive(Debug, Clone)]
pub struct NoiseEstimationOptions {
    /// Options that all trainings share. `batch_size` is the number of mosaics; each consists of
    /// four squares of half its `patch_side`.
    pub run: RunOptions,
    /// Folder with the photographs.
    pub data: PathBuf,
}

/// Trains the noise estimator to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Options that this training does not support, files that cannot be read or written, a checkpoint
/// that does not fit, a loss that is no longer finite.
pub fn train(options: &NoiseEstimationOptions) -> Result<(), Error> {
    if options.run.quantise {
        return Err(Error::QuantisationUnsupported("the noise estimator"));
    }
    if options.run.device != nn::Device::Cpu {
        return Err(Error::CpuOnly("the noise estimator"));
    }
    let photos = Photos::load(&options.data, options.run.patch_side.max(VALIDATION_SIDE) as u32)?;
    println!("{photos}");
    let graph = options.run.architecture.graph()?;
    let validation = photos.validation.central_patches(VALIDATION_PICTURES, VALIDATION_SIDE);
    let mut task =
        NoiseEstimationTask { graph: &graph, validation, dct_quantiser: DctQuantiser::new() };
    run::run(&options.run, &graph, &SquareSource(options, &photos), &mut task)
}

/// Source of training batches.
struct SquareSource<'a>(&'a NoiseEstimationOptions, &'a Photos);

/// Data of one training step: clean patches and their properties.
struct SquareBatch {
    /// Clean patches, `[count, 3, side, side]`, values 0 to 255.
    rgb: Tensor,
    /// Properties of each patch.
    properties: Vec<SquareProperties>,
}

impl BatchSource for SquareSource<'_> {
    type Batch = SquareBatch;

    fn draw(&self, rng: &mut StdRng) -> Result<SquareBatch, Error> {
        let run = &self.0.run;
        let rgb = self.1.train.patches(rng, 4 * run.batch_size, run.patch_side);
        Ok(SquareBatch {
            rgb,
            properties: (0..4 * run.batch_size).map(|_| SquareProperties::draw(rng)).collect(),
        })
    }
}

/// Properties of one square: its noise and its component.
#[derive(Debug, Clone, Copy)]
struct SquareProperties {
    /// Whether the noise is camera noise.
    camera: bool,
    /// Sigma of synthetic noise in 8-bit units, 0 for none.
    sigma: f32,
    /// Standard deviations, across and down, of the Gaussian that the synthetic noise is blurred
    /// with, in pixels; 0 for none.
    blur: [f64; 2],
    /// Whether the square is compressed after noise was added.
    compressed: bool,
    /// Number from which [`components`] derives the component: luma, R, G, B, U or V.
    component: usize,
}

impl SquareProperties {
    fn draw(rng: &mut StdRng) -> Self {
        let camera = rng.random_bool(CAMERA_SHARE);
        let sigma = if camera || rng.random_bool(CLEAN_SHARE) {
            0.0
        } else {
            log_uniform(SIGMA_RANGE, rng) as f32
        };
        Self {
            camera,
            sigma,
            blur: Self::draw_blur(rng),
            compressed: rng.random_bool(COMPRESSED_SHARE),
            component: rng.random_range(0..12),
        }
    }

    fn draw_blur(rng: &mut StdRng) -> [f64; 2] {
        if !rng.random_bool(BLURRED_SHARE) {
            return [0.0; 2];
        }
        let blur = log_uniform(BLUR_RANGE, rng);
        if rng.random_bool(STREAKED_SHARE) {
            return if rng.random_bool(0.8) { [blur, 0.0] } else { [0.0, blur] };
        }
        [blur; 2]
    }
}

/// Extracts one component of each patch, `[n, 1, side, side]`: of the first `full_resolution_count`
/// patches luma, R, G or B at full resolution, of the others chroma at half resolution.
fn components(
    rgb: &Tensor,
    full_resolution_count: i64,
    side: i64,
    properties: &[SquareProperties],
) -> Result<Tensor, Error> {
    // Weights of R, G and B, then the offset, of luma, R, G and B, and of U and V.
    const FULL_RESOLUTION: [[f32; 4]; 4] =
        [weights_and_offset(0), [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    const CHROMA: [[f32; 4]; 2] = [weights_and_offset(1), weights_and_offset(2)];
    let mixed =
        |first: i64, count: i64, of: &dyn Fn(usize) -> [f32; 4]| -> Result<Tensor, Error> {
            let weights: Vec<f32> =
                (first..first + count).flat_map(|i| of(properties[i as usize].component)).collect();
            let weights = Tensor::from_slice(&weights).view([count, 4, 1, 1]);
            let sum = (rgb.f_narrow(0, first, count)? * weights.f_narrow(1, 0, 3)?)
                .f_sum_dim_intlist(1, true, Kind::Float)?;
            Ok(sum + weights.f_narrow(1, 3, 1)?)
        };
    let count = rgb.size()[0];
    // Half of the squares at full resolution are luma.
    let component = |n: usize| FULL_RESOLUTION[if n.is_multiple_of(2) { 0 } else { 1 + n / 2 % 3 }];
    let main = mixed(0, full_resolution_count, &component)?;
    let main = main.f_narrow(2, 0, side)?.f_narrow(3, 0, side)?;
    let chroma = mixed(full_resolution_count, count - full_resolution_count, &|n| CHROMA[n % 2])?;
    let chroma = chroma.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
    Ok(Tensor::f_cat(&[main, chroma], 0)?)
}

/// Draws camera noise for independent RGB images.
fn camera_noise(count: usize, rng: &mut StdRng) -> CameraNoise {
    CameraNoise::draw(ColourDomain::Rgb, count, ImageGroup::Independent, SampleDepth::Float, rng)
}

/// Combines four squares each to a 2x2 mosaic. Takes them from the four quarters of the batch, so
/// that each mosaic has squares of different kinds.
fn mosaic(squares: &Tensor) -> Result<Tensor, Error> {
    let size = squares.size();
    let (count, channels, side) = (size[0] / 4, size[1], size[2]);
    let pictures =
        squares.f_view([2, 2, count, channels, side, side])?.f_permute([2, 3, 0, 4, 1, 5])?;
    Ok(pictures.f_reshape([count, channels, 2 * side, 2 * side])?)
}

/// Computes the network's input from planes of one component, `[n, 1, height, width]`; see
/// [`SIGNATURE`](cnnvideo::denoise::estimate::SIGNATURE).
fn input(picture: &Tensor) -> Result<Tensor, Error> {
    let cells = picture.f_pixel_unshuffle(2)?;
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| cells.narrow(1, i, 1));
    let haar = [&a - &b + &c - &d, &a + &b - &c - &d, &a - &b - &c + &d].map(|sum| sum * 0.5);
    let mean = (&a + &b + &c + &d) * 0.25;
    let previous_difference = |dim: i64| -> Result<Tensor, Error> {
        let length = mean.size()[dim as usize];
        let others =
            Tensor::f_cat(&[&mean.narrow(dim, 0, 1), &mean.narrow(dim, 0, length - 1)], dim)?;
        Ok((&mean - others) * std::f64::consts::SQRT_2)
    };
    let differences = Tensor::f_cat(
        &[&haar[0], &haar[1], &haar[2], &previous_difference(3)?, &previous_difference(2)?],
        1,
    )?;
    let compressed = differences.sign() * differences.abs().f_sqrt()? * f64::from(ROOT_SCALE);
    Ok(Tensor::f_cat(&[compressed, (mean - 128.0) / 255.0], 1)?)
}

/// Name of a kind of noise, noisy luma planes, and the true sigma of each plane (`None` if it has
/// no noise).
type Condition = (&'static str, Tensor, Option<Tensor>);

/// The training task: noise estimation.
struct NoiseEstimationTask<'a> {
    graph: &'a Graph,
    /// Clean validation patches, `[count, 3, side, side]`.
    validation: Tensor,
    dct_quantiser: DctQuantiser,
}

impl TrainingTask<SquareBatch> for NoiseEstimationTask<'_> {
    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        batch: SquareBatch,
        rng: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let count = batch.properties.len() as i64;
        let full_resolution_count =
            ((FULL_RESOLUTION_SHARE * count as f64) as i64).clamp(1, count - 1);
        let (noisy, sigma) = self.noisy(
            &batch.rgb,
            full_resolution_count,
            batch.rgb.size()[2] / 2,
            &batch.properties,
            rng,
        )?;
        let sigma = mosaic(&sigma.f_slice(2, None, None, 2)?.f_slice(3, None, None, 2)?)?;
        let [log_sigma, log_scale] = self.predict(weights, &mosaic(&input(&noisy)?)?, kind)?;
        let error = log_sigma - (sigma + f64::from(LOG_OFFSET)).f_log()?;
        let negative_log_likelihood = error.abs() * (-&log_scale).f_exp()? + log_scale;
        // The loop reports losses times 255.
        Ok(negative_log_likelihood.mean(Kind::Float) / 255.0)
    }

    /// Returns the mean relative error of the estimates by kind of noise, in percent and negated,
    /// so that larger is better. Where there is no noise, returns the negated mean estimate in
    /// 8-bit units.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let mut results = Vec::new();
        for (name, noisy, truth) in self.conditions()? {
            let estimate = self.estimate(weights, &noisy.f_round()?.f_clamp(0.0, 255.0)?)?;
            let figure = match truth {
                Some(truth) => (estimate / truth).f_log()?.abs() * 100.0,
                None => estimate,
            };
            results.push((name.to_owned(), -figure.mean(Kind::Float).double_value(&[])));
        }
        Ok(results)
    }
}

impl NoiseEstimationTask<'_> {
    /// Returns luma of the validation patches with fixed noise of several kinds, and the true
    /// sigmas.
    fn conditions(&self) -> Result<Vec<Condition>, Error> {
        let rgb = &self.validation;
        let count = rgb.size()[0];
        let difference = |a: &Tensor, b: &Tensor| -> Result<Tensor, Error> {
            Ok((a - b).f_square()?.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?.f_sqrt()?)
        };
        tch::manual_seed(1);
        let clean = rgb_to_luma(rgb)?;
        let white = |(name, sigma): (&'static str, f64)| {
            let truth = Tensor::full([count], sigma, (Kind::Float, Device::Cpu));
            (name, &clean + clean.randn_like() * sigma, Some(truth))
        };
        let mut all = vec![("clean", clean.shallow_clone(), None)];
        all.extend([("2", 2.0), ("5", 5.0), ("15", 15.0), ("25", 25.0), ("50", 50.0)].map(white));
        let blurred = |(name, blur): (&'static str, f64)| -> Result<Condition, Error> {
            let unit = blurred_noise(&clean.randn_like(), &vec![[blur; 2]; count as usize])?;
            let truth = Tensor::full([count], 15.0, (Kind::Float, Device::Cpu));
            Ok((name, &clean + unit * 15.0, Some(truth)))
        };
        for condition in [("15 blur 0.5", 0.5), ("15 blur 0.7", 0.7), ("15 blur 1.4", 1.4)] {
            all.push(blurred(condition)?);
        }
        let mut rng = StdRng::seed_from_u64(1);
        let camera = rgb_to_luma(&camera_noise(count as usize, &mut rng).add_sensor_noise(rgb)?)?;
        let compress = |picture: &Tensor| {
            self.dct_quantiser.compress(picture, &(&self.dct_quantiser.jpeg_steps * 0.3), 0.5)
        };
        let (compressed, reference) = (compress(&camera)?, compress(&clean)?);
        let remaining_noise = difference(&compressed, &reference)?;
        let truth = (remaining_noise.square()
            + remaining_noise.f_minimum(&difference(&reference, &clean)?)?.square())
        .f_sqrt()?;
        all.push(("compressed", compressed, Some(truth)));
        let truth = difference(&camera, &clean)?;
        all.push(("camera", camera, Some(truth)));
        Ok(all)
    }

    /// Adds noise and compression to squares; the first `full_resolution_count` of them have
    /// components at full resolution. Returns the noisy squares and the true noise sigma at each
    /// pixel.
    fn noisy(
        &self,
        rgb: &Tensor,
        full_resolution_count: i64,
        side: i64,
        properties: &[SquareProperties],
        rng: &mut StdRng,
    ) -> Result<(Tensor, Tensor), Error> {
        let count = properties.len() as i64;
        let column = |value: &dyn Fn(&SquareProperties) -> f32| {
            Tensor::from_slice(&properties.iter().map(value).collect::<Vec<_>>())
                .view([count, 1, 1, 1])
        };
        let flag = |value: bool| f32::from(u8::from(value));
        let camera = column(&|p| flag(p.camera));
        let noisy_rgb = camera_noise(count as usize, rng).add_sensor_noise(rgb)?;
        let noisy_rgb = rgb + &camera * (noisy_rgb - rgb);
        let plane = |rgb: &Tensor| components(rgb, full_resolution_count, side, properties);
        let (clean, mut noisy) = (plane(rgb)?, plane(&noisy_rgb)?);

        let blurs: Vec<_> = properties.iter().map(|p| p.blur).collect();
        let unit = blurred_noise(&clean.randn_like(), &blurs)?;
        let sigma = column(&|p| p.sigma);
        noisy = (noisy + unit * &sigma).f_clamp(0.0, 255.0)?;

        let compressed = column(&|p| flag(p.compressed));
        let (compressed_noisy, compressed_clean) = self.compressed_pair(&noisy, &clean, rng)?;
        let reference = &clean + &compressed * (compressed_clean - &clean);
        noisy = &noisy + &compressed * (compressed_noisy - &noisy);
        noisy = noisy.f_round()?.f_clamp(0.0, 255.0)?;
        let squares = |a: &Tensor, b: &Tensor| {
            (a - b).f_square()?.f_avg_pool2d([AREA; 2], [AREA; 2], [0, 0], false, true, None)
        };
        // Compression errors count as noise, but at most as much as the residual noise: in a square
        // without noise they are part of the image.
        let remaining_noise = squares(&noisy, &reference)?;
        let energy = &remaining_noise + remaining_noise.f_minimum(&squares(&reference, &clean)?)?;
        let measured_sigma = energy.f_sqrt()?.f_upsample_nearest2d([side, side], None, None)?;
        // For uncompressed synthetic noise, the true sigma is that before clipping at black and
        // white.
        let exact_sigma_known = column(&|p| flag(!p.camera && !p.compressed));
        let sigma = &measured_sigma + exact_sigma_known * (sigma - &measured_sigma);
        Ok((noisy, sigma))
    }

    /// Compresses the noisy and the clean squares in the same way, with a random position of the
    /// block grid and random DCT quantisation steps for each square.
    fn compressed_pair(
        &self,
        noisy: &Tensor,
        clean: &Tensor,
        rng: &mut StdRng,
    ) -> Result<(Tensor, Tensor), Error> {
        let steps = (0..noisy.size()[0]).map(|_| self.dct_quantiser.draw(rng)).collect::<Vec<_>>();
        let steps = Tensor::f_cat(&steps, 0)?;
        let shift = [rng.random_range(0..8), rng.random_range(0..8i64)];
        let round_up_from = rng.random_range(ROUND_UP_FROM);
        let run = |picture: &Tensor| -> Result<Tensor, Error> {
            let moved = picture.f_roll(shift, [2, 3])?;
            Ok(self
                .dct_quantiser
                .compress(&moved, &steps, round_up_from)?
                .f_clamp(0.0, 255.0)?
                .f_roll(shift.map(|s| -s), [2, 3])?)
        };
        Ok((run(noisy)?, run(clean)?))
    }

    /// Returns the predicted log sigma (plus an offset, [`LOG_OFFSET`]) and the log scale of its
    /// error, each `[n, 1, height / 2, width / 2]`.
    fn predict(
        &self,
        weights: &[Tensor],
        input: &Tensor,
        kind: Kind,
    ) -> Result<[Tensor; 2], Error> {
        let output = run::forward(self.graph, weights, input, kind)?;
        let limit = f64::from(MAX_LOG_UNCERTAINTY);
        Ok([output.f_narrow(1, 0, 1)?, output.f_narrow(1, 1, 1)?.f_clamp(-limit, limit)?])
    }

    /// Returns one estimate of sigma for each image: the mean of the log sigma map, weighted by the
    /// predicted precision.
    fn estimate(&self, weights: &[Tensor], pictures: &Tensor) -> Result<Tensor, Error> {
        let [log_sigma, log_scale] = self.predict(weights, &input(pictures)?, Kind::Float)?;
        let weight = (log_scale * -2.0).f_exp()?;
        let sum = |t: &Tensor| t.f_sum_dim_intlist(&[1i64, 2, 3][..], false, Kind::Float);
        Ok(((sum(&(&weight * log_sigma))? / sum(&weight)?).f_exp()? - f64::from(LOG_OFFSET))
            .f_clamp_min(0.01)?)
    }
}
