//! The `cnnsmooth` element.

use glib::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// Smooths texture up to a chosen scale away and keeps structure.
    pub struct CnnSmooth(ObjectSubclass<imp::CnnSmooth>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Where GStreamer refuses.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "cnnsmooth", gst::Rank::NONE, CnnSmooth::static_type())
}
