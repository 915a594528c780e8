// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which frames are pairs.

use gst::prelude::*;
use gstcnnvideo::videoquality::VideoQualityMessage;

use super::Meter;
use crate::common::pipeline;

/// Runs a pipeline with `videoquality name=q` and the sources `reference` and `test`, and feeds
/// them with flat frames of the given code values and timestamps in milliseconds, without
/// durations.
fn compare_flat(caps: &str, reference: &[(u8, u64)], test: &[(u8, u64)]) -> VideoQualityMessage {
    let caps = format!("\"video/x-raw,format=GRAY8,width=64,height=48,{caps}\"");
    let pipeline = pipeline(&format!(
        "appsrc name=reference format=time caps={caps} ! q.reference \
         appsrc name=test format=time caps={caps} ! q.sink videoquality name=q ! fakesink"
    ));
    pipeline.set_state(gst::State::Playing).unwrap();
    for (name, frames) in [("reference", reference), ("test", test)] {
        let source: gst_app::AppSrc = pipeline.by_name(name).unwrap().downcast().unwrap();
        for (grey, time) in frames {
            let mut buffer = gst::Buffer::from_mut_slice(vec![*grey; 64 * 48]);
            buffer.get_mut().unwrap().set_pts(gst::ClockTime::from_mseconds(*time));
            source.push_buffer(buffer).unwrap();
        }
        source.end_of_stream().unwrap();
    }
    summary(&pipeline)
}

/// Waits for the end of a stream and returns the summary message.
fn summary(pipeline: &gst::Pipeline) -> VideoQualityMessage {
    let mut last = None;
    for message in pipeline.bus().unwrap().iter_timed(gst::ClockTime::from_seconds(20)) {
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(err) => panic!("{err:?}"),
            gst::MessageView::Element(element) => {
                last = VideoQualityMessage::try_from(element.structure().unwrap()).ok().or(last);
            }
            _ => (),
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    last.filter(|message| message.summary).expect("a summary")
}

#[test]
fn frames_without_durations_are_paired_by_their_timestamps() {
    let all: Vec<(u8, u64)> = (0..12).map(|i| (20 * i, 1000 * u64::from(i) / 60)).collect();
    let without = |missing: &[u8]| -> Vec<(u8, u64)> {
        all.iter().filter(|(grey, _)| !missing.contains(&(grey / 20))).copied().collect()
    };
    for caps in ["framerate=60/1", "framerate=0/1"] {
        for missing in [&[][..], &[4], &[0], &[0, 1, 5, 6, 9]] {
            let (few, count) = (without(missing), missing.len() as u64);
            let found = compare_flat(caps, &all, &few);
            assert_eq!((found.frames, found.mean.mse_total), (12 - count, 0.0), "{caps}");
            assert_eq!((found.unpaired_reference, found.unpaired_test), (count, 0), "{caps}");
            let found = compare_flat(caps, &few, &all);
            assert_eq!((found.frames, found.mean.mse_total), (12 - count, 0.0), "{caps}");
            assert_eq!((found.unpaired_reference, found.unpaired_test), (0, count), "{caps}");
        }
    }
    // A variable frame rate.
    let all = [(0, 0), (50, 100), (100, 110), (150, 500), (200, 510), (250, 700)];
    let few = [(0, 0), (100, 110), (200, 510), (250, 700)];
    let found = compare_flat("framerate=0/1", &all, &few);
    assert_eq!((found.frames, found.unpaired_reference, found.mean.mse_total), (4, 2, 0.0));
    // Timestamps with jitter, as of two network receivers.
    let jittered: Vec<_> =
        without(&[3]).iter().map(|(grey, time)| (*grey, time + 2 + time % 3)).collect();
    let found = compare_flat("framerate=0/1", &without(&[]), &jittered);
    assert_eq!((found.frames, found.unpaired_reference, found.mean.mse_total), (11, 1, 0.0));
}

#[test]
fn gap_events_pass_and_frames_in_gaps_are_unpaired() {
    // Both streams begin with a gap, as from a file whose video begins after its audio.
    let mut meter = Meter::new("test", &Meter::caps());
    meter.reference.push_event(Meter::gap(0, 2));
    meter.test.push_event(Meter::gap(0, 2));
    meter.push_pair(2);
    // A gap of the reference.
    meter.reference.push_event(Meter::gap(3, 1));
    meter.test.push(Meter::frame(3)).unwrap();
    meter.push_pair(4);
    // A gap of the tested stream.
    meter.test.push_event(Meter::gap(5, 1));
    meter.reference.push(Meter::frame(5)).unwrap();
    meter.push_pair(6);
    let (messages, events) = meter.end();
    let last = messages.last().unwrap();
    assert_eq!((last.frames, last.unpaired_reference, last.unpaired_test), (3, 1, 1));
    assert_eq!(meter.test.buffers_received(), 4);
    assert_eq!(events, ["stream-start", "caps", "segment", "gap", "gap", "eos"]);
}

#[test]
fn streams_without_a_common_time_end_with_a_warning() {
    let mut meter = Meter::new("test", &Meter::caps());
    meter.reference.push(Meter::frame(100)).unwrap();
    for number in 0..3 {
        meter.test.push(Meter::frame(number)).unwrap();
    }
    meter.test.push_event(gst::event::Eos::new());
    let message = meter
        .bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(10), &[gst::MessageType::Warning])
        .expect("a warning");
    let gst::MessageView::Warning(warning) = message.view() else { panic!("{message:?}") };
    assert!(warning.error().to_string().contains("none of the 3 tested frames"), "{message:?}");
}
