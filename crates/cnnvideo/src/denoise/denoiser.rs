//! [`Denoiser`]: noise estimation, temporal fusion and inference for the pictures of one stream.

use std::sync::Arc;

use super::{
    CONTROL_PER_LEVEL, ColourDomain, MAX_LEVEL,
    chroma::Means,
    estimate::Estimator,
    io::{Controls, Planes, PlanesMut, Shares},
    noise::NoiseModel,
    temporal::Temporal,
};
use crate::{
    frame::{Colour, Picture, PictureMut, Regions, Sample},
    nn::{self, Network, Sessions, Threads},
};

/// Range of sigma, in 8-bit units, over which denoising fades in. The networks' own error is one to
/// two code values, so noise weaker than the first value is left alone; noise stronger than the
/// second is removed wholly.
const FADE: [f32; 2] = [0.5, 3.0];
/// Weight of a new estimate in the exponential moving average of the noise estimates.
const FOLLOW: f32 = 0.3;

/// Rounds of the estimator on the first estimate of a component; later estimates take one round.
const FIRST_LOOK: usize = 3;

/// Errors of [`Denoiser::process`] and [`Denoiser::prepare`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network failed to load or to run.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// The output differs from the input in size or colour format.
    #[error("input and output pictures differ in size or colour format")]
    Mismatch,
}

/// Settings of the denoiser for one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Noise sigma of luma, or of R, G and B, in 8-bit units; `None` to estimate it. The sigma of
    /// chroma is always estimated.
    pub noise_level: Option<f32>,
    /// Up to 1: share of the predicted noise that is removed. Beyond 1: also a factor on the noise
    /// sigma in the control maps.
    pub strength: f32,
    /// Whether to apply temporal fusion before the network.
    pub temporal: bool,
}

/// Noise sigmas in 8-bit units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Levels {
    /// Sigma of luma, or of R, G and B.
    pub main: f32,
    /// Sigma of chroma; 0 if there is none.
    pub chroma: f32,
}

/// Denoiser of the pictures of one stream.
pub struct Denoiser {
    network: Arc<dyn Network>,
    /// Number of threads, 0 for the number of cores.
    threads: usize,
    /// Thread pool, created on first use.
    pool: Option<Threads>,
    /// State of temporal fusion for each field of interlaced video; progressive video uses the
    /// first.
    temporal: [Temporal; 2],
    sessions: Sessions,
    /// Noise estimator, loaded on first use.
    estimator: Option<Estimator>,
    /// Noise of each component as an exponential moving average; `None` before the first estimate.
    estimates: [Option<NoiseModel>; 3],
    /// Noise sigma of the detail of each chroma component that has more samples than the network
    /// processes (see [`Means`]), in 8-bit units.
    details: [f32; 3],
    /// Number of pictures since the start or the last reset.
    pictures: u64,
}

impl Denoiser {
    /// Creates a denoiser that runs `network` on `threads` threads, 0 for the number of cores.
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Self {
        let temporal = Default::default();
        Self {
            network,
            threads,
            pool: None,
            temporal,
            sessions: Sessions::default(),
            estimator: None,
            estimates: [None; 3],
            details: [0.0; 3],
            pictures: 0,
        }
    }

    /// Returns the backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.network.backend()
    }

    /// Discards the estimates and the temporal state, because the next picture belongs to another
    /// scene.
    pub fn reset(&mut self) {
        self.estimates = [None; 3];
        self.details = [0.0; 3];
        self.estimator.iter_mut().for_each(Estimator::reset);
        self.pictures = 0;
        self.temporal.iter_mut().for_each(Temporal::reset);
    }

    /// Creates the session for a picture size, so that the first picture takes no longer than
    /// others.
    ///
    /// # Errors
    /// A size that the network cannot process.
    pub fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.sessions.for_frame(&*self.network, self.threads, width, height)?;
        Ok(())
    }

    /// Denoises `input` into `output`, which must hold a copy of `input`. `regions` are factors on
    /// the strength. `field` is 0, or 1 for the second field of an interlaced picture. Returns the
    /// noise sigmas that the denoiser assumed.
    ///
    /// # Errors
    /// Pictures that do not match each other or the network, or a failing backend.
    pub fn process<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: usize,
    ) -> Result<Levels, Error> {
        ColourDomain::of(input.colour).signature().check(&*self.network)?;
        let same = input.components.iter().zip(&output.components).all(|(a, b)| a.dim() == b.dim());
        if input.colour != output.colour || !same {
            return Err(Error::Mismatch);
        }
        let pool = match &self.pool {
            Some(pool) => pool.clone(),
            None => self.pool.insert(Threads::new(self.threads)?).clone(),
        };
        // Enter the pool once: entering it for each of the many short parallel loops would wake the
        // threads again each time.
        pool.enter(|| self.work(input, output, parameters, regions, field, &pool))
    }

    /// Denoises a picture; called inside the thread pool.
    fn work<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: usize,
        pool: &Threads,
    ) -> Result<Levels, Error> {
        let domain = ColourDomain::of(input.colour);
        let [main, seen_chroma] = self.estimate(input, parameters)?;
        let temporal = &mut self.temporal[field.min(1)];
        // The network processes the means of chroma cells, which have less noise than the samples.
        let detail = self.details[1].hypot(self.details[2]) / 2f32.sqrt();
        let chroma = seen_chroma.at_least(seen_chroma.level.hypot(detail));
        let main = parameters.noise_level.map_or(main, NoiseModel::uniform);
        let levels = Levels { main: main.level, chroma: chroma.level };
        let control = |level: f32| {
            (level * parameters.strength.max(1.0)).clamp(0.0, MAX_LEVEL) * CONTROL_PER_LEVEL
        };
        let of_brightness = |brightness: usize| control(main.level_at(brightness as f32));
        let controls = Controls {
            main: std::array::from_fn(of_brightness),
            chroma: control(seen_chroma.level),
        };
        let share = |level: f32| ((level - FADE[0]) / (FADE[1] - FADE[0])).clamp(0.0, 1.0);
        let chroma_share = if domain == ColourDomain::Rgb { levels.main } else { levels.chroma };
        let shares = [share(levels.main), share(chroma_share)];
        let regions = regions.as_ref().map(Regions::reborrow);
        let shares = Shares {
            components: shares,
            strength: parameters.strength,
            details: self.details,
            regions,
        };

        let (width, height) = input.size();
        let session = self.sessions.for_frame(&*self.network, self.threads, width, height)?;
        if parameters.temporal {
            let fused = temporal.fuse(input, &[main, chroma], pool);
            let planes = Planes::new(&fused.picture, domain, &controls, Some(fused.variance))
                .with_regions(regions, parameters.strength);
            session.run(
                &planes,
                &mut PlanesMut::new(output.reborrow(), domain, shares, Some(&fused)),
            )?;
        } else {
            temporal.reset();
            let planes = Planes::new(input, domain, &controls, None)
                .with_regions(regions, parameters.strength);
            session.run(&planes, &mut PlanesMut::new(output.reborrow(), domain, shares, None))?;
        }
        Ok(levels)
    }

    /// Returns the noise of luma (or of R, G and B) and of chroma. Components that `parameters`
    /// leave open are estimated: in several rounds on the first picture, later one component at a
    /// time, so that no picture takes much longer than another.
    fn estimate<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        parameters: &Parameters,
    ) -> Result<[NoiseModel; 2], Error> {
        // The components that determine the main sigma come first.
        let (main, all) = match input.colour {
            Colour::Gray => (1, 1),
            Colour::Yuv { .. } => (1, 3),
            Colour::Rgb => (3, 3),
        };
        let wanted = |i: usize| i >= main || parameters.noise_level.is_none();
        let turn = self.pictures % (2 * all as u64);
        for i in (0..all).filter(|i| wanted(*i)) {
            let rounds = match self.estimates[i] {
                None => FIRST_LOOK,
                Some(_) if turn == 2 * i as u64 => 1,
                Some(_) => continue,
            };
            let estimator = match &mut self.estimator {
                Some(estimator) => estimator,
                none => none.insert(Estimator::built_in(self.threads)?),
            };
            let component = &input.components[i];
            let found = match input.colour.shifts(i) {
                // 4:2:2 or 4:4:4 chroma: estimate the cell means for the network, and the detail
                // separately.
                shifts @ ([0, _] | [_, 0]) if i >= main => {
                    let means = Means::new(component, shifts);
                    let detail = means.detail_level();
                    let share = if self.estimates[i].is_none() { 1.0 } else { FOLLOW };
                    self.details[i] += share * (detail - self.details[i]);
                    estimator.noise(&means, rounds)?
                }
                _ => estimator.noise(component, rounds)?,
            };
            if let Some(found) = found {
                self.estimates[i].get_or_insert(found).follow(&found, FOLLOW);
            }
        }
        self.pictures += 1;
        let mean = |part: &[Option<NoiseModel>]| NoiseModel::mean(part.iter().copied().flatten());
        Ok([mean(&self.estimates[..main]), mean(&self.estimates[main..all])])
    }
}
