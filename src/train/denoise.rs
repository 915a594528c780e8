//! Training of the denoising networks.

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
use crate::{
    denoise::{CONTROL_PER_LEVEL, MAX_LEVEL as MAX_CONTROL_LEVEL},
    nn::{arch::Graph, model::Domain, torch},
};

/// Steps of the network's input in 8-bit integers: those of 8-bit pictures, and for noise levels up to the highest that
/// the element asks for.
const PICTURE_STEP: f32 = 1.0 / 255.0;
const CONTROL_STEP: f32 = MAX_CONTROL_LEVEL * CONTROL_PER_LEVEL / 127.0;
/// Noise of the pictures by which roundings are chosen, so many for each level.
const EXAMPLE_LEVELS: [f64; 5] = [5.0, 10.0, 20.0, 35.0, 55.0];
/// Levels up to which there are finer steps, the highest first, the levels by which these are chosen, as shares, and so many pictures for each.
const FINER: [f64; 4] = [32.0, 16.0, 8.0, 4.0];
const FINER_LEVELS: [f64; 2] = [0.95, 0.65];
const FINER_EXAMPLES: usize = 12;
const EXAMPLES: usize = 6;
/// Share of the steps of a run for 8-bit integers that are computed in float32.
const FLOAT_SHARE: f64 = 0.35;
const VALIDATION_PICTURES: usize = 16;
const VALIDATION_SIDE: usize = 256;
/// Noise of the clips to validate on.
const VALIDATION_LEVEL: f64 = 25.0;

/// A training run.
#[derive(Debug, Clone)]
pub struct Options {
    pub run: run::Options,
    pub data: PathBuf,
    /// Share of the patches whose noise is not white: shared by R, G and B, or in blotches of chroma.
    pub coloured: f64,
    /// Share of the patches whose noise is clipped and rounded to 8 bits, as in video.
    pub clipped: f64,
    /// Share of the steps that learn from pictures of moving scenes which were fused along time.
    pub fused: f64,
    /// Share of the steps whose noise is that of cameras.
    pub camera: f64,
}

/// Trains a denoising network until the run is over; writes the model and its curve.
///
/// # Errors
/// Files that cannot be read or written, a checkpoint that does not fit, a loss that is no longer a number.
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

/// Where batches come from.
struct Scenes<'a> {
    options: &'a Options,
    photos: &'a Photos,
}

/// What a step learns from.
struct Scene {
    /// Whether the int8 engine's rounding is learnt.
    rounded: bool,
    camera: bool,
    content: Content,
}

enum Content {
    /// Clean photographs, that get their noise where the network is trained.
    Photographs(Tensor),
    Fused(Batch),
}

impl Options {
    /// Share of the patches with clipped noise, in a step that learns the int8 engine's rounding or does not.
    fn clipped_where(&self, rounded: bool) -> f64 {
        if rounded { 1.0 } else { self.clipped }
    }
}

impl Source for Scenes<'_> {
    type Batch = Scene;

    fn draw(&self, rng: &mut StdRng) -> Result<Scene, Error> {
        let options = &self.options.run;
        let (domain, photos) = (options.domain, &self.photos.train);
        // The same weights must serve in float32 too, where noise is not clipped, so a share of the steps goes there.
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

struct Denoising<'a> {
    options: &'a Options,
    graph: &'a Graph,
    photos: &'a Photos,
    validation: Tensor,
    clips: Option<Batch>,
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
                    Camera::draw(run.domain, run.batch, false, rounded, rng).add(&patches)?
                } else {
                    let clipped = self.options.clipped_where(rounded);
                    Noise::draw(run.domain, run.batch, *coloured, clipped, rng).add(&patches)?
                }
            }
        };
        distance(&self.clean(weights, &batch, kind, rounded)?, &batch.clean)
    }

    /// PSNR of the averaged weights on fixed noise.
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
            let batch =
                Noise::white(self.options.run.domain, count, level, clipped).add(&pictures)?;
            let psnr = self.psnr(&self.clean(weights, &batch, Kind::Float, rounded)?, &batch)?;
            results.push((format!("{level:.0}{}", if clipped { " clipped" } else { "" }), psnr));
        }
        if self.options.camera > 0.0 {
            tch::manual_seed(1);
            let noise = Camera::draw(
                self.options.run.domain,
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
    /// What the network takes for the clean pictures; `rounded`, as the int8 engine computes it.
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

    /// Steps of a run for 8-bit integers, chosen anew for the weights it begins with.
    fn choose_steps(&self, weights: &mut [Tensor]) -> Result<Quantiser, Error> {
        let options = &self.options.run;
        let mut rng = StdRng::seed_from_u64(options.seed);
        tch::manual_seed(options.seed as i64);
        let device = weights[0].device();
        let mut white = |level, count| -> Result<Batch, Error> {
            let clean = self.photos.train.patches(&mut rng, count, options.side).to_device(device);
            Noise::white(options.domain, count, level, true).add(&clean)
        };
        let batches = EXAMPLE_LEVELS
            .into_iter()
            .map(|level| white(level, EXAMPLES))
            .collect::<Result<Vec<_>, _>>()?;
        let examples = batches.iter().map(Batch::input).collect::<Result<_, _>>()?;
        let mut steps = vec![PICTURE_STEP; options.domain.channels()];
        steps.resize(options.domain.inputs(), CONTROL_STEP);
        let mut quantiser = Quantiser::begin(options, self.graph, weights, examples, steps)?;
        if options.resumes() {
            return Ok(quantiser);
        }
        quantiser.quantisation.finer.clear();
        // As for PSNR, weak and strong noise count alike.
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

    /// Finds steps for control maps of up to `most`. What coarser ones lose there is little beside what the network misses, so the measure is how far
    /// each picture goes from what is computed without rounding, as a share of that.
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

    /// Of luma alone in 4:2:0, where chroma has a quarter of the pixels. Mean over pictures.
    fn psnr(&self, clean: &Tensor, batch: &Batch) -> Result<f64, Error> {
        let error = clean - &batch.clean;
        let error =
            if self.options.run.domain == Domain::Rgb { error } else { error.narrow(1, 0, 4) };
        let mse = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
        Ok((mse.log10() * -10.0).mean(Kind::Float).double_value(&[]))
    }
}

/// Fused pictures that are not trained on.
fn validation_clips(options: &Options, photos: &Photos) -> Result<Batch, Error> {
    let domain = options.run.domain;
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

/// Error that is too small to see, in levels: below it, less is no better.
const UNSEEN: f64 = 1.0;

/// Logarithm of the root mean square error of each picture, averaged: a decibel counts alike under weak noise and strong.
fn distance(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    let error = a - b;
    let squares = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
    let levels = (squares + 1e-8).sqrt() * 255.0;
    Ok((levels / UNSEEN).log1p().mean(Kind::Float) / 255.0)
}
