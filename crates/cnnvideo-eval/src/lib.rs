//! Helpers shared by the evaluation programs: noise, error measures, raw video files.

pub mod y4m;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// A reproducible generator of normally distributed noise.
pub struct Noise(StdRng);

impl Noise {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Returns the next value: mean 0, standard deviation 1 (Box and Muller 1958).
    pub fn next(&mut self) -> f32 {
        let radius = (-2.0 * self.0.random_range(f32::MIN_POSITIVE..1.0).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.0.random::<f32>()).cos()
    }
}

/// Returns the mean square error between two slices of equal length.
pub fn mse<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    a.iter().zip(b).map(|(a, b)| ((*a).into() - (*b).into()).powi(2)).sum::<f64>() / a.len() as f64
}
