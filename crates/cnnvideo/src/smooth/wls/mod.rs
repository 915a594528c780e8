// SPDX-License-Identifier: MIT OR Apache-2.0

//! Edge-preserving smoothing by weighted least squares, as a sequence of one-dimensional solves.
//!
//! After Min et al., "Fast Global Image Smoothing Based on Weighted Least Squares", IEEE
//! Transactions on Image Processing 23(12), 2014. Each row `f`, then each column, is replaced with
//! the exact minimiser `u` of
//!
//! `sum (u_i - f_i)^2 / lambda_i + sum w_(i,i+1) (u_i - u_(i+1))^2`,
//! `w_(i,i+1) = exp(-|g_i - g_(i+1)| / sigma)`.
//!
//! Both are done twice, with `lambda` decreasing as in the paper's equation for iterations, so that
//! no stripes remain. `g` is a guide, or several, whose steps mark the edges. `lambda_i` is set per
//! pixel; a pixel with 0 keeps its value bit-exactly and acts as a fixed value for its neighbours.

mod layout;
mod lines;
mod strips;
mod weights;

use std::sync::Mutex;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

pub use self::weights::{EXP_ORDER, EdgeGuides, EdgeWeights, Guide};
use self::{
    layout::{COLUMN_LANES, Columns, ROW_LANES, Rows},
    lines::LineSolver,
    strips::{FromTo, InPlace, System},
};
use crate::{frame::Sample, nn::Threads};

/// Number of iterations; each solves all rows, then all columns.
const ITERATIONS: u32 = 2;

/// Smoothness term of the weighted least squares: where and how much to smooth.
#[derive(Debug, Clone, Copy)]
pub struct Smoothness<'a> {
    /// Edge weights, for planes of the same size.
    pub weights: &'a EdgeWeights,
    /// Strength map: the square root of each pixel's fraction of `lambda`, times 255. The square
    /// root gives weak smoothing finer steps. Must be in standard layout (rows contiguous in
    /// memory).
    pub strength: ArrayView2<'a, u8>,
    /// Weight of smoothness, 0 or more: in an area without edges the smoothing radius is about its
    /// square root, in pixels.
    pub lambda: f32,
}

/// Weighted least squares solver. Keeps its buffers for the next picture.
#[derive(Debug, Default)]
pub struct Wls {
    /// Scratch memory of the row passes, one per thread.
    rows: Vec<Mutex<LineSolver<ROW_LANES>>>,
    /// Scratch memory of the column passes, one per thread.
    columns: Vec<Mutex<LineSolver<COLUMN_LANES>>>,
    /// Intermediate result of each channel between two passes.
    planes: Vec<Array2<f32>>,
}

impl Wls {
    /// Smooths the channels of `input`, which have the same edge weights, into those of `output`.
    ///
    /// Copies the input if `lambda` is 0.
    ///
    /// # Panics
    /// If the planes, the edge weights and the strength map differ in size, or the strength map is
    /// not in standard layout.
    pub fn smooth<T: Sample, U: Sample>(
        &mut self,
        input: &[ArrayView2<'_, T>],
        output: &mut [ArrayViewMut2<'_, U>],
        &Smoothness { weights, strength, lambda }: &Smoothness<'_>,
        threads: &Threads,
    ) {
        let dim = weights.across.dim();
        let fits = strength.dim() == dim
            && input.iter().all(|c| c.dim() == dim)
            && output.iter().all(|c| c.dim() == dim);
        assert!(fits, "planes, edge weights and strength map must have the same size");
        assert!(strength.is_standard_layout(), "rows of the strength map must be contiguous");
        if strength.is_empty() || lambda <= 0.0 {
            for (to, from) in output.iter_mut().zip(input) {
                to.zip_mut_with(from, |to, from| *to = U::from_code_value(from.code_value()));
            }
            return;
        }
        self.rows.resize_with(threads.count(), Mutex::default);
        self.columns.resize_with(threads.count(), Mutex::default);
        self.planes.resize_with(self.planes.len().max(input.len()), || Array2::zeros((0, 0)));
        let Self { rows, columns, planes } = self;
        let planes = &mut planes[..input.len()];
        planes
            .iter_mut()
            .filter(|plane| plane.dim() != dim)
            .for_each(|plane| *plane = Array2::zeros(dim));
        for iteration in 1..=ITERATIONS {
            let lambda = lambda * lambda_fraction(iteration);
            let rows_system = System { weights: weights.across.view(), strength, lambda };
            let columns_system =
                System { weights: weights.down.t(), strength: strength.t(), lambda };
            // The first pass reads the input, the last one writes the output.
            if iteration == 1 {
                let channels = planes.iter_mut().zip(input);
                let channels =
                    channels.map(|(to, from)| FromTo { from: from.view(), to: to.view_mut() });
                rows_system.solve::<Rows, _, _, _>(channels.collect(), rows, threads);
            } else {
                let channels = planes.iter_mut().map(|plane| InPlace(plane.view_mut()));
                rows_system.solve::<Rows, _, _, _>(channels.collect(), rows, threads);
            }
            if iteration == ITERATIONS {
                let channels = output.iter_mut().zip(&*planes);
                let channels = channels
                    .map(|(to, from)| FromTo { from: from.t(), to: to.view_mut().reversed_axes() });
                columns_system.solve::<Columns, _, _, _>(channels.collect(), columns, threads);
            } else {
                let channels =
                    planes.iter_mut().map(|plane| InPlace(plane.view_mut().reversed_axes()));
                columns_system.solve::<Columns, _, _, _>(channels.collect(), columns, threads);
            }
        }
    }
}

/// Returns the fractions of `lambda` of all iterations.
pub fn lambda_fractions() -> [f32; ITERATIONS as usize] {
    std::array::from_fn(|i| lambda_fraction(i as u32 + 1))
}

/// Returns the fraction of `lambda` for an iteration, from 1 on: each is a quarter of the one
/// before.
fn lambda_fraction(iteration: u32) -> f32 {
    1.5 * 4f32.powi((ITERATIONS - iteration) as i32) / (4f32.powi(ITERATIONS as i32) - 1.0)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const LAMBDA: f32 = 60.0;
    const SIGMA: f32 = 9.0;

    fn weights(guide: &Array2<f32>) -> EdgeWeights {
        let mut weights = EdgeWeights::default();
        let guides = EdgeGuides {
            guides: &[Guide { plane: guide.view(), subsampling: [0; 2] }],
            confidence: None,
            sigma: SIGMA,
        };
        weights.fill(guide.dim(), guides, &Threads::new(2).unwrap());
        weights
    }

    fn random(rng: &mut StdRng, dim: (usize, usize)) -> Array2<f32> {
        Array2::from_shape_fn(dim, |_| rng.random_range(0.0..255.0))
    }

    fn smoothed(
        plane: &Array2<f32>,
        guide: &Array2<f32>,
        strength: &Array2<u8>,
        lambda: f32,
    ) -> Array2<f32> {
        let mut result = Array2::zeros(plane.dim());
        let threads = Threads::new(2).unwrap();
        let smoothness = Smoothness { weights: &weights(guide), strength: strength.view(), lambda };
        let output = &mut [result.view_mut()];
        Wls::default().smooth(&[plane.view()], output, &smoothness, &threads);
        result
    }

    /// Solves a strictly diagonally dominant system by the Gauss-Seidel method.
    fn solve(a: &Array2<f64>, f: &[f32]) -> Vec<f64> {
        let mut x: Vec<_> = f.iter().map(|v| f64::from(*v)).collect();
        loop {
            let mut change = 0.0f64;
            for (i, row) in a.rows().into_iter().enumerate() {
                let others: f64 = (0..f.len()).filter(|k| *k != i).map(|k| row[k] * x[k]).sum();
                let value = (f64::from(f[i]) - others) / row[i];
                change = change.max((value - x[i]).abs());
                x[i] = value;
            }
            if change < 1e-9 {
                return x;
            }
        }
    }

    /// Reference: solves each line as a dense system in double precision.
    fn dense(
        plane: &Array2<f32>,
        guide: &Array2<f32>,
        strength: &Array2<u8>,
        lambda: f32,
    ) -> Array2<f32> {
        let line = |f: Vec<f32>, g: Vec<f32>, strength: Vec<u8>, lambda: f32| -> Vec<f32> {
            let n = f.len();
            let mut a = Array2::<f64>::eye(n);
            for i in 1..n {
                // The approximation of the exponential, see `weights::EXP_ORDER`.
                let weight = (1.0 - f64::from((g[i] - g[i - 1]).abs()) / (16.0 * f64::from(SIGMA)))
                    .max(0.0)
                    .powi(16);
                for (row, other) in [(i, i - 1), (i - 1, i)] {
                    let coupling =
                        f64::from(lambda) * (f64::from(strength[row]) / 255.0).powi(2) * weight;
                    a[[row, row]] += coupling;
                    a[[row, other]] -= coupling;
                }
            }
            solve(&a, &f).into_iter().map(|v| v as f32).collect()
        };
        let mut plane = plane.clone();
        for iteration in 1..=ITERATIONS {
            let lambda = lambda * lambda_fraction(iteration);
            for y in 0..plane.nrows() {
                let solved = line(
                    plane.row(y).to_vec(),
                    guide.row(y).to_vec(),
                    strength.row(y).to_vec(),
                    lambda,
                );
                plane
                    .row_mut(y)
                    .assign(&Array2::from_shape_vec((1, solved.len()), solved).unwrap().row(0));
            }
            for x in 0..plane.ncols() {
                let solved = line(
                    plane.column(x).to_vec(),
                    guide.column(x).to_vec(),
                    strength.column(x).to_vec(),
                    lambda,
                );
                plane
                    .column_mut(x)
                    .assign(&Array2::from_shape_vec((1, solved.len()), solved).unwrap().row(0));
            }
        }
        plane
    }

    #[test]
    fn agrees_with_dense_solves() {
        let mut rng = StdRng::seed_from_u64(1);
        for dim in [(1, 1), (1, 9), (7, 1), (16, 16), (17, 33), (40, 31)] {
            let (plane, guide) = (random(&mut rng, dim), random(&mut rng, dim) * 0.1);
            let strength = Array2::from_shape_fn(dim, |_| rng.random());
            let (ours, dense) = (
                smoothed(&plane, &guide, &strength, LAMBDA),
                dense(&plane, &guide, &strength, LAMBDA),
            );
            let worst = (&ours - &dense).iter().fold(0.0f32, |worst, d| worst.max(d.abs()));
            assert!(worst < 1e-2, "{dim:?}: {worst}");
        }
    }

    #[test]
    fn constants_and_the_range_are_kept() {
        let mut rng = StdRng::seed_from_u64(2);
        let (plane, guide) = (random(&mut rng, (50, 70)), random(&mut rng, (50, 70)));
        let strength = Array2::from_elem((50, 70), 255);
        let flat = smoothed(&Array2::from_elem((50, 70), 77.0), &guide, &strength, LAMBDA);
        assert!(flat.iter().all(|v| (v - 77.0).abs() < 1e-3));
        let (low, high) =
            plane.iter().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        let result = smoothed(&plane, &guide, &strength, 1e4);
        assert!(result.iter().all(|v| (low - 1e-2..=high + 1e-2).contains(v)));
    }

    #[test]
    fn is_linear_in_the_picture() {
        let mut rng = StdRng::seed_from_u64(3);
        let dim = (33, 47);
        let (a, b, guide) =
            (random(&mut rng, dim), random(&mut rng, dim), random(&mut rng, dim) * 0.2);
        let strength = Array2::from_shape_fn(dim, |_| rng.random());
        let together = smoothed(&(&a * 0.5 + &b * 2.0), &guide, &strength, LAMBDA);
        let apart = smoothed(&a, &guide, &strength, LAMBDA) * 0.5
            + smoothed(&b, &guide, &strength, LAMBDA) * 2.0;
        assert!((&together - &apart).iter().all(|d| d.abs() < 1e-2));
    }

    #[test]
    fn zero_lambda_is_bit_exact() {
        let mut rng = StdRng::seed_from_u64(4);
        let dim = (37, 53);
        let (plane, guide) = (random(&mut rng, dim), random(&mut rng, dim) * 0.1);
        let strength = Array2::from_shape_fn(dim, |(y, x)| if x < 20 || y == 7 { 0 } else { 255 });
        let result = smoothed(&plane, &guide, &strength, LAMBDA);
        for ((place, before), after) in plane.indexed_iter().zip(&result) {
            assert_eq!(strength[place] == 0, before == after, "{place:?}");
        }
        assert_eq!(smoothed(&plane, &guide, &strength, 0.0), plane);
    }

    #[test]
    fn edges_of_the_guide_are_preserved() {
        // Noise on both sides of a step that is strong in the guide and weak in the picture.
        let mut rng = StdRng::seed_from_u64(5);
        let plane = Array2::from_shape_fn((64, 64), |(_, x)| {
            f32::from(x as u8 / 32) * 10.0 + rng.random_range(-30.0..30.0f32)
        });
        let guide = Array2::from_shape_fn((64, 64), |(_, x)| f32::from(x as u8 / 32) * 200.0);
        let strength = Array2::from_elem((64, 64), 255);
        let result = smoothed(&plane, &guide, &strength, 1e4);
        for (side, from) in [(0usize, 0.0f32), (32, 10.0)] {
            let part = result.slice(ndarray::s![.., side..side + 32]);
            assert!((part.mean().unwrap() - from).abs() < 2.0 && part.std(0.0) < 2.0);
        }
    }
}
