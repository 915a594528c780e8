// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads ranges of the frames of a video by their numbers. The file is opened as it is and read
//! from the keyframe before the range on.

use std::{ops::Range, sync::Arc};

use crate::{
    error::{Failure, Result, failed},
    media::{
        Input,
        frames::{Frame, FrameSource, Frames},
    },
    stop::Stop,
};

/// Most nanoseconds by which the time of a frame may differ after a seek, through rounding.
pub(crate) const TOLERANCE: u64 = 1_000;

/// A video whose frames are known.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    source: FrameSource,
    timestamps: Arc<Vec<u64>>,
    offset: i64,
}

impl Reader {
    /// Returns a reader of a file with the timestamps of its frames, and the time of a frame in the
    /// file minus its timestamp.
    /// Frames that cannot be decoded are left out if `ignore_damage` says so.
    pub(crate) fn new(
        input: Input,
        ignore_damage: bool,
        timestamps: Vec<u64>,
        offset: i64,
    ) -> Self {
        let source = FrameSource { input, ignore_damage, elements: "identity" };
        Self { source, timestamps: Arc::new(timestamps), offset }
    }

    /// Returns the name of the file for messages.
    pub(crate) fn about(&self) -> String {
        self.source.input.name()
    }

    /// Opens the file and goes to the first frame of a range.
    ///
    /// # Errors
    /// The file cannot be decoded, its frames are not the known ones, or a signal arrives.
    pub(crate) fn range(&self, range: Range<u64>, stop: &Stop) -> Result<RangeOfFrames> {
        let timestamps = Arc::clone(&self.timestamps);
        let (start, end) = (range.start as usize, (range.end as usize).min(timestamps.len()));
        let target = self.time(start);
        let mut frames = match &self.source.input {
            Input::Y4m(_) => Frames::open_at(&self.source, range.start, stop)?,
            _ => Frames::open(&self.source, stop, |_| ())?,
        };
        let is_file = matches!(self.source.input, Input::File(_));
        if is_file && start > 0 && frames.seek(target)? {
            let first = skip_to(&mut frames, target)?;
            if first.as_ref().is_some_and(|frame| self.is_at(frame, start)) {
                return Ok(RangeOfFrames { reader: self.clone(), frames, first, next: start, end });
            }
            // The index of the file leads to a later frame.
            frames = Frames::open(&self.source, stop, |_| ())?;
        }
        let first = skip_to(&mut frames, target)?;
        Ok(RangeOfFrames { reader: self.clone(), frames, first, next: start, end })
    }

    /// Returns the time of a frame in the file.
    fn time(&self, frame: usize) -> u64 {
        let timestamp = self.timestamps.get(frame).copied().unwrap_or(u64::MAX >> 1);
        timestamp.saturating_add_signed(self.offset)
    }

    fn is_at(&self, frame: &Frame, number: usize) -> bool {
        frame.stream_time.abs_diff(self.time(number)) <= TOLERANCE
    }
}

/// Returns the first frame that is not before a time.
fn skip_to(frames: &mut Frames, time: u64) -> Result<Option<Frame>> {
    while let Some(frame) = frames.next()? {
        if frame.stream_time + TOLERANCE >= time {
            return Ok(Some(frame));
        }
    }
    Ok(None)
}

/// The frames of a range.
pub(crate) struct RangeOfFrames {
    reader: Reader,
    frames: Frames,
    first: Option<Frame>,
    next: usize,
    end: usize,
}

impl RangeOfFrames {
    /// Returns the caps of the next frame, before the first one is taken.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn caps(&self) -> Result<gst::Caps> {
        let caps = self.first.as_ref().and_then(|frame| frame.sample.caps_owned());
        caps.ok_or_else(|| self.lost(self.next))
    }

    /// Returns the failure for a frame that is not the known one.
    fn lost(&self, number: usize) -> Failure {
        failed!(
            "{}: frame {number} is not where it was when the plan was made: decode it with the \
             same version of GStreamer, or make a new plan",
            self.reader.about()
        )
    }

    /// Returns the next frame with its known timestamp and its caps, or `None` behind the range.
    ///
    /// # Errors
    /// The frame cannot be decoded or is not the known one, or a signal arrives.
    pub(crate) fn next(&mut self) -> Result<Option<(gst::Buffer, gst::Caps)>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let frame = match self.first.take() {
            Some(frame) => Some(frame),
            None => self.frames.next()?,
        };
        let number = self.next;
        let frame = frame
            .filter(|frame| self.reader.is_at(frame, number))
            .ok_or_else(|| self.lost(number))?;
        self.next += 1;
        let (buffer, caps) = (frame.sample.buffer_owned(), frame.sample.caps_owned());
        let (mut buffer, caps) = buffer.zip(caps).ok_or_else(|| failed!("a frame has no data"))?;
        let timestamp = gst::ClockTime::from_nseconds(self.reader.timestamps[number]);
        buffer.make_mut().set_pts(timestamp);
        Ok(Some((buffer, caps)))
    }
}
