// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training of the network of `cnndemosaic`.

mod pairs;

use std::path::PathBuf;

use rand::{SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

use self::pairs::{MosaicBatch, Noise, PairSource, half};
use super::{
    Error,
    data::Photos,
    prefetch::BatchSource,
    quantise::Quantiser,
    run::{self, RunOptions, TrainingTask},
};
use cnnvideo::{
    demosaic::{MAX_SIGMA, control},
    nn::{Model, arch::Graph, torch},
};

/// Error in 8-bit units below which an improvement is not visible. Below it, the loss flattens.
const INVISIBLE_ERROR: f64 = 0.5;
/// Number of validation photographs.
const VALIDATION_PICTURES: usize = 16;
/// Side of the validation pictures in pixels.
const VALIDATION_SIDE: usize = 128;
/// Noise sigmas of the validation in 8-bit units.
const VALIDATION_SIGMAS: [f64; 3] = [0.0, 10.0, 25.0];
/// Number of batches that the scales of feature maps are chosen from.
const CALIBRATION_BATCHES: u64 = 8;

/// Options of a training run for the demosaicking network.
#[derive(Debug, Clone)]
pub struct DemosaicOptions {
    /// Options that all trainings share.
    pub run: RunOptions,
    /// Folder with the photographs.
    pub data: PathBuf,
}

/// Trains the demosaicking network to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Files that cannot be read or written, a checkpoint that does not fit, a loss that is not finite.
pub fn train(options: &DemosaicOptions) -> Result<(), Error> {
    let run = &options.run;
    let side = run.patch_side.max(VALIDATION_SIDE);
    let photos = Photos::load(&options.data, 2 * side as u32)?;
    println!("{photos}");
    let graph = run.architecture.graph()?;
    let source = PairSource {
        photos: &photos.train,
        count: run.batch_size,
        side: run.patch_side,
        rounded: run.quantise,
    };
    let mut task = DemosaicTask {
        options: run,
        graph: &graph,
        source: &source,
        validation: validation(&photos)?,
        quantiser: None,
    };
    run::run(run, &graph, &source, &mut task)
}

/// The training task: demosaicking.
struct DemosaicTask<'a> {
    options: &'a RunOptions,
    graph: &'a Graph,
    source: &'a PairSource<'a>,
    /// Validation batches with their names.
    validation: Vec<(String, MosaicBatch)>,
    /// Simulation of int8 rounding, if the run is quantised.
    quantiser: Option<Quantiser>,
}

impl TrainingTask<MosaicBatch> for DemosaicTask<'_> {
    fn prepare(&mut self, weights: &mut [Tensor], resumed: Option<&Model>) -> Result<(), Error> {
        if !self.options.quantise {
            return Ok(());
        }
        let inputs = (0..CALIBRATION_BATCHES).map(|i| {
            let mut rng = StdRng::seed_from_u64(self.options.seed.wrapping_add(i));
            self.source.draw(&mut rng)?.input()
        });
        let inputs = inputs.collect::<Result<Vec<_>, Error>>()?;
        let io = self.options.signature.io;
        let mut scales = vec![1.0 / 255.0; io.picture];
        scales.resize(io.input_channels(), control(MAX_SIGMA) / 127.0);
        self.quantiser = Some(Quantiser::new_or_resumed(
            self.options,
            resumed,
            self.graph,
            weights,
            inputs,
            scales,
        )?);
        Ok(())
    }

    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        batch: MosaicBatch,
        _: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let squares = self.squared_errors(weights, &batch, kind)?;
        let rmse = (squares + 1e-4).sqrt();
        Ok((rmse / INVISIBLE_ERROR).log1p().mean(Kind::Float) / 255.0)
    }

    /// Returns the PSNR of red, green and blue in dB.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let _no_grad = tch::no_grad_guard();
        let psnr = |(name, batch): &(String, MosaicBatch)| {
            let squares = self.squared_errors(weights, batch, Kind::Float)?;
            let decibels = (squares / (255.0 * 255.0)).log10().mean(Kind::Float) * -10.0;
            Ok((name.clone(), decibels.double_value(&[])))
        };
        self.validation.iter().map(psnr).collect()
    }

    fn quantiser(&self) -> Option<&Quantiser> {
        self.quantiser.as_ref()
    }
}

impl DemosaicTask<'_> {
    /// Returns the mean squared error of each picture of a batch in 8-bit units.
    fn squared_errors(
        &self,
        weights: &[Tensor],
        batch: &MosaicBatch,
        kind: Kind,
    ) -> Result<Tensor, Error> {
        let input = batch.input()?;
        let excess = match &self.quantiser {
            Some(quantiser) => {
                quantiser.forward(self.graph, weights, &torch::channels_last(&input)?)?
            }
            None => run::forward(self.graph, weights, &input, kind)?,
        };
        let error = batch.linear()? - excess.f_pixel_shuffle(2)? * 255.0 - &batch.clean;
        Ok(error.f_square()?.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?)
    }
}

/// Returns the validation batches, one for each noise sigma.
fn validation(photos: &Photos) -> Result<Vec<(String, MosaicBatch)>, Error> {
    let patches = photos.validation.central_patches(VALIDATION_PICTURES, 2 * VALIDATION_SIDE);
    let clean = half(&patches)?;
    let rounded = Tensor::ones([1, 1, 1, 1], (Kind::Float, tch::Device::Cpu));
    tch::manual_seed(1);
    let batch = |sigma: f64| {
        let noise = Noise::white(clean.size()[0] as usize, sigma);
        let batch = MosaicBatch::new(clean.shallow_clone(), noise, &rounded)?;
        Ok((format!("sigma {sigma}"), batch))
    };
    VALIDATION_SIGMAS.into_iter().map(batch).collect()
}
