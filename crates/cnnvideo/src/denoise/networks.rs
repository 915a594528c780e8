// SPDX-License-Identifier: MIT OR Apache-2.0

//! Built-in denoising networks, and loading of the networks that a stream may need ([`Networks`]).

use std::{path::PathBuf, sync::Arc};

use super::{ColourDomain, Denoiser, Error};
use crate::{
    frame::Colour,
    nn::{self, Device, ModelSource, Network, Precision, network_cache},
};

macro_rules! embedded {
    ($name:literal) => {
        ModelSource::Embedded {
            name: $name,
            bytes: include_bytes!(concat!("../../models/", $name, ".safetensors")),
        }
    };
}

/// Quality preset: selects the built-in networks by the time that a frame may take.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// For live video; about 8,000 multiply-accumulate operations per pixel.
    #[default]
    Fast,
    /// About 20,000 multiply-accumulate operations per pixel.
    Balanced,
    /// For files, or with CUDA; about 100,000 multiply-accumulate operations per pixel.
    Best,
}

impl Quality {
    /// Returns the sources of the preset's networks, one for each domain (YUV 4:2:0, RGB).
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

/// Bits of the samples of a stream. [`Networks::denoiser`] selects the network's arithmetic by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitDepth {
    /// 8 bits a sample.
    Eight,
    /// More than 8 bits a sample.
    High,
}

/// Reason why there is a first network.
const NOT_EMPTY: &str = "networks are loaded for at least one domain";

/// Loaded denoising networks: one built-in network for each domain, or the one that the user
/// supplies. They are loaded before the stream's format is known.
pub struct Networks {
    /// Networks for pictures of 8 bits a sample.
    networks: Vec<Arc<dyn Network>>,
    /// Where the same networks come from, and their device.
    sources: Vec<ModelSource>,
    device: Device,
    /// Whether pictures of more than 8 bits a sample take the networks in float32, because their
    /// noise may be weaker than an int8 quantisation step. They are loaded when such a stream
    /// begins.
    has_float32: bool,
}

impl Networks {
    /// Loads the built-in networks of a preset.
    ///
    /// # Errors
    /// A device that is not available, or int8 `precision` for a preset that has no int8 weights.
    pub fn built_in(
        quality: Quality,
        device: Device,
        precision: Precision,
    ) -> Result<Self, nn::Error> {
        Self::load(&quality.sources(), device, precision)
    }

    /// Loads a model file.
    ///
    /// # Errors
    /// A file or a device that is not available, or a file that is not a valid model.
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
        let networks = sources.iter().map(|source| load(source, device, precision));
        let networks = networks.collect::<Result<_, _>>()?;
        let has_float32 =
            precision == Precision::Auto && network_cache::prefers_int8(device, precision);
        Ok(Self { networks, sources: sources.to_vec(), device, has_float32 })
    }

    /// Returns the backend and device that the networks run on.
    pub fn backend(&self) -> String {
        self.networks.first().expect(NOT_EMPTY).backend()
    }

    /// Returns the network for pictures of a colour format and bit depth.
    ///
    /// # Errors
    /// [`nn::Error::Task`] if the user's model processes other planes than `colour` needs; for more
    /// than 8 bits a sample, also those of loading the network in float32.
    pub fn network(
        &self,
        colour: Colour,
        bit_depth: BitDepth,
    ) -> Result<Arc<dyn Network>, nn::Error> {
        let signature = ColourDomain::of(colour).signature();
        let matching = self.networks.iter().position(|network| signature.matches(&**network));
        let index = matching.unwrap_or(0);
        let network = self.networks.get(index).expect(NOT_EMPTY);
        signature.check(&**network)?;
        match bit_depth {
            BitDepth::High if self.has_float32 => {
                load(&self.sources[index], self.device, Precision::Fp32)
            }
            _ => Ok(network.clone()),
        }
    }

    /// Creates a denoiser for pictures of a colour format and bit depth. `threads`: 0 for the
    /// number of cores.
    ///
    /// # Errors
    /// As [`Self::network`].
    pub fn denoiser(
        &self,
        colour: Colour,
        bit_depth: BitDepth,
        threads: usize,
    ) -> Result<Denoiser, Error> {
        Ok(Denoiser::new(self.network(colour, bit_depth)?, threads))
    }
}

/// Loads a network, or takes it from the cache.
fn load(
    source: &ModelSource,
    device: Device,
    precision: Precision,
) -> Result<Arc<dyn Network>, nn::Error> {
    network_cache::load(source, device, precision, &ColourDomain::SIGNATURES)
}
