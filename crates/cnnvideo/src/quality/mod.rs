// SPDX-License-Identifier: MIT OR Apache-2.0

//! Full-reference video quality measures: MSE, PSNR, XPSNR, SSIM, MS-SSIM, SSIMULACRA2, gradient
//! and histogram differences, flicker and mask overlap.
//!
//! [`Comparison`] computes all measures of a pair of pictures, [`RunningMean`] their means,
//! [`Pooling`] percentiles and worst frames, and [`Panel`] draws them. [`Alignment`] tells which
//! frame offset between two streams fits best. The measures are also available as functions.

mod alignment;
mod compare;
mod gradient;
mod histogram;
mod iou;
mod measures;
mod mse;
mod panel;
mod pooling;
mod quantiles;
mod ssim;
mod ssimulacra2;
mod xpsnr;

pub use alignment::Alignment;
pub use compare::{Comparison, Error, Extra};
pub use gradient::{Gradient, gradient, gradient_difference};
pub use histogram::Histogram;
pub use iou::iou;
pub use measures::{MSE_RGB, MSE_YUV, Measures, NAMES, RunningMean, XPSNR};
pub use mse::{mse, psnr};
pub use panel::Panel;
pub use pooling::{PERCENTILES, POOLED_MEASURES, Pooled, Pooling, WORST_FRAMES, WorstFrame};
pub use quantiles::Quantiles;
pub use ssim::{ms_ssim, ssim};
pub use ssimulacra2::{SSIMULACRA2_SMALLEST_SIDE, YuvMatrix, ssimulacra2};
pub use xpsnr::{BlockWeights, Xpsnr};
