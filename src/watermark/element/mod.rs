//! The elements `watermarkembed` and `watermarkdetect`.

use glib::prelude::*;

mod detect;
mod embed;
mod keys;
mod message;
mod worker;

pub use message::{NotAWatermarkMessage, WatermarkMessage};

glib::wrapper! {
    /// Element `watermarkembed`: hides a keyed payload in video.
    pub struct WatermarkEmbed(ObjectSubclass<embed::WatermarkEmbed>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

glib::wrapper! {
    /// Element `watermarkdetect`: detects watermarks of a key and decodes their payload.
    pub struct WatermarkDetect(ObjectSubclass<detect::WatermarkDetect>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the elements with a plugin.
///
/// # Errors
/// Returns an error if GStreamer rejects a type.
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
