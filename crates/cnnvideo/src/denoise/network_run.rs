// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs a denoising network on a picture ([`NetworkRun`]).

use super::{
    ColourDomain,
    network_input::{Controls, NetworkInput},
    network_output::{BlendWeights, NetworkOutput},
    temporal::FusedPicture,
};
use crate::{
    frame::{Picture, PictureMut, Regions, Sample},
    nn::{Error, Network, Session, SessionCache, Threads},
};

/// A network with its sessions and threads.
pub(super) struct Engine<'a> {
    pub(super) network: &'a dyn Network,
    pub(super) sessions: &'a mut SessionCache,
    pub(super) threads: &'a Threads,
}

impl Engine<'_> {
    /// Returns the session for pictures of a width and height.
    ///
    /// # Errors
    /// A size that the network cannot process.
    pub(super) fn session(&mut self, size: (usize, usize)) -> Result<&mut dyn Session, Error> {
        self.sessions.for_frame_size(self.network, self.threads.count(), size.0, size.1)
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
