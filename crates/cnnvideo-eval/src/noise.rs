// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reproducible noise: white, correlated and Poisson-distributed.

use ndarray::{Array2, Axis};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Mean from which a Poisson distribution is approximated by a normal one.
const NORMAL_FROM: f32 = 30.0;

/// A reproducible generator of noise.
pub struct Noise(StdRng);

impl Noise {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Returns the next normally distributed value: mean 0, standard deviation 1 (Box and Muller
    /// 1958).
    pub fn sample(&mut self) -> f32 {
        let radius = (-2.0 * self.0.random_range(f32::MIN_POSITIVE..1.0).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.0.random::<f32>()).cos()
    }

    /// Adds noise of standard deviation `sigma` to 8-bit samples.
    pub fn add(&mut self, samples: &mut [u8], sigma: f32) {
        samples.iter_mut().for_each(|v| *v = (f32::from(*v) + sigma * self.sample()).round() as u8);
    }

    /// Returns a Poisson-distributed count: a product of uniform values for small means (Knuth,
    /// The Art of Computer Programming 2, 3.4.1), a rounded normal value for large ones.
    pub fn poisson(&mut self, mean: f32) -> f32 {
        if mean >= NORMAL_FROM {
            return (mean + mean.sqrt() * self.sample()).round().max(0.0);
        }
        let limit = (-mean).exp();
        let mut product: f32 = self.0.random();
        let mut count = 0.0;
        while product > limit {
            product *= self.0.random::<f32>();
            count += 1.0;
        }
        count
    }

    /// Returns a plane of `size` (width, height) of normally distributed noise with standard
    /// deviation 1 in the plane: white, or after a Gaussian blur of `blur` pixels, which correlates
    /// neighbours.
    pub fn plane(&mut self, size: (u32, u32), blur: f32) -> Array2<f32> {
        let shape = (size.1 as usize, size.0 as usize);
        let mut plane = Array2::from_shape_simple_fn(shape, || self.sample());
        if blur > 0.0 {
            blur_periodically(&mut plane, blur);
        }
        let deviation = plane.std(0.0);
        plane / deviation
    }
}

/// Blurs a plane with a Gaussian of standard deviation `sigma` pixels, up to a constant factor.
/// The plane continues periodically, so that the noise has the same variance everywhere.
fn blur_periodically(plane: &mut Array2<f32>, sigma: f32) {
    let radius = (4.0 * sigma).ceil() as usize;
    let weight = |k: usize| {
        let distance = (k as f32 - radius as f32) / sigma;
        (-0.5 * distance * distance).exp()
    };
    let weights: Vec<f32> = (0..=2 * radius).map(weight).collect();
    for axis in [Axis(0), Axis(1)] {
        for mut lane in plane.lanes_mut(axis) {
            let before = lane.to_vec();
            let length = before.len();
            let first = length - radius % length;
            for (i, value) in lane.iter_mut().enumerate() {
                let at = |k: usize| before[(first + i + k) % length];
                *value = weights.iter().enumerate().map(|(k, weight)| weight * at(k)).sum();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_counts_have_their_mean_and_variance() {
        let mut noise = Noise::new(1);
        for mean in [0.0, 0.4, 12.0, 29.9, 30.0, 400.0_f32] {
            let counts: Vec<f32> = (0..20_000).map(|_| noise.poisson(mean)).collect();
            let average = counts.iter().sum::<f32>() / counts.len() as f32;
            let squares = counts.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>();
            let variance = squares / counts.len() as f32;
            assert!((average - mean).abs() <= 0.05 * mean.sqrt(), "{mean}: mean {average}");
            assert!((variance - mean).abs() <= 0.06 * mean, "{mean}: variance {variance}");
        }
    }

    #[test]
    fn blur_correlates_neighbours() {
        // Neighbours of noise after a Gaussian blur of s pixels correlate by exp(-1 / (4 s^2)).
        for (blur, expected) in [(0.0, 0.0), (0.7, 0.60), (1.4, 0.88)] {
            let plane = Noise::new(2).plane((200, 150), blur);
            let correlation = plane.windows((1, 2)).into_iter().map(|w| w[[0, 0]] * w[[0, 1]]);
            let correlation = correlation.sum::<f32>() / (150.0 * 199.0);
            assert!((correlation - expected).abs() < 0.03, "{blur}: {correlation}");
            assert!((plane.std(0.0) - 1.0).abs() < 1e-3);
        }
    }
}
