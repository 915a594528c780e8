// SPDX-License-Identifier: MIT OR Apache-2.0

//! Probability of structural edges, predicted by the smoothing network.

use std::sync::Arc;

use ndarray::{Array2, ArrayViewMut1};

use super::{WorkingImage, logistic};
use crate::{
    nn::{self, Network, PlaneOutput, SessionCache, Source},
    smooth,
};

/// Texture scale, in pixels of a [`WorkingImage`], that the network is conditioned on: structure up
/// to this size counts as texture.
const TEXTURE_SCALE: f32 = 6.0;
/// Output channel of the network that holds the edge logit, after the six texture channels.
const EDGE_CHANNEL: usize = 6;

/// Predicts structural edges of a [`WorkingImage`] with the edge output of the smoothing network.
pub struct EdgeDetector {
    network: Arc<dyn Network>,
    threads: usize,
    sessions: SessionCache,
}

impl EdgeDetector {
    /// Creates an edge detector that runs `network`, a network of the signature
    /// [`smooth::SIGNATURE`], on `threads` threads (0 for one per core).
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Self {
        Self { network, threads, sessions: SessionCache::default() }
    }

    /// Fills `edges` with the probability of an edge in each cell of 2x2 pixels, resizing it to
    /// half the size of `image` (rounded up).
    ///
    /// # Errors
    /// Fails if the backend cannot run the network.
    pub fn predict(
        &mut self,
        image: &WorkingImage,
        edges: &mut Array2<f32>,
    ) -> Result<(), nn::Error> {
        let (height, width) = image.dim();
        let dim = (height.div_ceil(2), width.div_ceil(2));
        if edges.dim() != dim {
            *edges = Array2::zeros(dim);
        }
        let picture = image.picture();
        let source = smooth::io::GuideInput {
            picture: &picture,
            control: smooth::scale_control(TEXTURE_SCALE),
        };
        let session = self.sessions.for_frame_size(&*self.network, self.threads, width, height)?;
        session.run(&source as &dyn Source, &mut PlaneOutput::new(edges, 1, write_edges))
    }
}

/// Stores the edge probability of each cell from a row of the network's output.
fn write_edges(row: &[f32], _: usize, edges: ArrayViewMut1<'_, f32>) {
    let pixels = row.chunks_exact(smooth::SIGNATURE.io.output);
    edges.into_iter().zip(pixels).for_each(|(to, pixel)| *to = logistic(pixel[EDGE_CHANNEL]));
}
