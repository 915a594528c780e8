// SPDX-License-Identifier: MIT OR Apache-2.0

//! Delay of the frames of a filter element by its lookahead: each frame waits until the element has
//! received enough future frames.

use glib::subclass::prelude::*;
use gst::prelude::*;
use gst_base::{
    prelude::*,
    subclass::{
        base_transform::{GenerateOutputSuccess, InputBuffer, PrepareOutputBufferSuccess},
        prelude::*,
    },
};
use gst_video::VideoFilter;

use super::{
    FilterElement, FrameFilter,
    queue::{EventKind, QueueItem},
};
use crate::shared::lock;

/// Frame rate that is assumed for the latency of streams whose caps have none.
const DEFAULT_FRAME_RATE: gst::Fraction = gst::Fraction::new_raw(25, 1);

impl<E: FilterElement> FrameFilter<E>
where
    Self: ObjectSubclass<Type = E::Object, ParentType = VideoFilter>,
{
    /// Returns the number of future frames that each frame waits for.
    pub(super) fn lookahead(&self) -> usize {
        lock(&self.queue).lookahead()
    }

    /// Handles a sink event: sends waiting frames ahead of it, or lets it wait behind them.
    pub(super) fn delayed_sink_event(&self, event: gst::Event) -> bool {
        match EventKind::of(&event) {
            EventKind::EndsScene => {
                // The element has posted an error, or downstream does not want frames any more.
                let _ = self.drain();
            }
            EventKind::Flush => lock(&self.queue).clear(),
            EventKind::Waits => {
                let mut queue = lock(&self.queue);
                if queue.frames().next().is_some() {
                    queue.push(QueueItem::Event(event));
                    return true;
                }
            }
            EventKind::Passes => (),
        }
        self.stream.sink_event(&event);
        self.parent_sink_event(event)
    }

    /// Takes the frame that has arrived, and returns the frame that has waited long enough, if
    /// there is one.
    pub(super) fn generate_delayed_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(frame) = self.take_queued_buffer() else {
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        let element = self.obj();
        let passthrough = self.frame_settings().passthrough;
        if passthrough || self.stream.starts_scene(element.upcast_ref(), &frame) {
            self.drain()?;
            self.stream.reset_processor();
        }
        if passthrough {
            return self.render(frame).map(GenerateOutputSuccess::Buffer);
        }
        self.stream.look_ahead(element.upcast_ref(), &frame)?;
        // A copy of the memory, because the pool of upstream may not have that many buffers.
        let copy = frame.copy_deep().map_err(|_| {
            gst::element_error!(
                element,
                gst::ResourceError::NoSpaceLeft,
                ("Cannot keep a frame of {} bytes for lookahead: out of memory", frame.size())
            );
            gst::FlowError::Error
        })?;
        lock(&self.queue).push(QueueItem::Frame(copy));
        loop {
            let ready = lock(&self.queue).pop_ready();
            match ready {
                Some(QueueItem::Frame(frame)) => {
                    return self.render(frame).map(GenerateOutputSuccess::Buffer);
                }
                Some(QueueItem::Event(event)) => {
                    self.parent_sink_event(event);
                }
                None => return Ok(GenerateOutputSuccess::NoOutput),
            }
        }
    }

    /// Sends all waiting frames and events downstream.
    ///
    /// # Errors
    /// A frame that cannot be processed, or that downstream does not take; the frames behind it are
    /// dropped.
    pub(super) fn drain(&self) -> Result<(), gst::FlowError> {
        loop {
            let item = lock(&self.queue).pop();
            let sent = match item {
                Some(QueueItem::Frame(frame)) => {
                    self.render(frame).and_then(|frame| self.obj().src_pad().push(frame))
                }
                Some(QueueItem::Event(event)) => {
                    self.parent_sink_event(event);
                    continue;
                }
                None => return Ok(()),
            };
            if let Err(err) = sent {
                lock(&self.queue).clear();
                return Err(err);
            }
        }
    }

    /// Returns the output frame of an input frame.
    fn render(&self, frame: gst::Buffer) -> Result<gst::Buffer, gst::FlowError> {
        let element = self.obj();
        let settings = || self.frame_settings();
        self.stream.update_settings(element.upcast_ref(), E::class().category, &frame, settings);
        if self.stream.passes_through(&frame) {
            return Ok(frame);
        }
        match self.parent_prepare_output_buffer(InputBuffer::Readable(&frame))? {
            PrepareOutputBufferSuccess::Buffer(mut output) => {
                self.stream.transform(element.upcast_ref(), &frame, output.make_mut())?;
                Ok(output)
            }
            PrepareOutputBufferSuccess::InputBuffer => Ok(frame),
        }
    }

    /// Queues the waiting frames for the algorithm again, after its state has been created anew.
    ///
    /// # Errors
    /// As [`super::stream::FrameStream::look_ahead`].
    pub(super) fn look_ahead_again(&self) -> Result<(), gst::LoggableError> {
        let frames: Vec<_> = lock(&self.queue).frames().cloned().collect();
        for frame in frames {
            self.stream.look_ahead(self.obj().upcast_ref(), &frame).map_err(|err| {
                gst::loggable_error!(E::class().category, "Cannot queue a frame again: {err}")
            })?;
        }
        Ok(())
    }

    /// Adds the latency of the lookahead to the answer to a latency query.
    pub(super) fn add_latency(&self, query: &mut gst::query::Latency) {
        let frame_rate = self.stream.frame_rate().unwrap_or(DEFAULT_FRAME_RATE);
        let frames = self.lookahead() as u64;
        let latency = gst::ClockTime::SECOND
            .mul_div_floor(frames * frame_rate.denom() as u64, frame_rate.numer() as u64);
        let latency = latency.unwrap_or_default();
        let (is_live, min, max) = query.result();
        query.set(is_live, min + latency, max.map(|max| max + latency));
    }
}
