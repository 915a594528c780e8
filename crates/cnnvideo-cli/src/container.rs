// SPDX-License-Identifier: MIT OR Apache-2.0

//! The containers of output files.

use std::path::Path;

use gst::prelude::*;

use crate::{
    codec::Codec,
    error::{Result, failed, usage},
    output::is_standard,
};

/// Kind of an output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// Matroska, which takes nearly every stream, but not ProRes: GStreamer 1.22 reads that without
    /// times.
    Matroska,
    /// MPEG-4.
    Mp4,
    /// QuickTime.
    Mov,
    /// WebM.
    Webm,
    /// YUV4MPEG2: raw video without sound.
    Y4m,
}

impl Container {
    /// Returns the container for an output, by the extension of its name.
    ///
    /// # Errors
    /// There is none for this extension.
    pub(crate) fn of(output: &Path) -> Result<Self> {
        if is_standard(output) {
            return Ok(Self::Y4m);
        }
        let extension = output.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default();
        if extension.eq_ignore_ascii_case("y4m") {
            return Ok(Self::Y4m);
        }
        Self::of_extension(extension).map_err(|_| {
            usage!(
                "the name of OUT ({}) must end in .mkv, .mp4, .m4v, .mov, .webm or .y4m",
                output.display()
            )
        })
    }

    /// Returns the container of encoded video with an extension.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn of_extension(extension: &str) -> std::result::Result<Self, String> {
        match extension.to_ascii_lowercase().as_str() {
            "mkv" => Ok(Self::Matroska),
            "mp4" | "m4v" => Ok(Self::Mp4),
            "mov" => Ok(Self::Mov),
            "webm" => Ok(Self::Webm),
            _ => Err("must be mkv, mp4, m4v, mov or webm".to_owned()),
        }
    }

    /// Returns the usual extension.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Matroska => "mkv",
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Webm => "webm",
            Self::Y4m => "y4m",
        }
    }

    /// Returns whether files of this kind consist of the boxes of MP4.
    pub(crate) fn is_mp4(self) -> bool {
        matches!(self, Self::Mp4 | Self::Mov)
    }

    /// Returns the codecs that fit, the preferred one first. A codec for 10 bits is one that usual
    /// players can decode.
    pub(crate) fn codecs(self, ten_bits: bool) -> &'static [Codec] {
        use Codec::{Av1, Ffv1, H264, H265, Prores, Vp9};
        match (self, ten_bits) {
            (Self::Matroska, false) => &[H264, H265, Vp9, Av1, Ffv1],
            (Self::Matroska, true) => &[H265, Ffv1, Vp9, H264, Av1],
            (Self::Mp4, false) => &[H264, H265, Av1, Vp9],
            (Self::Mp4, true) => &[H265, Vp9, H264, Av1],
            (Self::Mov, false) => &[H264, H265, Prores],
            (Self::Mov, true) => &[H265, Prores, H264],
            (Self::Webm, _) => &[Vp9, Av1],
            (Self::Y4m, _) => &[],
        }
    }

    /// Creates the muxer of GStreamer.
    ///
    /// # Errors
    /// It is not installed.
    ///
    /// # Panics
    /// For y4m, which has none.
    pub(crate) fn muxer(self) -> Result<gst::Element> {
        let factory = match self {
            Self::Matroska => "matroskamux",
            Self::Mp4 => "mp4mux",
            Self::Mov => "qtmux",
            Self::Webm => "webmmux",
            Self::Y4m => unreachable!("y4m is written without a muxer"),
        };
        let mut muxer = gst::ElementFactory::make(factory);
        if self.is_mp4() {
            // Streams that begin late keep their time, however short the gap is.
            muxer = muxer.property("start-gap-threshold", 0u64);
        }
        muxer.build().map_err(|_| {
            failed!(
                "the element {factory} is missing: install the package gstreamer1.0-plugins-good"
            )
        })
    }
}

/// Requests a pad of a muxer by the name of its template.
///
/// # Errors
/// The muxer has no such template, or takes no more streams.
pub(crate) fn request_pad(muxer: &gst::Element, template: &str) -> Result<gst::Pad> {
    let pad =
        pad_template(muxer, template).and_then(|template| muxer.request_pad(&template, None, None));
    pad.ok_or_else(|| failed!("{} takes no more streams ({template})", muxer.name()))
}

/// Returns the template of a muxer's pads with a name.
///
/// webmmux of GStreamer 1.22 does not find its own templates by their names in some processes.
pub(crate) fn pad_template(muxer: &gst::Element, name: &str) -> Option<gst::PadTemplate> {
    muxer.pad_template_list().into_iter().find(|template| template.name_template() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides() {
        assert_eq!(Container::of(Path::new("a/B.MKV")).unwrap(), Container::Matroska);
        assert_eq!(Container::of(Path::new("-")).unwrap(), Container::Y4m);
        for name in ["a", "a.avi", ".mkv", ""] {
            assert!(Container::of(Path::new(name)).is_err(), "{name}");
        }
    }
}
