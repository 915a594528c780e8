// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cores of plain surfaces: connected pixels of one colour.

use std::collections::VecDeque;

use ndarray::Array2;

use super::{
    features::{Features, LAG},
    neighbours,
};
use crate::segment::{colour, distance::squared_distance_transform};

/// Least number of pixels of a core without smoothing.
const MIN_AREA: f32 = 12.0;
/// Increase of that number with the square of the radius of smoothing.
const MIN_AREA_PER_SQUARE: f32 = 12.0;
/// Largest distance of the colours around the first pixel of a core to its colour, in tolerances.
const MAX_START_DISTANCE: f32 = 0.9;
/// Increase of the half-width of ramps between surfaces with the radius of smoothing.
const RAMP_PER_RADIUS: f32 = 1.3;
/// Largest mean square of the distances of a core's pixels to its mean colour, in tolerances,
/// without noise. A slope that the tolerance cuts off has one third.
const MAX_SPREAD: f64 = 0.1;
/// Increase of that limit with the variance of the noise in the core.
const SPREAD_PER_NOISE: f64 = 1.5;

/// Label of pixels whose core was rejected.
const REJECTED: u32 = u32::MAX;

/// Cores of the plain surfaces of an image.
pub(super) struct Cores {
    /// Core of each pixel, from 1 on; 0 outside of cores.
    pub labels: Array2<u32>,
    /// Mean colour of each core in tolerances, that of core `n` at index `n - 1`.
    pub colours: Vec<[f32; 3]>,
}

/// Finds the cores. Each grows from a pixel with even surroundings, as long as colours stay within
/// the tolerance of the mean so far.
pub(super) fn find(features: &Features<'_>) -> Cores {
    let dim = features.colours.dim();
    let mut cores = Cores { labels: Array2::zeros(dim), colours: Vec::new() };
    let min_area = MIN_AREA + MIN_AREA_PER_SQUARE * features.radius * features.radius;
    for y in 0..dim.0 {
        for x in 0..dim.1 {
            if cores.labels[[y, x]] != 0 || !has_even_surroundings(features, (y, x)) {
                continue;
            }
            let label = cores.colours.len() as u32 + 1;
            let core = Core::grow(features, &mut cores.labels, (y, x), label);
            if core.pixels.len() as f32 >= min_area && core.is_plain(features, &cores.labels, label)
            {
                cores.colours.push(core.mean());
            } else {
                core.pixels.iter().for_each(|at| cores.labels[*at] = REJECTED);
            }
        }
    }
    cores.labels.mapv_inplace(|label| if label == REJECTED { 0 } else { label });
    drop_thin(&mut cores, 1.5 + RAMP_PER_RADIUS * features.radius);
    cores
}

/// Returns whether the colours around a pixel are close to its own, so that it does not lie on the
/// ramp between two surfaces.
fn has_even_surroundings(features: &Features<'_>, (y, x): (usize, usize)) -> bool {
    let (height, width) = features.colours.dim();
    let reach = 1 + (RAMP_PER_RADIUS * features.radius) as usize;
    let around =
        |at: usize, length: usize| [at.saturating_sub(reach), at, (at + reach).min(length - 1)];
    let own = features.colours[[y, x]];
    around(y, height).into_iter().all(|v| {
        around(x, width).into_iter().all(|u| features.distance((v, u), own) <= MAX_START_DISTANCE)
    })
}

/// Core that has grown, with the sums over its pixels.
struct Core {
    pixels: Vec<(usize, usize)>,
    sum: [f64; 3],
    sum_of_squares: f64,
}

impl Core {
    /// Grows a core from a pixel and sets its label.
    fn grow(
        features: &Features<'_>,
        labels: &mut Array2<u32>,
        start: (usize, usize),
        label: u32,
    ) -> Self {
        let mut core = Self { pixels: Vec::new(), sum: [0.0; 3], sum_of_squares: 0.0 };
        let mut queue = VecDeque::from([start]);
        core.add(start, features.colours[start]);
        labels[start] = label;
        while let Some(at) = queue.pop_front() {
            for next in neighbours(at, labels.dim()) {
                let colour = features.colours[next];
                if labels[next] == 0 && colour::distance(colour, core.mean()) <= 1.0 {
                    labels[next] = label;
                    core.add(next, colour);
                    queue.push_back(next);
                }
            }
        }
        core
    }

    fn add(&mut self, at: (usize, usize), colour: [f32; 3]) {
        self.pixels.push(at);
        for (sum, value) in self.sum.iter_mut().zip(colour.map(f64::from)) {
            *sum += value;
            self.sum_of_squares += value * value;
        }
    }

    /// Returns the mean colour.
    fn mean(&self) -> [f32; 3] {
        self.sum.map(|sum| (sum / self.pixels.len() as f64) as f32)
    }

    /// Returns whether noise explains how far the colours are spread. On a slope, they are spread
    /// farther.
    fn is_plain(&self, features: &Features<'_>, labels: &Array2<u32>, label: u32) -> bool {
        let count = self.pixels.len() as f64;
        let square_of_mean: f64 = self.sum.iter().map(|sum| (sum / count).powi(2)).sum();
        let spread = self.sum_of_squares / count - square_of_mean;
        let (mut noise, mut pairs) = (0.0, 0.0);
        for (y, x) in self.pixels.iter().copied() {
            for other in [(y + LAG, x), (y, x + LAG)] {
                if labels.get(other) == Some(&label) {
                    noise += f64::from(features.noise_variance((y, x), other));
                    pairs += 1.0;
                }
            }
        }
        spread <= MAX_SPREAD + SPREAD_PER_NOISE * noise / f64::max(pairs, 1.0)
    }
}

/// Removes the labels of cores that are nowhere wider than twice `half_width` pixels: lines, and
/// ramps between two surfaces. Their colours stay.
fn drop_thin(cores: &mut Cores, half_width: f32) {
    let Cores { labels, colours } = cores;
    let dim = labels.dim();
    let is_inner = Array2::from_shape_fn(dim, |at| {
        labels[at] > 0 && neighbours(at, dim).all(|other| labels[other] == labels[at])
    });
    let squared_distances = squared_distance_transform(&is_inner.view());
    let mut widest = vec![0.0f32; colours.len()];
    for (label, squared_distance) in labels.iter().zip(&squared_distances) {
        if let Some(core) = label.checked_sub(1) {
            widest[core as usize] = widest[core as usize].max(squared_distance.sqrt() + 0.5);
        }
    }
    labels.mapv_inplace(|label| match label.checked_sub(1) {
        Some(core) if widest[core as usize] >= half_width => label,
        _ => 0,
    });
}
