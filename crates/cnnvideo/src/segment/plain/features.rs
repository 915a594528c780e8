// SPDX-License-Identifier: MIT OR Apache-2.0

//! Colours of an image relative to its noise: smoothed as far as the noise asks for, and divided by
//! the tolerance within which two colours count as the same.

use ndarray::{Array2, Zip};

use super::{noise, smoothing};
use crate::segment::WorkingImage;

/// Distance between the pixels whose differences give the noise, in pixels. Chroma that has been
/// upscaled is too similar at shorter distances.
pub(super) const LAG: usize = 2;
/// Sigma of the noise, in code values, above which the image counts as textured. The segmentation
/// network, which has learnt from photographs, needs no help then.
const MAX_SIGMA: f32 = 3.2;
/// Sigma of the noise, in code values, that smoothing is to leave: little enough for the least
/// tolerance.
const SMOOTHED_SIGMA: f32 = 0.23;
/// Limits of the standard deviation of the smoothing filter, in pixels. Below the lower one, there
/// is no smoothing at all.
const RADIUS: [f32; 2] = [0.3, 2.5];
/// Least standard deviation of the smoothing filter that has an effect, in pixels.
const MIN_EFFECTIVE_RADIUS: f32 = 0.5;
/// Least sigma of a plane, in code values, when colours are compared before smoothing.
const MIN_SIGMA: f32 = 0.3;
/// Tolerance of a plane in sigmas of its remaining noise.
const TOLERANCE_SIGMAS: f32 = 4.5;
/// Least tolerance of a plane, in code values: more than 1, so that a slope that is rounded to 8
/// bits is no stair of plain surfaces.
const MIN_TOLERANCE: f32 = 1.05;

/// Colours of an image in units of the tolerance.
pub(super) struct Features<'a> {
    /// Colour of each pixel; two colours count as the same up to a distance of 1.
    pub colours: Array2<[f32; 3]>,
    /// Standard deviation of the filter that smoothed the colours, in pixels; 0 without smoothing.
    pub radius: f32,
    /// Tolerance of each plane, in code values.
    tolerances: [f32; 3],
    /// Factor of each plane from a squared difference of code values to the variance of the noise
    /// in `colours`.
    noise_gains: [f32; 3],
    planes: &'a [Array2<f32>; 3],
}

impl<'a> Features<'a> {
    /// Returns the features of an image; `None` if it has too much noise or texture for plain
    /// surfaces.
    pub(super) fn of(image: &'a WorkingImage) -> Option<Self> {
        let planes = image.planes();
        let sigmas = planes.each_ref().map(|plane| noise::sigma(plane, LAG));
        let largest = sigmas.into_iter().fold(0.0, f32::max);
        if largest > MAX_SIGMA || !noise::is_white(&planes[0]) {
            return None;
        }
        let radius = radius_for(largest);
        let scales = if radius > 0.0 { sigmas.map(|sigma| sigma.max(MIN_SIGMA)) } else { [1.0; 3] };
        let mut colours = Array2::from_shape_fn(image.dim(), |(y, x)| {
            let colour = image.at(y, x);
            [0, 1, 2].map(|i| colour[i] / scales[i])
        });
        let mut remaining = sigmas;
        if radius > 0.0 {
            colours = smoothing::smooth(&colours, radius);
            remaining = [0, 1, 2].map(|i| {
                let smoothed = colours.mapv(|colour| colour[i] * scales[i]);
                // Noise that is not quite white stays stronger than white noise.
                let lag = LAG + (3.0 * radius) as usize;
                f32::max(sigmas[i] * remaining_share(radius), noise::sigma(&smoothed, lag))
            });
        }
        let tolerances = remaining.map(|sigma| MIN_TOLERANCE.max(TOLERANCE_SIGMAS * sigma));
        Zip::from(&mut colours).for_each(|colour| {
            *colour = [0, 1, 2].map(|i| colour[i] * scales[i] / tolerances[i]);
        });
        let noise_gains = [0, 1, 2].map(|i| {
            let share = if sigmas[i] > 0.0 { remaining[i] / sigmas[i] } else { 1.0 };
            0.5 * (share / tolerances[i]).powi(2)
        });
        Some(Self { colours, radius, tolerances, noise_gains, planes })
    }

    /// Returns the distance of a pixel's colour to another colour, in tolerances.
    pub(super) fn distance(&self, at: (usize, usize), colour: [f32; 3]) -> f32 {
        crate::segment::colour::distance(self.colours[at], colour)
    }

    /// Returns the colour of a pixel before smoothing, in tolerances.
    pub(super) fn unsmoothed(&self, at: (usize, usize)) -> [f32; 3] {
        [0, 1, 2].map(|i| self.planes[i][at] / self.tolerances[i])
    }

    /// Returns the variance of `colours` that the difference of two unsmoothed pixels lets expect,
    /// if that difference is noise.
    pub(super) fn noise_variance(&self, a: (usize, usize), b: (usize, usize)) -> f32 {
        let planes = self.planes.iter().zip(self.noise_gains);
        planes.map(|(plane, gain)| gain * (plane[a] - plane[b]).powi(2)).sum()
    }
}

/// Returns the standard deviation of the filter for noise of the given sigma; 0 for no filter.
fn radius_for(sigma: f32) -> f32 {
    let radius = sigma * remaining_share(1.0) / SMOOTHED_SIGMA;
    if radius < RADIUS[0] { 0.0 } else { radius.clamp(MIN_EFFECTIVE_RADIUS, RADIUS[1]) }
}

/// Returns the share of the sigma of white noise that a Gaussian filter leaves.
fn remaining_share(radius: f32) -> f32 {
    1.0 / (2.0 * std::f32::consts::PI.sqrt() * radius)
}
