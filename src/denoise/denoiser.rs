use std::sync::Arc;

use super::{
    CONTROL_PER_LEVEL, MAX_LEVEL,
    estimate::{NoiseModel, noise_model},
    io::{Controls, Planes, PlanesMut, Shares},
    temporal::Temporal,
};
use crate::{
    frame::{Colour, Picture, PictureMut, Regions, Sample},
    nn::{self, Domain, Network, Sessions, Threads},
};

/// The networks err by a level or two themselves. Noise weaker than the first of these is left alone, noise stronger than
/// the second is removed wholly.
const FADE: [f32; 2] = [0.5, 3.0];
/// What chroma noise adds to R, G and B, on (quadratic) average: the matrix is BT.601's.
const CHROMA_IN_RGB: f32 = 1.383;
/// Share of a new estimate in the smoothed one.
const FOLLOW: f32 = 0.3;

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
        Colour::Gray | Colour::Yuv { shift_x: 1, shift_y: 1 } => Domain::Yuv420,
        Colour::Yuv { .. } | Colour::Rgb => Domain::Rgb,
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
    /// Noise levels of the components, as far as they are known, smoothed over time.
    estimates: [Option<NoiseModel>; 3],
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
            estimates: [None; 3],
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
        let estimates = self.estimate(input, parameters);
        let temporal = &mut self.temporal[field.min(1)];
        let [main, chroma] = if parameters.temporal { temporal.corrected(estimates) } else { estimates };
        let main = parameters.noise_level.map_or(main, NoiseModel::uniform);
        let levels = Levels { main: main.level, chroma: chroma.level };
        let added = match (domain, input.colour) {
            (Domain::Rgb, Colour::Yuv { .. }) => CHROMA_IN_RGB * levels.chroma,
            _ => 0.0,
        };
        let control = |level: f32| (level * parameters.strength.max(1.0)).clamp(0.0, MAX_LEVEL) * CONTROL_PER_LEVEL;
        let of_brightness = |brightness: usize| control(main.level_at(brightness as f32).hypot(added));
        let controls = Controls { main: std::array::from_fn(of_brightness), chroma: control(levels.chroma) };
        let share = |level: f32| ((level - FADE[0]) / (FADE[1] - FADE[0])).clamp(0.0, 1.0);
        let rgb_level = levels.main.hypot(added);
        let shares = [share(rgb_level), share(if domain == Domain::Rgb { rgb_level } else { levels.chroma })];
        let regions = regions.as_ref().map(Regions::reborrow);
        let shares = Shares { components: shares, strength: parameters.strength, regions };

        let (width, height) = input.size();
        let session = self.sessions.for_frame(&*self.network, self.threads, width, height)?;
        if parameters.temporal {
            let fused = temporal.fuse(input, &[main, chroma], pool);
            let planes = Planes::new(&fused.picture, domain, &controls, Some(fused.variance))
                .with_regions(regions, parameters.strength);
            session.run(&planes, &mut PlanesMut::new(output.reborrow(), domain, shares, Some(&fused.picture)))?;
        } else {
            temporal.reset();
            let planes = Planes::new(input, domain, &controls, None).with_regions(regions, parameters.strength);
            session.run(&planes, &mut PlanesMut::new(output.reborrow(), domain, shares, None))?;
        }
        Ok(levels)
    }

    /// Estimates what `parameters` leave open: the noise of luma (of R, G and B), and that of chroma. The first picture is looked at as a whole; later, components take turns,
    /// so that no picture takes much longer than another, and estimates are smoothed.
    fn estimate<T: Sample>(&mut self, input: &Picture<'_, T>, parameters: &Parameters) -> [NoiseModel; 2] {
        // Components that speak for the main level come first.
        let (main, all) = match input.colour {
            Colour::Gray => (1, 1),
            Colour::Yuv { .. } => (1, 3),
            Colour::Rgb => (3, 3),
        };
        let wanted = |i: usize| i >= main || parameters.noise_level.is_none();
        let turn = self.pictures % (2 * all as u64);
        for i in (0..all).filter(|i| wanted(*i)) {
            let known = self.estimates[i];
            if (known.is_none() || turn == 2 * i as u64)
                && let Some(found) = noise_model(input.components[i].view())
            {
                self.estimates[i].get_or_insert(found).follow(&found, FOLLOW);
            }
        }
        self.pictures += 1;
        let mean = |part: &[Option<NoiseModel>]| NoiseModel::mean(part.iter().copied().flatten());
        [mean(&self.estimates[..main]), mean(&self.estimates[main..all])]
    }
}
