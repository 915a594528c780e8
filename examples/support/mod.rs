//! Shared by the examples: noise, quality figures, raw video files.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Normally distributed noise that follows from a seed.
pub struct Noise(StdRng);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Box and Muller 1958.
    pub fn next(&mut self) -> f32 {
        let radius = (-2.0 * self.0.random_range(f32::MIN_POSITIVE..1.0).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.0.random::<f32>()).cos()
    }
}

/// Mean square error of values in a row.
pub fn mse<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    a.iter().zip(b).map(|(a, b)| ((*a).into() - (*b).into()).powi(2)).sum::<f64>() / a.len() as f64
}
