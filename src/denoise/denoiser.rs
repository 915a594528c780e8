use std::sync::Arc;

use super::{
    CONTROL_PER_LEVEL, MAX_LEVEL,
    chroma::Means,
    estimate::Estimator,
    io::{Controls, Planes, PlanesMut, Shares},
    noise::NoiseModel,
    temporal::Temporal,
};
use crate::{
    frame::{Colour, Picture, PictureMut, Regions, Sample},
    nn::{self, Domain, Network, Sessions, Threads},
};

/// The networks err by a level or two themselves. Noise weaker than the first of these is left alone, noise stronger than
/// the second is removed wholly.
const FADE: [f32; 2] = [0.5, 3.0];
/// Share of a new estimate in the smoothed one.
const FOLLOW: f32 = 0.3;

/// Rounds of the first look at a component; later there is one each time.
const FIRST_LOOK: usize = 3;

/// What can go wrong with a picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Network(#[from] nn::Error),
    #[error("the network works on {network:?} planes, this picture needs {picture:?}")]
    Domain { network: Domain, picture: Domain },
    #[error("input and output differ in size or colour")]
    Mismatch,
}

/// What a picture is to be denoised with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Standard deviation of the noise in 8-bit units, of luma or of R, G and B; `None` to estimate it. The noise of
    /// chroma is always estimated.
    pub noise_level: Option<f32>,
    /// Up to 1, the share of the noise that is taken away; beyond, the network is also told of that much more noise.
    pub strength: f32,
    /// Whether to average along time first.
    pub temporal: bool,
}

/// Noise levels as standard deviations in 8-bit units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Levels {
    /// Of luma, or of R, G and B.
    pub main: f32,
    /// Of chroma, 0 where there is none.
    pub chroma: f32,
}

/// The planes that a network must work on to denoise pictures of a kind.
pub fn domain_of(colour: Colour) -> Domain {
    match colour {
        Colour::Gray | Colour::Yuv { .. } => Domain::Yuv420,
        Colour::Rgb => Domain::Rgb,
    }
}

/// Denoises the pictures of one stream.
pub struct Denoiser {
    network: Arc<dyn Network>,
    threads: usize,
    /// Those threads, once they are needed.
    pool: Option<Threads>,
    /// What was seen before, by field for interlaced pictures.
    temporal: [Temporal; 2],
    sessions: Sessions,
    /// What tells noise levels, once they are needed.
    estimator: Option<Estimator>,
    /// Noise levels of the components, as far as they are known, smoothed over time.
    estimates: [Option<NoiseModel>; 3],
    /// Deviation of the noise that chroma has beyond what the network sees of it, where it has more samples.
    details: [f32; 3],
    /// Pictures since the start or the last reset.
    pictures: u64,
}

impl Denoiser {
    /// Denoises with `network` on `threads` threads, 0 for all that the machine has.
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

    /// Backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.network.backend()
    }

    /// Forgets what was learnt from earlier pictures: the next one belongs to another scene.
    pub fn reset(&mut self) {
        self.estimates = [None; 3];
        self.details = [0.0; 3];
        self.estimator.iter_mut().for_each(Estimator::reset);
        self.pictures = 0;
        self.temporal.iter_mut().for_each(Temporal::reset);
    }

    /// Makes room for pictures of a size, so that the first one does not take longer than others.
    ///
    /// # Errors
    /// A size that the network cannot run on.
    pub fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.sessions.for_frame(&*self.network, self.threads, width, height)?;
        Ok(())
    }

    /// Denoises `input` into `output`, which must hold a copy of it. `regions` weigh the strength. `field` is 0, or 1 for the second field of an
    /// interlaced picture. Returns the levels of noise that were assumed.
    ///
    /// # Errors
    /// Pictures that do not fit each other or the network, or a backend that fails.
    pub fn process<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: usize,
    ) -> Result<Levels, Error> {
        let domain = domain_of(input.colour);
        if self.network.domain() != domain {
            return Err(Error::Domain { network: self.network.domain(), picture: domain });
        }
        let same = input.components.iter().zip(&output.components).all(|(a, b)| a.dim() == b.dim());
        if input.colour != output.colour || !same {
            return Err(Error::Mismatch);
        }
        let pool = match &self.pool {
            Some(pool) => pool.clone(),
            None => self.pool.insert(Threads::new(self.threads)?).clone(),
        };
        // Entered once, so that nobody is woken for each of the many small pieces of work.
        pool.enter(|| self.work(input, output, parameters, regions, field, &pool))
    }

    fn work<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: usize,
        pool: &Threads,
    ) -> Result<Levels, Error> {
        let domain = self.network.domain();
        let [main, seen_chroma] = self.estimate(input, parameters)?;
        let temporal = &mut self.temporal[field.min(1)];
        // Of samples, the network sees means, whose noise is weaker.
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
        let chroma_share = if domain == Domain::Rgb { levels.main } else { levels.chroma };
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

    /// Estimates what `parameters` leave open: the noise of luma (of R, G and B), and that of chroma. The first picture is looked at more closely; later, components take turns,
    /// so that no picture takes much longer than another, and estimates are smoothed.
    fn estimate<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        parameters: &Parameters,
    ) -> Result<[NoiseModel; 2], Error> {
        // Components that speak for the main level come first.
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
                // Chroma that has more samples than the network sees of it.
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
