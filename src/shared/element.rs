// SPDX-License-Identifier: MIT OR Apache-2.0

//! Helpers that the implementations of all elements share: locking, pad templates, controlled
//! properties and discontinuities.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_base::prelude::*;
use gst_video::VideoCropMeta;

use super::{FORMATS_8BIT, FORMATS_10BIT};

/// Largest width and height of a frame that networks process, in pixels.
pub(crate) const MAX_SIDE: u32 = 8192;
/// Part of the longest gap between frames that does not end a scene; the other part are
/// [`STEPS_IN_GAP`] usual steps.
const LONG_GAP: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// Usual steps in the longest gap that does not end a scene, for streams with few frames a second.
const STEPS_IN_GAP: u64 = 4;

/// Locks a mutex and ignores poisoning. Holders replace whole values, so a panic cannot leave a
/// half-changed value behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the templates of an always-present source and sink pad that accept every format in
/// [`FORMATS_8BIT`] and [`FORMATS_10BIT`] up to [`MAX_SIDE`] pixels wide and high.
pub(crate) fn pad_templates() -> Vec<gst::PadTemplate> {
    let caps = gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS_8BIT.into_iter().chain(FORMATS_10BIT))
        .width_range(1..=MAX_SIDE as i32)
        .height_range(1..=MAX_SIDE as i32)
        .build();
    let template = |(name, direction)| {
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
            .expect("name and caps of the template are valid")
    };
    [("src", gst::PadDirection::Src), ("sink", gst::PadDirection::Sink)].map(template).into()
}

/// Times of a frame, `None` where unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameTimes {
    /// Presentation timestamp.
    pub timestamp: Option<gst::ClockTime>,
    /// Stream time.
    pub stream_time: Option<gst::ClockTime>,
    /// Running time.
    pub running_time: Option<gst::ClockTime>,
    /// Duration.
    pub duration: Option<gst::ClockTime>,
}

impl FrameTimes {
    /// Returns the times of a buffer in the segment of an element.
    pub(crate) fn of(element: &gst_base::BaseTransform, buffer: &gst::BufferRef) -> Self {
        let segment = element.segment().downcast::<gst::ClockTime>().ok();
        let timestamp = buffer.pts();
        Self {
            timestamp,
            stream_time: segment.as_ref().and_then(|segment| segment.to_stream_time(timestamp)),
            running_time: segment.as_ref().and_then(|segment| segment.to_running_time(timestamp)),
            duration: buffer.duration(),
        }
    }
}

/// Finds long gaps in the running time between frames.
///
/// The flag DISCONT does not end a scene: live pipelines set it after each lost frame.
#[derive(Debug, Default)]
pub(crate) struct Continuity {
    /// Running time of the previous frame.
    previous: Option<gst::ClockTime>,
    /// Step between the previous frames in nanoseconds, for frames without a duration.
    usual_step: Option<u64>,
}

impl Continuity {
    /// Takes the running time and duration of the next frame, and returns whether it continues the
    /// previous one. Frames without a time continue.
    pub(crate) fn continues(
        &mut self,
        time: Option<gst::ClockTime>,
        duration: Option<gst::ClockTime>,
    ) -> bool {
        let Some(time) = time else { return true };
        let Some(previous) = self.previous.replace(time) else { return true };
        let step = time.nseconds().abs_diff(previous.nseconds());
        let usual = duration.map(gst::ClockTime::nseconds).or(self.usual_step).unwrap_or(step);
        let limit = usual.saturating_mul(STEPS_IN_GAP).saturating_add(LONG_GAP.nseconds());
        let continues = step <= limit;
        if continues {
            self.usual_step = Some(step);
        }
        continues
    }
}

/// Returns whether an event separates the next frame from the previous ones (flush, new segment,
/// new stream), so that temporal state must be reset.
pub(crate) fn is_discontinuity(event: &gst::Event) -> bool {
    matches!(
        event.view(),
        gst::EventView::FlushStop(_) | gst::EventView::Segment(_) | gst::EventView::StreamStart(_)
    )
}

/// Returns whether a meta describes the memory of its buffer, so that it does not fit other
/// buffers.
pub(crate) fn describes_memory(meta: &gst::MetaRef<'_, gst::Meta>) -> bool {
    use gst::meta::tags::{Memory, MemoryReference};
    meta.has_tag::<Memory>() || meta.has_tag::<MemoryReference>()
}

/// Removes the crop meta from an answer to an allocation query: frames have to arrive cropped,
/// because the elements process the visible part only.
pub(crate) fn refuse_crop_meta(query: &mut gst::query::Allocation) {
    while let Some(index) = query.find_allocation_meta::<VideoCropMeta>() {
        query.remove_nth_allocation_meta(index);
    }
}

/// Sets the controlled properties of an element to their values at the stream time of `buffer`.
pub(crate) fn sync_controlled_properties(
    element: &gst_base::BaseTransform,
    category: gst::DebugCategory,
    buffer: &gst::BufferRef,
) {
    let segment = element.segment().downcast::<gst::ClockTime>().ok();
    if let Some(time) = segment.and_then(|segment| segment.to_stream_time(buffer.pts()))
        && let Err(err) = element.sync_values(time)
    {
        gst::warning!(category, obj = element, "Cannot update controlled properties: {err}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_gaps_do_not_continue() {
        let ms = |ms| Some(gst::ClockTime::from_mseconds(ms));
        let run = |times: &[u64], duration| {
            let mut continuity = Continuity::default();
            times.iter().map(|time| continuity.continues(ms(*time), duration)).collect::<Vec<_>>()
        };
        assert_eq!(
            run(&[0, 40, 120, 1000, 4000, 4040], ms(40)),
            [true, true, true, true, false, true]
        );
        assert_eq!(run(&[5000, 5040, 0, 40], None), [true, true, false, true]);
        // One frame in five seconds.
        assert_eq!(run(&[0, 5000, 10_000, 20_000], None), [true; 4]);
        assert_eq!(run(&[0, 5000, 10_000], ms(5000)), [true; 3]);
        assert!(Continuity::default().continues(None, None));
    }
}
