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

impl CnnSegment {
    /// Segments a frame in place: attaches the mask of the regions, and draws them if the output is
    /// an overlay.
    ///
    /// # Errors
    /// Fails if there are no caps yet. Posts an element error if the frame cannot be mapped or
    /// segmented.
    pub(super) fn process_in_place(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<(), gst::FlowError> {
        let start = Instant::now();
        let output = lock(&self.settings).output;
        let mut state = lock(&self.state);
        let stream = state.stream.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let has_regions = {
            let frame = map_frame(buffer, &stream.input_info).map_err(|err| self.failed(&err))?;
            self.process_frame(stream, &frame).map_err(|err| self.failed(&err))?
        };
        if has_regions {
            if output == SegmentOutput::Overlay {
                self.draw_overlay(stream, buffer)?;
            }
            self.attach_mask(stream, buffer);
        }
        drop(state);
        self.add_timing(start);
        Ok(())
    }

    /// Segments a frame, and writes it with an alpha channel or its mask to another buffer.
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
        let mut state = lock(&self.state);
        let stream = state.stream.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let input = map_frame(inbuf, &stream.input_info).map_err(|err| self.failed(&err))?;
        self.process_frame(stream, &input).map_err(|err| self.failed(&err))?;
        self.write_output(stream, &input, outbuf)?;
        drop(state);
        self.add_timing(start);
        Ok(())
    }

    /// Tracks the regions into a new frame, executes the queued commands and posts messages. Fills
    /// `stream.labels` and returns whether there are any regions.
    ///
    /// # Errors
    /// Fails if the frame has an unexpected layout or a network cannot be run.
    fn process_frame(
        &self,
        stream: &mut SegmentStream,
        frame: &VideoFrameRef<&gst::BufferRef>,
    ) -> Result<bool, segment::Error> {
        let commands = lock(&self.queue).take();
        let buffer = frame.buffer();
        let continues = stream.continuity.continues(self.running_time(buffer), buffer.duration());
        let is_discontinuity = self.discontinuity.swap(false, Ordering::AcqRel) || !continues;
        let events = stream.process_frame(frame, commands, is_discontinuity)?;
        let regions = stream.region_count();
        lock(&self.statistics).regions = regions as u32;
        self.post_events(&events, stream.seed_count(), frame.buffer());
        Ok(regions > 0)
    }

    /// Draws the regions into a frame.
    ///
    /// # Errors
    /// Posts an element error if the frame cannot be mapped.
    fn draw_overlay(
        &self,
        stream: &SegmentStream,
        buffer: &mut gst::BufferRef,
    ) -> Result<(), gst::FlowError> {
        let mut frame =
            map_frame_mut(buffer, &stream.input_info).map_err(|err| self.failed(&err))?;
        let mut picture =
            view_frame_mut(&mut frame, stream.format).map_err(|err| self.failed(&err))?;
        overlay::draw(&mut picture, &stream.labels.view());
        Ok(())
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

    /// Writes the mask of the regions, or the frame with an alpha channel, as the caps demand.
    ///
    /// # Errors
    /// Fails if the output has another format than expected. Posts an element error if the buffer
    /// cannot be mapped or written.
    fn write_output(
        &self,
        stream: &SegmentStream,
        input: &VideoFrameRef<&gst::BufferRef>,
        outbuf: &mut gst::BufferRef,
    ) -> Result<(), gst::FlowError> {
        let mut output =
            map_frame_mut(outbuf, &stream.output_info).map_err(|err| self.failed(&err))?;
        let labels = stream.labels.view();
        if stream.output_info.format() == VideoFormat::Gray8 {
            let mut mask =
                view_frame_mut(&mut output, Format::GRAY8).map_err(|err| self.failed(&err))?;
            ndarray::Zip::from(&mut mask.components[0])
                .and(labels)
                .for_each(|to, label| *to = alpha::mask_value(*label));
            return Ok(());
        }
        let layout = alpha::layout_with_alpha(stream.output_info.format())
            .ok_or(gst::FlowError::NotNegotiated)?;
        let picture = view_frame(input, stream.format).map_err(|err| self.failed(&err))?;
        alpha::write_frame(&picture, &labels, &mut output, layout).map_err(|err| self.failed(&err))
    }

    /// Returns the running time of a buffer on the sink pad, `None` where unknown.
    fn running_time(&self, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
        let segment = self.obj().segment().downcast::<gst::ClockTime>().ok()?;
        segment.to_running_time(buffer.pts())
    }

    /// Posts an element message on the bus for each event. `seeds` is the number of all seeds,
    /// `buffer` the frame that the events belong to.
    fn post_events(&self, events: &[RegionEvent], seeds: usize, buffer: &gst::BufferRef) {
        let obj = self.obj();
        let times = FrameTimes::of(obj.upcast_ref(), buffer);
        for event in events {
            let message = SegmentMessage {
                label: u32::from(event.label),
                seeds: seeds as u32,
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

    /// Posts an error message and returns the flow error for the streaming thread.
    fn failed(&self, reason: &dyn std::fmt::Display) -> gst::FlowError {
        gst::element_imp_error!(
            self,
            gst::StreamError::Failed,
            ("Cannot segment a frame: {reason}")
        );
        gst::FlowError::Error
    }

    /// Adds the time since `start` to the statistics.
    fn add_timing(&self, start: Instant) {
        lock(&self.statistics).timing.frame_processed(start.elapsed());
    }
}
