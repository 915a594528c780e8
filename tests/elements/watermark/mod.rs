// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the elements `watermarkembed` and `watermarkdetect`.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::VideoInfo;
use gstcnnvideo::watermarkdetect::WatermarkMessage;

use crate::common::run_to_end;

mod frames;
mod marks;
mod reports;
mod settings;
mod stopping;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const PAYLOAD: &str = "fedcba9876543210";
const SOURCE: &str = "videotestsrc num-buffers=60 pattern=zone-plate kx2=6 ky2=6 kt=3 ! \
                      video/x-raw,format=I420,width=960,height=540,framerate=25/1";

/// Creates a textured frame; alpha and padding are textured too.
fn textured(info: &VideoInfo, number: u64) -> Vec<u8> {
    let stride = info.stride()[0] as usize;
    (0..info.size())
        .map(|i| {
            let (x, y) = ((i % stride) as f32, (i / stride) as f32);
            let shift = 3.0 * number as f32;
            (120.0
                + 40.0 * ((x + shift) * 0.021).sin()
                + 25.0 * (y * 0.13 + x * 0.05).sin() * (x * 0.08).cos()) as u8
        })
        .collect()
}

/// Returns the elements in the bin of a harness, in the order of the description.
fn children(harness: &Harness) -> Vec<gst::Element> {
    let bin = harness.element().unwrap().downcast::<gst::Bin>().unwrap();
    let mut children: Vec<_> = bin.children().into_iter().collect();
    children.reverse();
    children
}

/// Runs a pipeline to its end and returns the messages of its detector.
fn messages(description: &str) -> Vec<WatermarkMessage> {
    let structures = run_to_end(description).unwrap();
    structures.iter().filter_map(|s| WatermarkMessage::try_from(s.as_ref()).ok()).collect()
}

fn payloads(messages: &[WatermarkMessage]) -> Vec<Option<String>> {
    messages.iter().map(|m| m.report.payload.map(|p| p.to_string())).collect()
}

/// Gives an element a bus of its own and returns it.
fn own_bus(element: &gst::Element) -> gst::Bus {
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    bus
}

/// Returns the warnings and errors on a bus.
fn problems(bus: &gst::Bus) -> Vec<String> {
    let messages = bus.iter_filtered(&[gst::MessageType::Warning, gst::MessageType::Error]);
    messages
        .map(|message| match message.view() {
            gst::MessageView::Warning(warning) => warning.error().to_string(),
            gst::MessageView::Error(error) => error.error().to_string(),
            _ => unreachable!(),
        })
        .collect()
}
