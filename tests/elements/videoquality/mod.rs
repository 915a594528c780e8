// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the quality measures and of the element `videoquality`.

mod events;
mod measures;
mod pairing;
mod report;
mod streams;

use crate::common::{
    run_to_end,
    video::{self, buffer},
};
use gst::prelude::*;
use gst_check::Harness;
use gstcnnvideo::videoquality::VideoQualityMessage;

/// Runs a pipeline. Returns the messages of `videoquality` until the end of the stream, or the
/// error.
fn run(description: &str) -> Result<Vec<VideoQualityMessage>, String> {
    let structures = run_to_end(description)?;
    Ok(structures.iter().filter_map(|s| VideoQualityMessage::try_from(s.as_ref()).ok()).collect())
}

fn source(count: u32, caps: &str) -> String {
    format!("videotestsrc num-buffers={count} ! video/x-raw,framerate=25/1,{caps} ! queue")
}

const CAPS: &str = "format=I420,width=320,height=240";

/// A `videoquality` with a harness for each sink pad.
struct Meter {
    test: Harness,
    reference: Harness,
    bus: gst::Bus,
}

impl Meter {
    fn new(output: &str, test_caps: &gst::Caps) -> Self {
        Self::build(&[("output", output)], test_caps)
    }

    fn with_properties(properties: &[(&str, &str)]) -> Self {
        Self::build(properties, &Self::caps())
    }

    fn build(properties: &[(&str, &str)], test_caps: &gst::Caps) -> Self {
        crate::common::init();
        let element = gst::ElementFactory::make("videoquality").build().unwrap();
        for (name, value) in properties {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut test = Harness::with_element(&element, Some("sink"), Some("src"));
        let mut reference = Harness::with_element(&element, Some("reference"), None);
        test.set_src_caps(test_caps.clone());
        reference.set_src_caps(Self::caps());
        test.play();
        Self { test, reference, bus }
    }

    fn caps() -> gst::Caps {
        video::info(gst_video::VideoFormat::Gray8, 64, 48).to_caps().unwrap()
    }

    fn frame(number: u64) -> gst::Buffer {
        buffer(vec![50; 64 * 48], number)
    }

    fn gap(number: u64, frames: u64) -> gst::Event {
        let frame = gst::ClockTime::from_mseconds(40);
        gst::event::Gap::builder(frame * number).duration(frame * frames).build()
    }

    fn push_pair(&mut self, number: u64) {
        self.reference.push(Self::frame(number)).unwrap();
        self.test.push(Self::frame(number)).unwrap();
    }

    /// Ends both streams, waits and returns all messages and the names of all events.
    fn end(&mut self) -> (Vec<VideoQualityMessage>, Vec<String>) {
        self.reference.push_event(gst::event::Eos::new());
        self.test.push_event(gst::event::Eos::new());
        let mut events = Vec::new();
        while events.last().is_none_or(|name| name != "eos") {
            let event = self.test.pull_event().expect("an event before EOS");
            let name = event.structure().filter(|_| event.type_().to_string().contains("custom"));
            events.push(name.map_or(event.type_().to_string(), |s| s.name().to_string()));
        }
        let messages = self.bus.iter().filter_map(|message| match message.view() {
            gst::MessageView::Element(element) => {
                VideoQualityMessage::try_from(element.structure()?).ok()
            }
            gst::MessageView::Error(err) => panic!("{err:?}"),
            _ => None,
        });
        (messages.collect(), events)
    }
}
