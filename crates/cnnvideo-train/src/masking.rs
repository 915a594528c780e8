// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training of the masking network of `watermarkembed`, which predicts the watermark amplitude by
//! position.
//!
//! Its input is the mean and standard deviation of luma in cells, as the embedder measures them;
//! its output is the logarithm of the amplitude. Training embeds real watermark patterns in
//! photographs at a fixed PSNR. The loss rewards structural similarity and the correlation that a
//! detector measures after compression and blur, and penalises error above the just noticeable
//! difference.

use std::path::PathBuf;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

use super::{
    Error,
    colour::rgb_to_luma,
    compression::DctQuantiser,
    data::Photos,
    prefetch::BatchSource,
    run::{self, RunOptions, TrainingTask},
};
use cnnvideo::{
    nn::{Device, arch::Graph},
    watermark::{
        Key, Payload,
        training::{CELL_SIGMA_SCALE, MAX_LOG_AMPLITUDE, analytic_mask, patterns_for_size},
    },
};

/// Frame sizes of the patterns, and the side of a cell at each size, which is two canonical pixels.
const SIZES: [([usize; 2], i64); 3] = [([640, 360], 2), ([1280, 720], 4), ([1920, 1080], 6)];
/// Number of keys whose patterns are used.
const KEYS: u64 = 3;
/// Range of the PSNR, in dB, at which photographs are marked.
const PSNR: std::ops::Range<f64> = 43.0..47.0;
/// Weight of structural similarity in the loss.
const SSIM_WEIGHT: f64 = 260.0;
/// Weight of the error relative to the just noticeable difference in the loss.
const JND_WEIGHT: f64 = 3.0;
/// Weight of the detector's correlation in the loss.
const CORRELATION_WEIGHT: f64 = 9.0;
/// Number of validation photographs.
const VALIDATION_PICTURES: usize = 16;
/// Side of the validation patches in pixels.
const VALIDATION_SIDE: usize = 240;

/// Options of a training run for the masking network.
#[derive(Debug, Clone)]
pub struct MaskingOptions {
    /// Options that all trainings share.
    pub run: RunOptions,
    /// Folder with the photographs.
    pub data: PathBuf,
}

/// Trains the masking network to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Options that this training does not support, files that cannot be read or written, a checkpoint
/// that does not fit, a loss that is not finite.
pub fn train(options: &MaskingOptions) -> Result<(), Error> {
    if options.run.quantise {
        return Err(Error::QuantisationUnsupported("the masking network"));
    }
    if options.run.device != Device::Cpu {
        return Err(Error::CpuOnly("the masking network"));
    }
    let photos = Photos::load(&options.data, options.run.patch_side.max(VALIDATION_SIDE) as u32)?;
    println!("{photos}");
    let graph = options.run.architecture.graph()?;
    let patterns = |([width, height], cell): ([usize; 2], i64)| Patterns {
        cell,
        planes: (0..KEYS)
            .flat_map(|i| {
                patterns_for_size(&Key::new([i as u8; 32]), Payload(i * 0x0123_4567), width, height)
            })
            .map(|p| {
                let values = p.as_slice().expect("patterns are contiguous");
                Tensor::from_slice(values).view([1, 1, height as i64, width as i64])
            })
            .collect(),
    };
    let patterns = SIZES.map(patterns).into();
    let validation =
        rgb_to_luma(&photos.validation.central_patches(VALIDATION_PICTURES, VALIDATION_SIDE))?;
    let mut task =
        MaskingTask { graph: &graph, patterns, validation, dct_quantiser: DctQuantiser::new() };
    println!("for comparison, uniform and analytic masks:");
    for mask in [Mask::Uniform, Mask::Analytic] {
        println!("{mask:?}: {:?}", task.measure(mask)?);
    }
    run::run(&options.run, &graph, &LumaSource(options, &photos), &mut task)
}

/// Watermark patterns for frames of one size.
struct Patterns {
    /// Side of a cell in pixels.
    cell: i64,
    /// Patterns of several keys, `[1, 1, height, width]`.
    planes: Vec<Tensor>,
}

/// The training task: watermark masking.
struct MaskingTask<'a> {
    graph: &'a Graph,
    patterns: Vec<Patterns>,
    /// Luma of the validation patches, `[n, 1, side, side]`.
    validation: Tensor,
    dct_quantiser: DctQuantiser,
}

/// Source of the amplitudes.
#[derive(Debug, Clone, Copy)]
enum Mask<'a> {
    /// The same amplitude everywhere.
    Uniform,
    /// The analytic mask of the embedder.
    Analytic,
    /// The network with these weights.
    Network(&'a [Tensor]),
}

/// Measures of marked images, averaged over the batch.
struct Measures {
    /// Structural similarity to the original.
    similarity: Tensor,
    /// Error relative to the just noticeable difference, pooled with exponent 4.
    visibility: Tensor,
    /// Correlation of the detector's residual with the pattern.
    correlation: Tensor,
    /// Mean square error in cells with hardly any texture.
    flat_mse: Tensor,
}

/// Source of training batches: luma of random patches.
struct LumaSource<'a>(&'a MaskingOptions, &'a Photos);

impl BatchSource for LumaSource<'_> {
    type Batch = Tensor;

    fn draw(&self, rng: &mut StdRng) -> Result<Tensor, Error> {
        let run = &self.0.run;
        rgb_to_luma(&self.1.train.patches(rng, run.batch_size, run.patch_side))
    }
}

impl TrainingTask<Tensor> for MaskingTask<'_> {
    fn loss(
        &self,
        weights: &[Tensor],
        _kind: Kind,
        picture: Tensor,
        rng: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let patterns = &self.patterns[rng.random_range(0..self.patterns.len())];
        let amplitudes = self.amplitudes(weights, &picture, patterns.cell)?;
        let measures = self.mark_and_measure(&picture, &amplitudes, patterns, rng)?;
        // The loop reports losses times 255.
        Ok((measures.similarity * -SSIM_WEIGHT + measures.visibility * JND_WEIGHT
            - measures.correlation * CORRELATION_WEIGHT)
            / 255.0)
    }

    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        self.measure(Mask::Network(weights))
    }
}

impl MaskingTask<'_> {
    /// Returns measures on the validation images, averaged over the frame sizes.
    fn measure(&self, mask: Mask<'_>) -> Result<Vec<(String, f64)>, Error> {
        let _no_grad = tch::no_grad_guard();
        let picture = &self.validation;
        let mut sums = [0.0; 4];
        for patterns in &self.patterns {
            let amplitudes = match mask {
                Mask::Uniform => cells(picture, patterns.cell)?.narrow(1, 0, 1).ones_like(),
                Mask::Analytic => analytic_amplitudes(picture, patterns.cell)?,
                Mask::Network(weights) => self.amplitudes(weights, picture, patterns.cell)?,
            };
            tch::manual_seed(1);
            let measures = self.mark_and_measure(
                picture,
                &amplitudes,
                patterns,
                &mut StdRng::seed_from_u64(1),
            )?;
            let value = |t: &Tensor| t.double_value(&[]);
            let flat = 10.0 * (255.0f64.powi(2) / value(&measures.flat_mse)).log10();
            let all = [
                1000.0 * value(&measures.similarity),
                -value(&measures.visibility),
                100.0 * value(&measures.correlation),
                flat,
            ];
            sums.iter_mut().zip(all).for_each(|(sum, v)| *sum += v / self.patterns.len() as f64);
        }
        let names = ["1000 SSIM", "visible", "detected", "flat PSNR"].map(str::to_owned);
        Ok(names.into_iter().zip(sums).collect())
    }

    /// Returns the amplitudes that the network predicts, one value for each cell.
    fn amplitudes(&self, weights: &[Tensor], picture: &Tensor, cell: i64) -> Result<Tensor, Error> {
        let output = run::forward(self.graph, weights, &cells(picture, cell)?, Kind::Float)?;
        Ok(output.f_clamp(-f64::from(MAX_LOG_AMPLITUDE), f64::from(MAX_LOG_AMPLITUDE))?.f_exp()?)
    }

    /// Marks images with random crops of the patterns and measures the result.
    fn mark_and_measure(
        &self,
        picture: &Tensor,
        amplitudes: &Tensor,
        Patterns { cell, planes }: &Patterns,
        rng: &mut StdRng,
    ) -> Result<Measures, Error> {
        let size = picture.size();
        let (count, height, width) = (size[0], size[2], size[3]);
        let mut crops = Vec::new();
        let mut deviations = Vec::new();
        for _ in 0..count {
            let pattern = &planes[rng.random_range(0..planes.len())];
            let y = rng.random_range(0..=pattern.size()[2] - height);
            let x = rng.random_range(0..=pattern.size()[3] - width);
            crops.push(pattern.narrow(2, y, height).narrow(3, x, width));
            deviations.push((255.0 * 10f64.powf(-rng.random_range(PSNR) / 20.0)) as f32);
        }
        let pattern = Tensor::f_cat(&crops, 0)?;
        let deviation = Tensor::from_slice(&deviations).view([count, 1, 1, 1]);
        let by_pixel = amplitudes.f_upsample_bilinear2d([height, width], false, None, None)?;
        let shaped = by_pixel * &pattern;
        let error = &shaped / root_mean_square(&shaped)? * deviation;
        let marked = picture + &error;

        let (_, local) = statistics(picture, *cell)?;
        let flat = local.f_lt(2.0)?.to_kind(Kind::Float).f_upsample_nearest2d(
            [height, width],
            None,
            None,
        )?;
        let flat_error = (&error * &error * &flat).sum(Kind::Float) / (flat.sum(Kind::Float) + 1.0);
        let relative_error = &error / just_noticeable_difference(picture)?;
        let visible = (&relative_error * &relative_error).f_square()?.f_mean_dim(
            &[1i64, 2, 3][..],
            false,
            Kind::Float,
        )?;

        let quality = rng.random_range(0.6..2.2);
        let compressed = self.dct_quantiser.compress(
            &blur(&marked, rng.random_range(0.0..0.6))?,
            &(&self.dct_quantiser.jpeg_steps * quality),
            0.5,
        )?;
        let canonical = |x: &Tensor| block_mean(x, cell / 2);
        let residual = residual(&canonical(&compressed)?)?;
        let expected = canonical(&pattern)?;
        let product = (&residual * &expected).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
        let norms = root_mean_square(&residual)? * root_mean_square(&expected)?;
        Ok(Measures {
            similarity: similarity(picture, &marked)?,
            visibility: (visible + 1e-8).f_pow_tensor_scalar(0.25)?.mean(Kind::Float),
            correlation: (product / norms.view(-1)).mean(Kind::Float),
            flat_mse: flat_error,
        })
    }
}

/// Returns the mean of each block of `side` x `side` pixels.
fn block_mean(x: &Tensor, side: i64) -> Result<Tensor, Error> {
    Ok(x.f_avg_pool2d([side, side], [side, side], [0, 0], false, true, None)?)
}

/// Returns mean and standard deviation of each cell.
fn statistics(picture: &Tensor, cell: i64) -> Result<(Tensor, Tensor), Error> {
    let mean = block_mean(picture, cell)?;
    let variance = (block_mean(&(picture * picture), cell)? - &mean * &mean).f_clamp_min(0.0)?;
    Ok((mean, variance.f_sqrt()?))
}

/// Returns the network's input, `[n, 2, rows, columns]`: mean and standard deviation of each cell.
fn cells(picture: &Tensor, cell: i64) -> Result<Tensor, Error> {
    let (mean, deviation) = statistics(picture, cell)?;
    Ok(Tensor::f_cat(&[(mean - 128.0) / 255.0, deviation / f64::from(CELL_SIGMA_SCALE)], 1)?)
}

/// Returns the amplitudes of the analytic mask, one value for each cell.
fn analytic_amplitudes(picture: &Tensor, cell: i64) -> Result<Tensor, Error> {
    let mut all = Vec::new();
    for i in 0..picture.size()[0] {
        let (mean, deviation) = statistics(&picture.narrow(0, i, 1), cell)?;
        let (rows, columns) = (mean.size()[2], mean.size()[3]);
        let values = |t: &Tensor| Vec::<f32>::try_from(t.contiguous().view(-1));
        let made = analytic_mask(&values(&mean)?, &values(&deviation)?, columns as usize);
        all.push(Tensor::from_slice(&made).view([1, 1, rows, columns]));
    }
    Ok(Tensor::f_cat(&all, 0)?)
}

/// Returns the root mean square of each image, `[n, 1, 1, 1]`.
fn root_mean_square(x: &Tensor) -> Result<Tensor, Error> {
    Ok((x * x).f_mean_dim(&[1i64, 2, 3][..], true, Kind::Float)?.f_sqrt()? + 1e-6)
}

/// Returns the mean over `side` x `side` pixels around each pixel.
fn box_mean(x: &Tensor, side: i64) -> Result<Tensor, Error> {
    let reach = side / 2;
    Ok(x.f_replication_pad2d([reach; 4])?.f_avg_pool2d(
        [side, side],
        [1, 1],
        [0, 0],
        false,
        true,
        None,
    )?)
}

/// Blends an image with its 3x3 mean; `share` is the weight of the mean.
fn blur(x: &Tensor, share: f64) -> Result<Tensor, Error> {
    Ok(x * (1.0 - share) + box_mean(x, 3)? * share)
}

/// Returns the residual that the detector correlates with the pattern, as in
/// `watermark/residual.rs`.
fn residual(x: &Tensor) -> Result<Tensor, Error> {
    let rough = x - box_mean(&box_mean(x, 9)?, 9)?;
    let energy = box_mean(&(&rough * &rough), 15)?.f_clamp_min(0.0)?;
    Ok((rough / ((energy + 1e-6).f_sqrt()? + 0.7)).f_clamp(-3.0, 3.0)?)
}

/// Returns the mean structural similarity (Wang et al., "Image Quality Assessment", IEEE
/// Transactions on Image Processing 13(4), 2004).
fn similarity(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    let line: Vec<f32> = (-5..=5).map(|i| (-(i * i) as f32 / 4.5).exp()).collect();
    let line = Tensor::from_slice(&line);
    let line = &line / line.sum(Kind::Float);
    let kernel = line.f_outer(&line)?.view([1, 1, 11, 11]);
    let mean = |x: &Tensor| x.f_conv2d(&kernel, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1);
    let (ma, mb) = (mean(a)?, mean(b)?);
    let (va, vb) = (mean(&(a * a))? - &ma * &ma, mean(&(b * b))? - &mb * &mb);
    let both = mean(&(a * b))? - &ma * &mb;
    let [c1, c2] = [0.01f64, 0.03].map(|k| (k * 255.0).powi(2));
    let top = (&ma * &mb * 2.0 + c1) * (both * 2.0 + c2);
    let bottom = (&ma * &ma + &mb * &mb + c1) * (va + vb + c2);
    Ok((top / bottom).mean(Kind::Float))
}

/// Returns the just noticeable difference of each pixel in 8-bit units: luminance adaptation and
/// texture masking (Chou and Li 1995). The least mean gradient in a neighbourhood measures the
/// texture, so that isolated edges do not mask.
fn just_noticeable_difference(picture: &Tensor) -> Result<Tensor, Error> {
    let ground = box_mean(picture, 5)?;
    let dark = ((&ground / 127.0).f_clamp(0.0, 1.0)?.f_sqrt()? * -1.0 + 1.0) * 17.0 + 3.0;
    let light = (&ground - 127.0).f_clamp_min(0.0)? * (3.0 / 128.0) + 3.0;
    let adapted = dark.f_maximum(&light)? / 3.0;
    let step = |dim: i64| -> Result<Tensor, Error> {
        let length = picture.size()[dim as usize];
        let step = (picture.narrow(dim, 1, length - 1) - picture.narrow(dim, 0, length - 1)).abs();
        Ok(Tensor::f_cat(&[&step, &step.narrow(dim, length - 2, 1)], dim)?)
    };
    let rough = box_mean(&(step(2)? + step(3)?), 9)?;
    let min_gradient = -(-rough).f_replication_pad2d([6; 4])?.f_max_pool2d(
        [13, 13],
        [1, 1],
        [0, 0],
        [1, 1],
        false,
    )?;
    Ok(adapted.f_clamp_max(1.3)? * 1.5 + min_gradient * 0.35)
}
