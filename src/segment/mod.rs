//! Interactive segmentation: a person points at what matters in a picture, and the region follows the video.
//!
//! [`Segmenter`] turns [`Seeds`] into regions: a small network sees the picture, the seeds and the region so far
//! (Sofiiuk et al., "Reviving Iterative Training with Mask Guidance", 2021); superpixels along learned edges, colour models and
//! geodesic distances give its answer exact borders by a minimum cut.

pub(crate) mod clue;
mod colour;
pub mod distance;
mod edges;
pub mod element;
pub mod flow;
pub mod geodesic;
mod graph_cut;
mod grow;
mod hierarchy;
mod image;
mod marks;
mod mask;
mod refine;
mod resample;
pub mod seeds;
mod segmenter;
pub mod simulate;
pub mod superpixel;
mod track;

/// Probability of log-odds.
fn logistic(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}

pub use self::{
    colour::ColourModel,
    edges::EdgeFinder,
    graph_cut::GraphCut,
    hierarchy::Hierarchy,
    image::Image,
    seeds::{MAX_LABEL, Seed, Seeds, Shape},
    segmenter::{Error, Networks, Segmenter},
    superpixel::Superpixels,
    track::Status,
};
