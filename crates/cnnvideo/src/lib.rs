//! Video denoising, structure-aware smoothing, interactive segmentation, watermarking and quality
//! measurement on `ndarray` views of frames, without GStreamer.

pub mod denoise;
pub mod frame;
pub mod quality;
pub mod segment;
pub mod smooth;
pub mod watermark;

pub use cnnvideo_nn as nn;
pub(crate) use cnnvideo_nn::simd;
