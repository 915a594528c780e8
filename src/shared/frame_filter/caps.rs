// SPDX-License-Identifier: MIT OR Apache-2.0

//! Caps of the two pads of a filter element: those of one pad, and for 8-bit input also the 10-bit
//! formats with the same planes.

use gst_video::VideoFormat;

use crate::shared::{FORMATS_8BIT, deeper, listed_formats};

/// Returns the caps that the other pad can have if the pad of the given direction has `caps`, in
/// order of preference: the same format first.
pub(super) fn transform(caps: &gst::Caps, direction: gst::PadDirection) -> gst::Caps {
    let mut result = caps.clone();
    let others = caps.iter_with_features().filter_map(|(structure, features)| {
        let formats = listed_formats(structure)?;
        let others = formats.iter().filter_map(|format| other_depth(*format, direction));
        let others: Vec<&str> = others.map(|format| format.to_str().as_str()).collect();
        let mut other = structure.to_owned();
        match others[..] {
            [] => return None,
            [only] => other.set("format", only),
            _ => other.set("format", gst::List::new(others)),
        }
        Some((other, features.to_owned()))
    });
    for (structure, features) in others {
        result.make_mut().append_structure_full(structure, Some(features));
    }
    result
}

/// Returns the format of another depth that the other pad can have.
fn other_depth(format: VideoFormat, direction: gst::PadDirection) -> Option<VideoFormat> {
    match direction {
        gst::PadDirection::Sink => deeper(format),
        _ => FORMATS_8BIT.into_iter().find(|less_deep| deeper(*less_deep) == Some(format)),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn caps_of_the_other_pad_have_the_same_format_first() {
        gst::init().unwrap();
        let caps = |text: &str| gst::Caps::from_str(text).unwrap();
        let transformed = |text: &str, direction| transform(&caps(text), direction);
        let (sink, src) = (gst::PadDirection::Sink, gst::PadDirection::Src);
        let both = "video/x-raw,format=NV12,width=8; video/x-raw,format=P010_10LE,width=8";
        assert_eq!(transformed("video/x-raw,format=NV12,width=8", sink), caps(both));
        let both = "video/x-raw,format=I420_10LE; video/x-raw,format=I420";
        assert_eq!(transformed("video/x-raw,format=I420_10LE", src), caps(both));
        let lists = "video/x-raw,format={I420,RGB,Y444}; video/x-raw,format={I420_10LE,Y444_10LE}";
        assert_eq!(transformed("video/x-raw,format={I420,RGB,Y444}", sink), caps(lists));
        for text in ["video/x-raw,format=I420_10LE", "video/x-raw,format=RGB", "video/x-raw"] {
            assert_eq!(transformed(text, sink), caps(text));
        }
    }
}
