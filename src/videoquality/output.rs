// SPDX-License-Identifier: MIT OR Apache-2.0

//! Caps, segments and events that the source pad of `videoquality` has to send, in the order that
//! GStreamer prescribes: stream-start, caps, segment, then other events and frames.

use gst::prelude::*;
use gst_base::prelude::*;

use super::VideoQuality;

/// What the source pad has not sent yet.
#[derive(Default)]
pub(super) struct Output {
    outgoing: Outgoing,
    /// Whether the caps are known.
    has_caps: bool,
    /// Whether a segment is known.
    has_segment: bool,
}

/// Caps, segment and events to push.
#[derive(Default)]
pub(super) struct Outgoing {
    caps: Option<gst::Caps>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    events: Vec<gst::Event>,
}

impl Output {
    /// Sets new caps.
    pub(super) fn set_caps(&mut self, caps: gst::Caps) {
        self.outgoing.caps = Some(caps);
        self.has_caps = true;
    }

    /// Sets a new segment. The base class keeps its own where `segment` is not in time format.
    pub(super) fn set_segment(&mut self, segment: &gst::Segment) {
        self.outgoing.segment = segment.downcast_ref().cloned();
        self.has_segment = true;
    }

    /// Adds an event, to be sent after the caps and the segment.
    pub(super) fn add_event(&mut self, event: gst::Event) {
        self.outgoing.events.push(event);
    }

    /// Returns whether caps and a segment are known, so that events can be pushed.
    pub(super) fn is_ready(&self) -> bool {
        self.has_caps && self.has_segment
    }

    /// Returns what can be pushed now: events wait until caps and a segment are known.
    pub(super) fn take(&mut self) -> Outgoing {
        let ready = self.is_ready();
        let Outgoing { caps, segment, events } = &mut self.outgoing;
        Outgoing {
            caps: caps.take(),
            segment: segment.take(),
            events: if ready { std::mem::take(events) } else { Vec::new() },
        }
    }

    /// Forgets the segment and the events of a flushed stream.
    pub(super) fn flush(&mut self) {
        self.outgoing.segment = None;
        self.outgoing.events.clear();
        self.has_segment = false;
    }
}

impl Outgoing {
    /// Pushes caps and events. A segment without events is left to
    /// [`finish_buffer`](AggregatorExt::finish_buffer).
    pub(super) fn push(self, element: &VideoQuality) {
        if let Some(segment) = &self.segment {
            element.update_segment(segment);
        }
        if let Some(caps) = &self.caps {
            element.set_src_caps(caps);
        }
        if self.events.is_empty() {
            return;
        }
        // The base class sends stream-start and segment before frames only. An empty list has it
        // send them; the probe of `install_probe` drops the list.
        if element.finish_buffer_list(gst::BufferList::new()).is_err() {
            return;
        }
        for event in self.events {
            element.src_pad().push_event(event);
        }
    }
}

/// Installs the probe that drops the empty buffer lists of [`Outgoing::push`].
pub(super) fn install_probe(pad: &gst_base::AggregatorPad) {
    pad.add_probe(gst::PadProbeType::BUFFER_LIST, |_, info| match &info.data {
        Some(gst::PadProbeData::BufferList(list)) if list.is_empty() => gst::PadProbeReturn::Drop,
        _ => gst::PadProbeReturn::Ok,
    });
}
