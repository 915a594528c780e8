//! The `videoquality` element, which compares a video with a reference, and its bus message
//! ([`VideoQualityMessage`]).

use glib::prelude::*;

mod imp;
mod message;
mod pairing;
mod settings;

pub use message::{InvalidQualityMessage, VideoQualityMessage};
pub use settings::OutputKind;

glib::wrapper! {
    /// Aggregator that measures the quality of a video against a reference.
    pub struct VideoQuality(ObjectSubclass<imp::VideoQuality>) @extends gst_base::Aggregator, gst::Element, gst::Object;
}

/// Registers the element with `plugin`.
///
/// # Errors
/// If GStreamer rejects the registration.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    settings::mark_for_documentation();
    gst::Element::register(
        Some(plugin),
        "videoquality",
        gst::Rank::NONE,
        VideoQuality::static_type(),
    )
}
