// SPDX-License-Identifier: MIT OR Apache-2.0

//! Subtitles as plain text.
//!
//! The demultiplexers of GStreamer escape the characters of text that mean something in its markup;
//! the muxers take text without escapes.

use gst::prelude::*;

use crate::error::Result;

/// Characters and their escapes; the ampersand last.
const ESCAPES: [(&str, &str); 6] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&apos;", "'"),
    ("&#39;", "'"),
    ("&amp;", "&"),
];

/// Returns the caps of plain text.
pub(crate) fn caps() -> gst::Caps {
    gst::Caps::builder("text/x-raw").field("format", "utf8").build()
}

/// Returns whether a stream is text that can be converted.
pub(crate) fn can_convert(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|structure| {
        structure.has_name("text/x-raw") && structure.get::<&str>("format") == Ok("pango-markup")
    })
}

/// Creates an element that converts text.
///
/// # Errors
/// The element is missing.
pub(crate) fn converter() -> Result<gst::Element> {
    let element = gst::ElementFactory::make("capssetter")
        .property("caps", caps())
        .property("join", false)
        .property("replace", true)
        .build()?;
    if let Some(pad) = element.static_pad("src") {
        pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            if let Some(plain) = info.buffer().and_then(|buffer| converted(buffer)) {
                info.data = Some(gst::PadProbeData::Buffer(plain));
            }
            gst::PadProbeReturn::Ok
        });
    }
    Ok(element)
}

/// Returns a buffer with plain text and everything else of the other one, if its text has escapes.
fn converted(buffer: &gst::BufferRef) -> Option<gst::Buffer> {
    let map = buffer.map_readable().ok()?;
    let text = std::str::from_utf8(&map).ok()?;
    let plain = unescape(text);
    if plain == text {
        return None;
    }
    let mut copy = gst::Buffer::from_slice(plain.into_bytes());
    buffer.copy_into(copy.get_mut()?, gst::BUFFER_COPY_METADATA, ..).ok()?;
    Some(copy)
}

/// Replaces escapes by the characters that they stand for.
fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for (escape, character) in ESCAPES {
        plain = plain.replace(escape, character);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced_once() {
        assert_eq!(unescape("a &lt;b&gt; &amp;amp; &#39;"), "a <b> &amp; '");
        assert_eq!(unescape("<i>plain</i> & simple"), "<i>plain</i> & simple");
    }
}
