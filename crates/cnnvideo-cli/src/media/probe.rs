// SPDX-License-Identifier: MIT OR Apache-2.0

//! Finds out what is in a file: its streams, and the format of its first video frame.

use std::path::Path;

use gst::prelude::*;
use gst_video::VideoInfo;

use super::demux::{Demux, Kind, Shared};
use crate::{
    error::{Result, failed},
    run::{Next, Observer, Running, run},
    stop::Stop,
};

/// A stream of a file.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Identifies the stream each time that the file is opened.
    pub(crate) id: String,
    /// Kind of the stream.
    pub(crate) kind: Kind,
    /// Caps of the encoded stream.
    pub(crate) caps: gst::Caps,
}

/// What is in a file.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    /// All streams in the order of the file.
    pub(crate) streams: Vec<Stream>,
    /// Index of the video stream to process.
    pub(crate) video: usize,
    /// Caps of its decoded frames.
    pub(crate) caps: gst::Caps,
    /// The same caps, parsed.
    pub(crate) info: VideoInfo,
    /// How the picture is to be rotated or mirrored, as in the tag `image-orientation`.
    pub(crate) orientation: Option<String>,
    /// Length of the file, if it is known.
    pub(crate) duration: Option<gst::ClockTime>,
}

/// What the callbacks of the pipeline have found.
#[derive(Default)]
struct Found {
    streams: Vec<(gst::Pad, Stream)>,
    video: Option<usize>,
    all_streams: bool,
    frame: Option<gst::Caps>,
    has_time: bool,
    orientation: Option<String>,
}

impl Media {
    /// Opens a file and decodes its first frame.
    ///
    /// # Errors
    /// It is not a video that can be decoded, or has no frame.
    pub(crate) fn probe(file: &Path, stop: &Stop) -> Result<Self> {
        let about = file.display().to_string();
        let pipeline = Running(gst::Pipeline::new());
        let found = Shared::<Found>::default();
        let demux = Demux::add_to(&pipeline.0, file, |_| ())?;
        {
            let (found, pipeline) = (found.clone(), pipeline.0.downgrade());
            demux.each_stream(move |pad| {
                if let Some(pipeline) = pipeline.upgrade()
                    && let Err(failure) = add_stream(&pipeline, pad, &found)
                {
                    gst::element_error!(pipeline, gst::CoreError::Failed, ("{failure}"));
                }
            });
        }
        {
            let (found, pipeline) = (found.clone(), pipeline.0.downgrade());
            demux.after_streams(move || {
                found.with(|found| found.all_streams = true);
                wake(&pipeline);
            });
        }
        run(&pipeline, gst::State::Playing, stop, &about, &mut FirstFrame(&found))?;
        let duration = pipeline.0.query_duration::<gst::ClockTime>();
        found.with(|found| found.media(&about, duration))
    }
}

impl Found {
    fn media(&mut self, about: &str, duration: Option<gst::ClockTime>) -> Result<Media> {
        let video = self.video.ok_or_else(|| failed!("{about} has no video stream"))?;
        let caps = self.frame.take().ok_or_else(|| failed!("{about} has no video frame"))?;
        if !self.has_time {
            return Err(failed!(
                "the frames of {about} have no timestamps: put it into another container first \
                 (ffmpeg -fflags +genpts -i IN -c copy OUT.mkv)"
            ));
        }
        let info = VideoInfo::from_caps(&caps)
            .map_err(|_| failed!("{about}: the decoder gives {caps}, which is not raw video"))?;
        let streams = std::mem::take(&mut self.streams);
        Ok(Media {
            streams: streams.into_iter().map(|(_, stream)| stream).collect(),
            video,
            caps,
            info,
            orientation: self.orientation.take(),
            duration,
        })
    }
}

/// Waits for the first frame and all streams.
struct FirstFrame<'a>(&'a Shared<Found>);

impl Observer for FirstFrame<'_> {
    fn tick(&mut self) -> Result<Next> {
        let complete = self
            .0
            .with(|found| found.all_streams && (found.video.is_none() || found.frame.is_some()));
        Ok(if complete { Next::Finish } else { Next::Continue })
    }
}

/// Decodes the first video stream; drops the data of all others.
fn add_stream(pipeline: &gst::Pipeline, pad: &gst::Pad, found: &Shared<Found>) -> Result<()> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let kind = Kind::of(&caps);
    let id = pad.stream_id().map(|id| id.to_string()).unwrap_or_default();
    let is_main = found.with(|found| {
        found.streams.push((pad.clone(), Stream { id, kind, caps }));
        let is_main = kind == Kind::Video && found.video.is_none();
        if is_main {
            found.video = Some(found.streams.len() - 1);
        }
        is_main
    });
    if is_main {
        watch_orientation(pad, found);
        let decoder = add_decoder(pipeline)?;
        let (found, pipeline) = (found.clone(), pipeline.downgrade());
        decoder.connect_pad_added(move |_, pad| {
            let Some(pipeline) = pipeline.upgrade() else { return };
            let (found, waiting) = (found.clone(), pipeline.downgrade());
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                found.with(|found| {
                    if found.frame.is_none() {
                        found.frame = pad.current_caps();
                        found.has_time = info.buffer().is_some_and(|b| b.pts().is_some());
                    }
                });
                wake(&waiting);
                gst::PadProbeReturn::Remove
            });
            if let Err(failure) = add_sink(&pipeline, pad) {
                gst::element_error!(pipeline, gst::CoreError::Failed, ("{failure}"));
            }
        });
        link(pad, &decoder)
    } else {
        pad.add_probe(gst::PadProbeType::BUFFER, |_, _| gst::PadProbeReturn::Drop);
        add_sink(pipeline, pad)
    }
}

/// Lets the loop that runs a pipeline look at what was found.
fn wake(pipeline: &glib::WeakRef<gst::Pipeline>) {
    if let Some(pipeline) = pipeline.upgrade() {
        let message = gst::message::Application::new(gst::Structure::new_empty("found"));
        // A bus that is closed belongs to a pipeline that stops.
        let _ = pipeline.post_message(message);
    }
}

/// Notes the tag that tells how to rotate the picture.
fn watch_orientation(pad: &gst::Pad, found: &Shared<Found>) {
    let found = found.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Tag(tag)) = info.event().map(|event| event.view())
            && let Some(orientation) = tag.tag().get::<gst::tags::ImageOrientation>()
        {
            let orientation = orientation.get().to_owned();
            found.with(|found| found.orientation = Some(orientation));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Adds a decoder that runs on the processor: its frames are the same on all machines, and lie in
/// memory that the filters can read.
pub(crate) fn add_decoder(pipeline: &gst::Pipeline) -> Result<gst::Element> {
    let decoder =
        gst::ElementFactory::make("decodebin").property("force-sw-decoders", true).build()?;
    pipeline.add(&decoder)?;
    decoder.sync_state_with_parent()?;
    Ok(decoder)
}

/// Links a pad with an element of one sink pad.
pub(crate) fn link(pad: &gst::Pad, element: &gst::Element) -> Result<()> {
    let sink =
        element.static_pad("sink").ok_or_else(|| failed!("{} has no sink pad", element.name()))?;
    pad.link(&sink)
        .map_err(|err| failed!("cannot link {} with {}: {err}", pad.name(), element.name()))?;
    Ok(())
}

/// Links a pad with a sink that discards its data.
pub(crate) fn add_sink(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<()> {
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()?;
    pipeline.add(&sink)?;
    sink.sync_state_with_parent()?;
    link(pad, &sink)
}
