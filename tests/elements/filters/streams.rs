// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streams that change while they flow: scenes, caps, states, properties and late frames.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

use super::{FILTERS, name};
use crate::common::{
    pipeline,
    video::{buffer, bytes, element, harness, info, to_bytes},
};

/// Returns the last output for frames of a still scene at the given times in milliseconds, the last
/// one with the flag DISCONT if `discont`.
fn last_output(filter: &str, times: &[u64], discont: bool) -> Vec<u8> {
    let info = info(VideoFormat::I420, 96, 64);
    let mut h = harness(filter, &info);
    let mut output = Vec::new();
    for (i, time) in times.iter().enumerate() {
        let is_last = i + 1 == times.len();
        let seed = if is_last { 100 } else { i as u64 };
        let mut input = buffer(bytes(&info, 10.0, seed), 0);
        let writable = input.get_mut().unwrap();
        writable.set_pts(gst::ClockTime::from_mseconds(*time));
        if discont && is_last {
            writable.set_flags(gst::BufferFlags::DISCONT);
        }
        output = to_bytes(&h.push_and_pull(input).unwrap());
    }
    output
}

#[test]
fn long_gaps_end_a_scene_and_lost_frames_do_not() {
    for filter in FILTERS {
        let alone = last_output(filter, &[0], false);
        let continued = last_output(filter, &[0, 40, 80, 120], false);
        assert!(alone != continued, "{filter}");
        assert!(last_output(filter, &[0, 40, 80, 120], true) == continued, "{filter}: DISCONT");
        assert!(last_output(filter, &[0, 40, 80, 400], true) == continued, "{filter}: short gap");
        assert!(last_output(filter, &[0, 40, 80, 9000], false) == alone, "{filter}: long gap");
        assert!(last_output(filter, &[8000, 8040, 8080, 0], false) == alone, "{filter}: backwards");
    }
}

#[test]
fn caps_may_change_in_the_stream() {
    for filter in FILTERS {
        let infos = [
            info(VideoFormat::I420, 64, 48),
            info(VideoFormat::Rgb, 33, 17),
            info(VideoFormat::Nv12, 64, 48),
            info(VideoFormat::Gray8, 7, 5),
            info(VideoFormat::I420, 64, 48),
        ];
        let mut h = harness(name(filter), &infos[0]);
        for (number, info) in infos.iter().enumerate() {
            h.set_src_caps(info.to_caps().unwrap());
            let out = h.push_and_pull(buffer(bytes(info, 10.0, 8), number as u64)).unwrap();
            assert_eq!(out.size(), info.size());
            let caps = h.sinkpad().unwrap().current_caps().unwrap();
            assert_eq!(VideoInfo::from_caps(&caps).unwrap().format(), info.format());
        }
    }
}

#[test]
fn states_cycle() {
    for filter in FILTERS {
        let pipeline = pipeline(&format!(
            "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=48,height=32 ! {filter} ! \
             fakesink"
        ));
        for _ in 0..4 {
            pipeline.set_state(gst::State::Playing).unwrap();
            let bus = pipeline.bus().unwrap();
            let message = bus.timed_pop_filtered(
                gst::ClockTime::from_seconds(30),
                &[gst::MessageType::Eos, gst::MessageType::Error],
            );
            assert_eq!(message.expect("the stream ends").type_(), gst::MessageType::Eos);
            pipeline.set_state(gst::State::Null).unwrap();
        }
        for state in [
            gst::State::Ready,
            gst::State::Paused,
            gst::State::Ready,
            gst::State::Playing,
            gst::State::Null,
        ] {
            pipeline.set_state(state).unwrap();
        }
    }
}

#[test]
fn properties_may_change_while_frames_flow() {
    for (name, live) in [("cnndenoise", "noise-level"), ("cnnsmooth", "scale")] {
        let info = info(VideoFormat::Nv12, 64, 48);
        let mut h = harness(name, &info);
        let element = element(&h);
        let stop = Arc::new(AtomicBool::new(false));
        let other = thread::spawn({
            let (stop, element) = (stop.clone(), element);
            move || {
                let mut i = 0u32;
                while !stop.load(Ordering::Relaxed) {
                    i += 1;
                    element.set_property("strength", (i % 5) as f32 * 0.25);
                    element.set_property(live, (i % 60) as f32 + 1.0);
                    element.set_property("temporal", i.is_multiple_of(2));
                    let stats: gst::Structure = element.property("stats");
                    assert!(stats.has_field("mean-ms"));
                }
                i
            }
        });
        let noisy = bytes(&info, 10.0, 11);
        for number in 0..200 {
            let out = h.push_and_pull(buffer(noisy.clone(), number)).unwrap();
            assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(40 * number)));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(other.join().unwrap() > 0);
    }
}

#[test]
fn late_frames_are_dropped_and_counted() {
    for filter in FILTERS {
        let info = info(VideoFormat::I420, 64, 48);
        let mut h = harness(filter, &info);
        let count = |h: &gst_check::Harness, name: &str| {
            element(h).property::<gst::Structure>("stats").get::<u64>(name).unwrap()
        };
        h.push_and_pull(buffer(bytes(&info, 10.0, 1), 0)).unwrap();
        assert_eq!((count(&h, "frames"), count(&h, "dropped")), (1, 0), "{filter}");
        // A QoS event: the frame shown at 40 ms was half a second late.
        let shown = gst::ClockTime::from_mseconds(40);
        let late = gst::event::Qos::builder(gst::QOSType::Underflow, 3.0, 500_000_000i64)
            .timestamp(shown)
            .build();
        h.push_upstream_event(late);
        h.push(buffer(bytes(&info, 10.0, 2), 1)).unwrap();
        assert_eq!((count(&h, "frames"), count(&h, "dropped")), (1, 1), "{filter}");
        // A frame that is in time again is processed.
        h.push(buffer(bytes(&info, 10.0, 3), 100)).unwrap();
        assert_eq!((count(&h, "frames"), count(&h, "dropped")), (2, 1), "{filter}");
    }
}
