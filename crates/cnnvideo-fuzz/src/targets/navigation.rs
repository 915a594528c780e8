// SPDX-License-Identifier: MIT OR Apache-2.0

//! Navigation events, action signals and the property `seeds` with hostile values, on
//! `cnnsegment` and the elements that pass events on.

use gst::prelude::*;
use gst_video::VideoFormat;

use super::random_corpus;
use crate::{
    Target,
    elements::{self, Meter, Running},
    input::Input,
};

/// The target.
pub const TARGET: Target = Target {
    name: "navigation",
    about: "navigation events, action signals and seeds on playing elements",
    corpus: || random_corpus(64, 256),
    dictionary: &["g", "s", "u", "c", "1", "8", "9", "fg:1,1;", "bg:50%,50%;", "box:1,1,9,9;"],
    mutate: None,
    repair: None,
    run,
};

/// Width and height of the frames.
const SIZE: (u32, u32) = (32, 24);
/// Most steps of an input.
const MAX_STEPS: usize = 24;
/// Most frames of an input.
const MAX_FRAMES: u64 = 2;
/// Names of events, and one that does not exist.
const EVENTS: [&str; 11] = [
    "mouse-button-press",
    "mouse-button-release",
    "mouse-double-click",
    "mouse-move",
    "mouse-scroll",
    "key-press",
    "key-release",
    "touch-down",
    "touch-motion",
    "touch-up",
    "no-such-event",
];
/// Keys that `cnnsegment` uses, and others.
const KEYS: [&str; 12] = ["g", "s", "u", "c", "1", "8", "9", "0", "", "é", "F11", "11111111111"];

fn run(data: &[u8]) {
    elements::init();
    let mut input = Input::new(data);
    match input.byte() {
        0 => pass_on(elements::EMBED, &mut input),
        1..=3 => pass_on(&format!("watermarkdetect key={}", elements::KEY), &mut input),
        4..=19 => pass_on("cnndenoise threads=1 noise-level=9", &mut input),
        20..=35 => pass_on("cnnsmooth threads=1", &mut input),
        36..=51 => meter(&mut input),
        _ => segment(&mut input),
    }
}

/// Sends events to elements that pass all of them on.
fn pass_on(description: &str, input: &mut Input<'_>) {
    let info = elements::info(VideoFormat::I420, SIZE.0, SIZE.1);
    let mut element = Running::new(description, &info);
    send_events(&mut element.harness, input);
    assert_eq!(element.push(elements::frame(info.size(), 0)), Ok(1));
}

/// Sends events to `videoquality`.
fn meter(input: &mut Input<'_>) {
    let info = elements::info(VideoFormat::I420, SIZE.0, SIZE.1);
    let mut meter = Meter::new("test", &info);
    send_events(&mut meter.test, input);
    let pair = [0, 0].map(|number| elements::frame(info.size(), number));
    meter.compare(vec![pair]).expect("events are no reason to fail");
}

/// Sends events upstream, each of which must arrive there.
fn send_events(harness: &mut gst_check::Harness, input: &mut Input<'_>) {
    for _ in 0..1 + input.below(MAX_STEPS) {
        let event = event(input);
        let number = event.seqnum();
        harness.push_upstream_event(event);
        let mut arrived = std::iter::from_fn(|| harness.try_pull_upstream_event());
        assert!(arrived.any(|event| event.seqnum() == number), "an event is lost");
    }
}

/// Uses `cnnsegment` in every way in which an application or a user can.
fn segment(input: &mut Input<'_>) {
    let info = elements::info(VideoFormat::I420, SIZE.0, SIZE.1);
    let output = input.choose(&["meta", "overlay", "mask", "alpha"]);
    let mut element = Running::new(&format!("{} output={output}", elements::segment()), &info);
    let mut frames = 0;
    for _ in 0..1 + input.below(MAX_STEPS) {
        match input.byte() % 16 {
            0 if frames < MAX_FRAMES => {
                assert_eq!(element.push(elements::frame(info.size(), frames)), Ok(1));
                frames += 1;
            }
            0..=1 => {
                let length = input.below(64);
                element.element.set_property("seeds", input.text(length));
            }
            2..=6 => signal(&element.element, input),
            _ => {
                // Whether it is handled depends on the event.
                element.harness.push_upstream_event(event(input));
            }
        }
    }
    if frames == 0 && input.one_in(2) {
        assert_eq!(element.push(elements::frame(info.size(), 0)), Ok(1));
    }
}

/// Emits an action signal, which the element may refuse.
fn signal(element: &gst::Element, input: &mut Input<'_>) {
    let kind = input.byte() % 6;
    let label = input.integer(1) as u32;
    let [a, b, c, d] = [(); 4].map(|()| input.float(f64::from(SIZE.0)));
    let emit = |name: &str, arguments: &[&dyn ToValue]| {
        let _accepted: bool = element.emit_by_name(name, arguments);
    };
    match kind {
        0 => emit("add-seed", &[&a, &b, &label]),
        1 => emit("add-box", &[&a, &b, &c, &d, &label]),
        2 => emit("add-stroke", &[&points(input), &label, &a]),
        3 => emit("grow", &[&label, &(input.integer(3) as i32)]),
        4 => element.emit_by_name::<()>("undo", &[]),
        _ => element.emit_by_name::<()>("clear", &[]),
    }
}

/// Returns the points of a stroke, which should be numbers. All values of an array have one type.
fn points(input: &mut Input<'_>) -> gst::Array {
    let most = if input.one_in(20) { 700 } else { 9 };
    let count = input.below(most);
    match input.byte() % 8 {
        0 => gst::Array::new((0..count).map(|_| input.integer(9) as i32)),
        1 => gst::Array::new((0..count).map(|_| "7")),
        _ => gst::Array::new((0..count).map(|_| input.float(f64::from(SIZE.0)))),
    }
}

/// Returns a navigation event of which each field may be missing or wrong.
fn event(input: &mut Input<'_>) -> gst::Event {
    let mut structure = gst::Structure::new_empty("application/x-gst-navigation");
    if !input.one_in(30) {
        structure.set("event", input.choose(&EVENTS));
    }
    let coordinates = ["pointer_x", "pointer_y", "delta_pointer_x", "delta_pointer_y", "pressure"];
    for field in coordinates {
        match input.byte() % 32 {
            0 => (),
            1 => structure.set(field, "nan"),
            2 => structure.set(field, input.integer(9) as i32),
            _ => structure.set(field, input.float(f64::from(SIZE.0))),
        }
    }
    match input.byte() % 8 {
        0 => structure.set("button", input.integer(1) as i32),
        1 => structure.set("button", "1"),
        _ => structure.set("button", input.choose(&[1, 3])),
    }
    match input.byte() % 8 {
        0 => structure.set("key", input.text(12)),
        1 => structure.set("key", 5),
        _ => structure.set("key", input.choose(&KEYS)),
    }
    structure.set("identifier", input.integer(0) as u32);
    modifiers(&mut structure, input);
    gst::event::Navigation::new(structure)
}

/// Sets the field with the modifier keys, which may have a wrong type or undefined bits.
fn modifiers(structure: &mut gst::Structure, input: &mut Input<'_>) {
    use gst_video::NavigationModifierType as Modifiers;
    let bits = input.integer(0) as u32;
    match input.byte() % 8 {
        0 => structure.set("state", bits),
        1 => structure.set("state", Modifiers::from_bits_retain(bits)),
        2 => structure.set("state", Modifiers::CONTROL_MASK),
        3 => structure.set("state", Modifiers::SHIFT_MASK),
        4 => structure.set("state", "control-mask"),
        _ => (),
    }
}
