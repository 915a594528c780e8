// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `watermarkembed` element.

/**
 * SECTION:element-watermarkembed
 * @short_description: embeds a keyed watermark
 *
 * watermarkembed hides a payload of 64 bits in luma. watermarkdetect reads it with the same key
 * after compression, scaling, cropping or filtering.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! watermarkembed \
 *     key-file=key payload=00000000c0ffee42 ! videoconvert ! vp8enc ! webmmux ! filesink \
 *     location=marked.webm
 * ]|
 */
use glib::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// Element `watermarkembed`: hides a keyed payload in video.
    pub struct WatermarkEmbed(ObjectSubclass<imp::WatermarkEmbed>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Returns an error if GStreamer rejects the type.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "watermarkembed",
        gst::Rank::NONE,
        WatermarkEmbed::static_type(),
    )
}
