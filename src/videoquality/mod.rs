// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `videoquality` element, which compares a video with a reference, and its bus message
//! ([`VideoQualityMessage`]).

/**
 * SECTION:element-videoquality
 * @short_description: measures a video against a reference
 *
 * videoquality compares the stream on the pad `sink` with the one on the pad `reference`. It posts
 * PSNR, SSIM and other measures as element messages, writes them to a file, and outputs the tested
 * frames or a panel.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! tee name=t ! queue ! q.reference t. ! queue ! \
 *     cnndenoise ! q.sink videoquality name=q output=panel ! videoconvert ! autovideosink
 * ]|
 */
use glib::prelude::*;

mod compare;
mod frame;
mod imp;
mod log_file;
mod message;
mod output;
mod pairing;
mod report;
mod settings;
mod state;
mod statistics;
mod step;

pub use message::{InvalidQualityMessage, VideoQualityMessage};
pub use settings::{ExtraMeasures, OutputKind};

glib::wrapper! {
    /// Aggregator that measures the quality of a video against a reference.
    pub struct VideoQuality(ObjectSubclass<imp::VideoQuality>)
        @extends gst_base::Aggregator, gst::Element, gst::Object;
}

/// Registers the element with `plugin`.
///
/// # Errors
/// If GStreamer rejects the registration.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    settings::mark_for_documentation();
    gst::Element::register(
        Some(plugin),
        "videoquality",
        gst::Rank::NONE,
        VideoQuality::static_type(),
    )
}
