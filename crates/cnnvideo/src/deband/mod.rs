// SPDX-License-Identifier: MIT OR Apache-2.0

//! Removal of false contours (banding) from gradients.
//!
//! A quantised or compressed gradient shows steps where the original was smooth. A network
//! predicts, for each component, the gradient behind the steps and where there is one
//! ([`SIGNATURE`]). It runs at a quarter of the component's size. Only regions with false contours
//! change. [`Debander`] processes the pictures of a stream.

mod cells;
mod debander;
mod io;
mod output;
mod upsample;

use cnnvideo_nn::{IoSpec, Signature};

pub use debander::{Debander, Error, Parameters, built_in, from_file};

/// Signature of the debanding network.
///
/// It runs on one component at a quarter of its size. The picture channels of a cell of 4x4 samples
/// are, in units of [`FEATURE_RANGE`] and clamped to -1 to 1: the means of its four 2x2 blocks
/// minus that of the cell; the mean of the cell to the right and of the cell below minus its own;
/// its own mean minus those of the [`WINDOWS`] of cells around it. The last one is the difference
/// of the largest and the smallest sample, in units of [`SPREAD_RANGE`]. The control map is the
/// threshold, see [`threshold_control`].
///
/// The network predicts the correction of the means of the four 2x2 blocks, in units of
/// [`FEATURE_RANGE`], then the logit of the share of the correction to apply in each.
pub const SIGNATURE: Signature =
    Signature::new("deband", IoSpec { picture: 9, control: 1, output: 8 });

/// Code values that the network's differences of means are divided by.
pub const FEATURE_RANGE: f32 = 8.0;
/// Code values that the difference of the largest and the smallest sample is divided by.
pub const SPREAD_RANGE: f32 = 16.0;
/// Sides of the windows, in cells, whose means are compared with that of a cell.
pub const WINDOWS: [usize; 2] = [5, 21];
/// Largest supported threshold in code values.
pub const MAX_THRESHOLD: f32 = 4.0;

/// Returns the value of the control map for a threshold in code values: 0 to 1.
pub fn threshold_control(threshold: f32) -> f32 {
    threshold.clamp(0.0, MAX_THRESHOLD) / MAX_THRESHOLD
}
