// SPDX-License-Identifier: MIT OR Apache-2.0

//! A frame or a gap at the head of a sink pad, with its running time.

use gst::prelude::*;
use gst_base::{AggregatorPad, prelude::*};
use gst_video::VideoInfo;

use super::pairing::Timing;

/// Meta that `GstAggregator` adds to the buffer of a gap event with the flag `missing-data`.
const MISSING_DATA_META: &str = "GstAggregatorMissingDataMeta";

/// A frame or a gap of a stream.
#[derive(Clone)]
pub(super) struct Frame {
    pub(super) buffer: gst::Buffer,
    /// Format, `None` before caps.
    pub(super) info: Option<VideoInfo>,
    pub(super) timing: Timing,
}

impl Frame {
    /// Wraps the next buffer of `pad`.
    pub(super) fn new(buffer: gst::Buffer, pad: &AggregatorPad, info: Option<&VideoInfo>) -> Self {
        let timing = timing(&buffer, pad, info.filter(|_| !is_gap(&buffer)));
        Self { buffer, info: info.cloned(), timing }
    }

    /// Returns whether this is a gap: `GstAggregator` turns gap events into empty buffers.
    pub(super) fn is_gap(&self) -> bool {
        is_gap(&self.buffer)
    }

    /// Returns the running time, `None` where unknown or negative.
    pub(super) fn running_time(&self) -> Option<gst::ClockTime> {
        self.timing
            .start
            .and_then(|start| u64::try_from(start).ok())
            .map(gst::ClockTime::from_nseconds)
    }

    /// Returns a gap event for the time of this frame, `None` without a timestamp.
    pub(super) fn gap_event(&self) -> Option<gst::Event> {
        let missing = gst::meta::CustomMeta::from_buffer(&self.buffer, MISSING_DATA_META).is_ok();
        let flags = if missing { gst::GapFlags::DATA } else { gst::GapFlags::empty() };
        let gap = gst::event::Gap::builder(self.buffer.pts()?);
        Some(gap.duration(self.buffer.duration()).gap_flags(flags).build())
    }
}

/// Returns whether `buffer` stands for a gap event.
fn is_gap(buffer: &gst::Buffer) -> bool {
    buffer.flags().contains(gst::BufferFlags::GAP) && buffer.size() == 0
}

/// Returns the timing of `buffer` in running time. The frame rate of `info` gives the duration
/// where the buffer has none.
fn timing(buffer: &gst::Buffer, pad: &AggregatorPad, info: Option<&VideoInfo>) -> Timing {
    let Ok(segment) = pad.segment().downcast::<gst::ClockTime>() else {
        return Timing::default();
    };
    // Signed: frames before the start of the segment have a running time too.
    let start = segment.to_running_time_full(buffer.pts()).and_then(|time| match time {
        gst::Signed::Positive(time) => i64::try_from(time.nseconds()).ok(),
        gst::Signed::Negative(time) => i64::try_from(time.nseconds()).ok().map(|time| -time),
    });
    let duration = buffer.duration().filter(|duration| !duration.is_zero());
    let duration = duration.or_else(|| frame_duration(info?));
    let rate = segment.rate().abs();
    Timing { start, duration: duration.map(|d| (d.nseconds() as f64 / rate) as i64) }
}

/// Returns the duration of a frame at the frame rate of the caps, `None` where it is variable.
fn frame_duration(info: &VideoInfo) -> Option<gst::ClockTime> {
    let [numerator, denominator] =
        [info.fps().numer(), info.fps().denom()].map(|n| u64::try_from(n).unwrap_or(0));
    if numerator == 0 || denominator == 0 {
        return None;
    }
    gst::ClockTime::SECOND.mul_div_floor(denominator, numerator).filter(|d| !d.is_zero())
}
