// SPDX-License-Identifier: MIT OR Apache-2.0

//! The GStreamer element `cnnsegment`: interactive segmentation of video by clicks, strokes and
//! boxes.

/**
 * SECTION:element-cnnsegment
 * @short_description: turns clicks into regions that follow the video
 *
 * cnnsegment predicts regions from clicks, scribbles and boxes, follows them through the video and
 * attaches them to buffers as a region mask. cnndenoise and cnnsmooth read the mask.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! cnnsegment ! cnnsmooth foreground-strength=0 ! \
 *     videoconvert ! ximagesink
 * ]|
 */
use glib::prelude::*;

mod alpha;
mod buffers;
mod caps;
mod commands;
mod frames;
mod imp;
mod message;
mod overlay;
mod seeds;
mod settings;
mod signals;
mod state;
mod stream;

pub use message::{InvalidSegmentMessage, SegmentMessage};
pub use settings::SegmentOutput;

glib::wrapper! {
    /// Interactive video segmentation: turns clicks, strokes and boxes into regions and tracks
    /// them.
    pub struct CnnSegment(ObjectSubclass<imp::CnnSegment>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with a plugin.
///
/// # Errors
/// Fails if GStreamer does not accept the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    settings::mark_for_documentation();
    gst::Element::register(Some(plugin), "cnnsegment", gst::Rank::NONE, CnnSegment::static_type())
}
