//! Helpers that the video filter elements share: locking, pad templates, controllable properties
//! and scene boundaries.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_base::prelude::*;

use super::{DEEP_FORMATS, FORMATS};

/// Locks a mutex and ignores poisoning. Holders replace whole values, so a panic cannot leave a
/// half-changed value behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the templates of an always-present source and sink pad that accept every format in
/// [`FORMATS`] and [`DEEP_FORMATS`].
pub(crate) fn pad_templates() -> Vec<gst::PadTemplate> {
    let caps = gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS.into_iter().chain(DEEP_FORMATS))
        .build();
    [("src", gst::PadDirection::Src), ("sink", gst::PadDirection::Sink)]
        .into_iter()
        .filter_map(|(name, direction)| {
            gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
        })
        .collect()
}

/// Builds a float property that the user may change, or a controller may drive, while the pipeline
/// plays. `range` is the minimum and maximum.
pub(crate) fn live(
    name: &'static str,
    nick: &'static str,
    blurb: &'static str,
    range: [f32; 2],
    default: f32,
) -> glib::ParamSpec {
    glib::ParamSpecFloat::builder(name)
        .nick(nick)
        .blurb(blurb)
        .minimum(range[0])
        .maximum(range[1])
        .default_value(default)
        .controllable()
        .mutable_playing()
        .build()
}

/// Returns whether an event separates the next frame from the previous ones (flush, new segment,
/// new stream), so that temporal state must be reset.
pub(crate) fn ends_a_scene(event: &gst::Event) -> bool {
    matches!(
        event.view(),
        gst::EventView::FlushStop(_) | gst::EventView::Segment(_) | gst::EventView::StreamStart(_)
    )
}

/// Sets the controlled properties of an element to their values at the stream time of `buffer`.
pub(crate) fn follow_controls(
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
