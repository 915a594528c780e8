// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sessions of a denoising network ([`NetworkSessions`]), and its run on a picture
//! ([`NetworkRun`]).

use std::sync::Arc;

use super::{
    ColourDomain,
    network_input::{Controls, NetworkInput},
    network_output::{BlendWeights, NetworkOutput},
    temporal::FusedPicture,
    tiles::ATLAS_SIZE,
};
use crate::{
    frame::{Picture, PictureMut, Regions, Sample},
    nn::{Error, Network, Session, SessionCache, Threads},
};

/// A network with its sessions, which belong to it.
pub(super) struct NetworkSessions {
    network: Arc<dyn Network>,
    /// Sessions for whole pictures.
    pictures: SessionCache,
    /// Session for tiles of pictures.
    tiles: SessionCache,
}

impl NetworkSessions {
    /// Takes a network without sessions.
    pub(super) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, pictures: SessionCache::default(), tiles: SessionCache::default() }
    }

    /// Returns the network.
    pub(super) fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// Returns the session for pictures of a width and height, on a number of threads.
    ///
    /// # Errors
    /// A size that the network cannot process.
    pub(super) fn for_pictures(
        &mut self,
        size: (usize, usize),
        threads: usize,
    ) -> Result<&mut dyn Session, Error> {
        self.pictures.for_frame_size(&*self.network, threads, size.0, size.1)
    }

    /// Returns the session for tiles side by side, [`ATLAS_SIZE`] pixels.
    ///
    /// # Errors
    /// As [`Self::for_pictures`].
    pub(super) fn for_tiles(&mut self, threads: usize) -> Result<&mut dyn Session, Error> {
        let [width, height] = ATLAS_SIZE;
        self.tiles.for_frame_size(&*self.network, threads, width, height)
    }
}

/// A network with its sessions and threads.
pub(super) struct Engine<'a> {
    pub(super) network: &'a mut NetworkSessions,
    pub(super) threads: &'a Threads,
}

impl Engine<'_> {
    /// Returns the session for pictures of a width and height.
    ///
    /// # Errors
    /// A size that the network cannot process.
    pub(super) fn session(&mut self, size: (usize, usize)) -> Result<&mut dyn Session, Error> {
        self.network.for_pictures(size, self.threads.count())
    }
}

/// Controls of the network and weights of its prediction.
pub(super) struct NetworkRun<'a> {
    pub(super) controls: Controls,
    pub(super) weights: BlendWeights<'a>,
    /// Noise sigma of the detail of both chroma components; see
    /// [`AssumedNoise`](super::AssumedNoise).
    pub(super) chroma_detail: [f32; 2],
}

impl NetworkRun<'_> {
    /// Runs the network on `fused`, or on `input` if it is `None`, and fills `output`.
    ///
    /// # Errors
    /// The network fails to run.
    pub(super) fn run<T: Sample, U: Sample>(
        &self,
        session: &mut dyn Session,
        input: &Picture<'_, T>,
        fused: Option<&FusedPicture<'_>>,
        output: &mut PictureMut<'_, U>,
    ) -> Result<(), Error> {
        let Self { controls, weights, chroma_detail } = self;
        let domain = ColourDomain::of(input.colour);
        let regions = weights.regions.as_ref().map(Regions::reborrow);
        let weights = BlendWeights { regions, ..*weights };
        let mut network_output =
            NetworkOutput::new(input, output.reborrow(), weights, *chroma_detail);
        match fused {
            Some(fused) => {
                let network_input = NetworkInput::new(&fused.picture, domain, controls)
                    .with_variance(fused.variance)
                    .with_regions(regions, weights.strength);
                session.run(&network_input, &mut network_output.with_fused(fused))
            }
            None => {
                let network_input = NetworkInput::new(input, domain, controls)
                    .with_regions(regions, weights.strength);
                session.run(&network_input, &mut network_output)
            }
        }
    }
}
