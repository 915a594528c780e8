// SPDX-License-Identifier: MIT OR Apache-2.0

//! Borders of surfaces: steps, as in drawings, or slopes that the tolerance has cut off, as in
//! photographs.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::features::Features;
use crate::segment::colour;

/// Pixels `[inside, outside]` of a border, counted from it, between which a step is measured.
const STEP_PIXELS: [isize; 2] = [-1, 2];
/// Least change of colour across the border of two surfaces, relative to the difference of their
/// colours. A slope changes by less within three pixels, a step by 0.75 to 1.
const MIN_STEP: f32 = 0.6;
/// Least change of colour, in tolerances, from a surface to pixels of no surface.
const MIN_FOREIGN_STEP: f32 = 6.0;
/// Distance from the border, in pixels, within which that change has to happen, without smoothing.
const FOREIGN_REACH: isize = 2;

/// Common border of a surface and another one, or of a surface and pixels of no surface.
#[derive(Default)]
struct Border {
    /// Length in pixels.
    length: u32,
    /// Number of pixels of the border at which there is a measurement.
    measured: f32,
    /// Sum over the measurements of the change of colour, relative to that of a step.
    steps: f32,
}

/// Returns for each surface whether at least half of its border is a step. The border of the
/// picture does not count.
pub(super) fn are_steps(
    features: &Features<'_>,
    labels: &Array2<u32>,
    colours: &[[f32; 3]],
) -> Vec<bool> {
    let mut borders: BTreeMap<(u32, u32), Border> = BTreeMap::new();
    for ((y, x), label) in labels.indexed_iter().filter(|(_, label)| **label > 0) {
        for (dy, dx) in [(0, 1), (1, 0), (0, -1), (-1, 0)] {
            let line = Line { labels, from: (y, x), direction: (dy, dx) };
            let Some(other) = line.at(1).map(|at| labels[at]).filter(|other| other != label) else {
                continue;
            };
            let border = borders.entry((*label, other)).or_default();
            border.length += 1;
            let step = match other {
                0 => line.foreign_step(features, colours[*label as usize - 1]),
                _ => line.step(features, [*label, other], colours),
            };
            if let Some(step) = step {
                border.measured += 1.0;
                border.steps += step;
            }
        }
    }
    let mut lengths = vec![[0, 0]; colours.len()];
    for ((label, _), Border { length, measured, steps }) in borders {
        let is_step = steps >= MIN_STEP * measured;
        lengths[label as usize - 1][usize::from(is_step)] += length;
    }
    lengths.into_iter().map(|[slope, step]| step >= slope).collect()
}

/// Pixels along a line that crosses a border from inside.
struct Line<'a> {
    labels: &'a Array2<u32>,
    /// Last pixel `(y, x)` inside.
    from: (usize, usize),
    direction: (isize, isize),
}

impl Line<'_> {
    /// Returns the pixel a number of pixels after the last one inside; `None` outside of the image.
    fn at(&self, distance: isize) -> Option<(usize, usize)> {
        let y = self.from.0.checked_add_signed(distance * self.direction.0)?;
        let x = self.from.1.checked_add_signed(distance * self.direction.1)?;
        self.labels.get((y, x)).map(|_| (y, x))
    }

    /// Returns the change of the unsmoothed colour across the border of two surfaces, relative to
    /// the difference of their colours; `None` where one of them is too narrow.
    fn step(&self, features: &Features<'_>, pair: [u32; 2], colours: &[[f32; 3]]) -> Option<f32> {
        let [near, far] = STEP_PIXELS.map(|distance| self.at(distance));
        let (near, far) = (near?, far?);
        if [self.labels[near], self.labels[far]] != pair {
            return None;
        }
        let [own, other] = pair.map(|label| colours[label as usize - 1]);
        let [near, far] = [near, far].map(|at| features.unsmoothed(at));
        let sum = |term: &dyn Fn(usize) -> f32| (0..3).map(term).sum::<f32>();
        let along = sum(&|i| (near[i] - far[i]) * (own[i] - other[i]));
        Some(along / sum(&|i| (own[i] - other[i]).powi(2)).max(f32::EPSILON))
    }

    /// Returns 1 if the colour changes at once from that of a surface (`own`) to a foreign one, 0
    /// if it does not; `None` close to the border of the image.
    fn foreign_step(&self, features: &Features<'_>, own: [f32; 3]) -> Option<f32> {
        let reach = FOREIGN_REACH + features.radius.ceil() as isize;
        let near = self.at(1 - reach)?;
        self.at(reach)?;
        let outside = (1..=reach).filter_map(|distance| self.at(distance));
        let change = outside.map(|at| colour::distance(features.colours[at], own));
        let is_step =
            features.distance(near, own) <= 1.0 && change.fold(0.0, f32::max) >= MIN_FOREIGN_STEP;
        Some(f32::from(u8::from(is_step)))
    }
}
