//! The `watermarkdetect` element.

use glib::prelude::*;

mod imp;
mod message;
mod settings;
mod worker;

pub use message::{InvalidWatermarkMessage, WatermarkMessage};

glib::wrapper! {
    /// Element `watermarkdetect`: detects watermarks of a key and decodes their payload.
    pub struct WatermarkDetect(ObjectSubclass<imp::WatermarkDetect>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Returns an error if GStreamer rejects the type.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    settings::mark_for_documentation();
    gst::Element::register(
        Some(plugin),
        "watermarkdetect",
        gst::Rank::NONE,
        WatermarkDetect::static_type(),
    )
}
