// SPDX-License-Identifier: MIT OR Apache-2.0

//! Simulated user input on one training sample.

use rand::{Rng, rngs::StdRng};

use super::{regions::RegionSample, tracking::tracked_mask};
use cnnvideo::segment::{
    PixelBox,
    distance::interior_point,
    guidance::{BOX_MASK_VALUE, BoxSeeds, box_seeds},
};

/// Share of the samples that start from a bounding box.
const BOX_SHARE: f64 = 0.15;
/// Share of the samples that start from four extreme points.
const EXTREME_POINTS_SHARE: f64 = 0.12;
/// Share of the samples that start from the mask of a tracked region.
const TRACKED_SHARE: f64 = 0.35;
/// Largest number of clicks inside, and of clicks outside, that a tracked region has.
const MAX_TRACKED_CLICKS: usize = 2;

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

    /// Creates a session with its first input: a click, a box, four extreme points, or the
    /// mask of a tracked region, encoded as the element encodes them.
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
        } else if kind < BOX_SHARE + EXTREME_POINTS_SHARE + TRACKED_SHARE {
            session.track(sample, rng);
        } else {
            session.inside.extend(sample.random_inner_point(rng));
        }
        session
    }

    /// Starts from the mask of a tracked region: with the point of the mask that is farthest from
    /// its border, and with clicks that moved with the region.
    pub(super) fn track(&mut self, sample: &RegionSample, rng: &mut StdRng) {
        let mask = tracked_mask(&sample.truth, rng);
        let is_inside = mask.mapv(|p| p > 0.5);
        let interior = interior_point(&is_inside.view()).map(|(pixel, _)| pixel);
        // The element drops clicks that contradict the mask. A point of the mask that is not in
        // the region would teach the network to ignore points.
        self.inside
            .extend(interior.filter(|at| sample.truth[*at]).map(|(y, x)| [x as f32, y as f32]));
        for _ in 0..rng.random_range(0..=MAX_TRACKED_CLICKS) {
            let click = sample.random_inner_point(rng);
            self.inside.extend(click.filter(|[x, y]| is_inside[[*y as usize, *x as usize]]));
        }
        let (height, width) = is_inside.dim();
        for _ in 0..rng.random_range(0..=MAX_TRACKED_CLICKS) {
            let at = (rng.random_range(0..height), rng.random_range(0..width));
            if !is_inside[at] && !sample.truth[at] {
                self.outside.push([at.1 as f32, at.0 as f32]);
            }
        }
        self.previous_prediction = mask.into_iter().collect();
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
