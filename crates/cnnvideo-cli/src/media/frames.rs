// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pulls the decoded frames of a file, from its beginning or from a time on.

use gst::prelude::*;

use super::{
    Input,
    decode::{Decode, add_input, fail_at_damage, link},
};
use crate::{
    error::{Result, failed},
    explain, pipe,
    run::Running,
    stop::Stop,
};

/// Longest time between two looks at the signals.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// Frames that wait for the program.
const QUEUED_FRAMES: u32 = 3;

/// Which video of a file is pulled, and how.
#[derive(Debug, Clone)]
pub(crate) struct FrameSource {
    /// The file; not the standard input.
    pub(crate) input: Input,
    /// Whether frames that cannot be decoded are left out. Otherwise, the first one is an error.
    pub(crate) ignore_damage: bool,
    /// Elements that each frame passes, in the syntax of gst-launch-1.0.
    pub(crate) elements: &'static str,
}

/// A decoded frame.
pub(crate) struct Frame {
    /// The frame with its caps.
    pub(crate) sample: gst::Sample,
    /// Its time in the video, in nanoseconds. It does not depend on where the reading began.
    pub(crate) stream_time: u64,
    /// Its time in the pipeline, in nanoseconds.
    pub(crate) running_time: u64,
}

/// Frames that are decoded one after the other.
pub(crate) struct Frames {
    pipeline: Running,
    sink: gst_app::AppSink,
    about: String,
    missing: Option<String>,
    stop: Stop,
}

impl Frames {
    /// Opens a file whose streams are known to be readable (`Media::probe`). `unparsed_video` is
    /// called as by `Demux::add_to`, unless the file is y4m.
    ///
    /// # Errors
    /// The file cannot be read, an element is missing, or the pipeline cannot start.
    pub(crate) fn open(
        source: &FrameSource,
        stop: &Stop,
        unparsed_video: impl FnOnce(&gst::Pad) + Send + 'static,
    ) -> Result<Self> {
        let Input::File(location) = &source.input else { return Self::open_at(source, 0, stop) };
        let (frames, first) = Self::without_input(source.elements, source.input.name(), stop)?;
        let pipeline = &frames.pipeline.0;
        if !source.ignore_damage {
            fail_at_damage(pipeline.upcast_ref());
        }
        let decoded = move |_: &gst::Pipeline, pad: &gst::Pad| link(pad, &first);
        Decode::add_to(pipeline, location, |_, _| (), decoded, unparsed_video)?;
        pipeline.set_state(gst::State::Playing)?;
        Ok(frames)
    }

    /// Opens a y4m file at a frame, by its number.
    ///
    /// # Errors
    /// The file cannot be read, or is no y4m.
    pub(crate) fn open_at(source: &FrameSource, first: u64, stop: &Stop) -> Result<Self> {
        let name = source.input.name();
        let Input::Y4m(path) = &source.input else { return Err(failed!("{name} is not y4m")) };
        let (frames, next) = Self::without_input(source.elements, name, stop)?;
        let pipeline = &frames.pipeline.0;
        pipe::Source::open_at(path, first)?.add_to(pipeline)?.link(&next)?;
        pipeline.set_state(gst::State::Playing)?;
        Ok(frames)
    }

    /// Opens an input of any kind. Frames that cannot be decoded are left out. `elements` are as in
    /// [`FrameSource`].
    ///
    /// # Errors
    /// The input cannot be read, or an element is missing.
    pub(crate) fn of_input(input: &Input, elements: &str, stop: &Stop) -> Result<Self> {
        let (frames, first) = Self::without_input(elements, input.name(), stop)?;
        add_input(&frames.pipeline.0, input, &first, stop)?;
        frames.pipeline.0.set_state(gst::State::Playing)?;
        Ok(frames)
    }

    /// Returns the part of the pipeline behind the decoder, and the element that takes its frames.
    fn without_input(elements: &str, about: String, stop: &Stop) -> Result<(Self, gst::Element)> {
        let pipeline = Running(gst::Pipeline::new());
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(QUEUED_FRAMES).build();
        let first = gst::parse::bin_from_description(elements, true)?;
        pipeline.0.add_many([first.upcast_ref(), sink.upcast_ref::<gst::Element>()])?;
        first.link(&sink)?;
        let frames = Self { pipeline, sink, about, missing: None, stop: stop.clone() };
        Ok((frames, first.upcast()))
    }

    /// Returns the pad on which the frames arrive.
    pub(crate) fn pad(&self) -> Result<gst::Pad> {
        self.sink.static_pad("sink").ok_or_else(|| failed!("the sink has no pad"))
    }

    /// Returns the next frame, or `None` at the end.
    ///
    /// # Errors
    /// The file cannot be decoded, a frame has no timestamp, or a signal arrives.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            self.stop.check()?;
            self.check_errors()?;
            if let Some(sample) = self.sink.try_pull_sample(TICK) {
                return self.frame(sample).map(Some);
            }
            if self.sink.is_eos() {
                self.check_errors()?;
                return Ok(None);
            }
        }
    }

    /// Goes to the keyframe at or before a time, so that [`Self::next`] returns the frames from
    /// there on. Returns whether the file allows that.
    ///
    /// # Errors
    /// The file cannot be decoded, or a signal arrives.
    pub(crate) fn seek(&mut self, stream_time: u64) -> Result<bool> {
        // Elements can seek once the first frame is there.
        while self.pipeline.0.state(TICK).0.is_err()
            || self.pipeline.0.current_state() != gst::State::Playing
        {
            self.stop.check()?;
            self.check_errors()?;
        }
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT | gst::SeekFlags::SNAP_BEFORE;
        let time = gst::ClockTime::from_nseconds(stream_time);
        Ok(self.pipeline.0.seek_simple(flags, time).is_ok())
    }

    fn frame(&self, sample: gst::Sample) -> Result<Frame> {
        let about = &self.about;
        let untimed =
            || failed!("{about}: a frame has no timestamp: put it into another container first");
        let pts = sample.buffer().and_then(|buffer| buffer.pts());
        let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>()).cloned();
        let segment = segment.ok_or_else(untimed)?;
        let stream_time = segment.to_stream_time(pts).ok_or_else(untimed)?.nseconds();
        let running_time = segment.to_running_time(pts).ok_or_else(untimed)?.nseconds();
        Ok(Frame { sample, stream_time, running_time })
    }

    /// Returns the failure of an element, if one has failed.
    fn check_errors(&mut self) -> Result<()> {
        let bus = self.pipeline.0.bus().ok_or_else(|| failed!("the pipeline has no bus"))?;
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Error(error) => {
                    return Err(explain::error(error, &self.about, self.missing.as_deref()));
                }
                gst::MessageView::Element(element) => {
                    let missing = element.structure().and_then(explain::missing_plugin);
                    self.missing = missing.or_else(|| self.missing.take());
                }
                _ => (),
            }
        }
        Ok(())
    }
}
