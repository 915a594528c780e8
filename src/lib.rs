// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo`: a GStreamer plugin that brings a convolutional network core to live and recorded
//! video.
//!
//! The elements are thin: the algorithms are in the crate [`cnnvideo`], the inference core is in
//! `cnnvideo-nn`. Both work without GStreamer.

pub mod cnndeband;
pub mod cnndemosaic;
pub mod cnndenoise;
pub mod cnnsegment;
pub mod cnnsmooth;
pub mod shared;
pub mod videoquality;
pub mod watermarkdetect;
pub mod watermarkembed;

pub use plugin::plugin_register_static;

#[allow(missing_docs, reason = "the items that the macro defines have no documentation")]
mod plugin {
    use crate::{
        cnndeband, cnndemosaic, cnndenoise, cnnsegment, cnnsmooth, shared, videoquality,
        watermarkdetect, watermarkembed,
    };

    /// Registers the region mask meta and all elements of the plugin.
    fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
        shared::register_region_mask();
        cnndenoise::register(plugin)?;
        cnnsmooth::register(plugin)?;
        cnnsegment::register(plugin)?;
        cnndeband::register(plugin)?;
        cnndemosaic::register(plugin)?;
        watermarkembed::register(plugin)?;
        watermarkdetect::register(plugin)?;
        videoquality::register(plugin)
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
}
