//! The `watermarkembed` element.

use glib::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// Element `watermarkembed`: hides a keyed payload in video.
    pub struct WatermarkEmbed(ObjectSubclass<imp::WatermarkEmbed>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Returns an error if GStreamer rejects the type.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "watermarkembed",
        gst::Rank::NONE,
        WatermarkEmbed::static_type(),
    )
}
