//! Training of the denoising networks of `cnndenoise`.

use std::path::PathBuf;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

use super::{
    Error, Photos, fused,
    loader::Source,
    noise::{Batch, Camera, Noise},
    quantise::Quantiser,
    run::{self, Lesson},
};
use cnnvideo::{
    denoise::{CONTROL_PER_LEVEL, ColourDomain, MAX_LEVEL as MAX_CONTROL_LEVEL},
    nn::{arch::Graph, torch},
};

/// Quantisation step of the picture channels of the network's input: one code value of 8-bit video.
const PICTURE_STEP: f32 = 1.0 / 255.0;
/// Quantisation step of the control maps: their maximum, at the highest noise sigma that the
/// element requests, maps to 127.
const CONTROL_STEP: f32 = MAX_CONTROL_LEVEL * CONTROL_PER_LEVEL / 127.0;
/// Noise sigmas (8-bit units) of the example patches for calibration and weight rounding, with
/// [`EXAMPLES`] patches each.
const EXAMPLE_LEVELS: [f64; 5] = [5.0, 10.0, 20.0, 35.0, 55.0];
/// Limits of noise sigma (8-bit units) for which the model has finer quantisation steps, the
/// highest first.
const FINER: [f64; 4] = [32.0, 16.0, 8.0, 4.0];
/// Noise sigmas of the patches on which these steps are tuned, as shares of the limit.
const FINER_LEVELS: [f64; 2] = [0.95, 0.65];
/// Number of patches for each of these noise sigmas.
const FINER_EXAMPLES: usize = 12;
/// Number of example patches for each of the [`EXAMPLE_LEVELS`].
const EXAMPLES: usize = 6;
/// Share of the steps of a quantised run that are computed in float32.
const FLOAT_SHARE: f64 = 0.35;
/// Number of validation photographs.
const VALIDATION_PICTURES: usize = 16;
/// Side of the validation patches in pixels.
const VALIDATION_SIDE: usize = 256;
/// Noise sigma of the validation clips in 8-bit units.
const VALIDATION_LEVEL: f64 = 25.0;

/// Options of a training run for a denoising network.
#[derive(Debug, Clone)]
pub struct Options {
    /// Options that all trainings share.
    pub run: run::Options,
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
pub fn denoise(options: &Options) -> Result<(), Error> {
    let photos = Photos::load(&options.data, options.run.side.max(VALIDATION_SIDE) as u32)?;
    println!(
        "{} photographs to train on, {} to validate",
        photos.train.len(),
        photos.validation.len()
    );
    let graph = options.run.architecture.graph()?;
    let validation = photos.validation.centres(VALIDATION_PICTURES, VALIDATION_SIDE);
    let scenes = Scenes { options, photos: &photos };
    let clips = if options.fused > 0.0 { Some(validation_clips(options, &photos)?) } else { None };
    let mut lesson =
        Denoising { options, graph: &graph, photos: &photos, validation, clips, quantiser: None };
    run::run(&options.run, &graph, &scenes, &mut lesson)
}

/// Source of training batches.
struct Scenes<'a> {
    options: &'a Options,
    photos: &'a Photos,
}

/// Data of one training step.
struct Scene {
    /// Whether this step simulates the rounding of the int8 engine.
    rounded: bool,
    /// Whether the noise is camera noise.
    camera: bool,
    /// Images of the batch.
    content: Content,
}

/// Images of a batch, with or without their noise.
enum Content {
    /// Clean patches, `[count, 3, side, side]`. The training thread adds the noise on the device
    /// that trains.
    Photographs(Tensor),
    /// Temporally fused frames, which have their noise already.
    Fused(Batch),
}

impl Options {
    /// Returns the share of patches with clipped noise, given whether the step simulates int8
    /// rounding.
    fn clipped_where(&self, rounded: bool) -> f64 {
        if rounded { 1.0 } else { self.clipped }
    }
}

impl Source for Scenes<'_> {
    type Batch = Scene;

    fn draw(&self, rng: &mut StdRng) -> Result<Scene, Error> {
        let options = &self.options.run;
        let (domain, photos) = (options.colour_domain(), &self.photos.train);
        // The int8 model's weights also have to serve in float32, where noise is not clipped. So a
        // share of the steps trains in float32.
        let rounded = options.quantise && !rng.random_bool(FLOAT_SHARE);
        let camera = rng.random_bool(self.options.camera);
        let content = if rng.random_bool(self.options.fused) {
            let add = |clip: &Tensor, rng: &mut StdRng| {
                let frames = clip.size()[0] as usize;
                if camera {
                    Camera::draw(domain, frames, true, rounded, rng).add(clip)
                } else {
                    Noise::of_clip(domain, frames, self.options.clipped_where(rounded), rng)
                        .add(clip)
                }
            };
            Content::Fused(fused::batch(photos, domain, [options.batch, options.side], add, rng)?)
        } else {
            Content::Photographs(photos.patches(rng, options.batch, options.side))
        };
        Ok(Scene { rounded, camera, content })
    }
}

/// The training task: denoising.
struct Denoising<'a> {
    options: &'a Options,
    graph: &'a Graph,
    photos: &'a Photos,
    /// Clean validation patches, `[count, 3, side, side]`.
    validation: Tensor,
    /// Fused validation frames, if the run trains on fused frames.
    clips: Option<Batch>,
    /// Simulation of int8 rounding, if the run is quantised.
    quantiser: Option<Quantiser>,
}

impl Lesson<Scene> for Denoising<'_> {
    fn prepare(&mut self, weights: &mut [Tensor]) -> Result<(), Error> {
        if self.options.run.quantise {
            self.quantiser = Some(self.choose_steps(weights)?);
        }
        Ok(())
    }

    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        scene: Scene,
        rng: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let Options { run, coloured, .. } = self.options;
        let (device, Scene { rounded, camera, content }) = (weights[0].device(), scene);
        let batch = match content {
            Content::Fused(batch) => batch.to_device(device),
            Content::Photographs(patches) => {
                let patches = patches.to_device(device);
                if camera {
                    Camera::draw(run.colour_domain(), run.batch, false, rounded, rng)
                        .add(&patches)?
                } else {
                    let clipped = self.options.clipped_where(rounded);
                    Noise::draw(run.colour_domain(), run.batch, *coloured, clipped, rng)
                        .add(&patches)?
                }
            }
        };
        distance(&self.clean(weights, &batch, kind, rounded)?, &batch.clean)
    }

    /// Returns the PSNR in dB of the given weights on fixed noise of several sigmas.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let count = self.validation.size()[0] as usize;
        let rounded = self.quantiser.is_some();
        let pictures = self.validation.to_device(weights[0].device());
        let mut results = Vec::new();
        for (level, clipped) in [
            (15.0, rounded),
            (25.0, rounded),
            (50.0, rounded),
            (if rounded { 5.0 } else { 25.0 }, true),
        ] {
            tch::manual_seed(1);
            let batch = Noise::white(self.options.run.colour_domain(), count, level, clipped)
                .add(&pictures)?;
            let psnr = self.psnr(&self.clean(weights, &batch, Kind::Float, rounded)?, &batch)?;
            results.push((format!("{level:.0}{}", if clipped { " clipped" } else { "" }), psnr));
        }
        if self.options.camera > 0.0 {
            tch::manual_seed(1);
            let noise = Camera::draw(
                self.options.run.colour_domain(),
                count,
                false,
                rounded,
                &mut StdRng::seed_from_u64(1),
            );
            let batch = noise.add(&pictures)?;
            let psnr = self.psnr(&self.clean(weights, &batch, Kind::Float, rounded)?, &batch)?;
            results.push(("camera".to_owned(), psnr));
        }
        if let Some(batch) = &self.clips {
            let psnr = {
                let batch = batch.to_device(weights[0].device());
                self.psnr(&self.clean(weights, &batch, Kind::Float, rounded)?, &batch)?
            };
            results.push((format!("{VALIDATION_LEVEL:.0} fused"), psnr));
        }
        Ok(results)
    }

    fn quantiser(&self) -> Option<&Quantiser> {
        self.quantiser.as_ref()
    }
}

impl Denoising<'_> {
    /// Returns the network's estimate of the clean images. With `rounded`, simulates the int8
    /// engine.
    fn clean(
        &self,
        weights: &[Tensor],
        batch: &Batch,
        kind: Kind,
        rounded: bool,
    ) -> Result<Tensor, Error> {
        let input = batch.input()?;
        let noise = match self.quantiser.as_ref().filter(|_| rounded) {
            Some(quantiser) => {
                quantiser.forward(self.graph, weights, &torch::channels_last(&input)?)?
            }
            None => run::forward(self.graph, weights, &input, kind)?,
        };
        Ok(batch.cleaned(&noise))
    }

    /// Chooses the quantisation steps of a run. A new run chooses them for its initial weights; a
    /// resumed run keeps those of its model file.
    fn choose_steps(&self, weights: &mut [Tensor]) -> Result<Quantiser, Error> {
        let options = &self.options.run;
        let mut rng = StdRng::seed_from_u64(options.seed);
        tch::manual_seed(options.seed as i64);
        let device = weights[0].device();
        let mut white = |level, count| -> Result<Batch, Error> {
            let clean = self.photos.train.patches(&mut rng, count, options.side).to_device(device);
            Noise::white(options.colour_domain(), count, level, true).add(&clean)
        };
        let batches = EXAMPLE_LEVELS
            .into_iter()
            .map(|level| white(level, EXAMPLES))
            .collect::<Result<Vec<_>, _>>()?;
        let examples = batches.iter().map(Batch::input).collect::<Result<_, _>>()?;
        let mut steps = vec![PICTURE_STEP; options.signature.io.picture];
        steps.resize(options.signature.io.inputs(), CONTROL_STEP);
        let mut quantiser = Quantiser::begin(options, self.graph, weights, examples, steps)?;
        if options.resumes() {
            return Ok(quantiser);
        }
        quantiser.quantisation.finer.clear();
        // `distance` is logarithmic, so weak and strong noise count alike, as they do in PSNR.
        quantiser.tune(|quantiser| {
            batches.iter().try_fold(0.0, |sum, batch| {
                let input = torch::channels_last(&batch.input()?)?;
                let clean = batch.cleaned(&quantiser.forward(self.graph, weights, &input)?);
                Ok(sum + distance(&clean, &batch.clean)?.double_value(&[]))
            })
        })?;
        for level in FINER {
            let batches = FINER_LEVELS
                .map(|share| white(share * level, FINER_EXAMPLES))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?;
            self.refine(
                weights,
                &mut quantiser,
                (level * f64::from(CONTROL_PER_LEVEL)) as f32,
                &batches,
            )?;
        }
        Ok(quantiser)
    }

    /// Tunes quantisation steps for control maps of up to `most`.
    ///
    /// At low noise sigma, the loss due to coarse steps is small beside the error of the network
    /// itself. So the measure is the squared difference to the unquantised output, relative to the
    /// squared error of that output, averaged over images.
    fn refine(
        &self,
        weights: &[Tensor],
        quantiser: &mut Quantiser,
        most: f32,
        batches: &[Batch],
    ) -> Result<(), Error> {
        let _no_grad = tch::no_grad_guard();
        let squares =
            |error: Tensor| error.f_square()?.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float);
        let examples = batches.iter().map(|batch| {
            let input = torch::channels_last(&batch.input()?)?;
            let exact = torch::forward(self.graph, weights, &input)?;
            let missed = squares(batch.cleaned(&exact) - &batch.clean)?;
            Ok((input, exact, missed))
        });
        let examples = examples.collect::<Result<Vec<_>, Error>>()?;
        quantiser.refine(most, |quantiser| {
            examples.iter().try_fold(0.0, |sum, (input, exact, missed)| {
                let lost = squares(quantiser.forward(self.graph, weights, input)? - exact)?;
                Ok(sum + (lost / (missed + 1e-8)).f_mean(Kind::Double)?.double_value(&[]))
            })
        })
    }

    /// Returns the PSNR in dB, averaged over images. In 4:2:0 it is the PSNR of luma only.
    fn psnr(&self, clean: &Tensor, batch: &Batch) -> Result<f64, Error> {
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
fn validation_clips(options: &Options, photos: &Photos) -> Result<Batch, Error> {
    let domain = options.run.colour_domain();
    let mut rng = StdRng::seed_from_u64(u64::MAX);
    tch::manual_seed(1);
    let white = |clip: &Tensor, _: &mut StdRng| {
        Noise::white(domain, clip.size()[0] as usize, VALIDATION_LEVEL, true).add(clip)
    };
    fused::batch(
        &photos.validation,
        domain,
        [3 * VALIDATION_PICTURES, options.run.side],
        white,
        &mut rng,
    )
}

/// Error in 8-bit units below which an improvement is not visible. Below it, the loss flattens.
const UNSEEN: f64 = 1.0;

/// Mean over images of the logarithm of the root mean square error, `ln(1 + RMSE / UNSEEN) / 255`.
/// So an improvement of 1 dB counts alike under weak and strong noise.
fn distance(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    let error = a - b;
    let squares = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
    let levels = (squares + 1e-8).sqrt() * 255.0;
    Ok((levels / UNSEEN).log1p().mean(Kind::Float) / 255.0)
}
