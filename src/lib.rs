pub mod denoise;
pub mod nn;
#[cfg(feature = "torch")]
pub mod train;
