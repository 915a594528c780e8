// SPDX-License-Identifier: MIT OR Apache-2.0

//! Writes a file of a few blank frames and reads it again, before the work begins.
//!
//! Encoders and muxers differ in what they keep, from version to version. A trial finds out within
//! a second what would be lost after hours.

use std::path::Path;

use gst::prelude::*;
use gst_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoInfo,
    VideoTransferFunction,
};

use super::path::VideoPath;
use crate::{
    container::{Container, request_pad},
    error::{Result, failed},
    media::{edit_list, mp4, probe::Media},
    run::{Observer, Running, run},
    stop::Stop,
};

/// Frames of the trial.
const FRAMES: u64 = 3;

/// Properties of the video that must be kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Caps of the decoded video.
    pub(crate) caps: gst::Caps,
    /// Value of the tag `image-orientation`.
    pub(crate) orientation: Option<String>,
}

impl Kept {
    /// Writes into a file what the muxer may have left out: how to rotate its picture, and how long
    /// it is shown.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn complete(&self, container: Container, file: &Path) -> Result<()> {
        if !container.is_mp4() {
            return Ok(());
        }
        if let Some(orientation) = &self.orientation {
            mp4::set_orientation(file, orientation)
                .map_err(|err| failed!("cannot store the rotation of the picture: {err}"))?;
        }
        edit_list::extend(file).map_err(|err| failed!("cannot store the length: {err}"))
    }
}

/// Checks that a file in `container` keeps the properties of the video. `about` names the input.
///
/// # Errors
/// It loses one, or cannot be written or read.
pub(crate) fn check(
    path: &VideoPath,
    container: Container,
    kept: &Kept,
    file: &Path,
    about: &str,
    stop: &Stop,
) -> Result<()> {
    write(path, container, file, about, stop)?;
    let codec = path.encoder.map(|(encoder, _)| encoder.codec.name()).unwrap_or_default();
    finish(kept, container, codec, file, stop)
}

/// Stores the orientation of the picture in a written file, and checks that the file keeps the
/// properties of the video.
///
/// # Errors
/// It loses one, or cannot be written or read.
pub(crate) fn finish(
    kept: &Kept,
    container: Container,
    codec: &str,
    file: &Path,
    stop: &Stop,
) -> Result<()> {
    kept.complete(container, file)?;
    let media = Media::probe(file, stop)?;
    let lost = lost(kept, &media);
    if lost.is_empty() {
        return Ok(());
    }
    Err(failed!(
        "{codec} in a .{} file loses the {}: choose another container or --codec{}",
        container.extension(),
        lost.join(" and the "),
        advice(&lost)
    ))
}

/// Ignores warnings, which come again in the run itself.
struct Quiet;

impl Observer for Quiet {
    fn warning(&mut self, _text: &str) {}
}

/// Writes the file.
fn write(
    path: &VideoPath,
    container: Container,
    file: &Path,
    about: &str,
    stop: &Stop,
) -> Result<()> {
    let pipeline = Running(gst::Pipeline::new());
    let source = gst_app::AppSrc::builder().caps(&path.caps).format(gst::Format::Time).build();
    pipeline.0.add(&source)?;
    let ends = path.add_to(&pipeline.0)?;
    source.link(&ends.first)?;
    let muxer = container.muxer()?;
    let sink = gst::ElementFactory::make("filesink").property("location", file).build()?;
    pipeline.0.add_many([&muxer, &sink])?;
    muxer.link(&sink)?;
    let pad = request_pad(&muxer, "video_%u")?;
    let last = ends.last.static_pad("src").ok_or_else(|| failed!("the encoder has no output"))?;
    last.link(&pad)
        .map_err(|_| failed!("a .{} file cannot hold this codec", container.extension()))?;
    let info = VideoInfo::from_caps(&path.caps)?;
    let time = |frame: u64| gst::ClockTime::from_mseconds(40) * frame;
    for frame in 0..FRAMES {
        let mut buffer = gst::Buffer::with_size(info.size())?;
        if let Some(buffer) = buffer.get_mut() {
            buffer.memset(.., 0).map_err(|_| failed!("a frame cannot be mapped"))?;
            buffer.set_pts(time(frame));
            buffer.set_duration(time(1));
        }
        // A failure is reported on the bus.
        let _ = source.push_buffer(buffer);
    }
    let _ = source.end_of_stream();
    run(&pipeline, gst::State::Playing, stop, about, &mut Quiet)
}

/// Returns the properties that a file has lost, in words.
fn lost(kept: &Kept, media: &Media) -> Vec<String> {
    let mut lost = Vec::new();
    let Ok(before) = VideoInfo::from_caps(&kept.caps) else { return lost };
    let after = &media.info;
    let field = |caps: &gst::CapsRef, name: &str| {
        let value = caps.structure(0)?.value(name).ok()?.serialize().ok()?;
        Some(value.to_string())
    };
    let size = |info: &VideoInfo| format!("{}x{}", info.width(), info.height());
    if size(&before) != size(after) {
        lost.push(format!("frame size ({} becomes {})", size(&before), size(after)));
    }
    if !is_same_aspect(&before, after) {
        lost.push(format!("pixel aspect ratio {}", before.par()));
    }
    if before.is_interlaced() && before.interlace_mode() != after.interlace_mode() {
        lost.push("interlacing".to_owned());
    }
    // RGB is stored as YUV, with other colorimetry.
    if before.is_yuv() && !keeps_colorimetry(&before.colorimetry(), &after.colorimetry()) {
        let [from, to] = [&before, after].map(VideoInfo::colorimetry);
        lost.push(format!("colorimetry ({from} becomes {to})"));
    }
    for (name, words) in [
        ("field-order", "order of the fields"),
        ("mastering-display-info", "HDR mastering metadata"),
        ("content-light-level", "HDR content light level"),
        ("multiview-mode", "stereo mode"),
    ] {
        let value = field(&kept.caps, name).filter(|value| value != "mono");
        if value.is_some() && value != field(&media.caps, name) {
            lost.push(words.to_owned());
        }
    }
    let turned = kept.orientation.as_deref().filter(|orientation| *orientation != "rotate-0");
    if turned.is_some() && turned != media.orientation.as_deref() {
        lost.push("rotation".to_owned());
    }
    lost
}

/// Returns whether all known parts of a colorimetry are the same.
fn keeps_colorimetry(before: &VideoColorimetry, after: &VideoColorimetry) -> bool {
    let is_same = [
        before.range() == VideoColorRange::Unknown || before.range() == after.range(),
        before.matrix() == VideoColorMatrix::Unknown || before.matrix() == after.matrix(),
        before.transfer() == VideoTransferFunction::Unknown
            || before.transfer() == after.transfer(),
        before.primaries() == VideoColorPrimaries::Unknown
            || before.primaries() == after.primaries(),
    ];
    is_same == [true; 4]
}

/// Returns whether pixels have the same aspect ratio. Matroska stores the width of the picture in
/// whole pixels.
fn is_same_aspect(before: &VideoInfo, after: &VideoInfo) -> bool {
    let width = |info: &VideoInfo| {
        let par = info.par();
        f64::from(info.width()) * f64::from(par.numer()) / f64::from(par.denom())
    };
    let height = |info: &VideoInfo| {
        let par = info.par();
        f64::from(info.height()) * f64::from(par.denom()) / f64::from(par.numer())
    };
    (width(before) - width(after)).abs() <= 1.0 || (height(before) - height(after)).abs() <= 1.0
}

/// Returns what helps, to append to the sentence.
fn advice(lost: &[String]) -> &'static str {
    let has = |word: &str| lost.iter().any(|lost| lost.starts_with(word));
    if has("rotation") || has("order") {
        " (.mp4 and .mov files keep it)"
    } else if has("HDR") {
        " (h265 keeps it)"
    } else if has("colorimetry") {
        " (.mkv files keep it)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_colorimetry_may_become_known() {
        crate::init().unwrap();
        let keeps = |before: &str, after: &str| {
            let [before, after] = [before, after].map(|text| text.parse().unwrap());
            keeps_colorimetry(&before, &after)
        };
        assert!(keeps("bt709", "bt709"));
        assert!(keeps("2:4:0:0", "bt601"));
        assert!(!keeps("bt601", "2:4:0:0"));
        assert!(!keeps("1:4:0:0", "2:4:0:0"));
        assert!(!keeps("bt601", "bt709"));
    }

    #[test]
    fn the_aspect_of_the_picture_may_round_to_a_pixel() {
        crate::init().unwrap();
        let same = |before: (i32, i32), after: (i32, i32)| {
            let [before, after] = [before, after].map(|(width, height)| {
                VideoInfo::builder(gst_video::VideoFormat::I420, 160, 120)
                    .par(gst::Fraction::new(width, height))
                    .build()
                    .unwrap()
            });
            is_same_aspect(&before, &after)
        };
        // 174 instead of 174.5 pixels.
        assert!(same((12, 11), (87, 80)));
        assert!(!same((12, 11), (1, 1)));
        assert!(!same((12, 11), (11, 12)));
    }
}
