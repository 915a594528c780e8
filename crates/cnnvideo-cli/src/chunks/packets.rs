// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pulls the packets of the video in the file of a chunk.

use std::path::Path;

use gst::prelude::*;

use crate::{
    container::Container,
    error::{Result, failed},
    explain,
    media::decode::link,
    run::Running,
    stop::Stop,
};

/// Longest time between two looks at the signals.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// Packets that wait for the program.
const QUEUED_PACKETS: u32 = 8;

/// The packets of a file, one after the other.
pub(crate) struct Packets {
    pipeline: Running,
    sink: gst_app::AppSink,
    about: String,
    stop: Stop,
}

impl Packets {
    /// Opens a file of a container.
    ///
    /// # Errors
    /// An element is missing.
    pub(crate) fn open(file: &Path, container: Container, stop: &Stop) -> Result<Self> {
        let pipeline = Running(gst::Pipeline::new());
        let demux = if container.is_mp4() { "qtdemux" } else { "matroskademux" };
        let source = gst::ElementFactory::make("filesrc").property("location", file).build()?;
        let demux = gst::ElementFactory::make(demux).build()?;
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(QUEUED_PACKETS).build();
        pipeline.0.add_many([&source, &demux, sink.upcast_ref()])?;
        source.link(&demux)?;
        let end = sink.clone();
        demux.connect_pad_added(move |demux, pad| {
            if let Err(failure) = link(pad, end.upcast_ref()) {
                gst::element_error!(demux, gst::CoreError::Pad, ("{failure}"));
            }
        });
        // The error is on the bus.
        let _ = pipeline.0.set_state(gst::State::Playing);
        Ok(Self { pipeline, sink, about: file.display().to_string(), stop: stop.clone() })
    }

    /// Returns the next packet, or `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or a signal arrives.
    pub(crate) fn next(&self) -> Result<Option<gst::Buffer>> {
        let bus = self.pipeline.0.bus().ok_or_else(|| failed!("the pipeline has no bus"))?;
        loop {
            self.stop.check()?;
            if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
                && let gst::MessageView::Error(error) = message.view()
            {
                return Err(explain::error(error, &self.about, None));
            }
            if let Some(sample) = self.sink.try_pull_sample(TICK) {
                return Ok(sample.buffer_owned());
            }
            if self.sink.is_eos() {
                return Ok(None);
            }
        }
    }
}
