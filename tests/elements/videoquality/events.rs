// SPDX-License-Identifier: MIT OR Apache-2.0

//! Events, queries, caps and frames that pass or are refused.

use gst::prelude::*;
use gst_check::Harness;

use super::Meter;
use crate::common::{
    pipeline,
    video::{self, buffer},
};

#[test]
fn output_is_the_tested_stream_or_the_panel() {
    let info = video::info(gst_video::VideoFormat::I420, 64, 48);
    for output in ["test", "panel"] {
        let element = gst::ElementFactory::make("videoquality").build().unwrap();
        element.set_property_from_str("output", output);
        let mut test = Harness::with_element(&element, Some("sink"), Some("src"));
        let mut reference = Harness::with_element(&element, Some("reference"), None);
        let caps = info.to_caps().unwrap();
        test.set_src_caps(caps.clone());
        reference.set_src_caps(caps.clone());
        test.play();
        let [clean, noisy] = [0.0, 20.0].map(|sigma| video::bytes(&info, sigma, 3));
        reference.push(buffer(clean, 1)).unwrap();
        test.push(buffer(noisy.clone(), 1)).unwrap();
        let out = test.pull().unwrap();
        assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(40)));
        let caps = test.sinkpad().unwrap().current_caps().unwrap();
        let own = gst_video::VideoInfo::from_caps(&caps).unwrap();
        if output == "test" {
            assert_eq!(video::to_bytes(&out), noisy);
            assert_eq!((own.width(), own.height()), (64, 48));
        } else {
            assert_eq!((own.width(), own.height(), out.size()), (1280, 720, 3 * 1280 * 720));
            let colours: std::collections::HashSet<_> =
                video::to_bytes(&out).chunks(3).map(<[u8]>::to_vec).collect();
            assert!(colours.len() > 50, "the panel is nearly empty");
        }
    }
}

/// Returns a frame with a video meta of another size or format, or too short a frame.
fn hostile_frames() -> [(gst::Buffer, &'static str); 3] {
    let with_meta = |format, width, height| {
        let mut frame = Meter::frame(0);
        let writable = frame.get_mut().unwrap();
        let flags = gst_video::VideoFrameFlags::empty();
        gst_video::VideoMeta::add_full(writable, flags, format, width, height, &[0], &[64])
            .unwrap();
        frame
    };
    [
        (with_meta(gst_video::VideoFormat::Gray8, 4096, 4096), "describes GRAY8 of 4096x4096"),
        (with_meta(gst_video::VideoFormat::Gray16Le, 64, 48), "describes GRAY16_LE of 64x48"),
        (buffer(vec![50; 100], 0), "buffer of 100 bytes"),
    ]
}

#[test]
fn frames_that_contradict_their_caps_are_errors() {
    for in_reference in [false, true] {
        for (hostile, reason) in hostile_frames() {
            let mut meter = Meter::new("test", &Meter::caps());
            let (reference, test, stream) = if in_reference {
                (hostile, Meter::frame(0), "a reference frame")
            } else {
                (Meter::frame(0), hostile, "a tested frame")
            };
            meter.reference.push(reference).unwrap();
            meter.test.push(test).unwrap();
            let timeout = gst::ClockTime::from_seconds(10);
            let message = meter.bus.timed_pop_filtered(timeout, &[gst::MessageType::Error]);
            let Some(gst::MessageView::Error(error)) = message.as_ref().map(|m| m.view()) else {
                panic!("no error: {reason}");
            };
            let text = error.error().to_string();
            assert!(text.contains(reason) && text.contains(stream), "{text}");
        }
    }
}

#[test]
fn allocation_queries_do_not_wait_for_the_other_stream() {
    // As from a `tee`, which asks on both pads before it sends the next frame.
    for waits_in_reference in [false, true] {
        let mut meter = Meter::new("test", &Meter::caps());
        let waiting = if waits_in_reference { &mut meter.reference } else { &mut meter.test };
        waiting.push(Meter::frame(1)).unwrap();
        waiting.push_event(Meter::gap(2, 1));
        let name = if waits_in_reference { "reference" } else { "sink" };
        let pad = waiting.element().unwrap().static_pad(name).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut query = gst::query::Allocation::new(Some(&Meter::caps()), true);
            let _ = sender.send(pad.query(&mut query));
        });
        // Before the source pad has caps, the answer is that there is none.
        let answer = receiver.recv_timeout(std::time::Duration::from_secs(20));
        assert!(answer.is_ok(), "no answer, {waits_in_reference}");
        let other = if waits_in_reference { &mut meter.test } else { &mut meter.reference };
        other.push(Meter::frame(1)).unwrap();
        let (messages, _) = meter.end();
        assert_eq!(messages.last().unwrap().frames, 1);
    }
}

#[test]
fn events_caps_and_metas_of_the_tested_stream_pass_untouched() {
    let mut caps = Meter::caps();
    let fields = caps.get_mut().unwrap();
    fields.set("max-framerate", gst::Fraction::new(30, 1));
    fields.set("content-light-level", "1000:300");
    fields.set("pixel-aspect-ratio", gst::Fraction::new(4, 3));
    let custom = |name: &str| gst::event::CustomDownstream::new(gst::Structure::new_empty(name));
    let tags = |title: &str| {
        let mut tags = gst::TagList::new();
        tags.get_mut().unwrap().add::<gst::tags::Title>(&title, gst::TagMergeMode::Append);
        gst::event::Tag::new(tags)
    };
    let mut meter = Meter::new("test", &caps);
    // Before the first frame, too.
    meter.test.push_event(tags("first"));
    meter.test.push_event(custom("before"));
    // Those of the reference do not pass.
    meter.reference.push_event(tags("reference"));
    meter.reference.push_event(custom("reference"));
    meter.push_pair(0);
    meter.test.push_event(custom("between"));
    meter.test.push_event(tags("second"));
    meter.reference.push(Meter::frame(1)).unwrap();
    let mut frame = Meter::frame(1);
    gst_video::VideoRegionOfInterestMeta::add(frame.get_mut().unwrap(), "face", (1, 2, 3, 4));
    meter.test.push(frame).unwrap();
    meter.test.pull().unwrap();
    let out = meter.test.pull().unwrap();
    assert!(out.meta::<gst_video::VideoRegionOfInterestMeta>().is_some());
    assert_eq!(meter.test.sinkpad().unwrap().current_caps(), Some(caps));
    let (_, events) = meter.end();
    let expected = ["stream-start", "caps", "segment", "tag", "before", "between", "tag", "eos"];
    assert_eq!(events, expected);
}

#[test]
fn the_segment_and_changed_caps_pass_in_order() {
    let mut meter = Meter::new("test", &Meter::caps());
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::from_mseconds(40));
    segment.set_base(gst::ClockTime::from_mseconds(40));
    meter.push_pair(0);
    meter.test.push_event(gst::event::Segment::new(&segment));
    let mut caps = Meter::caps();
    caps.get_mut().unwrap().set("framerate", gst::Fraction::new(50, 1));
    meter.test.push_event(gst::event::Caps::new(&caps));
    meter.push_pair(1);
    let (messages, events) = meter.end();
    assert_eq!((messages[0].frames, messages[0].unpaired_test), (2, 0));
    let expected = ["stream-start", "caps", "segment", "caps", "segment", "eos"];
    assert_eq!(events, expected);
}

#[test]
fn a_second_stream_passes_with_its_stream_start() {
    let mut meter = Meter::new("test", &Meter::caps());
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    meter.push_pair(0);
    meter.test.push_event(gst::event::StreamStart::new("second"));
    meter.test.push_event(gst::event::Caps::new(&Meter::caps()));
    meter.test.push_event(gst::event::Segment::new(&segment));
    meter.push_pair(1);
    let (messages, events) = meter.end();
    assert_eq!((messages[0].frames, messages[0].unpaired_test), (2, 0));
    let expected = ["stream-start", "caps", "segment", "stream-start", "segment", "eos"];
    assert_eq!(events, expected);
}

#[test]
fn a_late_reference_leaves_the_events_of_the_panel_in_order() {
    let mut meter = Meter::new("panel", &Meter::caps());
    meter.reference.push(Meter::frame(2)).unwrap();
    for number in 0..3 {
        meter.test.push(Meter::frame(number)).unwrap();
    }
    let (messages, events) = meter.end();
    assert_eq!((messages[0].frames, messages[0].unpaired_test), (1, 2));
    assert_eq!(events, ["stream-start", "caps", "segment", "gap", "gap", "eos"]);
    assert_eq!(meter.test.buffers_received(), 1);
}

#[test]
fn navigation_events_pass_upstream_to_the_tested_stream() {
    for output in ["test", "panel"] {
        let mut meter = Meter::new(output, &Meter::caps());
        let click = gst::Structure::builder("application/x-gst-navigation")
            .field("event", "mouse-button-press")
            .field("button", 1)
            .field("pointer_x", 3.0)
            .field("pointer_y", 4.0);
        let key = gst::Structure::builder("application/x-gst-navigation")
            .field("event", "key-press")
            .field("key", "a");
        meter.test.push_upstream_event(gst::event::Navigation::new(click.build()));
        meter.test.push_upstream_event(gst::event::Navigation::new(key.build()));
        let received = |harness: &mut Harness| -> Vec<String> {
            std::iter::from_fn(|| harness.try_pull_upstream_event())
                .filter(|event| event.type_() == gst::EventType::Navigation)
                .map(|event| event.structure().unwrap().get("event").unwrap())
                .collect()
        };
        let expected: &[&str] = match output {
            "test" => &["mouse-button-press", "key-press"],
            // Coordinates in the panel are not those of the tested stream.
            _ => &["key-press"],
        };
        assert_eq!(received(&mut meter.test), expected, "{output}");
        assert!(received(&mut meter.reference).is_empty(), "{output}");
    }
}

#[test]
fn a_flush_starts_a_new_measurement() {
    let mut meter = Meter::new("test", &Meter::caps());
    meter.push_pair(0);
    meter.push_pair(1);
    meter.test.pull().unwrap();
    meter.test.pull().unwrap();
    let number = gst::Seqnum::next();
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    for flush in [
        gst::event::FlushStart::builder().seqnum(number).build(),
        gst::event::FlushStop::builder(true).seqnum(number).build(),
        gst::event::Segment::builder(&segment).seqnum(number).build(),
    ] {
        meter.reference.push_event(flush.clone());
        meter.test.push_event(flush);
    }
    meter.push_pair(0);
    let (messages, _) = meter.end();
    let last = messages.last().unwrap();
    assert_eq!((last.frames, last.summary, last.unpaired_test), (1, true, 0));
}

#[test]
fn the_pad_that_is_linked_first_is_that_of_the_tested_stream() {
    let pipeline = pipeline(
        "videotestsrc name=first ! q. videotestsrc name=second ! q. videoquality name=q ! fakesink",
    );
    let element = pipeline.by_name("q").unwrap();
    let peer = |pad: &str| {
        element.static_pad(pad).unwrap().peer().unwrap().parent_element().unwrap().name()
    };
    assert_eq!((peer("sink").as_str(), peer("reference").as_str()), ("first", "second"));
}
