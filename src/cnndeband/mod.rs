// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `cnndeband` element: a video filter that runs [`Debander`](cnnvideo::deband::Debander) on
//! each frame.

/**
 * SECTION:element-cnndeband
 * @short_description: removes false contours from gradients
 *
 * cnndeband removes the false contours (banding) of gradients that were quantised or compressed,
 * and keeps edges and texture. A network predicts the gradient behind the contours.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 uridecodebin uri=file:///video.mp4 ! cnndeband ! videoconvert ! autovideosink
 * ]|
 */
use glib::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// Video filter that removes false contours from gradients.
    pub struct CnnDeband(ObjectSubclass<imp::CnnDeband>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with `plugin`.
///
/// # Errors
/// If GStreamer rejects the registration.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "cnndeband", gst::Rank::NONE, CnnDeband::static_type())
}
