// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training of the network of `cnndeband`, which predicts the gradients behind false contours.

mod pairs;

use std::path::PathBuf;

use rand::{SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

use self::pairs::{DebandBatch, MAX_PHOTO_SIDE, PairSource, fine_luma, gradient};
use super::{
    Error,
    data::Photos,
    prefetch::BatchSource,
    quantise::Quantiser,
    run::{self, RunOptions, TrainingTask},
};
use cnnvideo::{
    deband::{FEATURE_RANGE, MAX_THRESHOLD, SPREAD_RANGE, WINDOWS},
    nn::{Model, arch::Graph, torch},
};

/// Error in 8-bit units below which an improvement is not visible. Below it, the loss flattens.
const INVISIBLE_ERROR: f64 = 0.25;
/// Weight of the error of the predicted gradients where they are not applied.
const UNMASKED_WEIGHT: f64 = 0.2;
/// Number of validation pictures of each kind.
const VALIDATION_PICTURES: usize = 16;
/// Side of the validation pictures in pixels.
const VALIDATION_SIDE: usize = 128;
/// Quantisation steps of the validation, in code values.
const VALIDATION_STEPS: [f64; 3] = [1.0, 2.0, 4.0];
/// Number of batches that the scales of feature maps are chosen from.
const CALIBRATION_BATCHES: u64 = 8;

/// Options of a training run for the debanding network.
#[derive(Debug, Clone)]
pub struct DebandOptions {
    /// Options that all trainings share.
    pub run: RunOptions,
    /// Folder with the photographs.
    pub data: PathBuf,
}

/// Trains the debanding network to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Files that cannot be read or written, a checkpoint that does not fit, a loss that is not finite.
pub fn train(options: &DebandOptions) -> Result<(), Error> {
    let run = &options.run;
    let photo_side = run.patch_side.clamp(VALIDATION_SIDE, MAX_PHOTO_SIDE);
    let photos = Photos::load(&options.data, 2 * photo_side as u32)?;
    println!("{photos}");
    let graph = run.architecture.graph()?;
    let source = PairSource { photos: &photos.train, count: run.batch_size, side: run.patch_side };
    let mut task = DebandTask {
        options: run,
        graph: &graph,
        source: &source,
        validation: validation(&photos)?,
        quantiser: None,
    };
    run::run(run, &graph, &source, &mut task)
}

/// The training task: debanding.
struct DebandTask<'a> {
    options: &'a RunOptions,
    graph: &'a Graph,
    source: &'a PairSource<'a>,
    /// Validation batches with their names.
    validation: Vec<(String, DebandBatch)>,
    /// Simulation of int8 rounding, if the run is quantised.
    quantiser: Option<Quantiser>,
}

impl TrainingTask<DebandBatch> for DebandTask<'_> {
    fn prepare(&mut self, weights: &mut [Tensor], resumed: Option<&Model>) -> Result<(), Error> {
        if !self.options.quantise {
            return Ok(());
        }
        let inputs = (0..CALIBRATION_BATCHES).map(|i| {
            let mut rng = StdRng::seed_from_u64(self.options.seed.wrapping_add(i));
            let batch = self.source.draw(&mut rng)?;
            features(&batch.banded, &batch.thresholds)
        });
        let inputs = inputs.collect::<Result<Vec<_>, Error>>()?;
        let io = self.options.signature.io;
        self.quantiser = Some(Quantiser::new_or_resumed(
            self.options,
            resumed,
            self.graph,
            weights,
            inputs,
            vec![1.0 / 127.0; io.input_channels()],
        )?);
        Ok(())
    }

    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        batch: DebandBatch,
        _: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let Prediction { shares, change } = self.predict(weights, &batch, kind)?;
        let wanted = &batch.target - &batch.banded;
        let error = shares * &change - &wanted;
        let squares = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
        let rmse = (squares + 1e-6).sqrt();
        let loss = (rmse / INVISIBLE_ERROR).log1p().mean(Kind::Float);
        // Without this term, shares of zero would end the training of the gradients.
        let unmasked = (change - wanted).abs().mean(Kind::Float);
        Ok((loss + unmasked * UNMASKED_WEIGHT) / 255.0)
    }

    /// Returns the gains in PSNR over the banded pictures, in dB.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let _no_grad = tch::no_grad_guard();
        let psnr = |a: &Tensor, b: &Tensor| -> Result<f64, Error> {
            let error = a - b;
            let mse = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
            Ok(mse.log10().mean(Kind::Float).double_value(&[]) * -10.0)
        };
        self.validation
            .iter()
            .map(|(name, batch)| {
                let Prediction { shares, change } = self.predict(weights, batch, Kind::Float)?;
                let debanded = &batch.banded + shares * change;
                let gain = psnr(&debanded, &batch.target)? - psnr(&batch.banded, &batch.target)?;
                Ok((name.clone(), gain))
            })
            .collect()
    }

    fn quantiser(&self) -> Option<&Quantiser> {
        self.quantiser.as_ref()
    }
}

impl DebandTask<'_> {
    /// Predicts the changes that remove the contours.
    fn predict(
        &self,
        weights: &[Tensor],
        DebandBatch { banded, thresholds, .. }: &DebandBatch,
        kind: Kind,
    ) -> Result<Prediction, Error> {
        let input = features(banded, thresholds)?;
        let output = match &self.quantiser {
            Some(quantiser) => {
                quantiser.forward(self.graph, weights, &torch::channels_last(&input)?)?
            }
            None => run::forward(self.graph, weights, &input, kind)?,
        };
        let size = [banded.size()[2], banded.size()[3]];
        let upsample = |t: &Tensor| t.f_upsample_bilinear2d(size, false, None, None);
        let corrections = output.narrow(1, 0, 4).f_pixel_shuffle(2)? * f64::from(FEATURE_RANGE);
        let shares = upsample(&output.narrow(1, 4, 4).f_pixel_shuffle(2)?.f_sigmoid()?)?;
        let smooth = upsample(&(block_mean(banded, 2)? + corrections))?;
        let change = (smooth - banded).f_minimum(thresholds)?.f_maximum(&-thresholds)?;
        Ok(Prediction { shares, change })
    }
}

/// Changes that the network predicts.
struct Prediction {
    /// Share of the change to apply to each sample, 0 to 1.
    shares: Tensor,
    /// Difference of the gradient behind the contours and the picture, up to the threshold.
    change: Tensor,
}

/// Returns the mean of each block of `side` x `side` samples.
fn block_mean(x: &Tensor, side: i64) -> Result<Tensor, Error> {
    Ok(x.f_avg_pool2d([side, side], [side, side], [0, 0], false, true, None)?)
}

/// Returns the network's input, see [`cnnvideo::deband::SIGNATURE`].
fn features(banded: &Tensor, thresholds: &Tensor) -> Result<Tensor, Error> {
    let blocks = block_mean(banded, 2)?;
    let cells = block_mean(&blocks, 2)?;
    let (rows, columns) = (cells.size()[2], cells.size()[3]);
    let parts = blocks.f_pixel_unshuffle(2)? - &cells;
    let next = |axis: i64, length: i64| -> Result<Tensor, Error> {
        let last = cells.narrow(axis, length - 1, 1);
        Ok(Tensor::f_cat(&[cells.narrow(axis, 1, length - 1), last], axis)? - &cells)
    };
    let window = |side: usize| -> Result<Tensor, Error> {
        let (side, reach) = (side as i64, side as i64 / 2);
        Ok(&cells - cells.f_avg_pool2d([side; 2], [1, 1], [reach; 2], false, false, None)?)
    };
    let largest = |x: &Tensor| x.f_max_pool2d([4, 4], [4, 4], [0, 0], [1, 1], false);
    let spread = largest(banded)? + largest(&-banded)?;
    let differences = Tensor::f_cat(
        &[parts, next(3, columns)?, next(2, rows)?, window(WINDOWS[0])?, window(WINDOWS[1])?],
        1,
    )?;
    let control = thresholds / f64::from(MAX_THRESHOLD);
    Ok(Tensor::f_cat(
        &[
            (differences / f64::from(FEATURE_RANGE)).f_clamp(-1.0, 1.0)?,
            (spread / f64::from(SPREAD_RANGE)).f_clamp(0.0, 1.0)?,
            control.f_expand([-1, 1, rows, columns], false)?,
        ],
        1,
    )?)
}

/// Returns the validation batches: photographs and gradients, quantised with each step.
fn validation(photos: &Photos) -> Result<Vec<(String, DebandBatch)>, Error> {
    let mut rng = StdRng::seed_from_u64(u64::MAX);
    let mut gradients = |side: usize| -> Result<Tensor, Error> {
        let all: Vec<_> =
            (0..VALIDATION_PICTURES).map(|_| gradient(side, &mut rng)).collect::<Result<_, _>>()?;
        Ok(Tensor::f_cat(&all, 0)?)
    };
    let patches = photos.validation.central_patches(VALIDATION_PICTURES, 2 * VALIDATION_SIDE);
    let pictures = [
        ("photo", fine_luma(&patches)?),
        ("gradient", gradients(VALIDATION_SIDE)?),
        ("wide", gradients(4 * VALIDATION_SIDE)?),
    ];
    let mut all = Vec::new();
    for (name, target) in pictures {
        for step in VALIDATION_STEPS {
            let banded = ((&target / step).f_round()? * step).f_clamp(0.0, 255.0)?;
            let thresholds = Tensor::full(
                [target.size()[0], 1, 1, 1],
                (step / 2.0).max(1.5),
                (Kind::Float, tch::Device::Cpu),
            );
            let batch = DebandBatch { banded, target: target.shallow_clone(), thresholds };
            all.push((format!("{name} step {step}"), batch));
        }
    }
    Ok(all)
}
