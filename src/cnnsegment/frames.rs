// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processing of frames: segmentation, the outputs, and messages about regions.

use std::{sync::atomic::Ordering, time::Instant};

use glib::subclass::prelude::*;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_video::{VideoFormat, VideoFrameExt, VideoFrameRef};

use super::{
    SegmentOutput, alpha,
    imp::{CAT, CnnSegment},
    message::SegmentMessage,
    overlay,
    stream::{RegionEvent, SegmentStream},
};
use crate::shared::{
    FrameTimes, RegionMask, lock, map_frame, map_frame_mut, view_frame, view_frame_mut,
};
use cnnvideo::{frame::Format, segment};

/// Events of a frame that are to be posted.
struct FrameEvents {
    events: Vec<RegionEvent>,
    /// Number of seeds of all regions and of the background.
    seeds: usize,
}

/// Reason why a frame could not be processed.
enum FrameError {
    /// There are no caps yet, or the output has another format than expected.
    NotNegotiated,
    /// A frame cannot be mapped, segmented or written.
    Failed(String),
}

/// Converts an error into the reason why a frame could not be processed.
fn failed(err: impl std::fmt::Display) -> FrameError {
    FrameError::Failed(err.to_string())
}

impl CnnSegment {
    /// Segments a frame in place: attaches the mask of the regions, and draws them if the output is
    /// an overlay. Posts messages about regions.
    ///
    /// # Errors
    /// Fails if there are no caps yet. Posts an element error if the frame cannot be mapped or
    /// segmented.
    pub(super) fn process_in_place(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<(), gst::FlowError> {
        let start = Instant::now();
        let result = self.segment_in_place(buffer);
        self.finish_frame(result, buffer, start)
    }

    /// Segments a frame, and writes it with an alpha channel or its mask to another buffer. Posts
    /// messages about regions.
    ///
    /// # Errors
    /// Fails if there are no caps yet, or if the output has another format than expected. Posts an
    /// element error if a frame cannot be mapped or segmented.
    pub(super) fn process_to(
        &self,
        inbuf: &gst::Buffer,
        outbuf: &mut gst::BufferRef,
    ) -> Result<(), gst::FlowError> {
        let start = Instant::now();
        let result = self.segment_to(inbuf, outbuf);
        self.finish_frame(result, inbuf, start)
    }

    fn segment_in_place(&self, buffer: &mut gst::BufferRef) -> Result<FrameEvents, FrameError> {
        let output = lock(&self.settings).output;
        let mut state = lock(&self.state);
        let stream = state.stream.as_mut().ok_or(FrameError::NotNegotiated)?;
        let events = {
            let frame = map_frame(buffer, &stream.input_info).map_err(failed)?;
            self.process_frame(stream, &frame).map_err(failed)?
        };
        if stream.region_count() > 0 {
            if output == SegmentOutput::Overlay {
                draw_overlay(stream, buffer)?;
            }
            self.attach_mask(stream, buffer);
        }
        Ok(events)
    }

    fn segment_to(
        &self,
        inbuf: &gst::BufferRef,
        outbuf: &mut gst::BufferRef,
    ) -> Result<FrameEvents, FrameError> {
        let mut state = lock(&self.state);
        let stream = state.stream.as_mut().ok_or(FrameError::NotNegotiated)?;
        let input = map_frame(inbuf, &stream.input_info).map_err(failed)?;
        let events = self.process_frame(stream, &input).map_err(failed)?;
        write_output(stream, &input, outbuf)?;
        Ok(events)
    }

    /// Tracks the regions into a new frame and executes the queued commands. Fills `stream.labels`
    /// and returns the events to post.
    ///
    /// # Errors
    /// Fails if the frame has an unexpected layout or a network cannot be run.
    fn process_frame(
        &self,
        stream: &mut SegmentStream,
        frame: &VideoFrameRef<&gst::BufferRef>,
    ) -> Result<FrameEvents, segment::Error> {
        let commands = lock(&self.queue).take();
        let buffer = frame.buffer();
        let continues = stream.continuity.continues(self.running_time(buffer), buffer.duration());
        let is_discontinuity = self.discontinuity.swap(false, Ordering::AcqRel) || !continues;
        let events = stream.process_frame(frame, commands, is_discontinuity)?;
        lock(&self.statistics).regions = stream.region_count() as u32;
        Ok(FrameEvents { events, seeds: stream.seed_count() })
    }

    /// Posts the messages of a frame or its error, and adds its time to the statistics. The state
    /// must not be locked: a handler on the bus may use the element.
    fn finish_frame(
        &self,
        result: Result<FrameEvents, FrameError>,
        buffer: &gst::BufferRef,
        start: Instant,
    ) -> Result<(), gst::FlowError> {
        match result {
            Ok(events) => {
                self.post_events(&events, buffer);
                lock(&self.statistics).timing.frame_processed(start.elapsed());
                Ok(())
            }
            Err(FrameError::NotNegotiated) => Err(gst::FlowError::NotNegotiated),
            Err(FrameError::Failed(reason)) => {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Failed,
                    ("Cannot segment a frame: {reason}")
                );
                Err(gst::FlowError::Error)
            }
        }
    }

    /// Attaches the mask of the regions to a frame, also as segmentation metadata.
    fn attach_mask(&self, stream: &SegmentStream, buffer: &mut gst::BufferRef) {
        let size = (stream.input_info.width(), stream.input_info.height());
        let labels = stream.labels.as_slice().expect("the labels are contiguous").to_vec();
        let mask =
            RegionMask::new(size.0, size.1, labels).expect("the labels have the size of the frame");
        mask.attach(buffer, size);
        if let Err(err) = mask.attach_segmentation(buffer, size) {
            gst::warning!(CAT, imp = self, "No segmentation metadata: {err}");
        }
    }

    /// Returns the running time of a buffer on the sink pad, `None` where unknown.
    fn running_time(&self, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
        let segment = self.obj().segment().downcast::<gst::ClockTime>().ok()?;
        segment.to_running_time(buffer.pts())
    }

    /// Posts an element message on the bus for each event of the frame `buffer`.
    fn post_events(&self, FrameEvents { events, seeds }: &FrameEvents, buffer: &gst::BufferRef) {
        let obj = self.obj();
        let times = FrameTimes::of(obj.upcast_ref(), buffer);
        for event in events {
            let message = SegmentMessage {
                label: u32::from(event.label),
                seeds: *seeds as u32,
                area: f64::from(event.area),
                confidence: f64::from(event.confidence),
                lost: event.lost,
                found: event.found,
                timestamp: times.timestamp,
                stream_time: times.stream_time,
                running_time: times.running_time,
            };
            // Fails only without a bus, and then there is no receiver.
            let _ = obj
                .post_message(gst::message::Element::builder((&message).into()).src(&*obj).build());
        }
    }
}

/// Draws the regions into a frame.
fn draw_overlay(stream: &SegmentStream, buffer: &mut gst::BufferRef) -> Result<(), FrameError> {
    let mut frame = map_frame_mut(buffer, &stream.input_info).map_err(failed)?;
    let mut picture = view_frame_mut(&mut frame, stream.format).map_err(failed)?;
    overlay::draw(&mut picture, &stream.labels.view());
    Ok(())
}

/// Writes the mask of the regions, or the frame with an alpha channel, as the caps demand.
fn write_output(
    stream: &SegmentStream,
    input: &VideoFrameRef<&gst::BufferRef>,
    outbuf: &mut gst::BufferRef,
) -> Result<(), FrameError> {
    let mut output = map_frame_mut(outbuf, &stream.output_info).map_err(failed)?;
    let labels = stream.labels.view();
    if stream.output_info.format() == VideoFormat::Gray8 {
        let mut mask = view_frame_mut(&mut output, Format::GRAY8).map_err(failed)?;
        ndarray::Zip::from(&mut mask.components[0])
            .and(labels)
            .for_each(|to, label| *to = alpha::mask_value(*label));
        return Ok(());
    }
    let layout =
        alpha::layout_with_alpha(stream.output_info.format()).ok_or(FrameError::NotNegotiated)?;
    let picture = view_frame(input, stream.format).map_err(failed)?;
    alpha::write_frame(&picture, &labels, &mut output, layout).map_err(failed)
}
