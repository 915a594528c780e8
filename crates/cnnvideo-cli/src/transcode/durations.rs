// SPDX-License-Identifier: MIT OR Apache-2.0

//! Carries the durations of frames past the elements that change them.
//!
//! Parsers derive durations from the nominal frame rate, which video of variable frame rate does
//! not have.

use std::collections::BTreeMap;

use gst::prelude::*;

use crate::media::demux::Shared;

/// Most frames between the demultiplexer and the muxer. Frames beyond it belong to no output.
const MAX_FRAMES: usize = 10_000;

/// Durations by running time of the frames on their way.
#[derive(Default)]
pub(crate) struct Durations(Shared<State>);

#[derive(Default)]
struct State {
    frames: BTreeMap<gst::ClockTime, Option<gst::ClockTime>>,
    noted: u64,
}

impl Durations {
    /// Returns another handle to the same durations.
    pub(crate) fn handle(&self) -> Self {
        Self(self.0.clone())
    }

    /// Returns how many frames were noted.
    pub(crate) fn noted(&self) -> u64 {
        self.0.with(|state| state.noted)
    }

    /// Returns the noted duration of the frame at a running time, once; `None` if none was noted.
    pub(crate) fn take(&self, time: gst::ClockTime) -> Option<Option<gst::ClockTime>> {
        self.0.with(|state| state.frames.remove(&time))
    }

    /// Notes the durations of the frames that leave a pad.
    pub(crate) fn note_at(self, pad: &gst::Pad) {
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(buffer) = info.buffer()
                && let Some(time) = running_time(pad, buffer)
            {
                self.0.with(|state| {
                    state.noted += 1;
                    state.frames.insert(time, buffer.duration());
                    if state.frames.len() > MAX_FRAMES {
                        state.frames.pop_first();
                    }
                });
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Restores the durations of the frames that leave a pad.
    pub(crate) fn restore_at(self, pad: &gst::Pad) {
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(buffer) = info.buffer_mut()
                && let Some(time) = running_time(pad, buffer)
                && let Some(duration) = self.take(time)
                && buffer.duration() != duration
            {
                buffer.make_mut().set_duration(duration);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// Returns the time of a buffer in the pipeline.
pub(crate) fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    event.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts())
}
