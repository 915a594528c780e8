//! What the video filters share of their element's shape.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_base::prelude::*;

use super::{DEEP_FORMATS, FORMATS};

/// Locks what is still whole even if a holder panicked: values are replaced, never half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink and a source pad that take every pixel format.
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

/// A property that may change with every frame.
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

/// Whether an event ends what the next frame could continue.
pub(crate) fn ends_a_scene(event: &gst::Event) -> bool {
    matches!(
        event.view(),
        gst::EventView::FlushStop(_) | gst::EventView::Segment(_) | gst::EventView::StreamStart(_)
    )
}

/// Sets properties that a controller drives to their values at a buffer's time.
pub(crate) fn follow_controls(
    element: &gst_base::BaseTransform,
    category: gst::DebugCategory,
    buffer: &gst::BufferRef,
) {
    let segment = element.segment().downcast::<gst::ClockTime>().ok();
    if let Some(time) = segment.and_then(|segment| segment.to_stream_time(buffer.pts()))
        && let Err(err) = element.sync_values(time)
    {
        gst::warning!(category, obj = element, "Cannot follow controlled properties: {err}");
    }
}
