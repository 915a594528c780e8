pub mod denoise;
pub mod frame;
pub mod nn;
#[cfg(feature = "torch")]
pub mod train;
