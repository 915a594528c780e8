// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codecs of output files and the encoders for them.

use clap::ValueEnum;
use gst_video::VideoFormat;

use crate::{
    container::Container,
    error::{Result, failed, usage},
    formats,
};

/// Codec of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    /// Lossless, large, for archives and further work (.mkv).
    Ffv1,
    /// Plays everywhere (.mkv, .mp4, .mov).
    H264,
    /// Smaller than h264; 10 bits and HDR (.mkv, .mp4, .mov).
    H265,
    /// For the web (.webm, .mkv, .mp4).
    Vp9,
    /// Smallest and slowest (.webm, .mkv, .mp4).
    Av1,
    /// For video editors (.mov).
    Prores,
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An element of GStreamer that encodes video.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoder {
    /// The codec.
    pub(crate) codec: Codec,
    /// Name of the element.
    pub(crate) factory: &'static str,
    /// Debian package of the element.
    package: &'static str,
    /// Element between the encoder and the muxer, with its package.
    pub(crate) parser: Option<&'static str>,
    /// Whether the encoder writes HDR metadata into its own stream.
    pub(crate) writes_hdr: bool,
    /// Whether the headers of the stream depend on the number of threads.
    pub(crate) headers_depend_on_threads: bool,
    /// Returns the properties for a quality and a number of threads.
    properties: fn(u32, u32) -> String,
}

/// The encoders, for each codec the preferred one first.
const ENCODERS: [Encoder; 7] = [
    Encoder {
        codec: Codec::Ffv1,
        factory: "avenc_ffv1",
        package: "gstreamer1.0-libav",
        parser: None,
        writes_hdr: false,
        headers_depend_on_threads: true,
        properties: |_, threads| if threads > 1 { "threads=auto".into() } else { String::new() },
    },
    Encoder {
        codec: Codec::H264,
        factory: "x264enc",
        package: "gstreamer1.0-plugins-ugly",
        parser: None,
        writes_hdr: false,
        headers_depend_on_threads: false,
        properties: |crf, threads| format!("pass=qual quantizer={crf} threads={threads}"),
    },
    Encoder {
        codec: Codec::H264,
        factory: "openh264enc",
        package: "gstreamer1.0-plugins-bad",
        parser: Some("h264parse"),
        writes_hdr: false,
        headers_depend_on_threads: false,
        properties: |crf, threads| {
            format!("rate-control=off qp-min={crf} qp-max={crf} multi-thread={threads}")
        },
    },
    Encoder {
        codec: Codec::H265,
        factory: "x265enc",
        package: "gstreamer1.0-plugins-bad",
        parser: Some("h265parse"),
        writes_hdr: true,
        headers_depend_on_threads: false,
        properties: |crf, threads| format!("option-string=\"crf={crf}:pools={threads}\""),
    },
    Encoder {
        codec: Codec::Vp9,
        factory: "vp9enc",
        package: "gstreamer1.0-plugins-good",
        parser: Some("vp9parse"),
        writes_hdr: false,
        headers_depend_on_threads: false,
        // The bit rate is an upper bound that the quality level never needs. With frames in
        // advance (lag), vp9enc 1.22 loses the last ones where timestamps are uneven.
        properties: |crf, threads| {
            format!(
                "end-usage=cq cq-level={crf} target-bitrate=500000000 cpu-used=4 row-mt=true \
                 lag-in-frames=0 \
                 threads={threads}"
            )
        },
    },
    Encoder {
        codec: Codec::Av1,
        factory: "av1enc",
        package: "gstreamer1.0-plugins-bad",
        parser: Some("av1parse"),
        writes_hdr: false,
        headers_depend_on_threads: false,
        properties: |crf, threads| {
            format!(
                "end-usage=q min-quantizer={crf} max-quantizer={crf} cpu-used=6 lag-in-frames=25 \
                 threads={threads}"
            )
        },
    },
    Encoder {
        codec: Codec::Prores,
        factory: "avenc_prores_ks",
        package: "gstreamer1.0-libav",
        parser: None,
        writes_hdr: false,
        headers_depend_on_threads: false,
        properties: |_, threads| if threads > 1 { "threads=auto".into() } else { String::new() },
    },
];

impl Codec {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ffv1 => "ffv1",
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::Prores => "prores",
        }
    }

    /// Returns the default and the largest value of `--crf`, or `None` if the codec has no such
    /// scale.
    fn crf(self) -> Option<(u32, u32)> {
        match self {
            Self::H264 | Self::H265 => Some((18, 50)),
            Self::Vp9 | Self::Av1 => Some((24, 63)),
            Self::Ffv1 | Self::Prores => None,
        }
    }

    /// Returns the value of `--crf` to use.
    ///
    /// # Errors
    /// The codec has none, or the given one is out of range.
    pub(crate) fn checked_crf(self, given: Option<u32>) -> Result<u32> {
        match (self.crf(), given) {
            (None, Some(_)) => Err(usage!("{self} has one quality only: leave out --crf")),
            (Some((_, largest)), Some(crf)) if crf > largest => {
                Err(usage!("--crf of {self} must be 0 to {largest}, not {crf}"))
            }
            (Some((default, _)), None) => Ok(default),
            (_, given) => Ok(given.unwrap_or(0)),
        }
    }
}

/// Checks `--codec` and `--crf` against the container, as far as the command line alone tells.
///
/// # Errors
/// The container cannot hold the codec, or the codec has no such quality.
pub(crate) fn check(codec: Option<Codec>, crf: Option<u32>, container: Container) -> Result<()> {
    if container == Container::Y4m && (codec.is_some() || crf.is_some()) {
        return Err(usage!("y4m is raw video: leave out --codec and --crf"));
    }
    let Some(codec) = codec else { return Ok(()) };
    let fitting = container.codecs(false);
    if !fitting.contains(&codec) {
        let names: Vec<_> = fitting.iter().map(|codec| codec.name()).collect();
        return Err(usage!(
            "a .{} file cannot hold {codec}: choose --codec {}, or another container",
            container.extension(),
            names.join("|")
        ));
    }
    codec.checked_crf(crf).map(drop)
}

impl Encoder {
    /// Returns the first installed encoder of a codec, or without a codec that of the first codec
    /// that the container prefers.
    ///
    /// # Errors
    /// No encoder that keeps `depth` bits is installed.
    pub(crate) fn choose(codec: Option<Codec>, container: Container, depth: u32) -> Result<Self> {
        let codecs = match &codec {
            Some(codec) => std::slice::from_ref(codec),
            None => container.codecs(depth > 8),
        };
        let encoders = codecs
            .iter()
            .flat_map(|codec| ENCODERS.iter().filter(move |encoder| encoder.codec == *codec));
        let usable = |encoder: &&Encoder| encoder.encoded_depth(depth).is_some();
        encoders.clone().find(usable).copied().ok_or_else(|| {
            let advice = encoders.clone().next();
            match advice.filter(|encoder| !encoder.is_installed()) {
                Some(Encoder { codec, package, .. }) => failed!(
                    "no encoder for {codec} is installed: install the package {package}, or \
                     choose another --codec"
                ),
                None => failed!(
                    "the installed encoders for {} do not take {depth} bits: choose another \
                     --codec or --depth",
                    codecs.iter().map(|codec| codec.name()).collect::<Vec<_>>().join(", ")
                ),
            }
        })
    }

    /// Returns the encoder with an element of this name.
    ///
    /// # Errors
    /// It is unknown or not installed.
    pub(crate) fn named(factory: &str) -> Result<Self> {
        let encoder = ENCODERS.into_iter().find(|encoder| encoder.factory == factory);
        let encoder = encoder.ok_or_else(|| failed!("there is no encoder {factory}"))?;
        match encoder.is_installed() {
            true => Ok(encoder),
            false => Err(failed!(
                "the encoder {factory} is not installed: install the package {}",
                encoder.package
            )),
        }
    }

    /// Returns the pixel formats that the encoder takes; none if it is not installed.
    pub(crate) fn formats(&self) -> Vec<VideoFormat> {
        gst::ElementFactory::find(self.factory).as_ref().map(formats::accepted).unwrap_or_default()
    }

    /// Returns the bits of the samples that the encoder gets for video of `depth` bits: that depth,
    /// or 10 if it takes no 8, as ProRes; `None` if it takes neither.
    pub(crate) fn encoded_depth(&self, depth: u32) -> Option<u32> {
        let formats = self.formats();
        let takes = |depth| formats.iter().any(|format| formats::depth(*format) == depth);
        [depth, depth.max(10)].into_iter().find(|depth| takes(*depth))
    }

    fn is_installed(&self) -> bool {
        gst::ElementFactory::find(self.factory).is_some()
    }

    /// Creates the element. With `key_frame_interval`, one of that many frames is a key frame, and
    /// no others are.
    ///
    /// # Errors
    /// It lacks a property, as another version of it may, or cannot place its key frames.
    pub(crate) fn build(
        &self,
        crf: u32,
        threads: u32,
        key_frame_interval: Option<u32>,
    ) -> Result<gst::Element> {
        let interval = match (key_frame_interval, self.factory) {
            (None, _) => String::new(),
            (Some(frames), "x264enc") => format!(
                "key-int-max={frames} \
                 option-string=\"keyint={frames}:min-keyint={frames}:scenecut=0:open-gop=0\""
            ),
            (Some(_), other) => {
                return Err(failed!(
                    "{other} cannot place its key frames: install the package \
                     gstreamer1.0-plugins-ugly for x264enc"
                ));
            }
        };
        let properties = (self.properties)(crf, threads);
        Ok(gst::parse::launch(&format!("{} {properties} {interval}", self.factory))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_is_checked() {
        assert_eq!(Codec::H264.checked_crf(None).unwrap(), 18);
        assert_eq!(Codec::Vp9.checked_crf(Some(63)).unwrap(), 63);
        assert!(Codec::H265.checked_crf(Some(51)).is_err());
        assert!(Codec::Ffv1.checked_crf(Some(1)).is_err());
        assert!(Codec::Prores.checked_crf(None).is_ok());
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for codec in Codec::value_variants() {
            assert_eq!(codec.to_possible_value().unwrap().get_name(), codec.name());
        }
    }
}
