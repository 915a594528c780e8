//! Interactive video segmentation: clicks, scribbles and boxes select regions, which are tracked
//! through the video.
//!
//! [`Segmenter`] turns [`Seeds`] into regions. A small network predicts each region from the
//! picture, maps of the seeds and the previous mask (Sofiiuk et al., "Reviving Iterative Training
//! with Mask Guidance", 2021). A minimum cut over superpixels then aligns the region with image
//! edges, using predicted edges, colour histograms and geodesic distances.

pub mod clue;
mod colour;
pub mod distance;
mod edges;
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

/// Logistic function: converts log-odds to a probability.
fn logistic(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}

use cnnvideo_nn::{IoSpec, Signature};

/// Signature of the network that predicts regions.
///
/// The picture is Y, pixel-unshuffled to half the frame size in four channels, then U and V, as
/// `(code value - 128) / 255`. Three control maps follow: the foreground seeds, the background seeds
/// and the current region. The network predicts the logit that a pixel belongs to the region, in
/// four channels.
pub const SIGNATURE: Signature =
    Signature::new("segment-region", IoSpec { picture: 6, control: 3, output: 4 });

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
