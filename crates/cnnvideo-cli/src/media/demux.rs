// SPDX-License-Identifier: MIT OR Apache-2.0

//! Takes a file apart into its streams, as encoded as they are in the file.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use gst::prelude::*;

use super::location;
use crate::error::Result;

/// Kind of a stream, by its caps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// Subtitles, as text or pictures.
    Subtitle,
    /// Anything else.
    Other,
}

impl Kind {
    /// Returns the kind of a stream with these caps.
    pub(crate) fn of(caps: &gst::CapsRef) -> Self {
        let name = caps.structure(0).map_or("", |structure| structure.name().as_str());
        let subtitles = [
            "subtitle/",
            "subpicture/",
            "application/x-ssa",
            "application/x-ass",
            "closedcaption/",
        ];
        if name.starts_with("video/") || name.starts_with("image/") {
            Self::Video
        } else if name.starts_with("audio/") {
            Self::Audio
        } else if name.starts_with("text/")
            || subtitles.iter().any(|prefix| name.starts_with(prefix))
            || name == "application/x-usf"
        {
            Self::Subtitle
        } else {
            Self::Other
        }
    }

    /// Returns the name for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Subtitle => "subtitle",
            Self::Other => "data",
        }
    }
}

/// Containers that store whole frames with a timestamp each, so that streams need no parser.
const FRAMED: [&str; 5] =
    ["video/quicktime", "video/x-matroska", "video/webm", "audio/x-matroska", "audio/webm"];

/// A part of a pipeline that reads a file and offers its streams.
pub(crate) struct Demux {
    parser: gst::Element,
}

impl Demux {
    /// Adds the part to a pipeline.
    ///
    /// Video is parsed, so that its caps describe it. Sound and subtitles leave as they are in the
    /// file where the container stores whole frames, because parsers change timestamps.
    /// `unparsed_video` is called once with the pad on which the first video leaves such a
    /// container.
    ///
    /// # Errors
    /// An element is missing.
    pub(crate) fn add_to(
        pipeline: &gst::Pipeline,
        file: &Path,
        unparsed_video: impl FnOnce(&gst::Pad) + Send + 'static,
    ) -> Result<Self> {
        let parser = gst::ElementFactory::make("parsebin").build()?;
        pipeline.add(&parser)?;
        location::add_source(pipeline, file)?.link(&parser)?;
        let state = Shared::new((false, Some(unparsed_video)));
        parser.connect("autoplug-continue", false, move |arguments| {
            let pad = arguments.get(1).and_then(|value| value.get::<gst::Pad>().ok());
            let caps = arguments.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let (Some(pad), Some(caps)) = (pad, caps) else { return Some(true.to_value()) };
            let parse = state.with(|(is_framed, unparsed_video)| {
                if caps.structure(0).is_some_and(|s| FRAMED.contains(&s.name().as_str())) {
                    *is_framed = true;
                    return true;
                }
                match Kind::of(&caps) {
                    Kind::Audio | Kind::Subtitle => !*is_framed || needs_parser(&caps),
                    Kind::Video if *is_framed => {
                        // The signal offers a ghost of the pad, which goes when a parser follows.
                        let real = pad.downcast_ref::<gst::GhostPad>().and_then(|p| p.target());
                        if let Some(call) = unparsed_video.take() {
                            call(real.as_ref().unwrap_or(&pad));
                        }
                        true
                    }
                    Kind::Video | Kind::Other => true,
                }
            });
            Some(parse.to_value())
        });
        Ok(Self { parser })
    }

    /// Calls `each` with the pad of every stream, from streaming threads.
    pub(crate) fn each_stream(&self, each: impl Fn(&gst::Pad) + Send + Sync + 'static) {
        self.parser.connect_pad_added(move |_, pad| each(pad));
    }

    /// Calls `done` once after the last stream.
    ///
    /// `parsebin` of GStreamer 1.22 does not signal that, but it lets no data pass before it has
    /// added all pads.
    pub(crate) fn after_streams(&self, done: impl FnOnce() + Send + 'static) {
        let done = Shared::new(Some(done));
        self.parser.connect_pad_added(move |_, pad| {
            let done = done.clone();
            let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
            pad.add_probe(types, move |_, info| {
                let event = info.event().map(|event| event.type_());
                if event
                    .is_some_and(|kind| ![gst::EventType::Eos, gst::EventType::Gap].contains(&kind))
                {
                    return gst::PadProbeReturn::Ok;
                }
                if let Some(done) = done.with(Option::take) {
                    done();
                }
                gst::PadProbeReturn::Remove
            });
        });
    }
}

/// Returns whether muxers cannot take a stream as demultiplexers give it: the headers of FLAC are
/// in another form.
fn needs_parser(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|structure| structure.has_name("audio/x-flac"))
}

/// A value that a callback of GStreamer sets.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    /// Returns a first handle to a value.
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    /// Calls `change` with the value.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
