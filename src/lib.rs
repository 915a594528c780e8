//! `cnnvideo`: a GStreamer plugin that brings a convolutional network core to live and recorded video.
//!
//! The modules below [`nn`] and [`frame`] know nothing of GStreamer and can be used as a Rust library; the elements are
//! thin around them.

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
    // GStreamer asks for an origin; this is the only one that holds wherever the plugin was built.
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
