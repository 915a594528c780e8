// SPDX-License-Identifier: MIT OR Apache-2.0

//! Structure extraction by relative total variation: Xu et al., "Structure Extraction from Texture
//! via Relative Total Variation", ACM Transactions on Graphics 31(6), 2012, equations 4 and 6 to
//! 11.

use ndarray::{Array2, Zip};

use super::textures::gaussian_blur;

/// Number of reweighting iterations.
const ITERATIONS: usize = 4;
/// Regularises the denominator of the windowed variation.
const EPSILON: f32 = 1e-3;
/// Regularises the denominator of the single differences.
const EPSILON_SINGLE: f32 = 0.02;
/// Maximum number of conjugate gradient steps.
const STEPS: usize = 120;
/// Conjugate gradients stop when the preconditioned residual norm is this share of the initial one.
const TOLERANCE: f32 = 2e-3;

/// Returns the structure of a plane of values from 0 to 1. Removes textures of periods up to about
/// `2.5 * sigma` pixels. `lambda` is the smoothness weight.
pub(super) fn structure(plane: &Array2<f32>, lambda: f32, sigma: f32) -> Array2<f32> {
    let mut result = plane.clone();
    let mut sigma = sigma;
    for _ in 0..ITERATIONS {
        let across = weights(&differences(&result), lambda, sigma);
        let transposed = result.t().as_standard_layout().to_owned();
        let down =
            weights(&differences(&transposed), lambda, sigma).t().as_standard_layout().to_owned();
        result = solve(plane, &result, &across, &down);
        sigma = (sigma / 2.0).max(0.5);
    }
    result
}

/// Returns the difference of each pixel to its right neighbour, 0 in the last column.
fn differences(plane: &Array2<f32>) -> Array2<f32> {
    let last = plane.ncols() - 1;
    Array2::from_shape_fn(plane.dim(), |(y, x)| {
        if x < last { plane[[y, x + 1]] - plane[[y, x]] } else { 0.0 }
    })
}

/// Returns the weights between horizontal neighbours for the next iteration.
fn weights(differences: &Array2<f32>, lambda: f32, sigma: f32) -> Array2<f32> {
    let inverse = gaussian_blur(differences, sigma).mapv(|v| 1.0 / (v.abs() + EPSILON));
    let mut weights = gaussian_blur(&inverse, sigma);
    weights.zip_mut_with(differences, |w, d| *w *= lambda / (d.abs() + EPSILON_SINGLE));
    let last = weights.ncols() - 1;
    weights.column_mut(last).fill(0.0);
    weights
}

/// Solves `(1 + L) s = plane` by preconditioned conjugate gradients, where `L` is the Laplacian of
/// the grid with the weights `across` and `down`.
fn solve(
    plane: &Array2<f32>,
    start: &Array2<f32>,
    across: &Array2<f32>,
    down: &Array2<f32>,
) -> Array2<f32> {
    let (height, width) = plane.dim();
    let apply = |s: &Array2<f32>| {
        Array2::from_shape_fn((height, width), |(y, x)| {
            let value = s[[y, x]];
            let mut sum = value;
            if x + 1 < width {
                sum += across[[y, x]] * (value - s[[y, x + 1]]);
            }
            if x > 0 {
                sum += across[[y, x - 1]] * (value - s[[y, x - 1]]);
            }
            if y + 1 < height {
                sum += down[[y, x]] * (value - s[[y + 1, x]]);
            }
            if y > 0 {
                sum += down[[y - 1, x]] * (value - s[[y - 1, x]]);
            }
            sum
        })
    };
    let inverse_diagonal = Array2::from_shape_fn((height, width), |(y, x)| {
        let left = if x > 0 { across[[y, x - 1]] } else { 0.0 };
        let above = if y > 0 { down[[y - 1, x]] } else { 0.0 };
        1.0 / (1.0 + across[[y, x]] + down[[y, x]] + left + above)
    });
    let dot = |a: &Array2<f32>, b: &Array2<f32>| {
        a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>() as f32
    };
    let mut result = start.clone();
    let mut residual = plane - &apply(&result);
    let mut z = &residual * &inverse_diagonal;
    let mut direction = z.clone();
    let mut rho = dot(&residual, &z);
    let first = rho;
    for _ in 0..STEPS {
        if rho <= first * TOLERANCE * TOLERANCE || rho <= f32::MIN_POSITIVE {
            break;
        }
        let applied = apply(&direction);
        let alpha = rho / dot(&direction, &applied);
        result.scaled_add(alpha, &direction);
        residual.scaled_add(-alpha, &applied);
        Zip::from(&mut z).and(&residual).and(&inverse_diagonal).for_each(|z, r, d| *z = r * d);
        let next = dot(&residual, &z);
        let beta = next / rho;
        direction.zip_mut_with(&z, |d, z| *d = z + beta * *d);
        rho = next;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texture_is_removed_and_a_step_kept() {
        let plane = Array2::from_shape_fn((64, 96), |(y, x)| {
            let texture = if (x / 2 + y / 2) % 2 == 0 { 0.08 } else { -0.08 };
            0.3 + if x >= 48 { 0.4 } else { 0.0 } + texture
        });
        let result = structure(&plane, 0.02, 3.0);
        let (left, right) =
            (result.slice(ndarray::s![8..56, 8..40]), result.slice(ndarray::s![8..56, 56..88]));
        assert!(
            left.std(0.0) < 0.016 && right.std(0.0) < 0.016,
            "{} {}",
            left.std(0.0),
            right.std(0.0)
        );
        let step = right.mean().unwrap() - left.mean().unwrap();
        assert!((step - 0.4).abs() < 0.08, "{step}");
    }
}
