//! The elements `watermarkembed` and `watermarkdetect`.

use glib::prelude::*;

mod detect;
mod embed;
mod keys;
mod message;
mod worker;

pub use message::{NotAWatermarkMessage, WatermarkMessage};

glib::wrapper! {
    /// Hides a keyed payload in video.
    pub struct WatermarkEmbed(ObjectSubclass<embed::WatermarkEmbed>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

glib::wrapper! {
    /// Finds and reads keyed payloads in video.
    pub struct WatermarkDetect(ObjectSubclass<detect::WatermarkDetect>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the elements with a plugin.
///
/// # Errors
/// Where GStreamer refuses.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    detect::mark_for_documentation();
    gst::Element::register(
        Some(plugin),
        "watermarkembed",
        gst::Rank::NONE,
        WatermarkEmbed::static_type(),
    )?;
    gst::Element::register(
        Some(plugin),
        "watermarkdetect",
        gst::Rank::NONE,
        WatermarkDetect::static_type(),
    )
}
