// SPDX-License-Identifier: MIT OR Apache-2.0

//! Denoising of video pictures with a CNN and temporal fusion.
//!
//! [`Networks`] loads the networks and creates a [`Denoiser`] for each stream. [`NoiseEstimator`]
//! estimates the noise sigma, and [`NoiseModel`] holds it by brightness.

mod chroma_detail;
mod denoiser;
mod domain;
pub mod estimate;
mod flat_runs;
mod local_windows;
mod network_input;
mod network_output;
mod network_run;
mod networks;
mod noise_model;
mod rounding;
mod stream_noise;
pub mod temporal;
mod tiles;
mod weak_noise;

pub use denoiser::{Denoiser, Error, NoiseSigmas, Parameters};
pub use domain::{ColourDomain, RGB, YUV420};
pub use estimate::{CodeValues, NoiseEstimator};
pub use networks::{BitDepth, Networks, Quality};
pub use noise_model::{AssumedNoise, NoiseModel, NoiseModels};

use crate::frame::Colour;

/// Value of a control map per unit of noise sigma (8-bit units).
pub const CONTROL_PER_SIGMA: f32 = 0.01;

/// Largest noise sigma that a control map asks for, in 8-bit units. Networks are not trained
/// beyond.
pub const MAX_SIGMA: f32 = 75.0;

/// Returns whether chroma is subsampled as in the networks' domain YUV 4:2:0, so that each sample
/// is one pixel of the network.
fn is_yuv420(colour: Colour) -> bool {
    colour == Colour::Yuv { shift_x: 1, shift_y: 1 }
}
