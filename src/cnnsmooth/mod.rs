//! The `cnnsmooth` element: a video filter that runs [`Smoother`](cnnvideo::smooth::Smoother) on
//! each frame.

use glib::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// Video filter that removes texture up to a chosen scale and keeps structure.
    pub struct CnnSmooth(ObjectSubclass<imp::CnnSmooth>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with `plugin`.
///
/// # Errors
/// If GStreamer rejects the registration.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "cnnsmooth", gst::Rank::NONE, CnnSmooth::static_type())
}
