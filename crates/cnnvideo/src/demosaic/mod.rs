// SPDX-License-Identifier: MIT OR Apache-2.0

//! Demosaicking: red, green and blue at every pixel of a sensor with a Bayer pattern, and noise
//! removal in the same step.
//!
//! A network corrects linear demosaicking ([`KERNELS`]), see [`SIGNATURE`].

mod demosaicer;
mod io;
mod kernels;
mod linear;
mod noise;
mod output;
mod raw;

use cnnvideo_nn::{IoSpec, Signature};

pub use demosaicer::{Demosaicer, Error, Parameters, built_in, from_file};
pub use kernels::{CELL_SAMPLES, KERNEL_SIDE, KERNEL_UNIT, KERNELS, Kernel};
pub use output::YuvEncoding;
pub use raw::{BayerPattern, RawError, RawFormat, RawFrame};

/// Signature of the demosaicking network.
///
/// It runs on cells of 2x2 pixels. The picture channels are the red, the two green and the blue
/// sample in reading order, `(v - 128) / 255` with `v` in 8-bit code values. The control map is the
/// noise sigma in the cell, see [`control`].
///
/// The network predicts what linear demosaicking exceeds the noise-free picture by, in the same
/// unit: four values of red in reading order, then of green and of blue.
pub const SIGNATURE: Signature =
    Signature::new("demosaic", IoSpec { picture: 4, control: 1, output: 12 });

/// Largest noise sigma in 8-bit units.
pub const MAX_SIGMA: f32 = 75.0;

/// Returns the value of the control map for a noise sigma in 8-bit units.
pub fn control(sigma: f32) -> f32 {
    sigma.clamp(0.0, MAX_SIGMA) / 100.0
}
