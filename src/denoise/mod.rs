//! Denoising of pictures by a network of the shared core. Knows no GStreamer; [`Denoiser`] is the way in.

mod chroma;
mod denoiser;
pub mod element;
pub(crate) mod estimate;
mod io;
mod networks;
mod noise;
pub(crate) mod temporal;

pub use denoiser::{Denoiser, Error, Levels, Parameters, domain_of};
pub use estimate::Estimator;
pub use networks::{Networks, Rung};
pub use noise::NoiseModel;

/// Value of a control map per unit of noise level (standard deviation in 8-bit units).
pub const CONTROL_PER_LEVEL: f32 = 0.01;

/// Highest noise level that a network is asked for; beyond, training has shown it nothing.
pub const MAX_LEVEL: f32 = 75.0;
