// SPDX-License-Identifier: MIT OR Apache-2.0

//! Simulated user input on one training sample.

use rand::{Rng, rngs::StdRng};

use super::regions::RegionSample;
use cnnvideo::segment::{
    PixelBox,
    guidance::{BOX_MASK_VALUE, BoxSeeds, box_seeds},
};

/// Share of the samples that start from a bounding box.
const BOX_SHARE: f64 = 0.15;
/// Share of the samples that start from four extreme points.
const EXTREME_POINTS_SHARE: f64 = 0.12;

/// State of the simulated interaction on one sample.
#[derive(Clone)]
pub(super) struct ClickSession {
    /// Clicks inside the region, `[x, y]` in pixels.
    pub(super) inside: Vec<[f32; 2]>,
    /// Clicks outside the region, `[x, y]` in pixels.
    pub(super) outside: Vec<[f32; 2]>,
    /// Seeds derived from bounds, inside and outside. They are used until the first prediction.
    pub(super) bounds_seeds: [Vec<[f32; 2]>; 2],
    /// Previous prediction: probability of the region by pixel, row-major.
    pub(super) previous_prediction: Vec<f32>,
}

impl ClickSession {
    /// Creates a session without input.
    pub(super) fn empty(side: usize) -> Self {
        Self {
            inside: Vec::new(),
            outside: Vec::new(),
            bounds_seeds: Default::default(),
            previous_prediction: vec![0.0; side * side],
        }
    }

    /// Creates a session with its first input: a click, a box, or four extreme points, encoded as
    /// the element encodes them.
    pub(super) fn start(sample: &RegionSample, side: usize, rng: &mut StdRng) -> Self {
        let mut session = Self::empty(side);
        let kind: f64 = rng.random();
        if kind < BOX_SHARE {
            let mut displaced = |v: usize| {
                (v as f32 + rng.random_range(-4.0..4.0f32)).clamp(0.0, side as f32 - 1.0) as usize
            };
            let PixelBox { left, top, right, bottom } = sample.bounds();
            let [left, top, right, bottom] = [left, top, right, bottom].map(&mut displaced);
            let (right, bottom) = (right.max(left), bottom.max(top));
            session.set_bounds(PixelBox { left, top, right, bottom }, side);
        } else if kind < BOX_SHARE + EXTREME_POINTS_SHARE {
            session.inside = sample.extreme_points(rng);
            session.set_bounds(sample.bounds(), side);
        } else {
            session.inside.extend(sample.random_inner_point(rng));
        }
        session
    }

    /// Sets the expected region to a box and derives seeds from it.
    pub(super) fn set_bounds(&mut self, bounds: PixelBox, side: usize) {
        for y in bounds.top..=bounds.bottom {
            let row = y * side + bounds.left..=y * side + bounds.right;
            self.previous_prediction[row].fill(BOX_MASK_VALUE);
        }
        let BoxSeeds { centre, outside } = box_seeds(bounds, (side, side));
        let inside = if self.inside.is_empty() { vec![centre] } else { Vec::new() };
        self.bounds_seeds = [inside, outside];
    }
}
