// SPDX-License-Identifier: MIT OR Apache-2.0

//! Full-reference video quality measures: MSE, PSNR, SSIM, MS-SSIM, gradient and histogram
//! differences, flicker and mask overlap.
//!
//! [`Comparison`] computes all measures of a pair of pictures, [`RunningMean`] their means, and
//! [`Panel`] draws them. The measures are also available as functions.

mod compare;
mod gradient;
mod histogram;
mod iou;
mod measures;
mod mse;
mod panel;
mod ssim;

pub use compare::{Comparison, Error};
pub use gradient::{Gradient, gradient, gradient_difference};
pub use histogram::Histogram;
pub use iou::iou;
pub use measures::{MSE_RGB, MSE_YUV, Measures, RunningMean};
pub use mse::{mse, psnr};
pub use panel::Panel;
pub use ssim::{ms_ssim, ssim};
