// SPDX-License-Identifier: MIT OR Apache-2.0

//! Raw video of y4m streams in pipelines.

mod sink;
mod source;

pub(crate) use sink::Sink;
pub(crate) use source::Source;

use gst_video::{
    VideoChromaSite, VideoColorRange, VideoColorimetry, VideoFormat, VideoInfo, VideoInterlaceMode,
};

use crate::{
    error::{Result, failed},
    y4m::{Chroma, Header, Interlacing},
};

/// Formats of GStreamer that y4m can hold.
pub(crate) const FORMATS: [VideoFormat; 7] = [
    VideoFormat::I420,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Gray8,
    VideoFormat::I42010le,
    VideoFormat::I42210le,
    VideoFormat::Y44410le,
];

/// Returns the format of GStreamer for the frames. There is none for grey of 10 bits that the
/// elements take; such frames get chroma without colour.
fn format(chroma: Chroma) -> VideoFormat {
    match chroma {
        Chroma::C420 => VideoFormat::I420,
        Chroma::C422 => VideoFormat::Y42b,
        Chroma::C444 => VideoFormat::Y444,
        Chroma::Mono => VideoFormat::Gray8,
        Chroma::C420P10 | Chroma::Mono10 => VideoFormat::I42010le,
        Chroma::C422P10 => VideoFormat::I42210le,
        Chroma::C444P10 => VideoFormat::Y44410le,
    }
}

/// Returns the samples of a format of GStreamer.
fn chroma(format: VideoFormat) -> Result<Chroma> {
    Ok(match format {
        VideoFormat::I420 => Chroma::C420,
        VideoFormat::Y42b => Chroma::C422,
        VideoFormat::Y444 => Chroma::C444,
        VideoFormat::Gray8 => Chroma::Mono,
        VideoFormat::I42010le => Chroma::C420P10,
        VideoFormat::I42210le => Chroma::C422P10,
        VideoFormat::Y44410le => Chroma::C444P10,
        other => return Err(failed!("y4m cannot hold video in the format {other}")),
    })
}

/// Returns the video info of the frames of a stream.
fn info(header: &Header) -> Result<VideoInfo> {
    let [rate, scale] = header.rate.map(|term| term as i32);
    let mut builder = VideoInfo::builder(format(header.chroma), header.width, header.height)
        .fps(gst::Fraction::new(rate, scale));
    if let Some([width, height]) = header.aspect {
        builder = builder.par(gst::Fraction::new(width as i32, height as i32));
    }
    let order = match header.interlacing {
        Interlacing::Progressive => None,
        Interlacing::TopFirst => Some(gst_video::VideoFieldOrder::TopFieldFirst),
        Interlacing::BottomFirst => Some(gst_video::VideoFieldOrder::BottomFieldFirst),
    };
    if let Some(order) = order {
        builder = builder.interlace_mode(VideoInterlaceMode::Interleaved).field_order(order);
    }
    let site = match header.siting {
        Some("jpeg") => Some(VideoChromaSite::JPEG),
        Some("mpeg2") => Some(VideoChromaSite::MPEG2),
        Some("paldv") => Some(VideoChromaSite::DV),
        _ => None,
    };
    if let Some(site) = &site {
        builder = builder.chroma_site(*site);
    }
    let info = builder.build()?;
    if header.full_range != Some(true) {
        return Ok(info);
    }
    let usual = info.colorimetry();
    let full = VideoColorimetry::new(
        VideoColorRange::Range0_255,
        usual.matrix(),
        usual.transfer(),
        usual.primaries(),
    );
    Ok(VideoInfo::from_caps(with_colorimetry(&info, &full)?.as_ref())?)
}

/// Returns the caps of a video info with other colorimetry.
fn with_colorimetry(info: &VideoInfo, colorimetry: &VideoColorimetry) -> Result<gst::Caps> {
    let mut caps = info.to_caps()?;
    caps.make_mut().set("colorimetry", colorimetry.to_string());
    Ok(caps)
}

/// Returns the header for frames of a video info. `source` is the header of the stream that they
/// come from, if any.
fn header(info: &VideoInfo, source: Option<&Header>) -> Result<Header> {
    let mut chroma = chroma(info.format())?;
    // Elements and conversions may have added chroma without colour.
    if source.is_some_and(|header| header.chroma.subsampling().is_none()) {
        chroma = if chroma.depth() > 8 { Chroma::Mono10 } else { Chroma::Mono };
    }
    let fps = info.fps();
    let rate = [fps.numer(), fps.denom()].map(|term| term.max(0) as u32);
    let par = info.par();
    let is_full = info.colorimetry().range() == VideoColorRange::Range0_255;
    let interlacing = match info.is_interlaced() {
        false => Interlacing::Progressive,
        true if info.field_order() == gst_video::VideoFieldOrder::BottomFieldFirst => {
            Interlacing::BottomFirst
        }
        true => Interlacing::TopFirst,
    };
    let siting = match info.chroma_site() {
        _ if chroma != Chroma::C420 => None,
        VideoChromaSite::JPEG => Some("jpeg"),
        VideoChromaSite::MPEG2 => Some("mpeg2"),
        VideoChromaSite::DV => Some("paldv"),
        _ => None,
    };
    let known = source.map(|header| (header.siting, header.aspect, header.full_range));
    Ok(Header {
        width: info.width(),
        height: info.height(),
        // Readers need some rate.
        rate: if rate.contains(&0) { [25, 1] } else { rate },
        interlacing,
        aspect: known.map_or(Some([par.numer() as u32, par.denom() as u32]), |known| known.1),
        chroma,
        siting: known.filter(|_| chroma == Chroma::C420).map_or(siting, |known| known.0),
        full_range: known.map_or(is_full.then_some(true), |known| known.2),
    })
}
