// SPDX-License-Identifier: MIT OR Apache-2.0

//! Caps negotiation: pad templates and the formats that each kind of output allows.

use gst_video::VideoFormat;

use super::{SegmentOutput, alpha};
use crate::shared::FORMATS_8BIT;

/// Returns the templates of the sink and source pad.
pub(super) fn pad_templates() -> Vec<gst::PadTemplate> {
    let sink_formats = FORMATS_8BIT.to_vec();
    let source_formats = [&FORMATS_8BIT[..], &[VideoFormat::A420, VideoFormat::Ayuv]].concat();
    [
        ("sink", gst::PadDirection::Sink, sink_formats),
        ("src", gst::PadDirection::Src, source_formats),
    ]
    .map(|(name, direction, formats)| {
        let caps = gst_video::VideoCapsBuilder::new().format_list(formats).build();
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
            .expect("name and caps of the template are valid")
    })
    .into()
}

/// Returns the caps that the other pad can have if the pad of the given direction has `caps`.
pub(super) fn transform(
    caps: &gst::Caps,
    direction: gst::PadDirection,
    output: SegmentOutput,
) -> gst::Caps {
    let mut result = gst::Caps::new_empty();
    let writable = result.make_mut();
    for (structure, features) in caps.iter_with_features() {
        let formats: Vec<String> = match structure.value("format") {
            Ok(value) => match value.get::<gst::List>() {
                Ok(list) => list.iter().filter_map(|value| value.get().ok()).collect(),
                Err(_) => value.get().into_iter().collect(),
            },
            Err(_) => FORMATS_8BIT.iter().map(|format| format.to_str().to_string()).collect(),
        };
        let mut other_formats: Vec<VideoFormat> = Vec::new();
        for format in formats.iter().map(|format| VideoFormat::from_string(format)) {
            for other in formats_of_other_pad(format, direction, output) {
                if !other_formats.contains(&other) {
                    other_formats.push(other);
                }
            }
        }
        if other_formats.is_empty() {
            continue;
        }
        let mut other = structure.to_owned();
        other.set(
            "format",
            gst::List::new(other_formats.iter().map(|format| format.to_str().as_str())),
        );
        if !output.in_place() {
            other.remove_fields(["colorimetry", "chroma-site"]);
        }
        writable.append_structure_full(other, Some(features.to_owned()));
    }
    result
}

/// Returns the formats that the other pad can have if the pad of the given direction has `format`,
/// the preferred one first.
fn formats_of_other_pad(
    format: VideoFormat,
    direction: gst::PadDirection,
    output: SegmentOutput,
) -> Vec<VideoFormat> {
    let from_sink = direction == gst::PadDirection::Sink;
    match (output, from_sink) {
        (SegmentOutput::Meta | SegmentOutput::Overlay, _) => vec![format],
        (SegmentOutput::Mask, true) => vec![VideoFormat::Gray8],
        (SegmentOutput::Mask, false) if format == VideoFormat::Gray8 => FORMATS_8BIT.to_vec(),
        (SegmentOutput::Mask, false) => Vec::new(),
        (SegmentOutput::Alpha, true) => alpha::formats_with_alpha(format),
        (SegmentOutput::Alpha, false) => alpha::input_formats_of(format),
    }
}
