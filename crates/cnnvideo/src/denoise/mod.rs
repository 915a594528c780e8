//! Denoising of video pictures with a CNN and temporal fusion.
//!
//! [`Networks`] loads the networks and creates a [`Denoiser`] for each stream. [`Estimator`]
//! estimates the noise sigma, and [`NoiseModel`] holds it by brightness.

mod chroma;
mod denoiser;
mod domain;
pub mod estimate;
mod io;
mod networks;
mod noise;
pub mod temporal;

pub use denoiser::{Denoiser, Error, Levels, Parameters};
pub use domain::{ColourDomain, RGB, YUV420};
pub use estimate::Estimator;
pub use networks::{Networks, Rung};
pub use noise::NoiseModel;

/// Value of a control map per unit of noise sigma (8-bit units).
pub const CONTROL_PER_LEVEL: f32 = 0.01;

/// Largest noise sigma that a control map asks for, in 8-bit units. Networks are not trained
/// beyond.
pub const MAX_LEVEL: f32 = 75.0;
