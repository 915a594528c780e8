use std::{path::PathBuf, sync::Arc};

use super::{Denoiser, Error, domain_of};
use crate::{
    frame::Colour,
    nn::{self, Device, Domain, ModelSource, Network, Precision, cache},
};

macro_rules! embedded {
    ($name:literal) => {
        ModelSource::Embedded {
            name: $name,
            bytes: include_bytes!(concat!("../../models/", $name, ".safetensors")),
        }
    };
}

/// Which of the built-in networks: how much time a frame may take.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// For live video, about 8,000 multiply-accumulates for each pixel.
    #[default]
    Fast,
    /// About 20,000.
    Balanced,
    /// For files, or with CUDA, about 100,000.
    Best,
}

impl Rung {
    /// One network for each domain.
    fn sources(self) -> [ModelSource; 2] {
        match self {
            Self::Fast => [embedded!("denoise-yuv420-fast"), embedded!("denoise-rgb-fast")],
            Self::Balanced => {
                [embedded!("denoise-yuv420-balanced"), embedded!("denoise-rgb-balanced")]
            }
            Self::Best => [embedded!("denoise-yuv420-best"), embedded!("denoise-rgb-best")],
        }
    }
}

/// The networks that may be needed before a stream's format is known: one for each domain, or one that the user gave.
pub struct Networks {
    usual: Vec<Arc<dyn Network>>,
    /// For pictures of more than 8 bits a sample, whose noise may be weaker than a step of 8-bit integers.
    deep: Vec<Arc<dyn Network>>,
}

impl Networks {
    /// Loads the networks that are part of the plugin.
    ///
    /// # Errors
    /// A device that is not there; a rung without 8-bit integers where `precision` asks for them.
    pub fn built_in(rung: Rung, device: Device, precision: Precision) -> Result<Self, nn::Error> {
        Self::load(&rung.sources(), device, precision)
    }

    /// Loads a model file.
    ///
    /// # Errors
    /// A file or a device that is not there, or a file that is no model.
    pub fn from_file(
        path: PathBuf,
        device: Device,
        precision: Precision,
    ) -> Result<Self, nn::Error> {
        Self::load(&[ModelSource::File(path)], device, precision)
    }

    fn load(
        sources: &[ModelSource],
        device: Device,
        precision: Precision,
    ) -> Result<Self, nn::Error> {
        let all = |precision| -> Result<Vec<_>, nn::Error> {
            sources.iter().map(|source| cache::load(source, device, precision)).collect()
        };
        let usual = all(precision)?;
        let free = precision == Precision::Auto && cache::takes_int8(device, precision);
        let deep = if free { all(Precision::Fp32)? } else { usual.clone() };
        Ok(Self { usual, deep })
    }

    /// Backend and device that they run on.
    pub fn backend(&self) -> String {
        self.usual.first().map(|network| network.backend()).unwrap_or_default()
    }

    /// A denoiser for pictures of a kind; `deep` ones have more than 8 bits a sample.
    ///
    /// # Errors
    /// [`Error::Domain`] where the user's model works on other planes.
    pub fn denoiser(&self, colour: Colour, deep: bool, threads: usize) -> Result<Denoiser, Error> {
        let picture = domain_of(colour);
        let networks = if deep { &self.deep } else { &self.usual };
        let network =
            networks.iter().find(|network| network.domain() == picture).ok_or_else(|| {
                let network = networks.first().map_or(Domain::Rgb, |network| network.domain());
                Error::Domain { network, picture }
            })?;
        Ok(Denoiser::new(network.clone(), threads))
    }
}
