// SPDX-License-Identifier: MIT OR Apache-2.0

//! Caps negotiation: pad templates and the formats that each kind of output allows.

use gst_video::VideoFormat;

use super::{SegmentOutput, alpha};
use crate::shared::{FORMATS_8BIT, MAX_SIDE, format_of, listed_formats};
use cnnvideo::frame::Colour;

/// Colorimetry that GStreamer assumes for grey caps without the field: full range, with the matrix
/// of BT.601.
const GREY_COLORIMETRY: &str = "1:4:0:0";

/// Returns the templates of the sink and source pad.
pub(super) fn pad_templates() -> Vec<gst::PadTemplate> {
    let sink_formats = FORMATS_8BIT.to_vec();
    let source_formats = [&FORMATS_8BIT[..], &[VideoFormat::A420, VideoFormat::Ayuv]].concat();
    [
        ("sink", gst::PadDirection::Sink, sink_formats),
        ("src", gst::PadDirection::Src, source_formats),
    ]
    .map(|(name, direction, formats)| {
        let caps = gst_video::VideoCapsBuilder::new()
            .format_list(formats)
            .width_range(1..=MAX_SIDE as i32)
            .height_range(1..=MAX_SIDE as i32)
            .build();
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
        let formats = listed_formats(structure).unwrap_or_else(|| FORMATS_8BIT.to_vec());
        let pairs = formats.into_iter().flat_map(|format| {
            let others = formats_of_other_pad(format, direction, output);
            others.into_iter().map(move |other| (format, other))
        });
        // One structure for each kept set of fields, in order of preference.
        let mut groups: Vec<(KeptFields, Vec<VideoFormat>)> = Vec::new();
        for (format, other) in pairs {
            let kept = KeptFields::between(format, other, direction, output);
            match groups.iter_mut().find(|(fields, _)| *fields == kept) {
                Some((_, others)) if others.contains(&other) => (),
                Some((_, others)) => others.push(other),
                None => groups.push((kept, vec![other])),
            }
        }
        for (kept, others) in groups {
            let mut other = structure.to_owned();
            other.set("format", gst::List::new(others.iter().map(|other| other.to_str().as_str())));
            kept.apply(&mut other, direction);
            writable.append_structure_full(other, Some(features.to_owned()));
        }
    }
    result
}

/// Fields about colours that the caps of both pads share. All other fields, such as the pixel
/// aspect ratio, HDR metadata and the multiview mode, are the same on both pads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeptFields {
    /// Colorimetry and chroma siting.
    All,
    /// The colorimetry; chroma has another subsampling.
    Colorimetry,
    /// The colorimetry from grey, whose default range differs from that of YUV.
    GreyColorimetry,
    /// None: a mask has no colours.
    None,
}

impl KeptFields {
    /// Returns the fields that caps with `format` on the pad of the given direction and with
    /// `other` on the other pad share.
    fn between(
        format: VideoFormat,
        other: VideoFormat,
        direction: gst::PadDirection,
        output: SegmentOutput,
    ) -> Self {
        let input = if direction == gst::PadDirection::Sink { format } else { other };
        match (output, format_of(input).map(|format| format.colour())) {
            (SegmentOutput::Meta | SegmentOutput::Overlay, _) => Self::All,
            (SegmentOutput::Mask, _) => Self::None,
            (SegmentOutput::Alpha, Some(Colour::Gray)) => Self::GreyColorimetry,
            (SegmentOutput::Alpha, Some(Colour::Yuv { shift_x: 1, shift_y: 0 })) => {
                Self::Colorimetry
            }
            (SegmentOutput::Alpha, _) => Self::All,
        }
    }

    /// Removes the fields that are not kept from the caps of the pad of the given direction, to
    /// make them caps of the other pad.
    fn apply(self, caps: &mut gst::StructureRef, direction: gst::PadDirection) {
        match self {
            Self::All => (),
            Self::Colorimetry => caps.remove_field("chroma-site"),
            Self::None => caps.remove_fields(["colorimetry", "chroma-site"]),
            Self::GreyColorimetry => {
                caps.remove_field("chroma-site");
                if direction == gst::PadDirection::Src {
                    // Grey caps may leave the field out.
                    caps.remove_field("colorimetry");
                } else if !caps.has_field("colorimetry") {
                    caps.set("colorimetry", GREY_COLORIMETRY);
                }
            }
        }
    }
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
