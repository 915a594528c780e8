//! The `cnndenoise` element, which runs a [`Denoiser`](cnnvideo::denoise::Denoiser) on video
//! frames.

use glib::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// GStreamer element that removes noise from video with a small CNN.
    pub struct CnnDenoise(ObjectSubclass<imp::CnnDenoise>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Fails if GStreamer rejects the registration.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    crate::shared::mark_for_documentation();
    gst::Element::register(Some(plugin), "cnndenoise", gst::Rank::NONE, CnnDenoise::static_type())
}
