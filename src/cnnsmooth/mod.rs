// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `cnnsmooth` element: a video filter that runs [`Smoother`](cnnvideo::smooth::Smoother) on
//! each frame.

/**
 * SECTION:element-cnnsmooth
 * @short_description: removes texture and keeps edges
 *
 * cnnsmooth removes texture up to a chosen scale in pixels. A network separates texture from
 * structure, a weighted least squares solver smooths the frame.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! cnnsmooth scale=12 ! videoconvert ! \
 *     autovideosink
 * ]|
 */
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
