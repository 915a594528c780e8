//! Probability of structural edges, predicted by the smoothing network.

use std::{ops::Range, sync::Arc};

use ndarray::{Array2, ArrayViewMut2};

use super::{Image, logistic};
use crate::{
    nn::{self, Network, Output, RowSink, Sessions, Source, parts},
    smooth,
};

/// Texture scale, in pixels of an [`Image`], that the network is conditioned on: structure up to
/// this size counts as texture.
const SCALE: f32 = 6.0;
/// Output channel of the network that holds the edge logit, after the six texture channels.
const CHANNEL: usize = 6;

/// Predicts structural edges of an [`Image`] with the edge output of the smoothing network.
pub struct EdgeFinder {
    network: Arc<dyn Network>,
    threads: usize,
    sessions: Sessions,
}

impl EdgeFinder {
    /// Creates an edge finder that runs `network`, a network of the signature [`smooth::SIGNATURE`], on
    /// `threads` threads (0 for one per core).
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Self {
        Self { network, threads, sessions: Sessions::default() }
    }

    /// Fills `edges` with the probability of an edge in each cell of 2x2 pixels, resizing it to
    /// half the size of `image` (rounded up).
    ///
    /// # Errors
    /// Fails if the backend cannot run the network.
    pub fn find(&mut self, image: &Image, edges: &mut Array2<f32>) -> Result<(), nn::Error> {
        let (height, width) = image.dim();
        let dim = (height.div_ceil(2), width.div_ceil(2));
        if edges.dim() != dim {
            *edges = Array2::zeros(dim);
        }
        let picture = image.picture();
        let source = smooth::io::Planes { picture: &picture, control: smooth::control(SCALE) };
        let session = self.sessions.for_frame(&*self.network, self.threads, width, height)?;
        session.run(&source as &dyn Source, &mut Edges(edges))
    }
}

/// Output of the network: stores the edge probability of each cell.
struct Edges<'a>(&'a mut Array2<f32>);

impl Output for Edges<'_> {
    fn split<'c>(&'c mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'c>> {
        let parts = parts(self.0, bands, 1).into_iter().zip(bands);
        parts
            .map(|(edges, band)| Box::new(Band { first: band.start, edges }) as Box<dyn RowSink>)
            .collect()
    }
}

/// Rows of the edge map that one thread writes, `first` being the first of them.
struct Band<'a> {
    first: usize,
    edges: ArrayViewMut2<'a, f32>,
}

impl RowSink for Band<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        if y - self.first < self.edges.nrows() {
            let mut to = self.edges.row_mut(y - self.first);
            let pixels = row.chunks_exact(smooth::SIGNATURE.io.output);
            to.iter_mut().zip(pixels).for_each(|(to, pixel)| *to = logistic(pixel[CHANNEL]));
        }
    }
}
