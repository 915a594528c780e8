// SPDX-License-Identifier: MIT OR Apache-2.0

//! Affine motion of a part of a picture, fitted to its optical flow.

use crate::segment::flow::Flow;

/// Iterations of the fit.
const ITERATIONS: usize = 6;
/// Difference from the fitted motion, in pixels, at which a sample has a quarter of its weight: in
/// the first iteration, and at least.
const SCALES: [f32; 2] = [2.0, 0.5];
/// Factor by which this difference falls from one iteration to the next.
const SCALE_DECAY: f32 = 0.7;
/// Least number of samples of a fit.
const MIN_SAMPLES: usize = 30;
/// Variance of the positions of samples, in squared pixels, at which they determine half of the
/// change of the motion with the position; keeps the fit of thin parts stable.
const POSITION_VARIANCE: f64 = 0.1;

/// Affine displacement of pixels from a picture to the previous one.
#[derive(Debug, Clone, Copy)]
pub(in crate::segment) struct AffineMotion {
    /// Position `[x, y]` at which the displacement is that of `displacement`.
    centre: [f32; 2],
    /// Displacement `[x, y]` in pixels.
    displacement: [f32; 2],
    /// Change of each component of the displacement for each pixel along x and along y.
    gradient: [[f32; 2]; 2],
}

/// Position and displacement of a pixel, both `[x, y]`.
type Sample = [[f32; 2]; 2];

impl AffineMotion {
    /// Fits the motion of the pixels `(y, x)` that `includes` accepts, of those at each `step`
    /// pixels of a picture of size `(height, width)`. Returns `None` if there are too few.
    ///
    /// Iteratively reweighted least squares with the weights of Geman and McClure, so that parts
    /// that move otherwise have no influence (Black and Anandan, "The Robust Estimation of Multiple
    /// Motions", 1996).
    pub(in crate::segment) fn fit(
        flow: &Flow,
        (height, width): (usize, usize),
        step: usize,
        includes: impl Fn((usize, usize)) -> bool,
    ) -> Option<Self> {
        let rows = (step / 2..height).step_by(step);
        let samples: Vec<Sample> = rows
            .flat_map(|y| (step / 2..width).step_by(step).map(move |x| (y, x)))
            .filter(|at| includes(*at))
            .map(|(y, x)| [[x as f32, y as f32], flow.displacement(y, x)])
            .collect();
        if samples.len() < MIN_SAMPLES {
            return None;
        }
        let displacement = [0, 1].map(|axis| median(samples.iter().map(|[_, d]| d[axis])));
        let mut motion = Self { centre: [0.0; 2], displacement, gradient: [[0.0; 2]; 2] };
        let mut scale = SCALES[0];
        for _ in 0..ITERATIONS {
            motion = motion.refit(&samples, scale);
            scale = (SCALE_DECAY * scale).max(SCALES[1]);
        }
        Some(motion)
    }

    /// Returns the displacement `[x, y]` of a pixel `[x, y]`.
    #[inline(always)]
    pub(in crate::segment) fn at(&self, position: [f32; 2]) -> [f32; 2] {
        let [x, y] = [0, 1].map(|axis| position[axis] - self.centre[axis]);
        [0, 1].map(|i| self.displacement[i] + x * self.gradient[i][0] + y * self.gradient[i][1])
    }

    /// Returns the least-squares fit to samples that are weighted by their difference from this
    /// motion.
    fn refit(&self, samples: &[Sample], scale: f32) -> Self {
        let mut moments = Moments::default();
        for sample @ [position, displacement] in samples {
            let expected = self.at(*position);
            let [x, y] = [0, 1].map(|i| (displacement[i] - expected[i]) / scale);
            moments.add(sample, 1.0 / (1.0 + x * x + y * y).powi(2));
        }
        moments.fit()
    }
}

/// Weighted sums over samples.
#[derive(Default)]
struct Moments {
    weight: f64,
    position: [f64; 2],
    displacement: [f64; 2],
    /// Products of positions: x with x, x with y, y with y.
    squares: [f64; 3],
    /// Products of each component of the displacement with x and with y.
    products: [[f64; 2]; 2],
}

impl Moments {
    fn add(&mut self, [position, displacement]: &Sample, weight: f32) {
        let weight = f64::from(weight);
        let [x, y] = position.map(f64::from);
        self.weight += weight;
        self.position[0] += weight * x;
        self.position[1] += weight * y;
        self.squares[0] += weight * x * x;
        self.squares[1] += weight * x * y;
        self.squares[2] += weight * y * y;
        for (i, d) in displacement.map(f64::from).into_iter().enumerate() {
            self.displacement[i] += weight * d;
            self.products[i][0] += weight * d * x;
            self.products[i][1] += weight * d * y;
        }
    }

    /// Returns the weighted least-squares fit.
    fn fit(&self) -> AffineMotion {
        let total = self.weight.max(f64::MIN_POSITIVE);
        let centre = self.position.map(|sum| sum / total);
        let displacement = self.displacement.map(|sum| sum / total);
        let [xx, xy, yy] = [(0, 0), (0, 1), (1, 1)].map(|(i, j)| {
            let variance = if i == j { POSITION_VARIANCE } else { 0.0 };
            self.squares[i + j] / total - centre[i] * centre[j] + variance
        });
        let determinant = xx * yy - xy * xy;
        let gradient = [0, 1].map(|i| {
            let [x, y] =
                [0, 1].map(|axis| self.products[i][axis] / total - displacement[i] * centre[axis]);
            [(yy * x - xy * y) / determinant, (xx * y - xy * x) / determinant]
        });
        AffineMotion {
            centre: centre.map(|v| v as f32),
            displacement: displacement.map(|v| v as f32),
            gradient: gradient.map(|row| row.map(|v| v as f32)),
        }
    }
}

/// Returns the median of values, of which there must be one at least.
fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: (usize, usize) = (96, 128);

    #[test]
    fn parts_that_move_otherwise_have_no_influence() {
        let expected = |[x, y]: [f32; 2]| [1.5 + 0.02 * x - 0.01 * y, -0.5 + 0.01 * x];
        // A third of the picture moves otherwise.
        let displacement =
            |position: [f32; 2]| if position[0] < 42.0 { [9.0, -7.0] } else { expected(position) };
        let flow = Flow::from_fn(DIM, displacement);
        let motion = AffineMotion::fit(&flow, DIM, 4, |_| true).unwrap();
        for position in [[60.0, 10.0], [110.0, 80.0], [90.0, 50.0]] {
            let (found, expected) = (motion.at(position), expected(position));
            let error = (found[0] - expected[0]).hypot(found[1] - expected[1]);
            assert!(error < 0.1, "{position:?}: {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn fits_only_what_is_included_and_needs_enough_of_it() {
        let flow = Flow::from_fn(DIM, |[x, _]| if x < 64.0 { [3.0, 0.0] } else { [-2.0, 1.0] });
        let left = AffineMotion::fit(&flow, DIM, 4, |(_, x)| x < 60).unwrap().at([30.0, 50.0]);
        assert!((left[0] - 3.0).abs() < 1e-3 && left[1].abs() < 1e-3, "{left:?}");
        assert!(AffineMotion::fit(&flow, DIM, 4, |(y, x)| y < 8 && x < 32).is_none());
    }
}
