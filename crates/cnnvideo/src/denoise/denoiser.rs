// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Denoiser`]: noise estimation, temporal fusion and inference for the pictures of one stream.

use std::sync::Arc;

use super::{
    AssumedNoise, CONTROL_PER_SIGMA, ColourDomain, MAX_SIGMA,
    network_input::{Controls, NetworkInput},
    network_output::{BlendWeights, NetworkOutput},
    stream_noise::StreamNoise,
    temporal::{Lookahead, TemporalFusion},
    weak_noise::ComponentNoise,
};
use crate::{
    frame::{Field, Picture, PictureMut, Regions, Sample},
    nn::{self, Network, SessionCache, Threads},
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
pub struct Denoiser {
    network: Arc<dyn Network>,
    /// Number of threads, 0 for the number of cores.
    threads: usize,
    /// Thread pool, created on first use.
    pool: Option<Threads>,
    /// State of temporal fusion for each field of interlaced video; progressive video uses the
    /// first.
    temporal: [TemporalFusion; Field::COUNT],
    /// Pictures that [`Self::look_ahead`] has queued, by field.
    lookahead: [Lookahead; Field::COUNT],
    sessions: SessionCache,
    noise: StreamNoise,
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
            lookahead: Default::default(),
            sessions: SessionCache::default(),
            noise: StreamNoise::new(threads),
        }
    }

    /// Returns the backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.network.backend()
    }

    /// Discards the estimates and the temporal state, because the next picture belongs to another
    /// scene.
    pub fn reset(&mut self) {
        self.noise.reset();
        self.temporal.iter_mut().for_each(TemporalFusion::reset);
        self.lookahead.iter_mut().for_each(Lookahead::clear);
    }

    /// Returns the noise that the denoiser assumed for the last picture.
    pub fn noise(&self) -> AssumedNoise {
        self.noise.last()
    }

    /// Creates the session for a picture size, so that the first picture takes no longer than
    /// others.
    ///
    /// # Errors
    /// A size that the network cannot process.
    pub fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.sessions.for_frame_size(&*self.network, self.threads, width, height)?;
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
        ColourDomain::of(input.colour).signature().check(&*self.network)?;
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
        let domain = ColourDomain::of(input.colour);
        let lookahead = &mut self.lookahead[field.index()];
        if lookahead.is_empty() {
            self.noise.update(input, parameters)?;
        }
        let assumed = self.noise.assume(input.colour, parameters);
        let temporal = &mut self.temporal[field.index()];
        let noise = assumed.of_samples();
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
        let sigmas = NoiseSigmas {
            main: noise.main.sigma * factor(MIDDLE_BRIGHTNESS),
            chroma: noise.chroma.sigma,
        };
        let control = |sigma: f32| {
            (sigma * parameters.strength.max(1.0)).clamp(0.0, MAX_SIGMA) * CONTROL_PER_SIGMA
        };
        let at_brightness = |brightness: usize| {
            control(noise.main.sigma_at(brightness as f32) * factor(brightness as f32))
        };
        let controls = Controls {
            main: std::array::from_fn(at_brightness),
            chroma: control(assumed.chroma.sigma),
        };
        let (others_sigma, others_are_set) = match domain {
            ColourDomain::Rgb => (sigmas.main, parameters.sigma.is_some()),
            ColourDomain::Yuv420 => (sigmas.chroma, parameters.chroma_sigma.is_some()),
        };
        let regions = regions.as_ref().map(Regions::reborrow);
        let weights = BlendWeights {
            first: ComponentNoise::new(sigmas.main, parameters.sigma.is_some()),
            others: ComponentNoise::new(others_sigma, others_are_set),
            strength: parameters.strength,
            regions,
            dither: parameters.dither,
        };

        let (width, height) = input.size();
        let session = self.sessions.for_frame_size(&*self.network, self.threads, width, height)?;
        let mut network_output =
            NetworkOutput::new(input, output.reborrow(), weights, assumed.chroma_detail);
        match &fused {
            Some(fused) => {
                let network_input = NetworkInput::new(&fused.picture, domain, &controls)
                    .with_variance(fused.variance)
                    .with_regions(regions, parameters.strength);
                session.run(&network_input, &mut network_output.with_fused(fused))?;
            }
            None => {
                let network_input = NetworkInput::new(input, domain, &controls)
                    .with_regions(regions, parameters.strength);
                session.run(&network_input, &mut network_output)?;
            }
        }
        Ok(sigmas)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::{
        denoise::{BitDepth, Networks, Quality},
        frame::Colour,
        nn::{Device, Precision},
    };

    const COLOURS: [Colour; 6] = [
        Colour::Gray,
        Colour::Yuv { shift_x: 1, shift_y: 1 },
        Colour::Yuv { shift_x: 1, shift_y: 0 },
        Colour::Yuv { shift_x: 0, shift_y: 1 },
        Colour::Yuv { shift_x: 0, shift_y: 0 },
        Colour::Rgb,
    ];

    fn denoiser(colour: Colour) -> Denoiser {
        let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto).unwrap();
        networks.denoiser(colour, BitDepth::Eight, 2).unwrap()
    }

    /// Components of 37x21 pixels with pseudo-random samples.
    fn components(colour: Colour) -> Vec<Array2<u8>> {
        let count = if colour == Colour::Gray { 1 } else { 3 };
        let component = |i| {
            let [shift_x, shift_y] = colour.subsampling(i);
            Array2::from_shape_fn(
                (21usize.div_ceil(1 << shift_y), 37usize.div_ceil(1 << shift_x)),
                |(y, x)| (100 + (y * y * 31 + x * x * 17 + y * x) % 29) as u8,
            )
        };
        (0..count).map(component).collect()
    }

    #[test]
    fn every_sample_of_the_output_is_written() {
        let labels = Array2::from_shape_fn((21, 37), |(y, _)| u8::from(y < 9));
        for colour in COLOURS {
            let components = components(colour);
            let input =
                Picture { colour, components: components.iter().map(|c| c.view()).collect() };
            for (temporal, has_regions) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let parameters = Parameters { sigma: Some(8.0), temporal, ..Parameters::default() };
                let results = [0, 255].map(|value| {
                    let mut results = components.clone();
                    results.iter_mut().for_each(|component| component.fill(value));
                    let components = results.iter_mut().map(|c| c.view_mut()).collect();
                    let mut output = PictureMut { colour, components };
                    let regions = has_regions.then(|| Regions {
                        labels: labels.view(),
                        foreground: 0.0,
                        background: 0.7,
                    });
                    denoiser(colour)
                        .process(&input, &mut output, &parameters, regions, Field::First)
                        .unwrap();
                    results
                });
                assert_eq!(results[0], results[1], "{colour:?} {temporal} {has_regions}");
                let unchanged = results[0][0].row(0) == components[0].row(0);
                assert_eq!(unchanged, has_regions, "{colour:?} {temporal}");
            }
        }
    }

    #[test]
    fn strong_subsampling_is_an_error() {
        let colour = Colour::Yuv { shift_x: 2, shift_y: 0 };
        let (components, mut results) = (components(colour), components(colour));
        let input = Picture { colour, components: components.iter().map(|c| c.view()).collect() };
        let components = results.iter_mut().map(|c| c.view_mut()).collect();
        let mut output = PictureMut { colour, components };
        let parameters = Parameters { temporal: false, ..Parameters::default() };
        let result = denoiser(colour).process(&input, &mut output, &parameters, None, Field::First);
        assert!(matches!(result, Err(Error::Subsampling)));
    }
}
