// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes the video of a file or stream; leaves out everything else.

use std::path::Path;

use gst::prelude::*;

use super::{
    Input,
    demux::{Demux, Kind, Shared},
    probe::Media,
};
use crate::{
    error::{Result, failed},
    pipe,
    stop::Stop,
};

/// A part of a pipeline that decodes the video of a file.
pub(crate) struct Decode(Demux);

impl Decode {
    /// Adds the part to a pipeline.
    ///
    /// `each_stream` is called with the pad of each stream, and whether its video is decoded: that
    /// of the first one is. `decoded` is called with the pad that gives its frames, and links it.
    /// `unparsed_video` is called as by [`Demux::add_to`].
    ///
    /// # Errors
    /// An element is missing.
    pub(crate) fn add_to(
        pipeline: &gst::Pipeline,
        file: &Path,
        each_stream: impl Fn(&gst::Pad, bool) + Send + Sync + 'static,
        decoded: impl Fn(&gst::Pipeline, &gst::Pad) -> Result<()> + Send + Sync + Clone + 'static,
        unparsed_video: impl FnOnce(&gst::Pad) + Send + 'static,
    ) -> Result<Self> {
        let demux = Demux::add_to(pipeline, file, unparsed_video)?;
        let weak = pipeline.downgrade();
        let has_video = Shared::new(false);
        demux.each_stream(move |pad| {
            let Some(pipeline) = weak.upgrade() else { return };
            let is_main = kind(pad) == Kind::Video
                && has_video.with(|has_video| !std::mem::replace(has_video, true));
            each_stream(pad, is_main);
            let added = if is_main {
                add_main(&pipeline, pad, decoded.clone())
            } else {
                pad.add_probe(gst::PadProbeType::BUFFER, |_, _| gst::PadProbeReturn::Drop);
                add_sink(&pipeline, pad)
            };
            report(&pipeline, added);
        });
        Ok(Self(demux))
    }

    /// Calls `done` once after the last stream.
    pub(crate) fn after_streams(&self, done: impl FnOnce() + Send + 'static) {
        self.0.after_streams(done);
    }
}

/// Adds the elements that decode an input, and links them with `first`.
///
/// # Errors
/// The input cannot be opened, or has no video: a sink behind `first` would wait for it for ever.
pub(crate) fn add_input(
    pipeline: &gst::Pipeline,
    input: &Input,
    first: &gst::Element,
    stop: &Stop,
) -> Result<()> {
    let Input::File(path) = input else {
        let source = pipe::Source::open(input, stop)?.add_to(pipeline)?;
        return Ok(source.link(first)?);
    };
    Media::probe(path, stop)?;
    let first = first.clone();
    Decode::add_to(pipeline, path, |_, _| (), move |_, pad| link(pad, &first), |_| ()).map(drop)
}

/// Returns the kind of a stream by its pad.
pub(crate) fn kind(pad: &gst::Pad) -> Kind {
    Kind::of(&caps(pad))
}

/// Returns the caps of a stream by its pad.
pub(crate) fn caps(pad: &gst::Pad) -> gst::Caps {
    pad.current_caps().unwrap_or_else(|| pad.query_caps(None))
}

/// Adds the decoder of the main stream.
fn add_main(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    decoded: impl Fn(&gst::Pipeline, &gst::Pad) -> Result<()> + Send + Sync + 'static,
) -> Result<()> {
    let decoder = add_decoder(pipeline)?;
    let weak = pipeline.downgrade();
    decoder.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = weak.upgrade() {
            report(&pipeline, decoded(&pipeline, pad));
        }
    });
    link(pad, &decoder)
}

/// Posts the failure of a callback as an error of the pipeline.
fn report(pipeline: &gst::Pipeline, result: Result<()>) {
    if let Err(failure) = result {
        gst::element_error!(pipeline, gst::CoreError::Pad, ("{failure}"));
    }
}

/// Adds a decoder that runs on the processor: its frames are the same on all machines, and lie in
/// memory that the filters can read.
///
/// # Errors
/// The element is missing.
pub(crate) fn add_decoder(pipeline: &gst::Pipeline) -> Result<gst::Element> {
    let decoder =
        gst::ElementFactory::make("decodebin").property("force-sw-decoders", true).build()?;
    pipeline.add(&decoder)?;
    decoder.sync_state_with_parent()?;
    Ok(decoder)
}

/// Makes the first frame that a decoder in a bin cannot decode an error.
pub(crate) fn fail_at_damage(bin: &gst::Bin) {
    bin.connect_deep_element_added(|_, _, element| {
        if element.find_property("max-errors").is_some() {
            element.set_property("max-errors", 0i32);
        }
    });
}

/// Links a pad with an element of one sink pad.
///
/// # Errors
/// Their formats do not fit.
pub(crate) fn link(pad: &gst::Pad, element: &gst::Element) -> Result<()> {
    let sink =
        element.static_pad("sink").ok_or_else(|| failed!("{} has no sink pad", element.name()))?;
    pad.link(&sink)
        .map_err(|err| failed!("cannot link {} with {}: {err}", pad.name(), element.name()))?;
    Ok(())
}

/// Links a pad with a sink that discards its data.
///
/// # Errors
/// The element is missing.
pub(crate) fn add_sink(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<()> {
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()?;
    pipeline.add(&sink)?;
    sink.sync_state_with_parent()?;
    link(pad, &sink)
}
