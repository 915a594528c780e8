// SPDX-License-Identifier: MIT OR Apache-2.0

//! State of one region.

use ndarray::Array2;

use super::{ColourModel, Side, WorkingImage, distance};

/// Confidence below which a region is lost.
const MIN_CONFIDENCE: f32 = 0.3;
/// Area, as a share of the picture, below which a region is lost.
const MIN_AREA: f32 = 2e-4;
/// Subsampling factor along each axis for histograms of the colours.
const COLOUR_SUBSAMPLING: usize = 2;

/// State of one region.
#[derive(Debug, Clone, Default)]
pub(super) struct Region {
    /// Probability of each pixel of the working image to belong to the region.
    pub probability: Array2<f32>,
    /// Colours inside and outside of the region.
    pub colours: ColourModel,
    /// Confidence of the tracking, from 0 to 1; 1 when the region has been computed from seeds.
    pub confidence: f32,
    /// Whether the region consists of whole plain surfaces.
    pub is_plain: bool,
}

impl Region {
    /// Returns the area as a share of the picture.
    pub(super) fn area(&self) -> f32 {
        area_of(&self.probability)
    }

    /// Returns whether the region has become too small or its confidence too low.
    pub(super) fn is_lost(&self) -> bool {
        self.confidence < MIN_CONFIDENCE || self.area() < MIN_AREA
    }

    /// Returns the colours of the pixels inside of the region.
    pub(super) fn inside_colours(&self, image: &WorkingImage) -> ColourModel {
        let mut colours = ColourModel::default();
        for (at, _) in self.probability.indexed_iter().filter(|(_, p)| **p > 0.5) {
            if at.0 % COLOUR_SUBSAMPLING == 0 && at.1 % COLOUR_SUBSAMPLING == 0 {
                colours.add(Side::Inside, image.at(at.0, at.1), 1.0);
            }
        }
        colours
    }

    /// Returns the pixel `(y, x)` of the region that is farthest from its border; `None` if the
    /// region is empty.
    pub(super) fn interior_point(&self) -> Option<(usize, usize)> {
        let mask = self.probability.mapv(|p| p > 0.5);
        distance::interior_point(&mask.view()).map(|(pixel, _)| pixel)
    }
}

/// Returns the area of the region with a probability map, as a share of the picture.
pub(super) fn area_of(probability: &Array2<f32>) -> f32 {
    probability.iter().filter(|p| **p > 0.5).count() as f32 / probability.len().max(1) as f32
}

/// Size and confidence of a tracked region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionStatus {
    /// Label of the region, 1 to [`MAX_LABEL`](super::MAX_LABEL).
    pub label: u8,
    /// Area as a share of the picture.
    pub area: f32,
    /// Confidence of the tracking, from 0 to 1.
    pub confidence: f32,
}
