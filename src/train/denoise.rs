//! Training of the denoising networks.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

use super::{
    Error, Photos,
    checkpoint::{self, Progress},
    noise::{Batch, Noise},
    optimiser::Optimiser,
    quantise::Quantiser,
    report::{self, Entry},
};
use crate::{
    denoise::{CONTROL_PER_LEVEL, MAX_LEVEL as MAX_CONTROL_LEVEL},
    nn::{
        Model, Task,
        arch::{Graph, ResidualUnet},
        model::{ConvWeights, Domain},
        torch,
    },
};

/// Steps of the network's input in 8-bit integers: those of 8-bit pictures, and for noise levels up to the highest that
/// the element asks for.
const PICTURE_STEP: f32 = 1.0 / 255.0;
const CONTROL_STEP: f32 = MAX_CONTROL_LEVEL * CONTROL_PER_LEVEL / 127.0;
/// Share of the steps of a run for 8-bit integers that are computed in float32.
const FLOAT_SHARE: f64 = 0.35;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(240);
const VALIDATE_EVERY: Duration = Duration::from_secs(120);
const VALIDATION_PICTURES: usize = 16;
const VALIDATION_SIDE: usize = 256;

/// A training run.
#[derive(Debug, Clone)]
pub struct Options {
    pub data: PathBuf,
    pub out: PathBuf,
    pub domain: Domain,
    pub architecture: ResidualUnet,
    /// Model whose weights to start from; layers of another shape start at random.
    pub init: Option<PathBuf>,
    pub resume: bool,
    pub length: Length,
    pub seed: u64,
    pub batch: usize,
    /// Side of the training patches, a multiple of 8.
    pub side: usize,
    /// Learning rate at the start; it falls along a cosine.
    pub rate: f64,
    /// Share of the run, from its start, that computes in bfloat16.
    pub bf16_share: f64,
    /// Share of the patches whose noise is not white: shared by R, G and B, or in blotches of chroma.
    pub coloured: f64,
    /// Trains for 8-bit integers: starts from `init`, calibrates steps of quantisation and rounds as the int8 engine does.
    pub quantise: bool,
}

/// Length of a whole run, what came before a resume included.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    Minutes(f64),
    /// The learning rate follows from the step alone, so a run can be repeated bit for bit.
    Steps(u64),
}

impl Length {
    /// Share of the run that is over.
    fn done(self, progress: &Progress) -> f64 {
        let done = match self {
            Self::Minutes(minutes) => progress.seconds / (minutes * 60.0),
            Self::Steps(steps) => progress.step as f64 / steps as f64,
        };
        done.min(1.0)
    }
}

/// Trains until the run is over, then writes the model with averaged weights to `out` and the curve beside it.
///
/// # Errors
/// Files that cannot be read or written, a checkpoint that does not fit, a loss that is no longer a number.
pub fn run(options: &Options) -> Result<(), Error> {
    let photos = Photos::load(&options.data, options.side.max(VALIDATION_SIDE) as u32)?;
    println!("{} photographs to train on, {} to validate", photos.train.len(), photos.validation.len());
    let graph = options.architecture.graph()?;
    println!("{:.0} MAC per pixel, {} parameters", graph.macs_per_pixel() / 4.0, graph.parameters());

    let mut weights = match &options.init {
        Some(path) => initial_weights(&graph, path, options.seed)?,
        None => Optimiser::new(&graph, options.seed as i64).weights,
    };
    let quantiser = match options.quantise {
        false => None,
        true => Some(quantiser(options, &graph, &mut weights, &photos)?),
    };
    let network = Trained { graph: &graph, domain: options.domain, quantiser: quantiser.as_ref() };
    let mut optimiser = Optimiser::starting_from(weights);
    let mut progress = Progress::default();
    if options.resume
        && let Some(saved) = checkpoint::load(&options.out, &mut optimiser)?
    {
        progress = saved;
        println!("resumed at step {}", progress.step);
    }
    let validation = photos.validation.centres(VALIDATION_PICTURES, VALIDATION_SIDE);

    let bar = report::bar();
    let before = progress.seconds;
    let start = Instant::now();
    let (mut last_checkpoint, mut last_validation) = (Instant::now(), Instant::now());
    let (mut loss_sum, mut loss_count) = (0.0, 0u32);
    loop {
        progress.seconds = before + start.elapsed().as_secs_f64();
        let done = options.length.done(&progress);
        let over = done >= 1.0;
        if (over || last_validation.elapsed() >= VALIDATE_EVERY) && loss_count > 0 {
            let psnr = validate(&network, &optimiser.average, &validation)?;
            let entry =
                Entry { step: progress.step, seconds: progress.seconds, loss: loss_sum / f64::from(loss_count), psnr };
            bar.println(entry.to_string());
            if bar.is_hidden() {
                println!("{entry}");
            }
            progress.log.push(entry);
            (loss_sum, loss_count) = (0.0, 0);
            last_validation = Instant::now();
        }
        if over || last_checkpoint.elapsed() >= CHECKPOINT_EVERY {
            checkpoint::save(&options.out, &optimiser, &progress)?;
            report::draw_curve(&options.out.with_extension("png"), &progress.log)?;
            write_model(options, &optimiser, quantiser.as_ref(), progress.step)?;
            last_checkpoint = Instant::now();
        }
        if over {
            break;
        }

        let seed = options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(progress.step);
        let mut rng = StdRng::seed_from_u64(seed);
        tch::manual_seed(seed as i64);
        let kind = if done < options.bf16_share { Kind::BFloat16 } else { Kind::Float };
        let loss = loss(&network, &optimiser.weights, &photos, options, kind, &mut rng)?;
        let rate = options.rate * (0.5 + 0.5 * (std::f64::consts::PI * done).cos()).max(1e-3);
        optimiser.descend(&loss, rate)?;
        let loss = loss.double_value(&[]) * 255.0;
        if !loss.is_finite() {
            return Err(Error::Diverged(progress.step));
        }
        loss_sum += loss;
        loss_count += 1;
        progress.step = optimiser.step;
        bar.set_position((done * 1000.0) as u64);
        bar.set_message(format!("step {} loss {loss:.2}", progress.step));
    }
    bar.finish();
    Ok(())
}

/// The network that is trained, and how it rounds.
struct Trained<'a> {
    graph: &'a Graph,
    domain: Domain,
    quantiser: Option<&'a Quantiser>,
}

impl Trained<'_> {
    /// What the network takes for the clean pictures.
    fn clean(&self, weights: &[Tensor], batch: &Batch, kind: Kind) -> Result<Tensor, Error> {
        Ok(&batch.noisy - self.residual(weights, &batch.input()?, kind)?)
    }

    fn residual(&self, weights: &[Tensor], input: &Tensor, kind: Kind) -> Result<Tensor, Error> {
        let input = torch::channels_last(&input.f_to_kind(kind)?)?;
        if let Some(quantiser) = self.quantiser {
            return Ok(quantiser.forward(self.graph, weights, &input)?);
        }
        let weights = weights.iter().map(|w| w.f_to_kind(kind)).collect::<Result<Vec<_>, _>>()?;
        Ok(torch::forward(self.graph, &weights, &input)?.f_to_kind(Kind::Float)?)
    }
}

/// Root mean square error per picture, averaged: weak and strong noise count alike (it follows PSNR).
fn distance(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    let error = a - b;
    let squares = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
    Ok((squares + 1e-8).sqrt().mean(Kind::Float))
}

/// The loss of one step.
fn loss(
    network: &Trained<'_>,
    weights: &[Tensor],
    photos: &Photos,
    options: &Options,
    kind: Kind,
    rng: &mut StdRng,
) -> Result<Tensor, Error> {
    // The same weights must serve in float32 too, where noise is not clipped, so a share of the steps goes there.
    let rounded = options.quantise && !rng.random_bool(FLOAT_SHARE);
    let clipped = match (options.quantise, rounded) {
        (false, _) => 0.5,
        (true, false) => 0.0,
        (true, true) => 1.0,
    };
    let network = Trained { quantiser: network.quantiser.filter(|_| rounded), ..*network };
    let noise = Noise::draw(options, clipped, rng);
    let batch = noise.add(&photos.train.patches(rng, options.batch, options.side))?;
    distance(&network.clean(weights, &batch, kind)?, &batch.clean)
}

/// The steps of a run that goes on, or those that fit the weights it starts from.
fn quantiser(options: &Options, graph: &Graph, weights: &mut [Tensor], photos: &Photos) -> Result<Quantiser, Error> {
    if options.resume
        && options.out.exists()
        && let Some(quantisation) = Model::from_file(&options.out)?.quantisation()
    {
        return Ok(Quantiser::new(graph, quantisation.clone()));
    }
    let mut rng = StdRng::seed_from_u64(options.seed);
    tch::manual_seed(options.seed as i64);
    let clean = photos.train.patches(&mut rng, 4 * options.batch, options.side);
    let batch = Noise::draw(&Options { batch: 4 * options.batch, ..options.clone() }, 1.0, &mut rng).add(&clean)?;
    let mut steps = vec![PICTURE_STEP; options.domain.inputs() - options.domain.controls()];
    steps.resize(options.domain.inputs(), CONTROL_STEP);
    Quantiser::calibrate(graph, weights, &batch.input()?, steps)
}

/// PSNR of the averaged weights on fixed noise.
fn validate(network: &Trained<'_>, weights: &[Tensor], rgb: &Tensor) -> Result<Vec<(String, f64)>, Error> {
    let _no_grad = tch::no_grad_guard();
    let count = rgb.size()[0] as usize;
    let always = network.quantiser.is_some();
    let mut results = Vec::new();
    for (level, clipped) in [(15.0, always), (25.0, always), (50.0, always), (if always { 5.0 } else { 25.0 }, true)] {
        tch::manual_seed(1);
        let noise = Noise::white(network.domain, count, level, clipped);
        let batch = noise.add(rgb)?;
        let psnr = psnr(network, &network.clean(weights, &batch, Kind::Float)?, &batch)?;
        results.push((format!("{level:.0}{}", if clipped { " clipped" } else { "" }), psnr));
    }
    Ok(results)
}

/// Of luma alone in 4:2:0, where chroma has a quarter of the pixels. Mean over pictures.
fn psnr(network: &Trained<'_>, clean: &Tensor, batch: &Batch) -> Result<f64, Error> {
    let error = clean - &batch.clean;
    let error = if network.domain == Domain::Rgb { error } else { error.narrow(1, 0, 4) };
    let mse = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
    Ok((mse.log10() * -10.0).mean(Kind::Float).double_value(&[]))
}

/// Weights of a model file where they have the right shape, random ones elsewhere.
fn initial_weights(graph: &Graph, path: &std::path::Path, seed: u64) -> Result<Vec<Tensor>, Error> {
    let mut weights = Optimiser::new(graph, seed as i64).weights;
    let model = Model::from_file(path)?;
    for (spec, given) in model.graph().convs.iter().zip(torch::parameters(&model, tch::Device::Cpu)?.chunks(2)) {
        for (i, own) in graph.convs.iter().enumerate() {
            if own.name == spec.name && own.weight_shape() == spec.weight_shape() {
                weights[2 * i] = given[0].shallow_clone();
                weights[2 * i + 1] = given[1].shallow_clone();
            }
        }
    }
    Ok(weights)
}

fn write_model(
    options: &Options,
    optimiser: &Optimiser,
    quantiser: Option<&Quantiser>,
    step: u64,
) -> Result<(), Error> {
    let values = |t: &Tensor| Vec::<f32>::try_from(t.detach().contiguous().view(-1));
    let weights = optimiser
        .average
        .chunks(2)
        .map(|pair| Ok(ConvWeights { weight: values(&pair[0])?, bias: values(&pair[1])? }))
        .collect::<Result<Vec<_>, tch::TchError>>()?;
    let mut model = Model::new(Task::Denoise, options.domain, options.architecture.clone(), weights)?;
    if let Some(quantiser) = quantiser {
        model = model.with_quantisation(quantiser.quantisation.clone())?;
    }
    model.version = env!("CARGO_PKG_VERSION").to_owned();
    model.training = format!(
        "{step} steps of {} patches of {}x{}, seed {}, Adam {} cosine, averaged weights",
        options.batch, options.side, options.side, options.seed, options.rate
    );
    if quantiser.is_some() {
        model.training += ", rounded to 8 bits as it is run";
    }
    checkpoint::replace(&options.out, &model.to_bytes()?)
}
