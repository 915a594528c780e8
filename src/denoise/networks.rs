use std::{path::PathBuf, sync::Arc};

use super::{Denoiser, Error, domain_of};
use crate::{
    frame::Colour,
    nn::{self, Device, Domain, ModelSource, Network, Precision, cache},
};

const FAST: [ModelSource; 2] = [
    ModelSource::Embedded {
        name: "denoise-yuv420-fast",
        bytes: include_bytes!("../../models/denoise-yuv420-fast.safetensors"),
    },
    ModelSource::Embedded {
        name: "denoise-rgb-fast",
        bytes: include_bytes!("../../models/denoise-rgb-fast.safetensors"),
    },
];
const BALANCED: [ModelSource; 2] = [
    ModelSource::Embedded {
        name: "denoise-yuv420-balanced",
        bytes: include_bytes!("../../models/denoise-yuv420-balanced.safetensors"),
    },
    ModelSource::Embedded {
        name: "denoise-rgb-balanced",
        bytes: include_bytes!("../../models/denoise-rgb-balanced.safetensors"),
    },
];

/// Size of the networks that are part of the plugin.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// For live video on two ordinary cores.
    #[default]
    Fast,
    /// Some two and a half times as much work.
    Balanced,
}

/// The networks that may be needed before a stream's colour format is known: one for each domain, or one that the user
/// gave.
pub struct Networks(Vec<Arc<dyn Network>>);

impl Networks {
    /// Loads the networks that are part of the plugin.
    ///
    /// # Errors
    /// A device that is not there.
    pub fn built_in(rung: Rung, device: Device, precision: Precision) -> Result<Self, nn::Error> {
        let sources = match rung {
            Rung::Fast => &FAST,
            Rung::Balanced => &BALANCED,
        };
        sources.iter().map(|source| cache::load(source, device, precision)).collect::<Result<_, _>>().map(Self)
    }

    /// Loads a model file.
    ///
    /// # Errors
    /// A file or a device that is not there, or a file that is no model.
    pub fn from_file(path: PathBuf, device: Device, precision: Precision) -> Result<Self, nn::Error> {
        Ok(Self(vec![cache::load(&ModelSource::File(path), device, precision)?]))
    }

    /// Backend and device that they run on.
    pub fn backend(&self) -> String {
        self.0.first().map(|network| network.backend()).unwrap_or_default()
    }

    /// A denoiser for pictures of a kind.
    ///
    /// # Errors
    /// [`Error::Domain`] where the user's model works on other planes.
    pub fn denoiser(&self, colour: Colour, threads: usize) -> Result<Denoiser, Error> {
        let picture = domain_of(colour);
        let network = self.0.iter().find(|network| network.domain() == picture).ok_or_else(|| {
            let network = self.0.first().map_or(Domain::Rgb, |network| network.domain());
            Error::Domain { network, picture }
        })?;
        Ok(Denoiser::new(network.clone(), threads))
    }
}
