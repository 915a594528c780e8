// SPDX-License-Identifier: MIT OR Apache-2.0

//! What applications and users do while an element plays.

use glib::value::FromValue;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::VideoInfo;
use rand::{Rng, rngs::StdRng};

use crate::subject::{Running, caps};

/// Frames between changes of the caps and of the payload. Such a change allocates, so that a frame
/// takes longer; so do clicks. Together they are less than one frame in a hundred.
const CAPS_INTERVAL: u64 = 250;
/// Frames between clicks.
const CLICK_INTERVAL: u64 = 250;
/// Frames between flushing seeks.
const SEEK_INTERVAL: u64 = 1000;
/// Frames between changes of all properties.
const PROPERTY_INTERVAL: u64 = 10;
/// Seeds on the disc of the frames and in a corner.
const SEEDS: &str = "fg:50%,50%;bg:1%,1%";

/// Does what is due before frame `number`. Returns the format of that frame.
pub(crate) fn before_frame(running: &mut Running, number: u64, rng: &mut StdRng) -> VideoInfo {
    let info = caps(number / CAPS_INTERVAL);
    if number.is_multiple_of(CAPS_INTERVAL) {
        let caps = info.to_caps().unwrap();
        running.for_each_input(|input| input.set_src_caps(caps.clone()));
    }
    if number % SEEK_INTERVAL == SEEK_INTERVAL / 8 {
        seek(running);
    }
    if number % CLICK_INTERVAL == CLICK_INTERVAL / 2 {
        click(running, rng);
    }
    if number.is_multiple_of(PROPERTY_INTERVAL) {
        change_properties(&running.element, number, rng);
    }
    info
}

/// Seeks as a sink does, and flushes as a source does then: with the sequence number of the seek.
fn seek(running: &mut Running) {
    let seek = gst::event::Seek::new(
        1.0,
        gst::SeekFlags::FLUSH,
        gst::SeekType::Set,
        gst::ClockTime::ZERO,
        gst::SeekType::None,
        gst::ClockTime::NONE,
    );
    let number = seek.seqnum();
    running.input.push_upstream_event(seek);
    let start = gst::event::FlushStart::builder().seqnum(number).build();
    let stop = gst::event::FlushStop::builder(true).seqnum(number).build();
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let segment = gst::event::Segment::builder(&segment).seqnum(number).build();
    for event in [start, stop, segment] {
        running.for_each_input(|input| {
            input.push_event(event.clone());
        });
    }
    drain(&mut running.input);
    // A seek ends all regions.
    if running.element.find_property("seeds").is_some() {
        running.element.set_property("seeds", SEEDS);
    }
}

/// Clicks into the frame, and grows the region.
fn click(running: &mut Running, rng: &mut StdRng) {
    let (x, y) = (rng.random_range(0.0..180.0), rng.random_range(0.0..100.0));
    let structure = |event: &str| {
        gst::Structure::builder("application/x-gst-navigation")
            .field("event", event)
            .field("button", 1)
            .field("pointer_x", x)
            .field("pointer_y", y)
            .field("delta_pointer_x", 0.0)
            .field("delta_pointer_y", 1.0)
            .build()
    };
    for event in ["mouse-button-press", "mouse-button-release", "mouse-scroll"] {
        running.input.push_upstream_event(gst::event::Navigation::new(structure(event)));
    }
    drain(&mut running.input);
}

/// Removes the events that a harness has collected.
fn drain(input: &mut Harness) {
    while input.try_pull_event().is_some() {}
    while input.try_pull_upstream_event().is_some() {}
}

/// Sets every property that may change while playing to a random value, and reads all others.
fn change_properties(element: &gst::Element, number: u64, rng: &mut StdRng) {
    for property in element.list_properties() {
        let (name, flags) = (property.name(), property.flags());
        if flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING) {
            if let Some(value) = random_value(&property, number, rng) {
                element.set_property_from_value(name, &value);
            }
        } else if flags.contains(glib::ParamFlags::READABLE) {
            element.property_value(name);
        }
    }
}

/// Returns a random value of a property; `None` for types without one, and where it is too early
/// for a change that costs time.
fn random_value(property: &glib::ParamSpec, number: u64, rng: &mut StdRng) -> Option<glib::Value> {
    if let Some(float) = property.downcast_ref::<glib::ParamSpecFloat>() {
        return Some(rng.random_range(float.minimum()..=float.maximum()).to_value());
    }
    if property.value_type() == bool::static_type() {
        return Some(rng.random::<bool>().to_value());
    }
    if property.value_type() == u32::static_type() {
        // The interval of messages or decodes.
        return Some(rng.random_range(10..40u32).to_value());
    }
    match property.name() {
        "payload" if number.is_multiple_of(CAPS_INTERVAL) => {
            Some(format!("{:016x}", rng.random::<u64>()).to_value())
        }
        "seeds" if number.is_multiple_of(SEEK_INTERVAL) => Some(SEEDS.to_value()),
        _ => None,
    }
}

/// Returns the value of a field of the property `stats`, if the element has both.
pub(crate) fn statistic<T: for<'a> FromValue<'a>>(
    element: &gst::Element,
    field: &str,
) -> Option<T> {
    element.find_property("stats")?;
    let stats: Option<gst::Structure> = element.property("stats");
    stats?.value(field).ok()?.get().ok()
}
