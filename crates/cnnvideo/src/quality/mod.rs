//! Full-reference video quality measures: MSE, PSNR, SSIM, MS-SSIM, gradient and histogram
//! differences, flicker and mask overlap.
//!
//! [`Comparison`] computes all measures of a pair of pictures, [`Running`] their means, and
//! [`Panel`] draws them. The measures are also available as functions.

pub mod compare;
mod error;
mod gradient;
mod histogram;
pub mod panel;
mod regions;
mod ssim;

pub use compare::{Comparison, Measures, Running};
pub use error::{mse, psnr};
pub use gradient::{Gradient, gradient, gradient_difference};
pub use histogram::Histogram;
pub use panel::Panel;
pub use regions::iou;
pub use ssim::{ms_ssim, ssim};
