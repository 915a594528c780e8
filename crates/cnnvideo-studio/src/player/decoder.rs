// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes a source frame by frame.

use gst::prelude::*;
use gst_video::VideoInfo;
use serde_json::{Value, json};

use super::{
    frame::Frame,
    source::Source,
    steps::accepted,
    strand::{make, make_caps},
};
use crate::{
    access::Access,
    problem::{Problem, Result, of_message},
};

/// Frames that are decoded in advance.
const AHEAD: u32 = 3;
/// Duration of a frame where the video does not tell it.
const UNKNOWN_DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// A pipeline that decodes a source.
pub(crate) struct Decoder {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    live: bool,
}

/// Result of `Decoder::next`.
pub(crate) enum Next {
    /// A frame.
    Frame(Frame),
    /// Nothing yet.
    Wait,
    /// The video has ended.
    End,
}

impl Decoder {
    /// Opens a source.
    ///
    /// # Errors
    /// It may not be opened, or an element is missing.
    pub(crate) fn open(source: &Source, access: &Access) -> Result<Self> {
        let elements = source.elements(access)?;
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .max_buffers(if elements.live { 1 } else { AHEAD })
            .drop(elements.live)
            .build();
        let convert = make("videoconvert")?;
        let formats = accepted("cnndenoise").unwrap_or_else(gst::Caps::new_any);
        let back = [convert.clone(), make_caps(&formats)?, sink.clone().upcast()];
        let pipeline = gst::Pipeline::new();
        pipeline.add_many(elements.all.iter().chain(&back))?;
        gst::Element::link_many(&back)?;
        gst::Element::link_many(&elements.all)?;
        match elements.decoder.and_then(|index| elements.all.get(index)) {
            Some(decoder) => link_when_decoded(decoder, &convert),
            None => gst::Element::link_many(elements.all.last().into_iter().chain([&convert]))?,
        }
        let decoder = Self { pipeline, sink, live: elements.live };
        match decoder.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(decoder),
            Err(_) => Err(decoder.error().unwrap_or_else(|| {
                Problem::new("the source does not start", "choose another one")
            })),
        }
    }

    /// Waits for the next frame, for a short time.
    ///
    /// # Errors
    /// Decoding failed.
    pub(crate) fn next(&self, timeout: gst::ClockTime) -> Result<Next> {
        if let Some(sample) = self.sink.try_pull_sample(timeout)
            && let Some(frame) = frame_of(&sample)
        {
            return Ok(Next::Frame(frame));
        }
        match self.error() {
            Some(problem) => Err(problem),
            None if self.sink.is_eos() => Ok(Next::End),
            None => Ok(Next::Wait),
        }
    }

    /// Moves to a time. The next frame is the first one that is not before it.
    ///
    /// # Errors
    /// The source cannot seek.
    pub(crate) fn seek(&self, time: gst::ClockTime) -> Result<()> {
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        self.pipeline
            .seek_simple(flags, time)
            .map_err(|_| Problem::new("this source cannot seek", "play it from its start"))
    }

    /// Returns the length of the video, if it is known.
    pub(crate) fn duration(&self) -> Option<gst::ClockTime> {
        self.pipeline.query_duration()
    }

    /// Returns whether frames come in real time.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Describes the video to the page, by its first frame.
    pub(crate) fn describe(&self, source: &Source, frame: &Frame) -> Value {
        let info = VideoInfo::from_caps(&frame.caps).ok();
        let duration = self.duration();
        let (rate, scale) = info.as_ref().map_or((0, 1), |i| (i.fps().numer(), i.fps().denom()));
        json!({
            "title": source.title(),
            "width": info.as_ref().map(VideoInfo::width),
            "height": info.as_ref().map(VideoInfo::height),
            "format": info.as_ref().map(|info| info.format().to_str().to_string()),
            "rate": [rate, scale],
            "seconds": duration.map(|time| time.nseconds() as f64 / 1e9),
            "live": self.live,
        })
    }

    fn error(&self) -> Option<Problem> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(of_message(error)),
            _ => None,
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Returns the frame of a sample with its time in the video, from 0 on; timestamps of some
/// containers begin elsewhere.
fn frame_of(sample: &gst::Sample) -> Option<Frame> {
    let (mut buffer, caps) = (sample.buffer_owned()?, sample.caps_owned()?);
    let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
    let time = segment.and_then(|segment| segment.to_stream_time(buffer.pts()));
    if time.is_some() && time != buffer.pts() {
        buffer.make_mut().set_pts(time);
    }
    Some(Frame { buffer, caps })
}

/// Returns the duration of a frame.
pub(crate) fn duration(frame: &Frame) -> gst::ClockTime {
    let fps = VideoInfo::from_caps(&frame.caps).ok().map(|info| info.fps());
    let of_rate = fps.filter(|fps| fps.numer() > 0).and_then(|fps| {
        gst::ClockTime::SECOND.mul_div_floor(fps.denom() as u64, fps.numer() as u64)
    });
    of_rate.or(frame.buffer.duration()).filter(|time| !time.is_zero()).unwrap_or(UNKNOWN_DURATION)
}

/// Links the first video stream of a decoder.
fn link_when_decoded(decoder: &gst::Element, convert: &gst::Element) {
    let sink = convert.static_pad("sink");
    decoder.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let video = caps.structure(0).is_some_and(|caps| caps.name() == "video/x-raw");
        if let Some(sink) = sink.as_ref().filter(|sink| video && !sink.is_linked()) {
            // If this fails, decodebin posts an error: none of its pads is linked.
            let _ = pad.link(sink);
        }
    });
}
