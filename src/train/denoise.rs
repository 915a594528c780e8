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

/// Largest noise level (standard deviation in 8-bit units) in training.
const MAX_LEVEL: f64 = 60.0;
/// Steps of the network's input in 8-bit integers: those of 8-bit pictures, and for noise levels up to the highest that
/// the element asks for.
const PICTURE_STEP: f32 = 1.0 / 255.0;
const CONTROL_STEP: f32 = MAX_CONTROL_LEVEL * CONTROL_PER_LEVEL / 127.0;
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
    let network = Trained { graph: &graph, quantiser: quantiser.as_ref() };
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
            let psnr = validate(&network, &optimiser.average, options.domain, &validation)?;
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
        let clean = photos.train.patches(&mut rng, options.batch, options.side);
        let kind = if done < options.bf16_share { Kind::BFloat16 } else { Kind::Float };
        let batch = synthesise(&clean, options, &mut rng)?;
        let loss = loss(&network, &optimiser.weights, &batch, kind)?;
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

/// Clean and noisy pictures as a network of a domain sees them.
struct Batch {
    clean: Tensor,
    noisy: Tensor,
    /// Noise level maps, as the network gets them.
    controls: Tensor,
}

/// The network that is trained, and how it rounds.
struct Trained<'a> {
    graph: &'a Graph,
    quantiser: Option<&'a Quantiser>,
}

impl Trained<'_> {
    fn predict(&self, weights: &[Tensor], batch: &Batch, kind: Kind) -> Result<Tensor, Error> {
        let input = torch::channels_last(&batch.input()?.f_to_kind(kind)?)?;
        if let Some(quantiser) = self.quantiser {
            return Ok(quantiser.forward(self.graph, weights, &input)?);
        }
        let weights = weights.iter().map(|w| w.f_to_kind(kind)).collect::<Result<Vec<_>, _>>()?;
        Ok(torch::forward(self.graph, &weights, &input)?.f_to_kind(Kind::Float)?)
    }
}

impl Batch {
    fn input(&self) -> Result<Tensor, tch::TchError> {
        Tensor::f_cat(&[&self.noisy, &self.controls], 1)
    }
}

/// Root mean square error per picture, averaged: weak and strong noise count alike (it follows PSNR).
fn loss(network: &Trained<'_>, weights: &[Tensor], batch: &Batch, kind: Kind) -> Result<Tensor, Error> {
    let residual = network.predict(weights, batch, kind)?;
    let error = &batch.noisy - residual - &batch.clean;
    let squares = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
    Ok((squares + 1e-8).sqrt().mean(Kind::Float))
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
    let batch = synthesise(&clean, options, &mut rng)?;
    let mut steps = vec![PICTURE_STEP; options.domain.channels()];
    steps.resize(options.domain.channels() + options.domain.controls(), CONTROL_STEP);
    Quantiser::calibrate(graph, weights, &batch.input()?, steps)
}

/// Planes of a domain from RGB (0 to 255): pixel-unshuffled, `(v - 128) / 255`.
fn planes(rgb: &Tensor, domain: Domain) -> Result<Tensor, Error> {
    let scaled = |x: &Tensor| (x - 128.0) / 255.0;
    match domain {
        Domain::Rgb => Ok(scaled(rgb).f_pixel_unshuffle(2)?),
        Domain::Yuv420 => {
            let luma = mix(rgb, [0.2568, 0.5041, 0.0979], 16.0)?;
            let u = mix(rgb, [-0.1482, -0.2910, 0.4392], 128.0)?;
            let v = mix(rgb, [0.4392, -0.3678, -0.0714], 128.0)?;
            let chroma = Tensor::f_cat(&[u, v], 1)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
            Ok(Tensor::f_cat(&[scaled(&luma).f_pixel_unshuffle(2)?, scaled(&chroma)], 1)?)
        }
    }
}

fn mix(rgb: &Tensor, weights: [f64; 3], offset: f64) -> Result<Tensor, Error> {
    let channel = |i: usize| rgb.f_narrow(1, i as i64, 1).map(|c| c * weights[i]);
    Ok(channel(0)? + channel(1)? + channel(2)? + offset)
}

/// Noise of one batch, one value per picture.
struct Levels {
    /// Of luma, or of R, G and B.
    main: Tensor,
    /// Of chroma (`yuv420` only).
    chroma: Tensor,
}

/// Makes noisy pictures of every kind: levels 0 to `MAX_LEVEL`, half of them clipped and rounded to 8 bits (all where the
/// network will see nothing else); chroma noise from none to as strong as luma noise, white or in blotches; some
/// pictures without colour.
fn synthesise(clean: &Tensor, options: &Options, rng: &mut StdRng) -> Result<Batch, Error> {
    let Options { domain, coloured, quantise, .. } = *options;
    let clipped = if quantise { 1.0 } else { 0.5 };
    let count = clean.size()[0] as usize;
    let per_picture = |values: &[f32]| Tensor::from_slice(values).view([count as i64, 1, 1, 1]);
    let main: Vec<f32> = (0..count).map(|_| rng.random_range(0.0..MAX_LEVEL) as f32).collect();
    let chroma: Vec<f32> = main
        .iter()
        .map(|level| if rng.random_bool(0.25) { 0.0 } else { level * rng.random_range(0.0..1.2f32) })
        .collect();
    let quantised: Vec<f32> = (0..count).map(|_| f32::from(u8::from(rng.random_bool(clipped)))).collect();
    let blotches: Vec<f32> = (0..count).map(|_| f32::from(u8::from(rng.random_bool(coloured)))).collect();
    let colourless: Vec<f32> = (0..count).map(|_| f32::from(u8::from(rng.random_bool(0.1)))).collect();

    let coloured = blotches.iter().any(|&b| b > 0.0);
    let mut clean = planes(clean, domain)?;
    let mut levels = Levels { main: per_picture(&main), chroma: per_picture(&chroma) };
    let blotches = per_picture(&blotches);
    let unit = match domain {
        Domain::Rgb => {
            let white = clean.randn_like();
            if coloured { &white + &blotches * (correlated_rgb(&clean)? - &white) } else { white }
        }
        Domain::Yuv420 => {
            let colour = 1.0 - per_picture(&colourless);
            levels.chroma = &levels.chroma * &colour;
            let (luma, chroma) = (clean.narrow(1, 0, 4), clean.narrow(1, 4, 2));
            // Without colour, chroma lies at 128 exactly.
            clean = Tensor::f_cat(&[&luma, &(&chroma * &colour)], 1)?;
            let white = chroma.randn_like();
            let noise = if coloured { &white + &blotches * (blurred(&chroma.randn_like())? - &white) } else { white };
            Tensor::f_cat(&[luma.randn_like(), noise], 1)?
        }
    };
    with_noise(clean, &unit, &levels, domain, Some(&per_picture(&quantised)))
}

/// Adds `unit` noise scaled by `levels`, clips and rounds the pictures where `quantised` is 1 (all if `None`).
fn with_noise(
    clean: Tensor,
    unit: &Tensor,
    levels: &Levels,
    domain: Domain,
    quantised: Option<&Tensor>,
) -> Result<Batch, Error> {
    let size = clean.size();
    let map = |level: &Tensor| level.f_expand([size[0], 1, size[2], size[3]], false);
    let (std, controls) = match domain {
        Domain::Rgb => (levels.main.f_expand(&size, false)?, map(&levels.main)?),
        Domain::Yuv420 => (
            Tensor::f_cat(&[levels.main.f_repeat([1, 4, 1, 1])?, levels.chroma.f_repeat([1, 2, 1, 1])?], 1)?,
            Tensor::f_cat(&[map(&levels.main)?, map(&levels.chroma)?], 1)?,
        ),
    };
    let noisy = &clean + unit * std / 255.0;
    let rounded = ((&noisy * 255.0).f_round()?.f_clamp(-128.0, 127.0)?) / 255.0;
    let noisy = match quantised {
        Some(share) => &noisy + share * (rounded - &noisy),
        None => rounded,
    };
    Ok(Batch { clean, noisy, controls: controls * f64::from(CONTROL_PER_LEVEL) })
}

/// Unit noise that R, G and B share, plus colour noise at half the resolution, as in decoded 4:2:0 video.
fn correlated_rgb(like: &Tensor) -> Result<Tensor, Error> {
    let size = like.size();
    let (count, height, width) = (size[0], size[2], size[3]);
    let options = (Kind::Float, like.device());
    let shared = Tensor::f_randn([count, 4, height, width], options)?.f_repeat([1, 3, 1, 1])?;
    let colour = Tensor::f_randn([count, 3, height, width], options)?.f_repeat_interleave_self_int(4, Some(1), None)?;
    Ok(shared * 0.8 + colour * 0.6)
}

/// Unit noise from white noise by a 3x3 binomial filter.
fn blurred(white: &Tensor) -> Result<Tensor, Error> {
    let channels = white.size()[1];
    let line = Tensor::from_slice(&[0.25f32, 0.5, 0.25]);
    let kernel = line.f_outer(&line)?.f_view([1, 1, 3, 3])?.f_repeat([channels, 1, 1, 1])?;
    // The standard deviation that the filter leaves is the norm of its taps.
    Ok(white.f_conv2d(&kernel, None::<Tensor>, [1, 1], [1, 1], [1, 1], channels)? / 0.375)
}

/// PSNR of the averaged weights on fixed noise.
fn validate(
    network: &Trained<'_>,
    weights: &[Tensor],
    domain: Domain,
    rgb: &Tensor,
) -> Result<Vec<(String, f64)>, Error> {
    let _no_grad = tch::no_grad_guard();
    let mut results = Vec::new();
    let always = network.quantiser.is_some();
    for (level, clipped) in [(15.0, always), (25.0, always), (50.0, always), (if always { 5.0 } else { 25.0 }, true)] {
        tch::manual_seed(1);
        let clean = planes(rgb, domain)?;
        let count = clean.size()[0];
        let of = |level: f64| Tensor::full([count, 1, 1, 1], level, (Kind::Float, clean.device()));
        let levels = Levels { main: of(level), chroma: of(level * 0.5) };
        let none = of(0.0);
        let unit = clean.randn_like();
        let quantised = if clipped { None } else { Some(&none) };
        let batch = with_noise(clean, &unit, &levels, domain, quantised)?;
        let error = &batch.noisy - network.predict(weights, &batch, Kind::Float)? - &batch.clean;
        // Luma alone tells how a 4:2:0 network does; its chroma has a quarter of the pixels.
        let error = if domain == Domain::Yuv420 { error.narrow(1, 0, 4) } else { error };
        let mse = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
        let psnr = (mse.log10() * -10.0).mean(Kind::Float).double_value(&[]);
        results.push((format!("{level:.0}{}", if clipped { " clipped" } else { "" }), psnr));
    }
    Ok(results)
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
