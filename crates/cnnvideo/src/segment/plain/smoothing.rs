// SPDX-License-Identifier: MIT OR Apache-2.0

//! Smoothing of colours that stops at edges.

use ndarray::{Array2, Axis, Zip};

/// Reach of the filter in standard deviations.
const REACH: f32 = 2.5;
/// Largest distance of two colours, in sigmas of the noise of each plane, that noise explains. Two
/// colours with equal means are farther apart in 0.04% of the cases.
const MAX_DISTANCE: f32 = 6.0;

/// Smooths colours, given in sigmas of their noise, by a Gaussian filter of the standard deviation
/// `radius` (in pixels). It leaves out pixels whose colour differs from that of the pixel in the
/// middle by more than noise explains, so that only weak edges become blurred.
///
/// A separable bilateral filter: Pham and van Vliet, "Separable Bilateral Filtering for Fast Video
/// Preprocessing", 2005.
pub(super) fn smooth(colours: &Array2<[f32; 3]>, radius: f32) -> Array2<[f32; 3]> {
    let weights: Vec<f32> = (0..=(REACH * radius).ceil() as usize)
        .map(|i| (-0.5 * (i as f32 / radius).powi(2)).exp())
        .collect();
    smooth_along(&smooth_along(colours, Axis(1), &weights), Axis(0), &weights)
}

/// Smooths along one axis. `weights` are those of the distances from 0 on, in pixels.
fn smooth_along(colours: &Array2<[f32; 3]>, axis: Axis, weights: &[f32]) -> Array2<[f32; 3]> {
    let mut result = Array2::from_elem(colours.dim(), [0.0; 3]);
    Zip::from(result.lanes_mut(axis)).and(colours.lanes(axis)).par_for_each(|mut to, from| {
        let line = from.to_vec();
        to.iter_mut().enumerate().for_each(|(i, to)| *to = mean_around(&line, i, weights));
    });
    result
}

/// Returns the weighted mean of the colours around an index that are similar to the one there.
fn mean_around(line: &[[f32; 3]], at: usize, weights: &[f32]) -> [f32; 3] {
    let first = (at + 1).saturating_sub(weights.len());
    let (mut sum, mut total) = ([0.0; 3], 0.0);
    for (i, colour) in line.iter().enumerate().take(at + weights.len()).skip(first) {
        let squares = [0, 1, 2].map(|c| (colour[c] - line[at][c]).powi(2));
        if squares.iter().sum::<f32>() <= MAX_DISTANCE * MAX_DISTANCE {
            let weight = weights[i.abs_diff(at)];
            sum.iter_mut().zip(colour).for_each(|(sum, v)| *sum += weight * v);
            total += weight;
        }
    }
    sum.map(|v| v / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_weak_edges_are_blurred() {
        let step = |height: f32| {
            let colours = Array2::from_shape_fn((9, 40), |(_, x)| {
                [if x < 20 { 0.0 } else { height }, 5.0, 5.0]
            });
            let smoothed = smooth(&colours, 2.0);
            [18, 19, 20, 21].map(|x| smoothed[[4, x]][0])
        };
        let strong = step(7.0);
        assert!(strong.iter().zip([0.0, 0.0, 7.0, 7.0]).all(|(v, w)| (v - w).abs() < 1e-3));
        let weak = step(3.0);
        assert!(weak[0] > 0.3 && weak.is_sorted() && weak[3] < 2.7, "{weak:?}");
    }
}
