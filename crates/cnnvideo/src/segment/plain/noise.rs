// SPDX-License-Identifier: MIT OR Apache-2.0

//! Noise of an image, measured in its quiet parts.

use ndarray::Array2;

/// Side of the blocks in which the noise is measured, in pixels.
const BLOCK: usize = 8;
/// Share of the blocks that have less variance than the one taken as noise; the others may hold
/// edges and texture.
const QUIET_SHARE: f32 = 0.25;
/// Factor from the sigma of that block to the sigma of white noise, found on white noise of sigma 1
/// to 10.
const QUIET_BIAS: f32 = 1.15;
/// Distance of pixels, in pixels, whose differences are compared with those of neighbours.
const FAR_LAG: usize = 3;
/// Least ratio of the standard deviations of the two differences. It is 0.92 to 1 for white noise,
/// also after downscaling, and below 0.88 in 96% of 276 photographs.
const MIN_WHITENESS: f32 = 0.88;
/// Sigma, in code values, below which rounding to 8 bits hides the distribution of the noise.
const MIN_SIGMA: f32 = 0.3;

/// Returns the sigma of the noise of a plane, from the differences of pixels that are `lag` apart
/// along rows and columns; 0 if the plane is not larger than `lag`.
pub(super) fn sigma(plane: &Array2<f32>, lag: usize) -> f32 {
    let (height, width) = plane.dim();
    let mut variances = Vec::new();
    for y0 in (0..height.saturating_sub(lag)).step_by(BLOCK) {
        for x0 in (0..width.saturating_sub(lag)).step_by(BLOCK) {
            let (mut across, mut down, mut count) = (0.0, 0.0, 0.0);
            for y in y0..(y0 + BLOCK).min(height - lag) {
                for x in x0..(x0 + BLOCK).min(width - lag) {
                    let value = plane[[y, x]];
                    across += (plane[[y, x + lag]] - value).powi(2);
                    down += (plane[[y + lag, x]] - value).powi(2);
                    count += 1.0;
                }
            }
            // Edges along one direction do not matter to differences along that direction.
            variances.push(f32::min(across, down) / (2.0 * count));
        }
    }
    if variances.is_empty() {
        return 0.0;
    }
    let quiet = (QUIET_SHARE * (variances.len() - 1) as f32) as usize;
    QUIET_BIAS * variances.select_nth_unstable_by(quiet, f32::total_cmp).1.sqrt()
}

/// Returns whether the differences of pixels in the quiet parts of a plane are white noise, or none
/// at all. Those of texture, blur and slopes grow with the distance of the pixels.
pub(super) fn is_white(plane: &Array2<f32>) -> bool {
    let far = sigma(plane, FAR_LAG);
    far < MIN_SIGMA || sigma(plane, 1) >= MIN_WHITENESS * far
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Noise of the given sigma: the sum of twelve uniform values.
    fn noise(sigma: f32) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut normal = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
        Array2::from_shape_simple_fn((120, 160), || 100.0 + sigma * normal())
    }

    #[test]
    fn sigma_is_that_of_the_noise_beside_edges() {
        for expected in [0.0, 1.0, 3.0] {
            let mut plane = noise(expected);
            plane.slice_mut(ndarray::s![30..70, 50..90]).mapv_inplace(|v| v + 60.0);
            let found = sigma(&plane, 2);
            assert!((found - expected).abs() <= 0.1 * expected, "{found} for {expected}");
            assert!(is_white(&plane));
        }
        assert_eq!(sigma(&Array2::zeros((2, 2)), 2), 0.0);
    }

    #[test]
    fn blurred_noise_and_slopes_are_not_white() {
        let noise = noise(6.0);
        let blurred = Array2::from_shape_fn((118, 158), |(y, x)| {
            noise.slice(ndarray::s![y..y + 3, x..x + 3]).mean().expect("nine values")
        });
        assert!(!is_white(&blurred));
        assert!(!is_white(&Array2::from_shape_fn((60, 80), |(y, x)| (x + y) as f32)));
    }
}
