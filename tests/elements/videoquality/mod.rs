// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the quality measures against scikit-image and OpenCV, and of the element
//! `videoquality`.

use crate::common::{
    pipeline, run_to_end,
    video::{self, buffer},
};
use cnnvideo::quality::{Gradient, Histogram, gradient_difference, ms_ssim, mse, psnr, ssim};
use gst::prelude::*;
use gst_check::Harness;
use gstcnnvideo::videoquality::VideoQualityMessage;
use ndarray::Array2;

fn grey(name: &str) -> Array2<f32> {
    let file = format!("{}/tests/data/quality-{name}.png", env!("CARGO_MANIFEST_DIR"));
    let picture = image::open(file).unwrap().into_luma8();
    let (width, height) = picture.dimensions();
    Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        f32::from(picture.get_pixel(x as u32, y as u32).0[0])
    })
}

#[test]
fn measures_match_scikit_image_and_opencv() {
    let numbers: serde_json::Value =
        serde_json::from_str(include_str!("../data/quality.json")).unwrap();
    let clean = grey("clean");
    for name in ["noise", "blur", "dark"] {
        let changed = grey(name);
        let expected = |what: &str| numbers[name][what].as_f64().unwrap();
        let error = mse(&clean.view(), &changed.view());
        assert!((error - expected("mse")).abs() < 1e-3, "{name}: {error}");
        assert!((psnr(error) - expected("psnr")).abs() < 1e-3, "{name}: {}", psnr(error));
        // Both implementations average over positions where the window fits into the image.
        let found = ssim(&clean.view(), &changed.view()).unwrap();
        assert!(
            (found - expected("ssim")).abs() < 2e-4,
            "{name}: {found}, not {}",
            expected("ssim")
        );
        let coarse = ms_ssim(&clean.view(), &changed.view()).unwrap();
        assert!((0.0..1.0).contains(&coarse), "{name}: {coarse}");

        let (a, b) = (clean.view(), changed.view());
        for (what, kind) in [("sobel", Gradient::Sobel), ("laplacian", Gradient::Laplacian)] {
            let found = gradient_difference(&a, &b, kind);
            assert!(
                (found - expected(what)).abs() < 1e-3,
                "{name}: {what} {found}, not {}",
                expected(what)
            );
        }
        let (a, b) = (Histogram::from_plane(&a), Histogram::from_plane(&b));
        assert!(
            (a.chi_square_distance(&b) - expected("chi-square")).abs() < 1e-5,
            "{name}: {}",
            a.chi_square_distance(&b)
        );
        assert!(
            (a.earth_movers_distance(&b) - expected("earth-movers")).abs() < 1e-3,
            "{name}: {}",
            a.earth_movers_distance(&b)
        );
    }
}

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

#[test]
fn identical_streams_have_no_error_and_messages_follow_the_interval() {
    let (a, b) = (source(25, CAPS), source(25, CAPS));
    let found =
        run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q interval=10 ! fakesink"))
            .unwrap();
    assert_eq!(
        found.iter().map(|m| (m.frames, m.summary)).collect::<Vec<_>>(),
        [(10, false), (20, false), (25, true)]
    );
    for message in &found {
        assert_eq!((message.mean.mse_total, message.mean.psnr()), (0.0, f64::INFINITY));
        assert!((message.mean.ssim.unwrap() - 1.0).abs() < 1e-6);
        assert_eq!((message.unpaired_reference, message.unpaired_test), (0, 0));
    }
}

#[test]
fn a_change_is_measured_across_formats() {
    let other = "format=NV12,width=320,height=240";
    let a = source(5, CAPS);
    let b = format!("{} ! videobalance brightness=0.1", source(5, other));
    let found =
        run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap();
    let mean = found.last().unwrap().mean;
    assert!((15.0..30.0).contains(&mean.psnr()), "{mean:?}");
    assert!(
        mean.mse[1] == Some(0.0) && mean.ssim.unwrap() < 1.0 && mean.histogram_earth_movers > 5.0,
        "{mean:?}"
    );
    let rgb = source(5, "format=RGB,width=320,height=240");
    let found =
        run(&format!("{rgb} ! q.reference {rgb} ! q.sink videoquality name=q ! fakesink")).unwrap();
    assert!(found[0].mean.rgb && found[0].mean.mse == [Some(0.0); 3]);
}

#[test]
fn streams_of_unequal_length_end() {
    for (reference, test, pairs, unpaired) in [(5, 12, 5, 7), (12, 5, 5, 0)] {
        let (a, b) = (source(reference, CAPS), source(test, CAPS));
        let found =
            run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap();
        let last = found.last().unwrap();
        assert_eq!((last.frames, last.unpaired_test, last.summary), (pairs, unpaired, true));
    }
}

#[test]
fn an_endless_stream_does_not_delay_eos() {
    let endless = source(u32::MAX, CAPS);
    let found = run(&format!(
        "{endless} ! q.reference {} ! q.sink videoquality name=q ! fakesink",
        source(7, CAPS)
    ));
    let found = found.unwrap();
    assert_eq!((found.last().unwrap().frames, found.last().unwrap().summary), (7, true));

    // If the reference ends first, a warning reports that nothing is measured any more.
    let pipeline = pipeline(&format!(
        "{} ! q.reference {endless} ! q.sink videoquality name=q ! fakesink",
        source(3, CAPS)
    ));
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = pipeline.bus().unwrap().timed_pop_filtered(
        gst::ClockTime::from_seconds(20),
        &[gst::MessageType::Warning, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null).unwrap();
    let gst::MessageView::Warning(warning) = message.as_ref().unwrap().view() else {
        panic!("{message:?}")
    };
    assert!(warning.error().to_string().contains("reference ended first"));
}

#[test]
fn region_masks_are_compared() {
    let segment = |seeds: &str| format!("cnnsegment seeds={seeds}");
    let a = format!("{} ! {}", source(4, CAPS), segment("fg:100,100"));
    let both = |other: &str| {
        let b = format!("{} ! {other}", source(4, CAPS));
        let found =
            run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap();
        found.last().unwrap().mean.iou
    };
    assert_eq!(both(&segment("fg:100,100")), Some(1.0));
    assert!(both(&segment("fg:300,20")).unwrap() < 1.0);
    assert_eq!(both("identity"), None);
}

#[test]
fn frame_rates_may_differ_but_sizes_must_agree() {
    let a = source(20, CAPS);
    let b = "videotestsrc num-buffers=10 ! \
             video/x-raw,framerate=25/2,format=I420,width=320,height=240 ! queue";
    let found =
        run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap();
    let last = found.last().unwrap();
    assert_eq!((last.frames, last.unpaired_test), (10, 0));
    assert!(last.unpaired_reference >= 9, "{last:?}");

    let b = source(5, "format=I420,width=160,height=120");
    let error =
        run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap_err();
    assert!(error.contains("320x240") && error.contains("160x120"), "{error}");
}

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

/// A `videoquality` with a harness for each sink pad.
struct Meter {
    test: Harness,
    reference: Harness,
    bus: gst::Bus,
}

impl Meter {
    fn new(output: &str, test_caps: &gst::Caps) -> Self {
        crate::common::init();
        let element = gst::ElementFactory::make("videoquality").build().unwrap();
        element.set_property_from_str("output", output);
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
