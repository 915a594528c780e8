// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training of the denoising networks of `cnndenoise`.

mod scales;

use std::path::PathBuf;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

use super::{
    Error,
    camera_noise::CameraNoise,
    data::Photos,
    fused::{BatchShape, fused_batch},
    noise::{ImageGroup, NoisyBatch, SampleDepth, SyntheticNoise},
    prefetch::BatchSource,
    quantise::Quantiser,
    run::{self, RunOptions, TrainingTask},
};
use cnnvideo::{
    denoise::ColourDomain,
    nn::{Model, arch::Graph, torch},
};

/// Share of the steps of a quantised run that are computed in float32.
const FLOAT_SHARE: f64 = 0.35;
/// Number of validation photographs.
const VALIDATION_PICTURES: usize = 16;
/// Side of the validation patches in pixels.
const VALIDATION_SIDE: usize = 256;
/// Noise sigma of the validation clips in 8-bit units.
const VALIDATION_SIGMA: f64 = 25.0;

/// Options of a training run for a denoising network.
#[derive(Debug, Clone)]
pub struct DenoisingOptions {
    /// Options that all trainings share.
    pub run: RunOptions,
    /// Folder with the photographs.
    pub data: PathBuf,
    /// Share of the patches whose noise is not white: in RGB correlated between R, G and B, in
    /// 4:2:0 low-frequency chroma noise.
    pub coloured: f64,
    /// Share of the patches whose noisy pixels are clipped and rounded to 8 bits, as in video.
    pub clipped: f64,
    /// Share of the steps that train on temporally fused frames of moving scenes.
    pub fused: f64,
    /// Share of the steps with camera noise.
    pub camera: f64,
}

/// Trains a denoising network to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Files that cannot be read or written, a checkpoint that does not fit, a loss that is no longer
/// finite.
pub fn train(options: &DenoisingOptions) -> Result<(), Error> {
    let photos = Photos::load(&options.data, options.run.patch_side.max(VALIDATION_SIDE) as u32)?;
    println!("{photos}");
    let graph = options.run.architecture.graph()?;
    let validation = photos.validation.central_patches(VALIDATION_PICTURES, VALIDATION_SIDE);
    let source = DenoisingSource { options, photos: &photos };
    let clips = if options.fused > 0.0 { Some(validation_clips(options, &photos)?) } else { None };
    let mut task = DenoisingTask {
        options,
        graph: &graph,
        photos: &photos,
        validation,
        clips,
        quantiser: None,
    };
    run::run(&options.run, &graph, &source, &mut task)
}

/// Source of training batches.
struct DenoisingSource<'a> {
    options: &'a DenoisingOptions,
    photos: &'a Photos,
}

/// Arithmetic that a forward pass simulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    /// Floating point.
    Float,
    /// The rounding of the int8 engine; only in quantised runs.
    Int8,
}

impl Arithmetic {
    /// Returns the sample depth of noisy images: the int8 engine always processes 8-bit samples.
    fn sample_depth(self) -> SampleDepth {
        match self {
            Self::Float => SampleDepth::Float,
            Self::Int8 => SampleDepth::EightBit,
        }
    }
}

/// Data of one training step.
struct DenoisingBatch {
    arithmetic: Arithmetic,
    /// Whether the noise is camera noise.
    camera: bool,
    images: BatchImages,
}

/// Images of a batch, with or without their noise.
enum BatchImages {
    /// Clean patches, `[count, 3, side, side]`. The training thread adds the noise on the device
    /// that trains.
    Photographs(Tensor),
    /// Temporally fused frames, which have their noise already.
    Fused(NoisyBatch),
}

impl DenoisingOptions {
    /// Returns the share of patches with clipped noise.
    fn clipped_share(&self, arithmetic: Arithmetic) -> f64 {
        match arithmetic {
            Arithmetic::Float => self.clipped,
            Arithmetic::Int8 => 1.0,
        }
    }
}

impl BatchSource for DenoisingSource<'_> {
    type Batch = DenoisingBatch;

    fn draw(&self, rng: &mut StdRng) -> Result<DenoisingBatch, Error> {
        let options = &self.options.run;
        let (domain, photos) = (options.colour_domain(), &self.photos.train);
        // The int8 model's weights also have to serve in float32, where noise is not clipped. So a
        // share of the steps trains in float32.
        let arithmetic = if options.quantise && !rng.random_bool(FLOAT_SHARE) {
            Arithmetic::Int8
        } else {
            Arithmetic::Float
        };
        let camera = rng.random_bool(self.options.camera);
        let images = if rng.random_bool(self.options.fused) {
            let add = |clip: &Tensor, rng: &mut StdRng| {
                let frames = clip.size()[0] as usize;
                if camera {
                    let depth = arithmetic.sample_depth();
                    CameraNoise::draw(domain, frames, ImageGroup::Clip, depth, rng).add(clip)
                } else {
                    let clipped = self.options.clipped_share(arithmetic);
                    SyntheticNoise::of_clip(domain, frames, clipped, rng).add(clip)
                }
            };
            let shape = BatchShape { count: options.batch_size, side: options.patch_side };
            BatchImages::Fused(fused_batch(photos, domain, shape, add, rng)?)
        } else {
            BatchImages::Photographs(photos.patches(rng, options.batch_size, options.patch_side))
        };
        Ok(DenoisingBatch { arithmetic, camera, images })
    }
}

/// The training task: denoising.
struct DenoisingTask<'a> {
    options: &'a DenoisingOptions,
    graph: &'a Graph,
    photos: &'a Photos,
    /// Clean validation patches, `[count, 3, side, side]`.
    validation: Tensor,
    /// Fused validation frames, if the run trains on fused frames.
    clips: Option<NoisyBatch>,
    /// Simulation of int8 rounding, if the run is quantised.
    quantiser: Option<Quantiser>,
}

impl TrainingTask<DenoisingBatch> for DenoisingTask<'_> {
    fn prepare(&mut self, weights: &mut [Tensor], resumed: Option<&Model>) -> Result<(), Error> {
        if self.options.run.quantise {
            self.quantiser = Some(self.choose_scales(weights, resumed)?);
        }
        Ok(())
    }

    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        batch: DenoisingBatch,
        rng: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let DenoisingOptions { run, coloured, .. } = self.options;
        let device = weights[0].device();
        let DenoisingBatch { arithmetic, camera, images } = batch;
        let batch = match images {
            BatchImages::Fused(batch) => batch.to_device(device),
            BatchImages::Photographs(patches) => {
                let patches = patches.to_device(device);
                if camera {
                    CameraNoise::draw(
                        run.colour_domain(),
                        run.batch_size,
                        ImageGroup::Independent,
                        arithmetic.sample_depth(),
                        rng,
                    )
                    .add(&patches)?
                } else {
                    let clipped = self.options.clipped_share(arithmetic);
                    SyntheticNoise::draw(
                        run.colour_domain(),
                        run.batch_size,
                        *coloured,
                        clipped,
                        rng,
                    )
                    .add(&patches)?
                }
            }
        };
        log_rmse(&self.denoised(weights, &batch, kind, arithmetic)?, &batch.clean)
    }

    /// Returns the PSNR in dB of the given weights on fixed noise of several sigmas.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let count = self.validation.size()[0] as usize;
        let arithmetic = self.quantiser.as_ref().map_or(Arithmetic::Float, |_| Arithmetic::Int8);
        let depth = arithmetic.sample_depth();
        let pictures = self.validation.to_device(weights[0].device());
        let mut results = Vec::new();
        let clipped_sigma = if arithmetic == Arithmetic::Int8 { 5.0 } else { 25.0 };
        for (sigma, depth) in
            [(15.0, depth), (25.0, depth), (50.0, depth), (clipped_sigma, SampleDepth::EightBit)]
        {
            tch::manual_seed(1);
            let batch =
                SyntheticNoise::white(self.options.run.colour_domain(), count, sigma, depth)
                    .add(&pictures)?;
            let psnr =
                self.psnr(&self.denoised(weights, &batch, Kind::Float, arithmetic)?, &batch)?;
            let suffix = if depth == SampleDepth::EightBit { " clipped" } else { "" };
            results.push((format!("{sigma:.0}{suffix}"), psnr));
        }
        if self.options.camera > 0.0 {
            tch::manual_seed(1);
            let noise = CameraNoise::draw(
                self.options.run.colour_domain(),
                count,
                ImageGroup::Independent,
                depth,
                &mut StdRng::seed_from_u64(1),
            );
            let batch = noise.add(&pictures)?;
            let psnr =
                self.psnr(&self.denoised(weights, &batch, Kind::Float, arithmetic)?, &batch)?;
            results.push(("camera".to_owned(), psnr));
        }
        if let Some(batch) = &self.clips {
            let psnr = {
                let batch = batch.to_device(weights[0].device());
                self.psnr(&self.denoised(weights, &batch, Kind::Float, arithmetic)?, &batch)?
            };
            results.push((format!("{VALIDATION_SIGMA:.0} fused"), psnr));
        }
        Ok(results)
    }

    fn quantiser(&self) -> Option<&Quantiser> {
        self.quantiser.as_ref()
    }
}

impl DenoisingTask<'_> {
    /// Returns the network's estimate of the clean images. Computes in `kind`, unless it simulates
    /// the int8 engine.
    fn denoised(
        &self,
        weights: &[Tensor],
        batch: &NoisyBatch,
        kind: Kind,
        arithmetic: Arithmetic,
    ) -> Result<Tensor, Error> {
        let input = batch.input()?;
        let noise = match arithmetic {
            Arithmetic::Int8 => {
                let quantiser = self.quantiser.as_ref().expect("quantised runs have a quantiser");
                quantiser.forward(self.graph, weights, &torch::channels_last(&input)?)?
            }
            Arithmetic::Float => run::forward(self.graph, weights, &input, kind)?,
        };
        Ok(batch.cleaned(&noise))
    }

    /// Returns the PSNR in dB, averaged over images. In 4:2:0 it is the PSNR of luma only.
    fn psnr(&self, clean: &Tensor, batch: &NoisyBatch) -> Result<f64, Error> {
        let error = clean - &batch.clean;
        let error = if self.options.run.colour_domain() == ColourDomain::Rgb {
            error
        } else {
            error.narrow(1, 0, 4)
        };
        let mse = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
        Ok((mse.log10() * -10.0).mean(Kind::Float).double_value(&[]))
    }
}

/// Creates a batch of fused frames from the validation photographs.
fn validation_clips(options: &DenoisingOptions, photos: &Photos) -> Result<NoisyBatch, Error> {
    let domain = options.run.colour_domain();
    let mut rng = StdRng::seed_from_u64(u64::MAX);
    tch::manual_seed(1);
    let white = |clip: &Tensor, _: &mut StdRng| {
        SyntheticNoise::white(
            domain,
            clip.size()[0] as usize,
            VALIDATION_SIGMA,
            SampleDepth::EightBit,
        )
        .add(clip)
    };
    let shape = BatchShape { count: 3 * VALIDATION_PICTURES, side: options.run.patch_side };
    fused_batch(&photos.validation, domain, shape, white, &mut rng)
}

/// Error in 8-bit units below which an improvement is not visible. Below it, the loss flattens.
const INVISIBLE_ERROR: f64 = 1.0;

/// Mean over images of the logarithm of the root mean square error,
/// `ln(1 + RMSE / INVISIBLE_ERROR) / 255`. So an improvement of 1 dB counts alike under weak and
/// strong noise.
fn log_rmse(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    let error = a - b;
    let squares = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
    let rmse = (squares + 1e-8).sqrt() * 255.0;
    Ok((rmse / INVISIBLE_ERROR).log1p().mean(Kind::Float) / 255.0)
}
