//! The `cnndenoise` element.

use glib::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// Removes noise from video with a small convolutional network.
    pub struct CnnDenoise(ObjectSubclass<imp::CnnDenoise>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Where GStreamer refuses.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    crate::element::mark_for_documentation();
    gst::Element::register(Some(plugin), "cnndenoise", gst::Rank::NONE, CnnDenoise::static_type())
}
