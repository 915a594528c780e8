// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interactive video segmentation: clicks, scribbles and boxes select regions, which are tracked
//! through the video.
//!
//! [`Segmenter`] turns [`Seeds`] into regions. A small network predicts each region from the
//! picture, maps of the seeds and the previous mask (Sofiiuk et al., "Reviving Iterative Training
//! with Mask Guidance", 2021). A minimum cut over superpixels then aligns the region with image
//! edges, using predicted edges, colour histograms and geodesic distances. In drawings and test
//! pictures, surfaces of one colour take the place of the network.

mod colour;
pub mod distance;
mod edges;
pub mod flow;
pub mod geodesic;
mod graph_cut;
mod grow;
pub mod guidance;
mod image;
mod mask;
mod memory;
mod motion;
mod networks;
mod plain;
mod region;
mod region_cut;
mod region_predictor;
mod region_seeds;
mod region_tree;
mod resample;
pub mod seeds;
mod segmenter;
pub mod simulate;
pub mod superpixel;
mod track;

use cnnvideo_nn::{IoSpec, Signature};

/// Signature of the network that predicts regions.
///
/// The picture is Y, pixel-unshuffled to half the frame size in four channels, then U and V, as
/// `(code value - 128) / 255`. Three control maps follow: the foreground seeds, the background
/// seeds and the current region. The network predicts the logit that a pixel belongs to the region,
/// in four channels.
pub const SIGNATURE: Signature =
    Signature::new("segment-region", IoSpec { picture: 6, control: 3, output: 4 });

pub use self::{
    colour::{ColourModel, Side},
    edges::EdgeDetector,
    graph_cut::GraphCut,
    guidance::PixelBox,
    image::WorkingImage,
    networks::{Error, SegmentNetworks},
    region::RegionStatus,
    region_tree::RegionTree,
    seeds::{MAX_LABEL, Seed, Seeds, Shape},
    segmenter::{RegionChanges, Segmenter},
    superpixel::Superpixels,
};

/// Logistic function: converts log-odds to a probability.
fn logistic(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Logit: converts a probability, clamped to 0.001 to 0.999, to log-odds.
fn logit(p: f32) -> f32 {
    let p = p.clamp(1e-3, 1.0 - 1e-3);
    (p / (1.0 - p)).ln()
}
