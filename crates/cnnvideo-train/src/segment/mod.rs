// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training of the segmentation network of `cnnsegment`, which predicts the region that a user
//! points at.
//!
//! It trains on regions that people annotated in photographs (BSDS500) and on drawings composited
//! over photographs. The simulated clicks correct the network's own errors (iterative training:
//! Mahadevan et al. 2018; Sofiiuk et al., "Reviving Iterative Training with Mask Guidance", 2021).

mod regions;
mod session;
mod tracking;

use std::path::PathBuf;

use image::GrayImage;
use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use self::{
    regions::{RegionSample, Regions},
    session::ClickSession,
};
use super::{
    Error,
    prefetch::BatchSource,
    run::{self, RunOptions, TrainingTask},
};
use cnnvideo::{
    nn::arch::Graph,
    segment::{
        guidance,
        simulate::{Click, next_click},
    },
};

/// Maximum number of simulated corrections before the prediction that the loss judges.
const MAX_CORRECTIONS: usize = 5;
/// Additional loss weight of pixels near the border of a region.
const BORDER_WEIGHT: f64 = 2.0;
/// Distance from the border, in pixels, within which this weight applies.
const BORDER: i64 = 3;
/// Weight of the intersection over union in the loss.
const OVERLAP_WEIGHT: f64 = 0.7;
/// Number of validation samples.
const VALIDATION_COUNT: usize = 64;
/// Numbers of clicks after which the validation measures the intersection over union.
const VALIDATION_CLICKS: [usize; 3] = [1, 3, 6];

/// Options of a training run for the segmentation network.
#[derive(Debug, Clone)]
pub struct SegmentationOptions {
    /// Options that all trainings share.
    pub run: RunOptions,
    /// Folder with the photographs of the BSDS500.
    pub photos: PathBuf,
    /// Folder with the regions that people annotated in them, as written by `scripts/bsds500`.
    pub regions: PathBuf,
    /// Folder with drawings on transparent background (.png).
    pub drawings: PathBuf,
}

/// Trains the segmentation network to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Options that this training does not support, files that cannot be read or written, a checkpoint
/// that does not fit, a loss that is not finite.
pub fn train(options: &SegmentationOptions) -> Result<(), Error> {
    if options.run.quantise {
        return Err(Error::QuantisationUnsupported("the segmentation network"));
    }
    let regions = Regions::load(&options.photos, &options.regions, &options.drawings)?;
    println!("{regions}");
    let graph = options.run.architecture.graph()?;
    let mut rng = StdRng::seed_from_u64(u64::MAX);
    let validation = (0..VALIDATION_COUNT)
        .map(|_| regions.validation(options.run.patch_side, &mut rng))
        .collect();
    let source = RegionSource { run: &options.run, regions };
    let mut task = SegmentationTask { options, graph: &graph, validation };
    run::run(&options.run, &graph, &source, &mut task)
}

/// Source of training batches.
struct RegionSource<'a> {
    run: &'a RunOptions,
    regions: Regions,
}

impl BatchSource for RegionSource<'_> {
    type Batch = (Vec<RegionSample>, Vec<ClickSession>);

    fn draw(&self, rng: &mut StdRng) -> Result<Self::Batch, Error> {
        let Self { run, regions } = self;
        let samples: Vec<_> =
            (0..run.batch_size).map(|_| regions.sample(run.patch_side, rng)).collect();
        let sessions =
            samples.iter().map(|sample| ClickSession::start(sample, run.patch_side, rng)).collect();
        Ok((samples, sessions))
    }
}

/// The training task: interactive segmentation.
struct SegmentationTask<'a> {
    options: &'a SegmentationOptions,
    graph: &'a Graph,
    validation: Vec<RegionSample>,
}

/// Position of a simulated click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClickPosition {
    /// The centre of the largest error.
    Exact,
    /// Up to 6 pixels from that centre along each axis, as users click.
    Displaced,
}

impl TrainingTask<(Vec<RegionSample>, Vec<ClickSession>)> for SegmentationTask<'_> {
    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        (samples, mut sessions): (Vec<RegionSample>, Vec<ClickSession>),
        rng: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let pictures = self.pictures(&samples, weights[0].device())?;
        // Few corrections are drawn more often than many, because users rarely make many.
        let max_corrections = rng.random_range(0..=MAX_CORRECTIONS);
        for _ in 0..rng.random_range(0..=max_corrections) {
            let _no_grad = tch::no_grad_guard();
            self.predict_regions(weights, &pictures, &mut sessions)?;
            self.add_clicks(&samples, &mut sessions, rng, ClickPosition::Displaced);
        }
        let logits = self.predict(weights, &pictures, &sessions, kind)?;
        let side = self.options.run.patch_side as i64;
        let truth: Vec<f32> = samples
            .iter()
            .flat_map(|s| s.truth.iter().map(|inside| f32::from(u8::from(*inside))))
            .collect();
        let truth = Tensor::from_slice(&truth)
            .view([samples.len() as i64, 1, side, side])
            .to_device(logits.device());
        loss(&logits, &truth)
    }

    /// Returns the mean intersection over union in percent, after some numbers of clicks, from
    /// extreme points and from masks of tracked regions.
    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let side = self.options.run.patch_side;
        let mut rng = StdRng::seed_from_u64(7);
        let mut results = VALIDATION_CLICKS.map(|clicks| (format!("{clicks} clicks"), 0.0));
        for samples in self.validation.chunks(16) {
            let pictures = self.pictures(samples, weights[0].device())?;
            let mut sessions: Vec<_> = samples.iter().map(|_| ClickSession::empty(side)).collect();
            for clicks in 1..=VALIDATION_CLICKS[2] {
                self.add_clicks(samples, &mut sessions, &mut rng, ClickPosition::Exact);
                self.predict_regions(weights, &pictures, &mut sessions)?;
                if let Some(at) = VALIDATION_CLICKS.iter().position(|c| *c == clicks) {
                    let all = samples
                        .iter()
                        .zip(&sessions)
                        .map(|(sample, session)| intersection_over_union(sample, session));
                    results[at].1 += 100.0 * all.sum::<f64>() / VALIDATION_COUNT as f64;
                }
            }
        }
        let extremes = |sample: &RegionSample, rng: &mut StdRng| {
            let mut session = ClickSession::empty(side);
            session.inside = sample.extreme_points(rng);
            session.set_bounds(sample.bounds(), side);
            session
        };
        let tracked = |sample: &RegionSample, rng: &mut StdRng| {
            let mut session = ClickSession::empty(side);
            session.track(sample, rng);
            session
        };
        let extremes = self.validate_starts(weights, |sample| extremes(sample, &mut rng))?;
        let mut rng = StdRng::seed_from_u64(8);
        let tracked = self.validate_starts(weights, |sample| tracked(sample, &mut rng))?;
        let starts = [("extremes".to_owned(), extremes), ("tracked".to_owned(), tracked)];
        Ok(results.into_iter().chain(starts).collect())
    }

    /// Returns validation images, true regions and the predictions after three clicks.
    fn samples(&self, weights: &[Tensor]) -> Result<Option<GrayImage>, Error> {
        let _no_grad = tch::no_grad_guard();
        let side = self.options.run.patch_side;
        let samples = &self.validation[..8.min(self.validation.len())];
        let mut rng = StdRng::seed_from_u64(7);
        let pictures = self.pictures(samples, weights[0].device())?;
        let mut sessions: Vec<_> = samples.iter().map(|_| ClickSession::empty(side)).collect();
        for _ in 0..3 {
            self.add_clicks(samples, &mut sessions, &mut rng, ClickPosition::Exact);
            self.predict_regions(weights, &pictures, &mut sessions)?;
        }
        let wide = (samples.len() * side) as u32;
        Ok(Some(GrayImage::from_fn(wide, 3 * side as u32, |x, y| {
            let (sample, x) = (x as usize / side, x as usize % side);
            let (row, y) = (y as usize / side, y as usize % side);
            let at = y * side + x;
            image::Luma([match row {
                0 => samples[sample].yuv[at][0] as u8,
                1 => 255 * u8::from(samples[sample].truth[[y, x]]),
                _ => (255.0 * sessions[sample].previous_prediction[at]) as u8,
            }])
        })))
    }
}

impl SegmentationTask<'_> {
    /// Returns the mean intersection over union in percent of predictions from a kind of start.
    fn validate_starts(
        &self,
        weights: &[Tensor],
        mut start: impl FnMut(&RegionSample) -> ClickSession,
    ) -> Result<f64, Error> {
        let mut sum = 0.0;
        for samples in self.validation.chunks(16) {
            let pictures = self.pictures(samples, weights[0].device())?;
            let mut sessions: Vec<_> = samples.iter().map(&mut start).collect();
            self.predict_regions(weights, &pictures, &mut sessions)?;
            let all = samples
                .iter()
                .zip(&sessions)
                .map(|(sample, session)| intersection_over_union(sample, session));
            sum += all.sum::<f64>();
        }
        Ok(100.0 * sum / VALIDATION_COUNT as f64)
    }

    /// Returns the picture channels of the network's input.
    fn pictures(&self, samples: &[RegionSample], device: Device) -> Result<Tensor, Error> {
        let side = self.options.run.patch_side as i64;
        let plane = |c: usize| {
            let values: Vec<f32> = samples
                .iter()
                .flat_map(|s| s.yuv.iter().map(move |yuv| (yuv[c] - 128.0) / 255.0))
                .collect();
            Tensor::from_slice(&values)
                .view([samples.len() as i64, 1, side, side])
                .to_device(device)
        };
        Ok(Tensor::f_cat(
            &[
                plane(0).f_pixel_unshuffle(2)?,
                half_resolution(&plane(1))?,
                half_resolution(&plane(2))?,
            ],
            1,
        )?)
    }

    /// Returns the predicted logits of the region, `[count, 1, side, side]`.
    fn predict(
        &self,
        weights: &[Tensor],
        pictures: &Tensor,
        sessions: &[ClickSession],
        kind: Kind,
    ) -> Result<Tensor, Error> {
        let (count, half) = (sessions.len(), self.options.run.patch_side / 2);
        let maps = |values: Vec<f32>, side: usize| {
            Tensor::from_slice(&values)
                .view([count as i64, 1, side as i64, side as i64])
                .to_device(pictures.device())
        };
        let seeds = |of: fn(&ClickSession) -> [&[[f32; 2]]; 2]| {
            let mut map = vec![0.0; count * half * half];
            map.par_chunks_exact_mut(half * half).zip(sessions).for_each(|(map, session)| {
                let seeds = of(session).concat();
                for (y, row) in map.chunks_exact_mut(half).enumerate() {
                    guidance::seed_map_row(&seeds, y, row);
                }
            });
            maps(map, half)
        };
        let previous: Vec<f32> =
            sessions.iter().flat_map(|s| s.previous_prediction.iter().copied()).collect();
        let previous = half_resolution(&maps(previous, 2 * half))?;
        let input = Tensor::f_cat(
            &[
                pictures.shallow_clone(),
                seeds(|s| [&s.inside, &s.bounds_seeds[0]]),
                seeds(|s| [&s.outside, &s.bounds_seeds[1]]),
                previous,
            ],
            1,
        )?;
        Ok(run::forward(self.graph, weights, &input, kind)?.f_pixel_shuffle(2)?)
    }

    /// Predicts the regions and stores them as the previous prediction of each session.
    fn predict_regions(
        &self,
        weights: &[Tensor],
        pictures: &Tensor,
        sessions: &mut [ClickSession],
    ) -> Result<(), Error> {
        let region = self
            .predict(weights, pictures, sessions, Kind::Float)?
            .sigmoid()
            .to_device(Device::Cpu);
        for (i, session) in sessions.iter_mut().enumerate() {
            session.previous_prediction =
                Vec::<f32>::try_from(region.get(i as i64).contiguous().view(-1))?;
            session.bounds_seeds = Default::default();
        }
        Ok(())
    }

    /// Adds a click to each session where its prediction is wrong.
    fn add_clicks(
        &self,
        samples: &[RegionSample],
        sessions: &mut [ClickSession],
        rng: &mut StdRng,
        position: ClickPosition,
    ) {
        let side = self.options.run.patch_side;
        let seeds: Vec<u64> = samples.iter().map(|_| rng.random()).collect();
        samples.par_iter().zip(sessions).zip(seeds).for_each(|((sample, session), seed)| {
            let mut rng = StdRng::seed_from_u64(seed);
            let mask = Array2::from_shape_fn((side, side), |(y, x)| {
                session.previous_prediction[y * side + x] > 0.5
            });
            let truth = sample.truth.mapv(Some);
            let Some(Click { x, y, inside }) = next_click(&mask.view(), &truth.view()) else {
                return;
            };
            let mut at = [x as f32, y as f32];
            if position == ClickPosition::Displaced {
                let displaced =
                    at.map(|v| (v + rng.random_range(-6.0..6.0f32)).clamp(0.0, side as f32 - 1.0));
                let wrong = mask[[displaced[1] as usize, displaced[0] as usize]] != inside;
                if wrong && sample.truth[[displaced[1] as usize, displaced[0] as usize]] == inside {
                    at = displaced;
                }
            }
            if inside { &mut session.inside } else { &mut session.outside }.push(at);
        });
    }
}

/// Downsamples planes by 2.
fn half_resolution(planes: &Tensor) -> Result<Tensor, tch::TchError> {
    planes.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
}

/// Returns the intersection over union of the prediction and the true region.
fn intersection_over_union(sample: &RegionSample, session: &ClickSession) -> f64 {
    let pairs = sample
        .truth
        .iter()
        .zip(&session.previous_prediction)
        .map(|(truth, probability)| (*truth, *probability > 0.5));
    let (both, either) = pairs.fold((0u32, 0u32), |(both, either), (a, b)| {
        (both + u32::from(a && b), either + u32::from(a || b))
    });
    f64::from(both) / f64::from(either.max(1))
}

/// Cross entropy with more weight along borders, plus soft intersection over union.
fn loss(logits: &Tensor, truth: &Tensor) -> Result<Tensor, Error> {
    let size = [2 * BORDER + 1, 2 * BORDER + 1];
    let dilate = |t: &Tensor| t.f_max_pool2d(size, [1, 1], [BORDER, BORDER], [1, 1], false);
    let border = dilate(truth)? + dilate(&truth.f_sub_scalar(1.0)?.neg())? - 1.0;
    let weight = border * BORDER_WEIGHT + 1.0;
    let entropy = logits.f_binary_cross_entropy_with_logits::<Tensor>(
        truth,
        Some(weight),
        None,
        tch::Reduction::Mean,
    )?;
    let region = logits.sigmoid();
    let sum = |t: &Tensor| t.f_sum_dim_intlist(&[1i64, 2, 3][..], false, Kind::Float);
    let both = sum(&(&region * truth))?;
    let either = sum(&region)? + sum(truth)? - &both;
    let intersection_over_union = ((both + 1.0) / (either + 1.0)).mean(Kind::Float);
    Ok((entropy + (1.0 - intersection_over_union) * OVERLAP_WEIGHT) * 0.1)
}
