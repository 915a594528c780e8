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

use crate::shared::{FORMATS_8BIT, FORMATS_10BIT};

mod imp;
mod payload_file;
mod settings;

glib::wrapper! {
    /// Element `watermarkembed`: hides a keyed payload in video.
    pub struct WatermarkEmbed(ObjectSubclass<imp::WatermarkEmbed>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Returns the pad templates of both watermark elements: an always-present source and sink pad that
/// accept frames of any size in every format of [`FORMATS_8BIT`] and [`FORMATS_10BIT`].
pub(crate) fn pad_templates() -> Vec<gst::PadTemplate> {
    let caps = gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS_8BIT.into_iter().chain(FORMATS_10BIT))
        .build();
    let template = |(name, direction)| {
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
            .expect("name and caps of the template are valid")
    };
    [("src", gst::PadDirection::Src), ("sink", gst::PadDirection::Sink)].map(template).into()
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
        "watermarkembed",
        gst::Rank::NONE,
        WatermarkEmbed::static_type(),
    )
}
