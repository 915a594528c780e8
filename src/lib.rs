//! GStreamer plugin `cnnvideo`: video filters built on a convolutional neural network (CNN)
//! inference core.
//!
//! [`nn`] runs networks and [`frame`] holds typed views of video frames. The algorithm modules
//! ([`denoise`], [`smooth`], [`segment`], [`watermark`], [`quality`]) build on them. None of them
//! depends on GStreamer outside its `element` submodule, so they also serve as a Rust library; the
//! elements are thin wrappers around them.

pub mod denoise;
pub mod element;
pub mod frame;
pub mod nn;
pub mod quality;
pub mod segment;
mod simd;
pub mod smooth;
#[cfg(feature = "torch")]
pub mod train;
pub mod watermark;

// Registers the region mask meta and all elements of the plugin.
fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    element::register_region_mask();
    denoise::element::register(plugin)?;
    smooth::element::register(plugin)?;
    segment::element::register(plugin)?;
    watermark::element::register(plugin)?;
    quality::element::register(plugin)
}

gst::plugin_define!(
    cnnvideo,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    // GStreamer requires an origin. The package name is correct wherever the plugin was built.
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
