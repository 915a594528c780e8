use std::{path::PathBuf, sync::Arc};

use super::{Denoiser, Error, domain_of};
use crate::{
    frame::Colour,
    nn::{self, Device, Domain, ModelSource, Network, Precision, cache},
};

const BUILT_IN: [ModelSource; 2] = [
    ModelSource::Embedded {
        name: "denoise-yuv420-fast",
        bytes: include_bytes!("../../models/denoise-yuv420-fast.safetensors"),
    },
    ModelSource::Embedded {
        name: "denoise-rgb-fast",
        bytes: include_bytes!("../../models/denoise-rgb-fast.safetensors"),
    },
];

/// The networks that may be needed before a stream's colour format is known: one for each domain, or one that the user
/// gave.
pub struct Networks(Vec<Arc<dyn Network>>);

impl Networks {
    /// Loads the networks that are part of the plugin.
    ///
    /// # Errors
    /// A device that is not there.
    pub fn built_in(device: Device, precision: Precision) -> Result<Self, nn::Error> {
        BUILT_IN.iter().map(|source| cache::load(source, device, precision)).collect::<Result<_, _>>().map(Self)
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
