// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `cnndenoise` element, which runs a [`Denoiser`](cnnvideo::denoise::Denoiser) on video
//! frames.

/**
 * SECTION:element-cnndenoise
 * @short_description: removes noise from video
 *
 * cnndenoise estimates the noise sigma, averages frames along motion and removes the rest of the
 * noise with a small residual U-Net. It adds no latency unless the property lookahead is set.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! cnndenoise ! videoconvert ! autovideosink
 * ]|
 */
use glib::prelude::*;

mod imp;
mod message;
mod noise_model;
mod preset_control;
mod presets;
mod processor;
mod settings;

pub use message::{DenoiseQualityMessage, InvalidQualityMessage, QualityReason};

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
