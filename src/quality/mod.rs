//! Measures of how alike two pictures are, each after its source. [`Comparison`] takes them all of the pictures of two streams.

mod compare;
pub mod element;
mod error;
mod gradient;
mod histogram;
mod panel;
mod regions;
mod ssim;

pub use compare::{Comparison, Measures, Running};
pub use error::{mse, psnr};
pub use gradient::{Gradient, gradient, gradient_difference};
pub use histogram::Histogram;
pub use panel::Panel;
pub use regions::iou;
pub use ssim::{ms_ssim, ssim};
