//! Denoising of frames by a network.

/// Value of a control map per unit of noise level (standard deviation in 8-bit units).
pub const CONTROL_PER_LEVEL: f32 = 0.01;
