// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parts that the evaluation programs share: images, raw video frames, runs through GStreamer
//! elements, noise, error measures and output.

pub mod colour;
pub mod element;
pub mod frame;
pub mod images;
pub mod output;
pub mod y4m;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Result of an evaluation.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Initialises GStreamer and registers the elements of the plugin in this process.
///
/// # Errors
/// GStreamer cannot be initialised.
pub fn init() -> Result<()> {
    gst::init()?;
    gstcnnvideo::plugin_register_static()?;
    Ok(())
}

/// A reproducible generator of normally distributed noise.
pub struct Noise(StdRng);

impl Noise {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Returns the next value: mean 0, standard deviation 1 (Box and Muller 1958).
    pub fn sample(&mut self) -> f32 {
        let radius = (-2.0 * self.0.random_range(f32::MIN_POSITIVE..1.0).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.0.random::<f32>()).cos()
    }

    /// Adds noise of standard deviation `sigma` to 8-bit samples.
    pub fn add(&mut self, samples: &mut [u8], sigma: f32) {
        samples.iter_mut().for_each(|v| *v = (f32::from(*v) + sigma * self.sample()).round() as u8);
    }
}

/// Returns the mean square error between two slices of equal length.
pub fn mse<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    a.iter().zip(b).map(|(a, b)| ((*a).into() - (*b).into()).powi(2)).sum::<f64>() / a.len() as f64
}
