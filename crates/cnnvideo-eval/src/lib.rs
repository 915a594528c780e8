// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parts that the evaluation programs share: images, raw video frames, runs through GStreamer
//! elements, noise, a camera, error measures and output.

pub mod camera;
pub mod colour;
pub mod element;
pub mod frame;
pub mod images;
pub mod noise;
pub mod output;
pub mod y4m;

pub use noise::Noise;

/// Result of an evaluation.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Initialises GStreamer and registers the elements of the plugin in this process.
///
/// # Errors
/// GStreamer cannot be initialised.
pub fn init() -> Result<()> {
    gst::init()?;
    gstcnnvideo::plugin_register_static()?;
    Ok(())
}

/// Returns the mean square error between two slices of equal length.
pub fn mse<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    a.iter().zip(b).map(|(a, b)| ((*a).into() - (*b).into()).powi(2)).sum::<f64>() / a.len() as f64
}
