// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `cnndemosaic` element: a converter that runs
//! [`Demosaicer`](cnnvideo::demosaic::Demosaicer) on each raw frame of a sensor.

/**
 * SECTION:element-cnndemosaic
 * @short_description: demosaicks and denoises raw frames of a sensor with a Bayer pattern
 *
 * cnndemosaic interpolates red, green and blue at every pixel of a raw frame, and removes its noise
 * in the same network.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 v4l2src ! video/x-bayer ! cnndemosaic ! videoconvert ! autovideosink
 * ]|
 */
use glib::prelude::*;

mod caps;
mod imp;
mod settings;
mod stream;

glib::wrapper! {
    /// Converter from raw frames with a Bayer pattern to RGB or YUV.
    pub struct CnnDemosaic(ObjectSubclass<imp::CnnDemosaic>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with `plugin`.
///
/// # Errors
/// If GStreamer rejects the registration.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "cnndemosaic", gst::Rank::NONE, CnnDemosaic::static_type())
}
