// SPDX-License-Identifier: MIT OR Apache-2.0

//! Masks of tracked regions, with the errors that tracking makes, as inputs of the network.
//!
//! The network predicts tracked regions again in certain frames; the motion-compensated mask of the
//! region is then its input. As in Perazzi et al., "Learning Video Object Segmentation from Static
//! Images", 2017 (MaskTrack), such masks are made from true regions by random deformation.

use std::{array, f32::consts::TAU};

use cnnvideo::segment::distance::squared_distance_transform;
use ndarray::Array2;
use rand::{Rng, rngs::StdRng};

/// Largest shift of the border, relative to the side of a square of the region's area: of its local
/// part and of the part that is the same along the whole border.
const MAX_BORDER_SHIFT: [f32; 2] = [0.16, 0.05];
/// Largest shift of the whole region, relative to the same.
const MAX_SHIFT: f32 = 0.05;
/// Largest change of the size, as a natural logarithm.
const MAX_SCALING: f32 = 0.12;
/// Probability that a part of the region is missing, as if it had come into view.
const MISSING_PROBABILITY: f64 = 0.35;
/// Probability that a piece beside the region is in the mask, as where the background moved along.
const SURPLUS_PROBABILITY: f64 = 0.25;
/// Range of the radius of these parts, relative to the same side.
const PART_RADIUS: (f32, f32) = (0.1, 0.4);
/// Range of the distance, in pixels, over which the probability falls at the border.
const SOFTNESS: (f32, f32) = (0.3, 3.0);
/// Rows and columns that are added on each side with the values at the border of the patch, so that
/// the patch does not end a region that continues outside of it.
const PADDING: usize = 32;

/// Returns a probability map of a region as tracking could leave it.
pub(super) fn tracked_mask(truth: &Array2<bool>, rng: &mut StdRng) -> Array2<f32> {
    let (height, width) = truth.dim();
    let distance = signed_distance(truth);
    let inside: Vec<_> =
        truth.indexed_iter().filter(|(_, t)| **t).map(|((y, x), _)| [x as f32, y as f32]).collect();
    let side = (inside.len() as f32).sqrt();
    let mean = |axis: usize| inside.iter().map(|p| p[axis]).sum::<f32>() / inside.len() as f32;
    let centre = [mean(0), mean(1)];
    let shift = [0.0; 2].map(|_| side * MAX_SHIFT * rng.random_range(-1.0..1.0f32));
    let scale = (MAX_SCALING * rng.random_range(-1.0..1.0f32)).exp();
    let amplitude = side * MAX_BORDER_SHIFT[0] * rng.random::<f32>();
    let offset = side * MAX_BORDER_SHIFT[1] * rng.random_range(-1.0..1.0f32);
    let softness = SOFTNESS.0 * (SOFTNESS.1 / SOFTNESS.0).powf(rng.random::<f32>());
    let waves = Waves::draw(side, rng);
    let parts = Parts::draw(truth, side, rng);
    Array2::from_shape_fn((height, width), |(y, x)| {
        let at = [x as f32, y as f32];
        let from: [f32; 2] = array::from_fn(|i| centre[i] + (at[i] - centre[i]) * scale + shift[i]);
        let clamped = |v: f32, length: usize| {
            (v + PADDING as f32).clamp(0.0, (length + 2 * PADDING - 1) as f32) as usize
        };
        let distance = distance[[clamped(from[1], height), clamped(from[0], width)]];
        let distance = parts.apply(at, distance + offset + amplitude * waves.at(at));
        1.0 / (1.0 + (-distance / softness).exp())
    })
}

/// Returns the distance of each pixel to the border of a region, negative outside of it, with
/// [`PADDING`].
fn signed_distance(truth: &Array2<bool>) -> Array2<f32> {
    let (height, width) = truth.dim();
    let padded = Array2::from_shape_fn((height + 2 * PADDING, width + 2 * PADDING), |(y, x)| {
        let at = |v: usize, length: usize| v.saturating_sub(PADDING).min(length - 1);
        truth[[at(y, height), at(x, width)]]
    });
    let inside = squared_distance_transform(&padded.view());
    let outside = squared_distance_transform(&padded.mapv(|t| !t).view());
    let mut distance = inside;
    distance.zip_mut_with(&outside, |to, outside| *to = to.sqrt() - outside.sqrt());
    distance
}

/// A smooth random field, mostly between -1 and 1.
struct Waves([[f32; 3]; 6]);

impl Waves {
    /// Draws waves of 0.25 to 2 times `side`.
    fn draw(side: f32, rng: &mut StdRng) -> Self {
        Self(array::from_fn(|_| {
            let length = side * 0.25 * 8.0f32.powf(rng.random::<f32>());
            let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
            [TAU * cos / length, TAU * sin / length, rng.random_range(0.0..TAU)]
        }))
    }

    fn at(&self, [x, y]: [f32; 2]) -> f32 {
        let terms = self.0.iter().map(|[fx, fy, phase]| (fx * x + fy * y + phase).cos());
        terms.sum::<f32>() / 2.4
    }
}

/// A missing part and a surplus one, as `[x, y, radius]`.
struct Parts {
    missing: Option<[f32; 3]>,
    surplus: Option<[f32; 3]>,
}

impl Parts {
    fn draw(truth: &Array2<bool>, side: f32, rng: &mut StdRng) -> Self {
        let border: Vec<_> = truth
            .indexed_iter()
            .filter(|((y, x), t)| **t && truth.get((*y, x + 1)).is_some_and(|right| !right))
            .map(|((y, x), _)| [x as f32, y as f32])
            .collect();
        let mut part = |probability: f64| {
            let [x, y] = *border.get(rng.random_range(0..border.len().max(1)))?;
            let radius = side * rng.random_range(PART_RADIUS.0..PART_RADIUS.1);
            rng.random_bool(probability).then_some([x, y, radius])
        };
        Self { missing: part(MISSING_PROBABILITY), surplus: part(SURPLUS_PROBABILITY) }
    }

    /// Returns the signed distance at a point after the parts.
    fn apply(&self, at: [f32; 2], distance: f32) -> f32 {
        let within = |[x, y, radius]: [f32; 3]| radius - (at[0] - x).hypot(at[1] - y);
        let distance = self.surplus.map_or(distance, |part| distance.max(within(part)));
        self.missing.map_or(distance, |part| distance.min(-within(part)))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn masks_resemble_the_region_without_being_it() {
        let truth = Array2::from_shape_fn((96, 128), |(y, x)| {
            (x as f32 - 60.0).hypot(1.5 * (y as f32 - 50.0)) < 40.0
        });
        let mut mean = 0.0;
        for seed in 0..32 {
            let mask = tracked_mask(&truth, &mut StdRng::seed_from_u64(seed));
            let (mut both, mut either) = (0.0f32, 0.0);
            truth.iter().zip(&mask).for_each(|(truth, p)| {
                both += f32::from(u8::from(*truth && *p > 0.5));
                either += f32::from(u8::from(*truth || *p > 0.5));
            });
            let iou = both / either;
            assert!((0.35..0.995).contains(&iou), "seed {seed}: {iou}");
            mean += iou / 32.0;
        }
        assert!((0.65..0.9).contains(&mean), "{mean}");
    }

    #[test]
    fn regions_continue_outside_of_the_patch() {
        let truth = Array2::from_elem((64, 64), true);
        let mask = tracked_mask(&truth, &mut StdRng::seed_from_u64(3));
        assert!(mask.iter().all(|p| *p > 0.5));
    }
}
