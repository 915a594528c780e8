// SPDX-License-Identifier: MIT OR Apache-2.0

//! Helpers that the implementations of all elements share: locking, pad templates, controlled
//! properties and discontinuities.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_base::prelude::*;

use super::{FORMATS_8BIT, FORMATS_10BIT};

/// Locks a mutex and ignores poisoning. Holders replace whole values, so a panic cannot leave a
/// half-changed value behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the templates of an always-present source and sink pad that accept every format in
/// [`FORMATS_8BIT`] and [`FORMATS_10BIT`].
pub(crate) fn pad_templates() -> Vec<gst::PadTemplate> {
    let caps = gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS_8BIT.into_iter().chain(FORMATS_10BIT))
        .build();
    let template = |(name, direction)| {
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
            .expect("name and caps of the template are valid")
    };
    [("src", gst::PadDirection::Src), ("sink", gst::PadDirection::Sink)].map(template).into()
}

/// Returns whether an event separates the next frame from the previous ones (flush, new segment,
/// new stream), so that temporal state must be reset.
pub(crate) fn is_discontinuity(event: &gst::Event) -> bool {
    matches!(
        event.view(),
        gst::EventView::FlushStop(_) | gst::EventView::Segment(_) | gst::EventView::StreamStart(_)
    )
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
