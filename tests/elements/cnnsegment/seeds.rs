// SPDX-License-Identifier: MIT OR Apache-2.0

//! Seeds: gestures, properties and signals.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::{DISC, RADIUS, click, mask, overlap, scene};
use crate::common::{
    error_of, pipeline,
    video::{FORMATS, buffer, element, harness, info, to_bytes},
};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{NavigationEvent, NavigationModifierType, VideoFormat};
use gstcnnvideo::shared::REGION_MASK_META;

#[test]
fn a_click_segments_the_object_in_every_format() {
    for format in FORMATS {
        let info = info(format, 400, 240);
        let mut h = harness("cnnsegment", &info);
        let bytes = scene(&info, DISC, RADIUS);
        let out = h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
        assert!(mask(&out, &info).is_none(), "{format:?}: a mask without a click");
        click(&mut h, 200.0, 120.0, 1);
        click(&mut h, 20.0, 20.0, 3);
        let out = h.push_and_pull(buffer(bytes.clone(), 1)).unwrap();
        let iou = overlap(&mask(&out, &info).unwrap(), DISC, RADIUS);
        assert!(iou > 0.85, "{format:?}: {iou}");
        assert_eq!(to_bytes(&out), bytes, "{format:?}: the frame was changed");
    }
}

#[test]
fn gestures_properties_and_signals_give_the_same_mask() {
    let info = info(VideoFormat::I420, 400, 240);
    let bytes = scene(&info, DISC, RADIUS);
    let masks: Vec<_> = (0..3)
        .map(|input_method| {
            let mut h = harness("cnnsegment name=s", &info);
            let s = element(&h);
            let first = h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
            assert!(mask(&first, &info).is_none());
            match input_method {
                0 => {
                    click(&mut h, 200.0, 120.0, 1);
                    click(&mut h, 20.0, 20.0, 3);
                }
                1 => s.set_property("seeds", "fg:200,120; bg:20,20"),
                _ => {
                    assert!(s.emit_by_name::<bool>("add-seed", &[&200.0f64, &120.0f64, &1u32]));
                    assert!(s.emit_by_name::<bool>("add-seed", &[&20.0f64, &20.0f64, &0u32]));
                }
            }
            mask(&h.push_and_pull(buffer(bytes.clone(), 1)).unwrap(), &info).unwrap()
        })
        .collect();
    assert!(masks[0] == masks[1] && masks[1] == masks[2]);
}

#[test]
fn strokes_boxes_labels_undo_and_clear() {
    let info = info(VideoFormat::I420, 400, 240);
    let bytes = scene(&info, DISC, RADIUS);
    let mut h = harness("cnnsegment", &info);
    let s = element(&h);
    let mut number = 0;
    let mut next = |h: &mut Harness| {
        number += 1;
        mask(&h.push_and_pull(buffer(bytes.clone(), number)).unwrap(), &info)
    };
    next(&mut h);
    let shift = NavigationModifierType::SHIFT_MASK;
    for event in [
        NavigationEvent::MouseButtonPress { button: 1, x: 130.0, y: 50.0, modifier_state: shift },
        NavigationEvent::new_mouse_move(200.0, 120.0),
        NavigationEvent::new_mouse_button_release(1, 270.0, 190.0),
    ] {
        h.push_upstream_event(gst::event::Navigation::new(event.structure()));
    }
    let boxed = next(&mut h).unwrap();
    println!("box {}", overlap(&boxed, DISC, RADIUS));
    assert!(overlap(&boxed, DISC, RADIUS) > 0.6, "{}", overlap(&boxed, DISC, RADIUS));
    let points = gst::Array::new([180.0f64, 120.0, 220.0, 120.0]);
    assert!(s.emit_by_name::<bool>("add-stroke", &[&points, &2u32, &3.0f64]));
    let stroked = next(&mut h).unwrap();
    assert_eq!(stroked[[120, 200]], 2);
    s.emit_by_name::<()>("undo", &[]);
    assert!(next(&mut h).unwrap().iter().all(|label| *label != 2));
    s.emit_by_name::<()>("clear", &[]);
    assert!(next(&mut h).is_none());
    // Invalid arguments are refused.
    for wrong in [gst::Array::new([1.0f64]), gst::Array::new(["x", "y"]), gst::Array::default()] {
        assert!(!s.emit_by_name::<bool>("add-stroke", &[&wrong, &1u32, &0.0f64]));
    }
    assert!(!s.emit_by_name::<bool>("add-seed", &[&1.0f64, &1.0f64, &9u32]));
    assert!(!s.emit_by_name::<bool>("add-box", &[&1.0f64, &1.0f64, &9.0f64, &9.0f64, &0u32]));
    assert!(next(&mut h).is_none());
}

#[test]
fn the_wheel_grows_and_shrinks_a_region() {
    let info = info(VideoFormat::I420, 400, 240);
    let bytes = scene(&info, DISC, RADIUS);
    let mut h = harness("cnnsegment", &info);
    let s = element(&h);
    let mut number = 0;
    let mut area = |h: &mut Harness| {
        number += 1;
        let mask = mask(&h.push_and_pull(buffer(bytes.clone(), number)).unwrap(), &info);
        mask.map_or(0, |mask| mask.iter().filter(|label| **label == 1).count())
    };
    let turn = |h: &mut Harness, by: f64| {
        let event = NavigationEvent::new_mouse_scroll(200.0, 120.0, 0.0, by);
        h.push_upstream_event(gst::event::Navigation::new(event.structure()));
    };
    area(&mut h);
    // Without a region, scrolling has no effect.
    turn(&mut h, 1.0);
    assert_eq!(area(&mut h), 0);
    click(&mut h, 200.0, 120.0, 1);
    let clicked = area(&mut h);
    (0..20).for_each(|_| turn(&mut h, 1.0));
    let whole = area(&mut h);
    assert!(whole > 400 * 240 * 95 / 100, "{whole} of {clicked}");
    (0..3).for_each(|_| turn(&mut h, -1.0));
    let smaller = area(&mut h);
    assert!(smaller < whole * 9 / 10, "{smaller} of {whole}");
    assert!(s.emit_by_name::<bool>("grow", &[&1u32, &i32::MIN]));
    let shrunk = area(&mut h);
    assert!((1..clicked).contains(&shrunk), "{shrunk}");
    // Each scroll step can be undone.
    (0..24).for_each(|_| s.emit_by_name::<()>("undo", &[]));
    let restored = area(&mut h);
    assert!(restored.abs_diff(clicked) < clicked / 50, "{restored}, {clicked}");
    assert!(!s.emit_by_name::<bool>("grow", &[&0u32, &1i32]));
    assert!(s.emit_by_name::<bool>("grow", &[&7u32, &1i32]));
    assert!(area(&mut h).abs_diff(restored) < clicked / 50);
}

#[test]
fn invalid_seeds_are_errors() {
    for seeds in [
        "fg",
        "fg:1",
        "xx:1,2",
        "box:1,2,3",
        "fg:1,2;stroke-bg:9",
        "fg99:1,1",
        "fg:nan,nan",
        "bg:1,-inf",
        "box:1,2,3,1e99",
        "stroke-fg:1,2,inf%,3",
    ] {
        let pipeline = pipeline("videotestsrc num-buffers=2 ! cnnsegment name=s ! fakesink");
        pipeline.by_name("s").unwrap().set_property("seeds", seeds);
        assert!(pipeline.set_state(gst::State::Playing).is_err());
        let error = error_of(&pipeline);
        assert!(error.matches(gst::LibraryError::Settings), "{seeds}: {error}");
    }
    // While frames flow, the element posts one warning, and seeds and property stay.
    let info = info(VideoFormat::I420, 400, 240);
    let valid = "fg:200,120;bg:20,20";
    let mut h = harness(&format!("cnnsegment seeds={valid}"), &info);
    let bus = gst::Bus::new();
    element(&h).set_bus(Some(&bus));
    h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
    element(&h).set_property("seeds", "nonsense");
    assert_eq!(element(&h).property::<String>("seeds"), valid);
    let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 1)).unwrap();
    assert!(mask(&out, &info).is_some());
    let kinds: Vec<_> = std::iter::from_fn(|| bus.pop()).map(|message| message.type_()).collect();
    let warnings = kinds.iter().filter(|kind| **kind == gst::MessageType::Warning).count();
    assert_eq!(warnings, 1, "{kinds:?}");
}

#[test]
fn clicks_at_any_time_and_place_do_not_fail() {
    let info = info(VideoFormat::I420, 160, 120);
    let mut h = Harness::new_parse("cnnsegment");
    // Clicks before caps are set.
    click(&mut h, 10.0, 10.0, 1);
    h.set_src_caps(info.to_caps().unwrap());
    h.push_and_pull(buffer(scene(&info, [80.0, 60.0], 30.0), 0)).unwrap();
    for (x, y) in [
        (-5.0, 3.0),
        (1e9, 1e9),
        (f64::NAN, 1.0),
        (f64::INFINITY, f64::NEG_INFINITY),
        (160.0, 120.0),
    ] {
        click(&mut h, x, y, 1);
        click(&mut h, x, y, 2);
    }
    let out = h.push_and_pull(buffer(scene(&info, [80.0, 60.0], 30.0), 1)).unwrap();
    assert!(mask(&out, &info).is_none());
    // Seeds from another thread while caps change.
    let s = element(&h);
    let over = Arc::new(AtomicBool::new(false));
    let flood = thread::spawn({
        let over = over.clone();
        move || {
            let mut count = 0u32;
            while !over.load(Ordering::Relaxed) {
                s.emit_by_name::<bool>(
                    "add-seed",
                    &[&f64::from(count % 200), &f64::from(count % 130), &(count % 4)],
                );
                if count.is_multiple_of(97) {
                    s.emit_by_name::<()>("undo", &[]);
                    s.set_property("seeds", "fg:50%,50%");
                }
                count += 1;
            }
        }
    });
    for (number, (width, height)) in
        [(160, 120), (1, 1), (33, 17), (2, 300), (240, 180)].into_iter().enumerate()
    {
        let other = crate::common::video::info(VideoFormat::I420, width, height);
        h.set_src_caps(other.to_caps().unwrap());
        for i in 0..4 {
            let bytes =
                scene(&other, [width as f32 / 2.0, height as f32 / 2.0], height as f32 / 4.0);
            h.push_and_pull(buffer(bytes, 4 * number as u64 + i)).unwrap();
        }
    }
    over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}

#[test]
fn clicks_pass_through_a_scaler() {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness(
        "cnnsegment ! videoscale ! capsfilter caps=video/x-raw,width=200,height=120",
        &info,
    );
    let bytes = scene(&info, DISC, RADIUS);
    h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
    click(&mut h, 100.0, 60.0, 1);
    click(&mut h, 10.0, 10.0, 3);
    let out = h.push_and_pull(buffer(bytes, 1)).unwrap();
    let small = crate::common::video::info(VideoFormat::I420, 200, 120);
    let iou = overlap(&mask(&out, &small).unwrap(), DISC.map(|v| v / 2.0), RADIUS / 2.0);
    assert!(iou > 0.85, "{iou}");
}

#[test]
fn state_changes_keep_the_seeds_property() {
    let pipeline = pipeline(
        "videotestsrc pattern=ball ! video/x-raw,width=160,height=120 ! cnnsegment name=s \
         seeds=fg:10,10 ! fakesink name=f",
    );
    for _ in 0..3 {
        pipeline.set_state(gst::State::Paused).unwrap();
        let (result, _, _) = pipeline.state(gst::ClockTime::from_seconds(20));
        result.unwrap();
        let sample: gst::Sample = pipeline.by_name("f").unwrap().property("last-sample");
        let found = gst::meta::CustomMeta::from_buffer(sample.buffer().unwrap(), REGION_MASK_META);
        assert!(found.is_ok());
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn signals_before_the_start_do_not_displace_the_seeds() {
    let info = info(VideoFormat::I420, 400, 240);
    for order in [["seeds", "clear"], ["clear", "seeds"]] {
        crate::common::init();
        let s = gst::ElementFactory::make("cnnsegment").build().unwrap();
        for step in order {
            match step {
                "seeds" => s.set_property("seeds", "fg:200,120;bg:20,20"),
                signal => s.emit_by_name::<()>(signal, &[]),
            }
        }
        let mut h = Harness::with_element(&s, Some("sink"), Some("src"));
        h.set_src_caps(info.to_caps().unwrap());
        let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
        assert!(mask(&out, &info).is_some(), "{order:?}");
    }
}

#[test]
fn strokes_may_have_whole_numbers() {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment", &info);
    let s = element(&h);
    h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
    let mut stroke = |points: gst::Array| {
        s.emit_by_name::<()>("clear", &[]);
        assert!(s.emit_by_name::<bool>("add-stroke", &[&points, &1u32, &0.0f64]), "{points:?}");
        let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 1)).unwrap();
        mask(&out, &info).unwrap()
    };
    let expected = stroke(gst::Array::new([180.0f64, 120.0, 220.0, 120.0]));
    for points in [
        gst::Array::new([180i32, 120, 220, 120]),
        gst::Array::new([180u32, 120, 220, 120]),
        gst::Array::new([180i64, 120, 220, 120]),
        gst::Array::new([180.0f32, 120.0, 220.0, 120.0]),
    ] {
        assert!(stroke(points) == expected);
    }
    for wrong in [gst::Array::new([true, false]), gst::Array::new(["1", "2"])] {
        assert!(!s.emit_by_name::<bool>("add-stroke", &[&wrong, &1u32, &0.0f64]), "{wrong:?}");
    }
}

#[test]
fn used_navigation_events_are_handled() {
    let pipeline = pipeline(
        "videotestsrc is-live=true ! video/x-raw,width=160,height=120 ! cnnsegment ! \
         fakesink name=out",
    );
    pipeline.set_state(gst::State::Playing).unwrap();
    let sink = pipeline.by_name("out").unwrap();
    while sink.property::<Option<gst::Sample>>("last-sample").is_none() {
        thread::sleep(std::time::Duration::from_millis(10));
    }
    for (event, is_used) in [
        (NavigationEvent::new_mouse_button_press(1, 80.0, 60.0), true),
        (NavigationEvent::new_mouse_button_release(1, 80.0, 60.0), true),
        (NavigationEvent::new_mouse_button_press(2, 80.0, 60.0), false),
        (NavigationEvent::new_key_press("u"), true),
        (NavigationEvent::new_key_press("F11"), false),
        (NavigationEvent::new_mouse_move(5.0, 5.0), false),
    ] {
        let handled = sink.send_event(gst::event::Navigation::new(event.structure()));
        assert_eq!(handled, is_used, "{event:?}");
    }
    pipeline.set_state(gst::State::Null).unwrap();
}
