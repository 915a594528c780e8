// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `watermarkdetect` element.

/**
 * SECTION:element-watermarkdetect
 * @short_description: detects and reads keyed watermarks
 *
 * watermarkdetect searches windows of frames for the watermark of a key and posts an element
 * message named `watermark` with the payload. Frames pass through unchanged.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 -m filesrc location=marked.webm ! decodebin ! videoconvert ! \
 *     watermarkdetect key-file=key ! fakesink
 * ]|
 */
use glib::prelude::*;

mod imp;
mod message;
mod settings;
mod worker;

pub use message::{InvalidWatermarkMessage, WatermarkMessage};

glib::wrapper! {
    /// Element `watermarkdetect`: detects watermarks of a key and decodes their payload.
    pub struct WatermarkDetect(ObjectSubclass<imp::WatermarkDetect>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Returns an error if GStreamer rejects the type.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    settings::mark_for_documentation();
    gst::Element::register(
        Some(plugin),
        "watermarkdetect",
        gst::Rank::NONE,
        WatermarkDetect::static_type(),
    )
}
