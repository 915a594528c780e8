// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pixel formats: which ones an element takes, and their bit depth.

use gst::prelude::*;
use gst_video::{VideoFormat, VideoFormatFlags, VideoFormatInfo};

/// Returns the bits of a sample.
pub(crate) fn depth(format: VideoFormat) -> u32 {
    VideoFormatInfo::from_format(format).depth().first().copied().unwrap_or(0)
}

/// Returns the formats of raw video that the sink pad of an element takes.
pub(crate) fn accepted(factory: &gst::ElementFactory) -> Vec<VideoFormat> {
    let templates = factory.static_pad_templates();
    let sinks = templates.iter().filter(|template| template.direction() == gst::PadDirection::Sink);
    let caps: Vec<_> = sinks.map(|template| template.caps()).collect();
    simple_formats().filter(|format| caps.iter().any(|caps| takes(caps, *format))).collect()
}

/// Returns whether raw video of a format intersects with caps.
fn takes(caps: &gst::Caps, format: VideoFormat) -> bool {
    let video = gst::Caps::builder("video/x-raw").field("format", format.to_str()).build();
    caps.can_intersect(&video)
}

/// Returns the formats whose samples have a depth of their own.
fn simple_formats() -> impl Iterator<Item = VideoFormat> {
    let excluded = VideoFormatFlags::COMPLEX | VideoFormatFlags::PALETTE;
    let is_simple = move |format: &VideoFormat| {
        !VideoFormatInfo::from_format(*format).flags().intersects(excluded)
    };
    VideoFormat::iter_raw().filter(is_simple)
}

/// Returns caps of raw video with one of these formats.
pub(crate) fn caps(formats: impl IntoIterator<Item = VideoFormat>) -> gst::Caps {
    let names = gst::List::new(formats.into_iter().map(|format| format.to_str().to_send_value()));
    gst::Caps::builder("video/x-raw").field("format", names).build()
}

/// Returns caps of raw video of a depth.
pub(crate) fn caps_of_depth(bits: u32) -> gst::Caps {
    caps(simple_formats().filter(|format| depth(*format) == bits))
}
