// SPDX-License-Identifier: MIT OR Apache-2.0

//! Turns messages of GStreamer into sentences that tell what to do.

use gst::prelude::*;

use crate::error::{Failure, failed};

/// Returns the failure for an error message. `about` names the file that is processed,
/// `missing` the plugin that an element has missed before.
pub(crate) fn error(message: &gst::message::Error, about: &str, missing: Option<&str>) -> Failure {
    let error = message.error();
    let text = error.message().trim_end_matches('.');
    if error.matches(gst::ResourceError::NoSpaceLeft) {
        return failed!("the disk is full: free some space, or write to another disk");
    }
    if error.matches(gst::StreamError::TypeNotFound) || error.matches(gst::StreamError::WrongType) {
        return failed!("{about} is not a video file that GStreamer knows");
    }
    if error.matches(gst::CoreError::MissingPlugin)
        || error.matches(gst::StreamError::CodecNotFound)
    {
        return no_decoder(about, missing.unwrap_or(text));
    }
    if error.matches(gst::StreamError::Decode) || text.starts_with("Failed to decode") {
        return failed!(
            "{about} is damaged: a frame cannot be decoded; --ignore-damage goes on without it"
        );
    }
    if text.starts_with("Can not initialize") {
        return failed!(
            "{about}: {text}, perhaps because it does not take this frame size (h264 and h265 need \
             even sizes for 4:2:0): try another --codec"
        );
    }
    let source = message.src().map(|source| source.name().to_string()).unwrap_or_default();
    let debug = message.debug().unwrap_or_default();
    if debug.contains("not-negotiated") {
        return failed!(
            "{about}: the elements cannot agree on a video format ({source}): try another --codec"
        );
    }
    // The last line of the debug text tells what the general sentence leaves out.
    let is_general = text.starts_with("Internal data") || text.starts_with("GStreamer encountered");
    match debug.lines().last().map(str::trim).filter(|_| is_general) {
        Some(line) if !line.is_empty() => failed!("{about}: {line} ({source})"),
        _ => failed!("{about}: {text}"),
    }
}

/// Returns the failure for a file that needs the plugin called `missing`.
pub(crate) fn no_decoder(about: &str, missing: &str) -> Failure {
    failed!(
        "no decoder for {about} ({missing}): install the packages gstreamer1.0-libav, \
         gstreamer1.0-plugins-good and gstreamer1.0-plugins-bad"
    )
}

/// Returns the name of the plugin that an element misses, if this is such a message.
pub(crate) fn missing_plugin(message: &gst::StructureRef) -> Option<String> {
    if message.name() != "missing-plugin" {
        return None;
    }
    Some(message.get::<&str>("name").unwrap_or("unknown").to_owned())
}
