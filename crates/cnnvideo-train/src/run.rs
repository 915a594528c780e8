// SPDX-License-Identifier: MIT OR Apache-2.0

//! The training loop, shared by all networks: initialisation, steps, validation, checkpoints and
//! the model file.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use tch::{Kind, Tensor};

use super::{
    Error,
    checkpoint::{self, Checkpoint, Progress},
    files::write_file,
    init,
    optimiser::Optimiser,
    prefetch::{self, BatchSource, DrawnBatch},
    quantise::Quantiser,
    report::{self, LogEntry},
    rounding,
};
use cnnvideo::denoise::ColourDomain;
use cnnvideo::nn::{
    Device, Model, Signature,
    arch::{Architecture, Graph},
    model::ConvWeights,
    torch,
};

/// Minimum time between checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(240);
/// Minimum time between validations.
const VALIDATE_EVERY: Duration = Duration::from_secs(120);

/// Options that all trainings share.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Model file to write. Checkpoint and training curve get the same name with other extensions.
    pub out: PathBuf,
    /// Task and channels of the network.
    pub signature: Signature,
    /// Architecture of the network.
    pub architecture: Architecture,
    /// Model file with initial weights. Layers that are wider than in that model extend its
    /// weights; residual blocks with fewer hidden channels keep the most influential ones. Other
    /// layers start from random weights.
    pub init: Option<PathBuf>,
    /// Re-initialises hidden channels of `init` whose weights have diverged.
    pub reinitialise_diverged: bool,
    /// Safetensors file of float32 weights, named as in a model file. `init` takes precedence.
    pub pretrained: Option<PathBuf>,
    /// Whether to resume from the checkpoint of `out`.
    pub resume: bool,
    /// Length of the run.
    pub length: Length,
    /// Seed of all random choices.
    pub seed: u64,
    /// Number of patches in a batch.
    pub batch_size: usize,
    /// Side of the training patches in pixels, a multiple of twice the network's granularity.
    pub patch_side: usize,
    /// Learning rate of the first step; it decays along a half cosine.
    pub learning_rate: f64,
    /// Device that trains the network.
    pub device: Device,
    /// Number of threads that prefetch batches. With 0, each step draws its own batch.
    pub prefetch_threads: usize,
    /// Share of the run, from its start, that computes in bfloat16.
    pub bf16_share: f64,
    /// Trains for 8-bit integers: starts from `init`, calibrates quantisation steps and simulates
    /// the rounding of the int8 engine.
    pub quantise: bool,
}

impl RunOptions {
    /// Returns the colour domain of a denoising network.
    ///
    /// # Panics
    /// If the network is for another task.
    pub fn colour_domain(&self) -> ColourDomain {
        let domain = ColourDomain::ALL.into_iter().find(|d| d.signature() == self.signature);
        domain.expect("denoising networks have a colour domain")
    }
}

/// Length of a whole run, including the time or steps before it was resumed.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// Training time in minutes.
    Minutes(f64),
    /// Number of steps. The learning rate depends on the step only, so a run can be repeated bit
    /// for bit. With 0 steps, the run writes its initial weights, rounded if it is quantised.
    Steps(u64),
}

impl Length {
    /// Returns the share of the run that is done, 0 to 1.
    fn progress_share(self, progress: &Progress) -> f64 {
        let done = match self {
            Self::Minutes(minutes) => progress.seconds / (minutes * 60.0),
            Self::Steps(0) => 1.0,
            Self::Steps(steps) => progress.step as f64 / steps as f64,
        };
        done.min(1.0)
    }
}

impl RunOptions {
    /// Returns the seed of all random choices in a step.
    fn step_seed(&self, step: u64) -> u64 {
        self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(step)
    }
}

/// A training task: loss, validation and quantisation of one kind of network, for batches of type
/// `B`. Weights are on the device that trains.
pub(super) trait TrainingTask<B> {
    /// Prepares for a run. May adapt the initial weights. `resumed` is the model of the checkpoint
    /// that the run resumes from, if it does.
    ///
    /// # Errors
    /// Errors of libtorch or of a file.
    fn prepare(&mut self, _weights: &mut [Tensor], _resumed: Option<&Model>) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the loss of one step, in units of pixel values from 0 to 1.
    ///
    /// `weights` holds kernel and bias of each convolution in turn, `kind` is the type to compute
    /// in, and `rng` is the generator of this step.
    ///
    /// # Errors
    /// Errors of libtorch.
    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        batch: B,
        rng: &mut StdRng,
    ) -> Result<Tensor, Error>;

    /// Returns measures on fixed validation data, by condition; larger is better.
    ///
    /// # Errors
    /// Errors of libtorch.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error>;

    /// Returns an image with sample outputs for visual inspection, if the task has one.
    ///
    /// # Errors
    /// Errors of libtorch.
    fn samples(&self, _weights: &[Tensor]) -> Result<Option<image::GrayImage>, Error> {
        Ok(None)
    }

    /// Returns the simulation of the int8 engine if the run is quantised.
    fn quantiser(&self) -> Option<&Quantiser> {
        None
    }
}

/// Trains to the end of the run. Writes the model with averaged weights to `options.out`, and
/// checkpoint and training curve beside it.
///
/// # Errors
/// Files that cannot be read or written, a checkpoint that does not fit, a loss that is not finite,
/// errors of libtorch.
pub(super) fn run<S: BatchSource>(
    options: &RunOptions,
    graph: &Graph,
    source: &S,
    task: &mut dyn TrainingTask<S::Batch>,
) -> Result<(), Error> {
    let device = torch::resolve_device(options.device)?;
    tch::Cuda::cudnn_set_benchmark(true);
    println!(
        "{:.0} MAC per pixel, {} parameters",
        graph.macs_per_pixel() / 4.0,
        graph.parameters()
    );
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder).map_err(|err| Error::file(folder, err))?;
    }
    let checkpoint = if options.resume { Some(Checkpoint::load(&options.out)?) } else { None };
    let random = || Optimiser::new(graph, options.seed as i64).weights;
    let mut weights = random();
    if let Some(path) = &options.pretrained {
        init::copy_by_name(graph, &mut weights, &init::read_safetensors(path)?)?;
    }
    if let Some(path) = &options.init {
        let mut given = init::read_model_weights(path, options.signature)?;
        init::prune_hidden_channels(graph, &mut given)?;
        init::copy_by_name(graph, &mut weights, &given)?;
    }
    if options.reinitialise_diverged {
        println!(
            "{} hidden channels re-initialised",
            init::reinitialise_diverged(graph, &mut weights, &random())?
        );
    }
    weights.iter_mut().for_each(|weight| *weight = weight.to_device(device));
    task.prepare(&mut weights, checkpoint.as_ref().map(|checkpoint| &checkpoint.model))?;
    let mut optimiser = Optimiser::from_weights(graph, weights);
    let mut progress = Progress::default();
    if let Some(checkpoint) = checkpoint {
        progress = checkpoint.restore(&mut optimiser)?;
        println!("resumed at step {}", progress.step);
    }

    let seed = |step| options.step_seed(step);
    prefetch::with_prefetch(source, seed, progress.step, options.prefetch_threads, |next| {
        training_loop(options, graph, task, &mut optimiser, progress, next)
    })
}

/// Makes steps until the run is over; `next` returns the batches.
fn training_loop<B>(
    options: &RunOptions,
    graph: &Graph,
    task: &dyn TrainingTask<B>,
    optimiser: &mut Optimiser,
    mut progress: Progress,
    next: &mut dyn FnMut() -> DrawnBatch<B>,
) -> Result<(), Error> {
    let bar = report::progress_bar();
    let before = progress.seconds;
    let start = Instant::now();
    let (mut last_checkpoint, mut last_validation) = (Instant::now(), Instant::now());
    let mut losses: Vec<Tensor> = Vec::new();
    loop {
        progress.seconds = before + start.elapsed().as_secs_f64();
        let done = options.length.progress_share(&progress);
        let over = done >= 1.0;
        let validate = (over || last_validation.elapsed() >= VALIDATE_EVERY) && !losses.is_empty();
        let save = over || last_checkpoint.elapsed() >= CHECKPOINT_EVERY;
        if validate || save {
            let _no_grad = tch::no_grad_guard();
            let deployed_weights = match task.quantiser() {
                Some(quantiser) => rounding::round_weights(graph, &optimiser.average, quantiser)?,
                None => optimiser.average.iter().map(Tensor::shallow_clone).collect(),
            };
            if validate {
                let loss = Tensor::stack(&losses, 0).mean(Kind::Double).double_value(&[]) * 255.0;
                if !loss.is_finite() {
                    return Err(Error::Diverged(progress.step));
                }
                losses.clear();
                let results = task.validate(&deployed_weights)?;
                let entry =
                    LogEntry { step: progress.step, seconds: progress.seconds, loss, results };
                bar.println(entry.to_string());
                if bar.is_hidden() {
                    println!("{entry}");
                }
                progress.log.push(entry);
                last_validation = Instant::now();
            }
            if save {
                let model =
                    model_file(options, &deployed_weights, task.quantiser(), progress.step)?;
                checkpoint::save(&options.out, optimiser, &progress, &model)?;
                report::draw_curve(&options.out.with_extension("png"), &progress.log)?;
                if let Some(picture) = task.samples(&deployed_weights)? {
                    let path = options.out.with_extension("samples.png");
                    write_file(&path, |temporary| Ok(picture.save(temporary)?))?;
                }
                write_file(&options.out, |temporary| Ok(std::fs::write(temporary, &model)?))?;
                last_checkpoint = Instant::now();
            }
        }
        if over {
            break;
        }

        tch::manual_seed(options.step_seed(progress.step) as i64);
        let (batch, mut rng) = next()?;
        let kind = if done < options.bf16_share { Kind::BFloat16 } else { Kind::Float };
        let loss = task.loss(&optimiser.weights, kind, batch, &mut rng)?;
        let rate =
            options.learning_rate * (0.5 + 0.5 * (std::f64::consts::PI * done).cos()).max(1e-3);
        optimiser.step(&loss, rate)?;
        losses.push(loss.detach());
        progress.step = optimiser.step;
        bar.set_position((done * 1000.0) as u64);
        bar.set_message(format!("step {}", progress.step));
    }
    bar.finish();
    Ok(())
}

/// Runs a network on an input. Computes in `kind`; the result is float32.
///
/// # Errors
/// Errors of libtorch.
pub(super) fn forward(
    graph: &Graph,
    weights: &[Tensor],
    input: &Tensor,
    kind: Kind,
) -> Result<Tensor, Error> {
    let input = torch::channels_last(&input.f_to_kind(kind)?)?;
    let weights = weights.iter().map(|w| w.f_to_kind(kind)).collect::<Result<Vec<_>, _>>()?;
    Ok(torch::forward(graph, &weights, &input)?.f_to_kind(Kind::Float)?)
}

/// Returns the content of the model file, with its quantisation and a description of its training.
fn model_file(
    options: &RunOptions,
    weights: &[Tensor],
    quantiser: Option<&Quantiser>,
    step: u64,
) -> Result<Vec<u8>, Error> {
    let values = |t: &Tensor| Vec::<f32>::try_from(t.detach().contiguous().view(-1));
    let weights = weights
        .chunks(2)
        .map(|pair| Ok(ConvWeights { weight: values(&pair[0])?, bias: values(&pair[1])? }))
        .collect::<Result<Vec<_>, tch::TchError>>()?;
    let mut model = Model::new(options.signature, options.architecture.clone(), weights)?;
    if let Some(quantiser) = quantiser {
        model = model.with_quantisation(quantiser.quantisation.clone())?;
    }
    model.version = env!("CARGO_PKG_VERSION").to_owned();
    model.training = match &options.init {
        Some(path) if step == 0 => Model::from_file(path)?.training,
        _ => format!(
            "{step} steps of {} patches of {}x{}, seed {}, Muon and Adam {} cosine, averaged \
             weights",
            options.batch_size,
            options.patch_side,
            options.patch_side,
            options.seed,
            options.learning_rate
        ),
    };
    if quantiser.is_some() && !model.training.ends_with("8 bits") {
        model.training += ", rounded to 8 bits";
    }
    Ok(model.to_bytes()?)
}
