//! The `videoquality` element.

use glib::prelude::*;

mod imp;
mod message;
mod pairing;

pub use message::{NotAQualityMessage, VideoQualityMessage};

glib::wrapper! {
    /// Measures a video against a reference.
    pub struct VideoQuality(ObjectSubclass<imp::VideoQuality>) @extends gst_base::Aggregator, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Where GStreamer refuses.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    imp::mark_for_documentation();
    gst::Element::register(
        Some(plugin),
        "videoquality",
        gst::Rank::NONE,
        VideoQuality::static_type(),
    )
}
