//! Training of the noise estimator: a network that predicts a map of noise sigma for one component.
//!
//! Its input are squares of single components, four beside each other as the element lays them out.
//! At each position it predicts the logarithm of the noise sigma and the log scale of the error of
//! that prediction. The loss is the negative log-likelihood of a Laplace distribution with the
//! predicted scale (Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for
//! Computer Vision?", NeurIPS 2017). The idea of a sigma map is from Guo et al., "Toward
//! Convolutional Blind Denoising of Real Photographs" (CVPR 2019).

use std::path::PathBuf;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::{Device, Kind, Tensor};

use super::{
    Error, Photos,
    codec::{Codec, UP},
    loader::Source,
    noise::{Camera, between, blurred, luma},
    run::{self, Lesson},
};
use cnnvideo::{
    denoise::{
        ColourDomain,
        estimate::{LEAST, MOST_LOG_SCALE, ROOT_SCALE},
    },
    nn::{self, arch::Graph},
};

/// Share of the squares that are luma, R, G or B at full resolution. The others are chroma at half
/// resolution.
const FULL: f64 = 0.6;
/// Share of the squares with camera noise.
const CAMERA: f64 = 0.4;
/// Share without noise, among the squares without camera noise.
const CLEAN: f64 = 0.1;
/// Share of the squares that are compressed.
const COMPRESSED: f64 = 0.4;
/// Range of the sigma of synthetic (not camera) noise in 8-bit units.
const LEVELS: [f64; 2] = [0.5, 65.0];
/// Shares of the squares whose synthetic noise is low-pass filtered once and twice.
const SOFT: [f64; 2] = [0.25, 0.12];
/// Side in pixels of the areas over which the true noise sigma is measured where it varies within a
/// square.
const AREA: i64 = 16;
/// Number of validation photographs.
const VALIDATION_PICTURES: usize = 24;
/// Side of the validation patches in pixels.
const VALIDATION_SIDE: usize = 256;

/// Options of a training run for the noise estimator.
#[derive(Debug, Clone)]
pub struct Options {
    /// Options that all trainings share. `batch` is the number of mosaics; each consists of four
    /// squares of half its `side`.
    pub run: run::Options,
    /// Folder with the photographs.
    pub data: PathBuf,
}

/// Trains the noise estimator to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Options that this training does not support, files that cannot be read or written, a checkpoint
/// that does not fit, a loss that is no longer finite.
pub fn level(options: &Options) -> Result<(), Error> {
    if options.run.quantise {
        return Err(Error::NoQuantisation("the noise estimator"));
    }
    if options.run.device != nn::Device::Cpu {
        return Err(Error::CpuOnly("the noise estimator"));
    }
    let photos = Photos::load(&options.data, options.run.side.max(VALIDATION_SIDE) as u32)?;
    println!(
        "{} photographs to train on, {} to validate",
        photos.train.len(),
        photos.validation.len()
    );
    let graph = options.run.architecture.graph()?;
    let validation = photos.validation.centres(VALIDATION_PICTURES, VALIDATION_SIDE);
    let mut lesson = Telling { graph: &graph, validation, codec: Codec::new() };
    run::run(&options.run, &graph, &Squares(options, &photos), &mut lesson)
}

/// Source of training batches.
struct Squares<'a>(&'a Options, &'a Photos);

/// Data of one training step: clean patches, and the kind of noise of each.
struct Batch {
    /// Clean patches, `[count, 3, side, side]`, values 0 to 255.
    rgb: Tensor,
    /// Kind of noise of each patch.
    kinds: Vec<Kinds>,
}

impl Source for Squares<'_> {
    type Batch = Batch;

    fn draw(&self, rng: &mut StdRng) -> Result<Batch, Error> {
        let run = &self.0.run;
        let rgb = self.1.train.patches(rng, 4 * run.batch, run.side);
        Ok(Batch { rgb, kinds: (0..4 * run.batch).map(|_| Kinds::draw(rng)).collect() })
    }
}

/// Properties of one square: its noise and its component.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    /// Whether the noise is camera noise.
    camera: bool,
    /// Sigma of synthetic noise in 8-bit units, 0 for none.
    level: f32,
    /// Number of low-pass filters applied to the synthetic noise.
    soft: usize,
    /// Whether the square is compressed after noise was added.
    compressed: bool,
    /// Number from which [`components`] derives the component: luma, R, G, B, U or V.
    component: usize,
}

impl Kinds {
    fn draw(rng: &mut StdRng) -> Self {
        let camera = rng.random_bool(CAMERA);
        let level =
            if camera || rng.random_bool(CLEAN) { 0.0 } else { between(LEVELS, rng) as f32 };
        let part: f64 = rng.random();
        let soft = if part < SOFT[1] { 2 } else { usize::from(part < SOFT[0] + SOFT[1]) };
        Self {
            camera,
            level,
            soft,
            compressed: rng.random_bool(COMPRESSED),
            component: rng.random_range(0..12),
        }
    }
}

/// Extracts one component of each patch, `[n, 1, side, side]`: of the first `full` patches luma, R,
/// G or B at full resolution, of the others chroma at half resolution.
fn components(rgb: &Tensor, full: i64, side: i64, kinds: &[Kinds]) -> Result<Tensor, Error> {
    // Weights of R, G and B, and offset (ITU-R BT.601, limited range).
    const Y: [f32; 4] = [0.2568, 0.5041, 0.0979, 16.0];
    const MAIN: [[f32; 4]; 4] =
        [Y, [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    const CHROMA: [[f32; 4]; 2] =
        [[-0.1482, -0.2910, 0.4392, 128.0], [0.4392, -0.3678, -0.0714, 128.0]];
    let mixed =
        |first: i64, count: i64, of: &dyn Fn(usize) -> [f32; 4]| -> Result<Tensor, Error> {
            let weights: Vec<f32> =
                (first..first + count).flat_map(|i| of(kinds[i as usize].component)).collect();
            let weights = Tensor::from_slice(&weights).view([count, 4, 1, 1]);
            let sum = (rgb.f_narrow(0, first, count)? * weights.f_narrow(1, 0, 3)?)
                .f_sum_dim_intlist(1, true, Kind::Float)?;
            Ok(sum + weights.f_narrow(1, 3, 1)?)
        };
    let count = rgb.size()[0];
    // Half of the squares at full resolution are luma.
    let main = mixed(0, full, &|n| if n % 2 == 0 { MAIN[0] } else { MAIN[1 + n / 2 % 3] })?;
    let main = main.f_narrow(2, 0, side)?.f_narrow(3, 0, side)?;
    let chroma = mixed(full, count - full, &|n| CHROMA[n % 2])?;
    let chroma = chroma.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
    Ok(Tensor::f_cat(&[main, chroma], 0)?)
}

/// Combines four squares each to a 2x2 mosaic. Takes them from the four quarters of the batch, so
/// that each mosaic has squares of different kinds.
fn beside(squares: &Tensor) -> Result<Tensor, Error> {
    let size = squares.size();
    let (count, channels, side) = (size[0] / 4, size[1], size[2]);
    let pictures =
        squares.f_view([2, 2, count, channels, side, side])?.f_permute([2, 3, 0, 4, 1, 5])?;
    Ok(pictures.f_reshape([count, channels, 2 * side, 2 * side])?)
}

/// Computes the network's input from planes of one component, `[n, 1, height, width]`; see
/// [`SIGNATURE`](cnnvideo::denoise::estimate::SIGNATURE).
fn input(picture: &Tensor) -> Result<Tensor, Error> {
    let cells = picture.f_pixel_unshuffle(2)?;
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| cells.narrow(1, i, 1));
    let haar = [&a - &b + &c - &d, &a + &b - &c - &d, &a - &b - &c + &d].map(|sum| sum * 0.5);
    let mean = (&a + &b + &c + &d) * 0.25;
    let before = |dim: i64| -> Result<Tensor, Error> {
        let length = mean.size()[dim as usize];
        let others =
            Tensor::f_cat(&[&mean.narrow(dim, 0, 1), &mean.narrow(dim, 0, length - 1)], dim)?;
        Ok((&mean - others) * std::f64::consts::SQRT_2)
    };
    let differences = Tensor::f_cat(&[&haar[0], &haar[1], &haar[2], &before(3)?, &before(2)?], 1)?;
    let compressed = differences.sign() * differences.abs().f_sqrt()? * f64::from(ROOT_SCALE);
    Ok(Tensor::f_cat(&[compressed, (mean - 128.0) / 255.0], 1)?)
}

/// Name of a kind of noise, noisy luma planes, and the true sigma of each plane (`None` if it has
/// no noise).
type Condition = (&'static str, Tensor, Option<Tensor>);

/// The training task: noise estimation.
struct Telling<'a> {
    graph: &'a Graph,
    /// Clean validation patches, `[count, 3, side, side]`.
    validation: Tensor,
    codec: Codec,
}

impl Lesson<Batch> for Telling<'_> {
    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        batch: Batch,
        rng: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let count = batch.kinds.len() as i64;
        let full = ((FULL * count as f64) as i64).clamp(1, count - 1);
        let (noisy, level) =
            self.noisy(&batch.rgb, full, batch.rgb.size()[2] / 2, &batch.kinds, rng)?;
        let level = beside(&level.f_slice(2, None, None, 2)?.f_slice(3, None, None, 2)?)?;
        let [log, doubt] = self.told(weights, &beside(&input(&noisy)?)?, kind)?;
        let error = log - (level + f64::from(LEAST)).f_log()?;
        let likely = error.abs() * (-&doubt).f_exp()? + doubt;
        // The loop reports losses times 255.
        Ok(likely.mean(Kind::Float) / 255.0)
    }

    /// Returns the mean relative error of the estimates by kind of noise, in percent and negated,
    /// so that larger is better. Where there is no noise, returns the negated mean estimate in
    /// 8-bit units.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let mut results = Vec::new();
        for (name, noisy, truth) in self.conditions()? {
            let told = self.overall(weights, &noisy.f_round()?.f_clamp(0.0, 255.0)?)?;
            let figure = match truth {
                Some(truth) => (told / truth).f_log()?.abs() * 100.0,
                None => told,
            };
            results.push((name.to_owned(), -figure.mean(Kind::Float).double_value(&[])));
        }
        Ok(results)
    }
}

impl Telling<'_> {
    /// Returns luma of the validation patches with fixed noise of several kinds, and the true
    /// sigmas.
    fn conditions(&self) -> Result<Vec<Condition>, Error> {
        let rgb = &self.validation;
        let count = rgb.size()[0];
        let difference = |a: &Tensor, b: &Tensor| -> Result<Tensor, Error> {
            Ok((a - b).f_square()?.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?.f_sqrt()?)
        };
        tch::manual_seed(1);
        let clean = luma(rgb)?;
        let white = |(name, level): (&'static str, f64)| {
            let truth = Tensor::full([count], level, (Kind::Float, Device::Cpu));
            (name, &clean + clean.randn_like() * level, Some(truth))
        };
        let mut all = vec![("clean", clean.shallow_clone(), None)];
        all.extend([("2", 2.0), ("5", 5.0), ("15", 15.0), ("25", 25.0), ("50", 50.0)].map(white));
        let mut rng = StdRng::seed_from_u64(1);
        let camera = luma(
            &Camera::draw(ColourDomain::Rgb, count as usize, false, false, &mut rng).taken(rgb)?,
        )?;
        let coded = |picture: &Tensor| self.codec.run(picture, &(&self.codec.steps * 0.3), 0.5);
        let (compressed, reference) = (coded(&camera)?, coded(&clean)?);
        let left = difference(&compressed, &reference)?;
        let truth = (left.square() + left.f_minimum(&difference(&reference, &clean)?)?.square())
            .f_sqrt()?;
        all.push(("compressed", compressed, Some(truth)));
        let truth = difference(&camera, &clean)?;
        all.push(("camera", camera, Some(truth)));
        Ok(all)
    }

    /// Adds noise and compression to squares; the first `full` of them have components at full
    /// resolution. Returns the noisy squares and the true noise sigma at each pixel.
    fn noisy(
        &self,
        rgb: &Tensor,
        full: i64,
        side: i64,
        kinds: &[Kinds],
        rng: &mut StdRng,
    ) -> Result<(Tensor, Tensor), Error> {
        let count = kinds.len() as i64;
        let column = |value: &dyn Fn(&Kinds) -> f32| {
            Tensor::from_slice(&kinds.iter().map(value).collect::<Vec<_>>()).view([count, 1, 1, 1])
        };
        let flag = |value: bool| f32::from(u8::from(value));
        let camera = column(&|k| flag(k.camera));
        let taken =
            Camera::draw(ColourDomain::Rgb, count as usize, false, false, rng).taken(rgb)?;
        let taken = rgb + &camera * (taken - rgb);
        let plane = |rgb: &Tensor| components(rgb, full, side, kinds);
        let (clean, mut noisy) = (plane(rgb)?, plane(&taken)?);

        let white = clean.randn_like();
        let softer = blurred(&white)?;
        // Normalises by the ratio of the filters' gains: 0.375 for one filter, 0.2734 for both.
        let softest = blurred(&softer)? * (0.375 * 0.375 / 0.2734);
        let unit = column(&|k| flag(k.soft == 0)) * white
            + column(&|k| flag(k.soft == 1)) * softer
            + column(&|k| flag(k.soft == 2)) * softest;
        let level = column(&|k| k.level);
        noisy = (noisy + unit * &level).f_clamp(0.0, 255.0)?;

        let compressed = column(&|k| flag(k.compressed));
        let (coded, coded_clean) = self.coded(&noisy, &clean, rng)?;
        let reference = &clean + &compressed * (coded_clean - &clean);
        noisy = &noisy + &compressed * (coded - &noisy);
        noisy = noisy.f_round()?.f_clamp(0.0, 255.0)?;
        let squares = |a: &Tensor, b: &Tensor| {
            (a - b).f_square()?.f_avg_pool2d([AREA; 2], [AREA; 2], [0, 0], false, true, None)
        };
        // Compression errors count as noise, but at most as much as the residual noise: in a square
        // without noise they are part of the image.
        let left = squares(&noisy, &reference)?;
        let energy = &left + left.f_minimum(&squares(&reference, &clean)?)?;
        let seen = energy.f_sqrt()?.f_upsample_nearest2d([side, side], None, None)?;
        // For uncompressed synthetic noise, the true sigma is that before clipping at black and
        // white.
        let told = column(&|k| flag(!k.camera && !k.compressed));
        let level = &seen + told * (level - &seen);
        Ok((noisy, level))
    }

    /// Compresses the noisy and the clean squares in the same way, with a random position of the
    /// block grid and random quantisation steps for each square.
    fn coded(
        &self,
        noisy: &Tensor,
        clean: &Tensor,
        rng: &mut StdRng,
    ) -> Result<(Tensor, Tensor), Error> {
        let steps = (0..noisy.size()[0]).map(|_| self.codec.draw(rng)).collect::<Vec<_>>();
        let steps = Tensor::f_cat(&steps, 0)?;
        let shift = [rng.random_range(0..8), rng.random_range(0..8i64)];
        let up = rng.random_range(UP);
        let run = |picture: &Tensor| -> Result<Tensor, Error> {
            let moved = picture.f_roll(shift, [2, 3])?;
            Ok(self
                .codec
                .run(&moved, &steps, up)?
                .f_clamp(0.0, 255.0)?
                .f_roll(shift.map(|s| -s), [2, 3])?)
        };
        Ok((run(noisy)?, run(clean)?))
    }

    /// Returns the predicted log sigma (plus an offset, [`LEAST`]) and the log scale of its error,
    /// each `[n, 1, height / 2, width / 2]`.
    fn told(&self, weights: &[Tensor], input: &Tensor, kind: Kind) -> Result<[Tensor; 2], Error> {
        let output = run::forward(self.graph, weights, input, kind)?;
        let most = f64::from(MOST_LOG_SCALE);
        Ok([output.f_narrow(1, 0, 1)?, output.f_narrow(1, 1, 1)?.f_clamp(-most, most)?])
    }

    /// Returns one estimate of sigma for each image: the mean of the log sigma map, weighted by the
    /// predicted precision.
    fn overall(&self, weights: &[Tensor], pictures: &Tensor) -> Result<Tensor, Error> {
        let [log, doubt] = self.told(weights, &input(pictures)?, Kind::Float)?;
        let weight = (doubt * -2.0).f_exp()?;
        let sum = |t: &Tensor| t.f_sum_dim_intlist(&[1i64, 2, 3][..], false, Kind::Float);
        Ok(((sum(&(&weight * log))? / sum(&weight)?).f_exp()? - f64::from(LEAST))
            .f_clamp_min(0.01)?)
    }
}
