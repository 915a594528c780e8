//! The training loop, whatever is learnt.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use tch::{Kind, Tensor};

use super::{
    Error,
    checkpoint::{self, Progress},
    init,
    loader::{self, Drawn, Source},
    optimiser::Optimiser,
    quantise::Quantiser,
    report::{self, Entry},
    rounding,
};
use crate::nn::{
    Device, Model,
    arch::{Architecture, Graph},
    model::{ConvWeights, Domain},
    torch,
};

const CHECKPOINT_EVERY: Duration = Duration::from_secs(240);
const VALIDATE_EVERY: Duration = Duration::from_secs(120);

/// What a training run of any kind needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Model file to write; checkpoint and curve go beside it.
    pub out: PathBuf,
    pub domain: Domain,
    pub architecture: Architecture,
    /// Model whose weights to start from; layers that are wider than its own are grown from them, blocks that are narrower
    /// inside keep what says most, others start at random.
    pub init: Option<PathBuf>,
    /// Lets hidden channels of `init` begin anew whose weights ran away.
    pub renew: bool,
    /// File of weights in float32, named as those of a model, to begin with where `init` does not tell.
    pub pretrained: Option<PathBuf>,
    pub resume: bool,
    pub length: Length,
    pub seed: u64,
    pub batch: usize,
    /// Side of the training patches, a multiple of twice the network's granularity.
    pub side: usize,
    /// Learning rate at the start; it falls along a cosine.
    pub rate: f64,
    /// Where the network is trained.
    pub device: Device,
    /// Threads that draw what the next steps learn from; with none, each step draws its own.
    pub loaders: usize,
    /// Share of the run, from its start, that computes in bfloat16.
    pub bf16_share: f64,
    /// Trains for 8-bit integers: starts from `init`, calibrates steps of quantisation and rounds as the int8 engine does.
    pub quantise: bool,
}

/// Length of a whole run, what came before a resume included.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    Minutes(f64),
    /// The learning rate follows from the step alone, so a run can be repeated bit for bit. With 0 nothing is learnt: what the run begins with
    /// is written, rounded where it is for 8 bits.
    Steps(u64),
}

impl Length {
    /// Share of the run that is over.
    fn done(self, progress: &Progress) -> f64 {
        let done = match self {
            Self::Minutes(minutes) => progress.seconds / (minutes * 60.0),
            Self::Steps(0) => 1.0,
            Self::Steps(steps) => progress.step as f64 / steps as f64,
        };
        done.min(1.0)
    }
}

impl Options {
    /// Whether the run goes on from what it wrote before.
    pub(super) fn resumes(&self) -> bool {
        self.resume && self.out.exists()
    }

    /// Of all that is random in a step.
    fn seed_of(&self, step: u64) -> u64 {
        self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(step)
    }
}

/// What is to be learnt, from batches `B`. Weights lie on the device that computes.
pub(super) trait Lesson<B> {
    /// Prepares for a run, and adapts the weights where it starts.
    ///
    /// # Errors
    /// What libtorch or a file gives.
    fn prepare(&mut self, _weights: &mut [Tensor]) -> Result<(), Error> {
        Ok(())
    }

    /// The loss of one step, in the units of pictures from 0 to 1.
    ///
    /// # Errors
    /// What libtorch reports.
    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        batch: B,
        rng: &mut StdRng,
    ) -> Result<Tensor, Error>;

    /// Figures of fixed pictures, by condition; larger is better.
    ///
    /// # Errors
    /// What libtorch reports.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error>;

    /// A picture that shows a person what was learnt, if there is one to draw.
    ///
    /// # Errors
    /// What libtorch reports.
    fn samples(&self, _weights: &[Tensor]) -> Result<Option<image::GrayImage>, Error> {
        Ok(None)
    }

    /// What rounds a network that is to be run in 8-bit integers.
    fn quantiser(&self) -> Option<&Quantiser> {
        None
    }
}

/// Trains until the run is over, then writes the model with averaged weights to `out` and the curve beside it.
pub(super) fn run<S: Source>(
    options: &Options,
    graph: &Graph,
    source: &S,
    lesson: &mut dyn Lesson<S::Batch>,
) -> Result<(), Error> {
    let device = torch::device(options.device)?;
    tch::Cuda::cudnn_set_benchmark(true);
    println!(
        "{:.0} MAC per pixel, {} parameters",
        graph.macs_per_pixel() / 4.0,
        graph.parameters()
    );
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder).map_err(|err| Error::file(folder, err))?;
    }
    let random = || Optimiser::new(graph, options.seed as i64).weights;
    let mut weights = random();
    if let Some(path) = &options.pretrained {
        init::begin_with(graph, &mut weights, &init::tensors(path)?)?;
    }
    if let Some(path) = &options.init {
        let mut given = init::model(path, options.domain)?;
        init::narrow(graph, &mut given)?;
        init::begin_with(graph, &mut weights, &given)?;
    }
    if options.renew {
        println!("{} hidden channels begin anew", init::renew(graph, &mut weights, &random())?);
    }
    weights.iter_mut().for_each(|weight| *weight = weight.to_device(device));
    lesson.prepare(&mut weights)?;
    let mut optimiser = Optimiser::starting_from(graph, weights);
    let mut progress = Progress::default();
    if options.resume
        && let Some(saved) = checkpoint::load(&options.out, &mut optimiser)?
    {
        progress = saved;
        println!("resumed at step {}", progress.step);
    }

    let seed = |step| options.seed_of(step);
    loader::ahead(source, seed, progress.step, options.loaders, |next| {
        descend(options, graph, lesson, &mut optimiser, progress, next)
    })
}

/// Goes on until the run is over.
fn descend<B>(
    options: &Options,
    graph: &Graph,
    lesson: &dyn Lesson<B>,
    optimiser: &mut Optimiser,
    mut progress: Progress,
    next: &mut dyn FnMut() -> Drawn<B>,
) -> Result<(), Error> {
    let bar = report::bar();
    let before = progress.seconds;
    let start = Instant::now();
    let (mut last_checkpoint, mut last_validation) = (Instant::now(), Instant::now());
    let mut losses: Vec<Tensor> = Vec::new();
    loop {
        progress.seconds = before + start.elapsed().as_secs_f64();
        let done = options.length.done(&progress);
        let over = done >= 1.0;
        let validate = (over || last_validation.elapsed() >= VALIDATE_EVERY) && !losses.is_empty();
        let save = over || last_checkpoint.elapsed() >= CHECKPOINT_EVERY;
        if validate || save {
            let _no_grad = tch::no_grad_guard();
            let shipped = match lesson.quantiser() {
                Some(quantiser) => rounding::settled(graph, &optimiser.average, quantiser)?,
                None => optimiser.average.iter().map(Tensor::shallow_clone).collect(),
            };
            if validate {
                let loss = Tensor::stack(&losses, 0).mean(Kind::Double).double_value(&[]) * 255.0;
                if !loss.is_finite() {
                    return Err(Error::Diverged(progress.step));
                }
                losses.clear();
                let psnr = lesson.validate(&shipped)?;
                let entry = Entry { step: progress.step, seconds: progress.seconds, loss, psnr };
                bar.println(entry.to_string());
                if bar.is_hidden() {
                    println!("{entry}");
                }
                progress.log.push(entry);
                last_validation = Instant::now();
            }
            if save {
                checkpoint::save(&options.out, optimiser, &progress)?;
                report::draw_curve(&options.out.with_extension("png"), &progress.log)?;
                if let Some(picture) = lesson.samples(&shipped)? {
                    let path = options.out.with_extension("samples.png");
                    picture.save(&path).map_err(|err| Error::file(&path, err))?;
                }
                write_model(options, &shipped, lesson.quantiser(), progress.step)?;
                last_checkpoint = Instant::now();
            }
        }
        if over {
            break;
        }

        tch::manual_seed(options.seed_of(progress.step) as i64);
        let (batch, mut rng) = next()?;
        let kind = if done < options.bf16_share { Kind::BFloat16 } else { Kind::Float };
        let loss = lesson.loss(&optimiser.weights, kind, batch, &mut rng)?;
        let rate = options.rate * (0.5 + 0.5 * (std::f64::consts::PI * done).cos()).max(1e-3);
        optimiser.descend(&loss, rate)?;
        losses.push(loss.detach());
        progress.step = optimiser.step;
        bar.set_position((done * 1000.0) as u64);
        bar.set_message(format!("step {}", progress.step));
    }
    bar.finish();
    Ok(())
}

/// Runs a network in training on an input, in `kind` but for the result, which is float32.
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

fn write_model(
    options: &Options,
    weights: &[Tensor],
    quantiser: Option<&Quantiser>,
    step: u64,
) -> Result<(), Error> {
    let values = |t: &Tensor| Vec::<f32>::try_from(t.detach().contiguous().view(-1));
    let weights = weights
        .chunks(2)
        .map(|pair| Ok(ConvWeights { weight: values(&pair[0])?, bias: values(&pair[1])? }))
        .collect::<Result<Vec<_>, tch::TchError>>()?;
    let mut model = Model::new(options.domain, options.architecture.clone(), weights)?;
    if let Some(quantiser) = quantiser {
        model = model.with_quantisation(quantiser.quantisation.clone())?;
    }
    model.version = env!("CARGO_PKG_VERSION").to_owned();
    model.training = match &options.init {
        Some(path) if step == 0 => Model::from_file(path)?.training,
        _ => format!(
            "{step} steps of {} patches of {}x{}, seed {}, Muon and Adam {} cosine, averaged weights",
            options.batch, options.side, options.side, options.seed, options.rate
        ),
    };
    if quantiser.is_some() && !model.training.ends_with("8 bits") {
        model.training += ", rounded to 8 bits";
    }
    checkpoint::replace(&options.out, &model.to_bytes()?)
}
