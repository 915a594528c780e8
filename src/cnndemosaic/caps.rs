// SPDX-License-Identifier: MIT OR Apache-2.0

//! Caps of raw frames and of the pictures that `cnndemosaic` makes of them.

use gst_video::{VideoColorMatrix, VideoFormat, VideoInfo};

use crate::shared::MAX_SIDE;
use cnnvideo::demosaic::{BayerPattern, RawFormat, YuvEncoding};

/// Name of the media type of raw frames.
const BAYER: &str = "video/x-bayer";
/// Least width and height.
const MIN_SIDE: i32 = 2;
/// Names of the patterns in caps.
const PATTERNS: [(&str, BayerPattern); 4] = [
    ("bggr", BayerPattern::Bggr),
    ("gbrg", BayerPattern::Gbrg),
    ("grbg", BayerPattern::Grbg),
    ("rggb", BayerPattern::Rggb),
];
/// Suffixes of the names of formats, and the bits of their samples. GStreamer has names for more
/// than 8 bits since version 1.24.
const DEPTHS: [(&str, u32); 5] = [("", 8), ("10le", 10), ("12le", 12), ("14le", 14), ("16le", 16)];
/// Pixel formats of the output, in order of preference.
const OUTPUT_FORMATS: [VideoFormat; 14] = [
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::I42010le,
    VideoFormat::P01010le,
];

/// Returns the caps of all raw frames that the element accepts.
pub(super) fn sink_caps() -> gst::Caps {
    gst::Caps::builder(BAYER)
        .field("format", gst::List::new(raw_formats().map(|(name, _)| name)))
        .field("width", gst::IntRange::new(MIN_SIDE, MAX_SIDE as i32))
        .field("height", gst::IntRange::new(MIN_SIDE, MAX_SIDE as i32))
        .field("framerate", frame_rates())
        .build()
}

/// Returns the caps of all pictures that the element produces.
pub(super) fn source_caps() -> gst::Caps {
    gst_video::VideoCapsBuilder::new()
        .format_list(OUTPUT_FORMATS)
        .width_range(MIN_SIDE..=MAX_SIDE as i32)
        .height_range(MIN_SIDE..=MAX_SIDE as i32)
        .build()
}

/// Returns all frame rates.
fn frame_rates() -> gst::FractionRange {
    gst::FractionRange::new(gst::Fraction::new(0, 1), gst::Fraction::new(i32::MAX, 1))
}

/// Returns the names of the raw formats with pattern and depth.
fn raw_formats() -> impl Iterator<Item = (String, RawFormat)> {
    DEPTHS.into_iter().flat_map(|(suffix, bits)| {
        PATTERNS
            .into_iter()
            .map(move |(name, pattern)| (format!("{name}{suffix}"), RawFormat { pattern, bits }))
    })
}

/// Returns the caps that the other pad can have if the pad of the given direction has `caps`: the
/// same size and frame rate.
pub(super) fn transform(caps: &gst::Caps, direction: gst::PadDirection) -> gst::Caps {
    let template = if direction == gst::PadDirection::Sink { source_caps() } else { sink_caps() };
    let mut result = gst::Caps::new_empty();
    for structure in caps.iter() {
        let mut other = template.structure(0).expect("templates have a structure").to_owned();
        for field in ["width", "height", "framerate"] {
            if let Ok(value) = structure.value(field) {
                other.set_value(field, value.clone());
            }
        }
        result.merge(gst::Caps::builder_full().structure(other).build());
    }
    result
}

/// A raw frame as caps describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawInfo {
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Pattern and depth.
    pub format: RawFormat,
}

impl RawInfo {
    /// Reads fixed caps; `None` if they are not those of raw frames.
    pub(super) fn from_caps(caps: &gst::CapsRef) -> Option<Self> {
        let structure = caps.structure(0).filter(|structure| structure.name() == BAYER)?;
        let side = |name| usize::try_from(structure.get::<i32>(name).ok()?).ok();
        let name = structure.get::<String>("format").ok()?;
        let (_, format) = raw_formats().find(|(known, _)| *known == name)?;
        Some(Self { size: [side("width")?, side("height")?], format })
    }

    /// Returns the bytes of a row without padding.
    pub(super) fn row(&self) -> usize {
        self.size[0] * self.format.sample_bytes()
    }

    /// Returns the bytes from one row to the next, as GStreamer defines them for these caps.
    pub(super) fn stride(&self) -> usize {
        self.row().next_multiple_of(4)
    }

    /// Returns the bytes of a frame.
    pub(super) fn bytes(&self) -> usize {
        self.stride() * self.size[1]
    }
}

/// Returns the conversion to luma and chroma of the output. BT.709 serves formats without one.
pub(super) fn encoding(info: &VideoInfo) -> YuvEncoding {
    let colorimetry = info.colorimetry();
    let weights = match colorimetry.matrix() {
        VideoColorMatrix::Bt601 => [0.299, 0.114],
        VideoColorMatrix::Fcc => [0.30, 0.11],
        VideoColorMatrix::Smpte240m => [0.212, 0.087],
        VideoColorMatrix::Bt2020 => [0.2627, 0.0593],
        _ => YuvEncoding::default().weights,
    };
    YuvEncoding {
        weights,
        full_range: colorimetry.range() == gst_video::VideoColorRange::Range0_255,
        left_chroma: info.chroma_site().contains(gst_video::VideoChromaSite::H_COSITED),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn caps_keep_size_and_frame_rate() {
        gst::init().unwrap();
        let raw = "video/x-bayer,format=grbg12le,width=40,height=31,framerate=25/1";
        let raw = gst::Caps::from_str(raw).unwrap();
        let pictures = transform(&raw, gst::PadDirection::Sink);
        assert!(pictures.is_subset(&source_caps()));
        let one = "video/x-raw,format=NV12,width=40,height=31,framerate=25/1";
        let one = gst::Caps::from_str(one).unwrap();
        assert!(one.is_subset(&pictures));
        assert!(raw.is_subset(&transform(&one, gst::PadDirection::Src)));
        let info = RawInfo::from_caps(&raw).unwrap();
        assert_eq!(info.size, [40, 31]);
        assert_eq!(info.format, RawFormat { pattern: BayerPattern::Grbg, bits: 12 });
        assert_eq!((info.row(), info.bytes()), (80, 80 * 31));
        assert_eq!(RawInfo::from_caps(&one), None);
    }
}
