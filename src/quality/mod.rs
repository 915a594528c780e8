//! Measures of how alike two pictures are.

mod ssim;

pub use ssim::ssim;
