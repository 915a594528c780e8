// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Denoiser`]: noise estimation, temporal fusion and inference for the pictures of one stream.

use std::sync::Arc;

use ndarray::Axis;
use rayon::prelude::*;

use super::{
    AssumedNoise, CONTROL_PER_SIGMA, ColourDomain, MAX_SIGMA,
    network_input::Controls,
    network_output::BlendWeights,
    network_run::{Engine, NetworkRun, NetworkSessions},
    stream_noise::StreamNoise,
    temporal::{Lookahead, TemporalFusion},
    tiles::{self, Tiles},
    weak_noise::ComponentNoise,
};
use crate::{
    frame::{Colour, Field, Picture, PictureMut, Regions, Sample, convert::convert_row},
    nn::{self, Network, Threads},
};

/// Brightness at which the reported noise sigma is corrected by measurements.
const MIDDLE_BRIGHTNESS: f32 = 128.0;

/// Errors of [`Denoiser::process`] and [`Denoiser::prepare`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network failed to load or to run.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// The output differs from the input in size or colour format.
    #[error("input and output pictures differ in size or colour format")]
    Mismatch,
    /// Chroma has less than half of luma's width or height.
    #[error("chroma is subsampled by more than 2; use 4:2:0, 4:2:2 or 4:4:4")]
    Subsampling,
}

/// Settings of the denoiser for one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Noise sigma of luma, or of R, G and B, in 8-bit units; `None` to estimate it.
    pub sigma: Option<f32>,
    /// Noise sigma of chroma in 8-bit units; `None` to estimate it. RGB has no chroma.
    pub chroma_sigma: Option<f32>,
    /// Noise to assume where no sigma is set, for example that of another part of the video; `None`
    /// to estimate it.
    pub noise: Option<AssumedNoise>,
    /// Up to 1: share of the predicted noise that is removed. Beyond 1: also a factor on the noise
    /// sigma in the control maps.
    pub strength: f32,
    /// Whether to apply temporal fusion before the network.
    pub temporal: bool,
    /// Whether to dither 8-bit output in smooth areas, so that gradients do not band.
    pub dither: bool,
}

impl Default for Parameters {
    /// Estimates the noise and removes all of it, with temporal fusion.
    fn default() -> Self {
        Self {
            sigma: None,
            chroma_sigma: None,
            noise: None,
            strength: 1.0,
            temporal: true,
            dither: true,
        }
    }
}

/// Noise sigmas in 8-bit units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NoiseSigmas {
    /// Sigma of luma, or of R, G and B.
    pub main: f32,
    /// Sigma of chroma; 0 if there is none.
    pub chroma: f32,
}

/// Denoiser of the pictures of one stream.
///
/// The network can be exchanged between pictures ([`Self::select_network`]): estimates and temporal
/// state do not depend on it.
pub struct Denoiser {
    /// Networks to select from.
    networks: Vec<NetworkSessions>,
    /// Index of the network that runs.
    selected: usize,
    /// Number of threads, 0 for the number of cores.
    threads: usize,
    /// Thread pool, created on first use.
    pool: Option<Threads>,
    /// State of temporal fusion for each field of interlaced video; progressive video uses the
    /// first.
    temporal: [TemporalFusion; Field::COUNT],
    /// Pictures that [`Self::look_ahead`] has queued, by field.
    lookahead: [Lookahead; Field::COUNT],
    /// Results of converged areas, by field.
    tiles: [Tiles; Field::COUNT],
    noise: StreamNoise,
    /// Share of the last picture on which the network ran.
    computed_share: f32,
}

impl Denoiser {
    /// Creates a denoiser that runs `network` on `threads` threads, 0 for the number of cores.
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Self {
        let temporal = Default::default();
        Self {
            networks: vec![NetworkSessions::new(network)],
            selected: 0,
            threads,
            pool: None,
            temporal,
            lookahead: Default::default(),
            tiles: Default::default(),
            noise: StreamNoise::new(threads),
            computed_share: 0.0,
        }
    }

    /// Adds a network that [`Self::select_network`] can select. Networks count from 0, which is
    /// that of [`Self::new`], in the order in which they are added. [`Self::prepare`] prepares all.
    pub fn add_network(&mut self, network: Arc<dyn Network>) {
        self.networks.push(NetworkSessions::new(network));
    }

    /// Selects the network that runs from the next picture on. The rest of the state stays, so the
    /// result is that of a denoiser which always had this network, except where the scene is still:
    /// there, results of the network before are replaced within 16 pictures.
    ///
    /// # Panics
    /// There is no network of this number.
    pub fn select_network(&mut self, number: usize) {
        assert!(number < self.networks.len(), "no network {number} of {}", self.networks.len());
        self.selected = number;
    }

    /// Returns the backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.networks[self.selected].network().backend()
    }

    /// Discards the estimates and the temporal state, because the next picture belongs to another
    /// scene.
    pub fn reset(&mut self) {
        self.noise.reset();
        self.temporal.iter_mut().for_each(TemporalFusion::reset);
        self.lookahead.iter_mut().for_each(Lookahead::clear);
        self.tiles.iter_mut().for_each(Tiles::reset);
    }

    /// Returns the share of the last picture, 0 to 1, whose result was kept from pictures before,
    /// because the scene is still. With interlaced video, it is that of the first field.
    pub fn skipped_share(&self) -> f32 {
        self.tiles[0].skipped()
    }

    /// Returns the share of the last picture, 0 to 1, on which the network ran: 1 for the whole
    /// picture, 0 for a copied picture without noise.
    pub fn computed_share(&self) -> f32 {
        self.computed_share
    }

    /// Returns the noise that the denoiser assumed for the last picture.
    pub fn noise(&self) -> AssumedNoise {
        self.noise.last()
    }

    /// Creates the sessions of all networks for a picture size, so that the first picture takes no
    /// longer than others.
    ///
    /// # Errors
    /// A size that a network cannot process.
    pub fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        let threads = self.pool()?.count();
        for network in &mut self.networks {
            network.for_pictures((width, height), threads)?;
            if tiles::can_skip((width, height)) {
                network.for_tiles(threads)?;
            }
        }
        Ok(())
    }

    /// Queues the next picture of the stream, so that the pictures before it are denoised with it
    /// too. Each queued picture must then be passed to [`Self::process`], in the same order.
    ///
    /// # Errors
    /// The noise estimator or the thread pool fails.
    pub fn look_ahead<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        parameters: &Parameters,
        field: Field,
    ) -> Result<(), Error> {
        let pool = self.pool()?;
        pool.enter(|| {
            self.noise.update(picture, parameters)?;
            self.lookahead[field.index()].push(picture, &pool);
            Ok(())
        })
    }

    /// Returns the thread pool.
    fn pool(&mut self) -> Result<Threads, Error> {
        Ok(match &self.pool {
            Some(pool) => pool.clone(),
            None => self.pool.insert(Threads::new(self.threads)?).clone(),
        })
    }

    /// Denoises `input` into `output` and returns the noise sigmas that the denoiser assumed.
    ///
    /// Writes every sample of the components of `output`, whatever it holds. Its samples may have
    /// more bits than those of `input`. `regions` are factors on the strength. `field` selects the
    /// temporal state: [`Field::First`] for progressive pictures.
    ///
    /// # Errors
    /// Pictures that do not match each other or the network, or a failing backend; the samples of
    /// `output` are unspecified then.
    pub fn process<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: Field,
    ) -> Result<NoiseSigmas, Error> {
        ColourDomain::of(input.colour).signature().check(self.networks[self.selected].network())?;
        let same = input.components.iter().zip(&output.components).all(|(a, b)| a.dim() == b.dim());
        if input.colour != output.colour || !same {
            return Err(Error::Mismatch);
        }
        if input.colour.subsampling(1).into_iter().any(|shift| shift > 1) {
            return Err(Error::Subsampling);
        }
        let pool = self.pool()?;
        // Enter the pool once: entering it for each of the many short parallel loops would wake the
        // threads again each time.
        pool.enter(|| self.denoise_in_pool(input, output, parameters, regions, field, &pool))
    }

    /// Denoises a picture; called inside the thread pool.
    fn denoise_in_pool<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: Field,
        pool: &Threads,
    ) -> Result<NoiseSigmas, Error> {
        let Self { networks, selected, temporal, lookahead, tiles, noise, .. } = self;
        let lookahead = &mut lookahead[field.index()];
        let temporal = &mut temporal[field.index()];
        let tiles = &mut tiles[field.index()];
        if lookahead.is_empty() {
            noise.update(input, parameters)?;
        }
        let assumed = noise.assume(input.colour, parameters);
        let noise = assumed.of_samples();
        let sigmas = NoiseSigmas { main: noise.main.sigma, chroma: noise.chroma.sigma };
        if component_noise(input.colour, sigmas, parameters).iter().all(ComponentNoise::is_none) {
            temporal.reset();
            tiles.reset();
            lookahead.remove_first();
            copy(input, output, pool);
            self.computed_share = 0.0;
            return Ok(sigmas);
        }
        // The network runs on the whole picture where results depend on more than this picture and
        // those before it.
        let keeps_tiles = parameters.temporal && regions.is_none() && lookahead.is_empty();
        let fused = if parameters.temporal {
            Some(lookahead.combine(temporal.fuse(input, &noise, pool), &noise, pool))
        } else {
            temporal.reset();
            lookahead.remove_first();
            None
        };
        let factor = |brightness: f32| match (&fused, parameters.sigma) {
            (Some(fused), None) => fused.noise_factor(brightness),
            _ => 1.0,
        };
        let sigmas = NoiseSigmas { main: sigmas.main * factor(MIDDLE_BRIGHTNESS), ..sigmas };
        let control = |sigma: f32| {
            (sigma * parameters.strength.max(1.0)).clamp(0.0, MAX_SIGMA) * CONTROL_PER_SIGMA
        };
        let at_brightness = |brightness: usize| {
            control(noise.main.sigma_at(brightness as f32) * factor(brightness as f32))
        };
        let [first, others] = component_noise(input.colour, sigmas, parameters);
        let Parameters { strength, dither, .. } = *parameters;
        let run = NetworkRun {
            controls: Controls {
                main: std::array::from_fn(at_brightness),
                chroma: control(assumed.chroma.sigma),
            },
            weights: BlendWeights { first, others, strength, regions, dither },
            chroma_detail: assumed.chroma_detail,
        };
        let mut engine = Engine { network: &mut networks[*selected], threads: pool };
        match &fused {
            Some(fused) if keeps_tiles => tiles.run(&run, sigmas, engine, input, fused, output)?,
            _ => {
                tiles.reset();
                run.run(engine.session(input.size())?, input, fused.as_ref(), output)?;
            }
        }
        self.computed_share = 1.0 - tiles.skipped();
        Ok(sigmas)
    }
}

/// Returns the noise of the first component and that of the others.
fn component_noise(
    colour: Colour,
    sigmas: NoiseSigmas,
    parameters: &Parameters,
) -> [ComponentNoise; 2] {
    let main = ComponentNoise::new(sigmas.main, parameters.sigma.is_some());
    let others = match ColourDomain::of(colour) {
        ColourDomain::Rgb => main,
        ColourDomain::Yuv420 => {
            ComponentNoise::new(sigmas.chroma, parameters.chroma_sigma.is_some())
        }
    };
    [main, others]
}

/// Copies a picture without noise.
fn copy<T: Sample, U: Sample>(
    input: &Picture<'_, T>,
    output: &mut PictureMut<'_, U>,
    pool: &Threads,
) {
    for (from, to) in input.components.iter().zip(&mut output.components) {
        let rows = from.axis_iter(Axis(0)).into_par_iter();
        let rows = rows.zip(to.axis_iter_mut(Axis(0)).into_par_iter());
        pool.enter(|| {
            rows.for_each(|(from, mut to)| match to.as_slice_mut() {
                Some(to) => convert_row(from, to),
                None => to
                    .iter_mut()
                    .zip(from)
                    .for_each(|(to, from)| *to = U::from_code_value(from.code_value())),
            });
        });
    }
}

#[cfg(test)]
mod tests;
