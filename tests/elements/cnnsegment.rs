// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `cnnsegment`, its region mask metadata, and the elements that use it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::common::{
    error_of, pipeline,
    video::{FORMATS, buffer, components, element, harness, info, to_bytes},
};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{NavigationEvent, NavigationModifierType, VideoFormat, VideoInfo};
use gstcnnvideo::cnnsegment::SegmentMessage;
use gstcnnvideo::shared::{REGION_MASK_META, RegionMask};

/// Draws a disc of another colour on a background with a slight gradient. Alpha and padding get
/// values too.
fn scene(info: &VideoInfo, centre: [f32; 2], radius: f32) -> Vec<u8> {
    let mut frame = gst_video::VideoFrame::from_buffer_writable(
        gst::Buffer::from_mut_slice(vec![77; info.size()]),
        info,
    )
    .unwrap();
    let rgb = info.is_rgb();
    for c in 0..info.n_components() {
        use gst_video::VideoFrameExt;
        let (width, height) = (frame.comp_width(c), frame.comp_height(c));
        let (stride, step) = (frame.comp_stride(c) as usize, frame.comp_pstride(c) as usize);
        let (sx, sy) = (info.width() as f32 / width as f32, info.height() as f32 / height as f32);
        let offset =
            frame.info().comp_offset(c as u8) - frame.info().offset()[frame.comp_plane(c) as usize];
        let data = frame.plane_data_mut(frame.comp_plane(c)).unwrap();
        for y in 0..height as usize {
            for x in 0..width as usize {
                let (px, py) = (x as f32 * sx, y as f32 * sy);
                let inside = (px - centre[0]).hypot(py - centre[1]) < radius;
                // The texture of the disc moves with it.
                let (tx, ty) = if inside { (px - centre[0], py - centre[1]) } else { (px, py) };
                let texture = 6.0 * ((tx * 0.7).sin() + (ty * 0.9 + tx * 0.2).cos());
                let value = match (c, inside, rgb) {
                    (0, true, _) => 190.0 + texture,
                    (0, false, _) => 70.0 + 0.05 * px + texture,
                    (1, true, false) => 90.0,
                    (2, true, false) => 170.0,
                    (1 | 2, false, false) => 128.0,
                    (1, true, true) => 60.0,
                    (2, true, true) => 40.0,
                    (_, false, true) => 80.0 + texture,
                    _ => 77.0,
                };
                data[y * stride + x * step + offset] = value as u8;
            }
        }
    }
    to_bytes(&frame.into_buffer())
}

fn mask(buffer: &gst::Buffer, info: &VideoInfo) -> Option<ndarray::Array2<u8>> {
    let size = (info.width(), info.height());
    RegionMask::of(buffer, size)?.labels(size)
}

/// Returns the intersection over union of the labelled region and a disc.
fn overlap(labels: &ndarray::Array2<u8>, centre: [f32; 2], radius: f32) -> f32 {
    let (mut both, mut either) = (0.0, 0.0);
    for ((y, x), label) in labels.indexed_iter() {
        let truth = (x as f32 - centre[0]).hypot(y as f32 - centre[1]) < radius;
        both += f32::from(u8::from(truth && *label > 0));
        either += f32::from(u8::from(truth || *label > 0));
    }
    both / f32::max(either, 1.0)
}

fn click(h: &mut Harness, x: f64, y: f64, button: i32) {
    for event in [
        NavigationEvent::new_mouse_button_press(button, x, y),
        NavigationEvent::new_mouse_button_release(button, x, y),
    ] {
        h.push_upstream_event(gst::event::Navigation::new(event.structure()));
    }
}

const DISC: [f32; 2] = [200.0, 120.0];
const RADIUS: f32 = 60.0;

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
fn a_region_tracks_its_object_and_is_dropped_when_it_leaves() {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment seeds=fg:200,120;bg:20,20;bg:380,220", &info);
    let bus = gst::Bus::new();
    element(&h).set_bus(Some(&bus));
    for number in 0..24u64 {
        let centre = [200.0 + 4.0 * number as f32, 120.0 - 1.0 * number as f32];
        let out = h.push_and_pull(buffer(scene(&info, centre, RADIUS), number)).unwrap();
        let iou = overlap(&mask(&out, &info).unwrap(), centre, RADIUS);
        assert!(iou > 0.75, "frame {number}: {iou}");
    }
    let mut gone = 0;
    for number in 24..30 {
        let out = h.push_and_pull(buffer(scene(&info, [-500.0, 0.0], RADIUS), number)).unwrap();
        gone += u32::from(mask(&out, &info).is_none());
    }
    assert!(gone >= 2, "the mask of the lost object remained for {} frames", 6 - gone);
    let messages = messages(&bus);
    let (first, last) = (messages.first().unwrap(), messages.last().unwrap());
    assert!(!first.lost && first.seeds == 3 && (first.area - 0.118).abs() < 0.03, "{first:?}");
    assert!(last.lost && last.label == 1, "{last:?}");
}

/// Returns the messages about regions that are on a bus.
fn messages(bus: &gst::Bus) -> Vec<SegmentMessage> {
    std::iter::from_fn(|| bus.pop())
        .filter_map(|message| match message.view() {
            gst::MessageView::Element(element) => {
                SegmentMessage::try_from(element.structure()?).ok()
            }
            _ => None,
        })
        .collect()
}

/// Tracks a disc that is away for ten frames; `meanwhile` runs in the middle. Returns the messages
/// and whether there is a region in the end.
fn while_it_is_away(meanwhile: impl Fn(&mut Harness)) -> (Vec<SegmentMessage>, bool) {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment seeds=fg:200,120;bg:20,20;bg:380,220", &info);
    let bus = gst::Bus::new();
    element(&h).set_bus(Some(&bus));
    let mut is_back = false;
    for number in 0..32u64 {
        if number == 14 {
            meanwhile(&mut h);
        }
        let away = (8..18).contains(&number);
        let centre = if away { [-500.0, 0.0] } else { [200.0 + number as f32, 120.0] };
        let out = h.push_and_pull(buffer(scene(&info, centre, RADIUS), number)).unwrap();
        let mask = mask(&out, &info);
        is_back = mask.is_some_and(|mask| overlap(&mask, centre, RADIUS) > 0.75);
    }
    (messages(&bus), is_back)
}

#[test]
fn a_region_that_comes_back_is_reported() {
    let (messages, is_back) = while_it_is_away(|_| {});
    let lost = messages.iter().position(|message| message.lost).unwrap();
    let found = messages.iter().position(|message| message.found).unwrap();
    assert!(lost < found && is_back, "{messages:?}");
    let SegmentMessage { label, seeds, area, confidence, lost, .. } = messages[found];
    assert!(label == 1 && seeds >= 1 && !lost && confidence > 0.5, "{:?}", messages[found]);
    assert!((area - 0.118).abs() < 0.03, "{area}");
}

#[test]
fn a_flush_or_new_caps_end_the_search_for_a_region() {
    let flush = |h: &mut Harness| {
        h.push_event(gst::event::FlushStart::new());
        h.push_event(gst::event::FlushStop::new(true));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        h.push_event(gst::event::Segment::new(&segment));
    };
    let new_caps = |h: &mut Harness| {
        let other = info(VideoFormat::I420, 320, 200);
        h.set_src_caps(other.to_caps().unwrap());
        h.push_and_pull(buffer(scene(&other, [-500.0, 0.0], RADIUS), 14)).unwrap();
        h.set_src_caps(info(VideoFormat::I420, 400, 240).to_caps().unwrap());
    };
    for (name, meanwhile) in [("flush", &flush as &dyn Fn(&mut Harness)), ("new caps", &new_caps)] {
        let (messages, is_back) = while_it_is_away(meanwhile);
        assert!(messages.iter().any(|message| message.lost), "{name}");
        assert!(!is_back && messages.iter().all(|message| !message.found), "{name}: {messages:?}");
    }
}

#[test]
fn a_scene_cut_ends_regions() {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment seeds=fg:200,120;bg:20,20", &info);
    let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
    assert!(mask(&out, &info).is_some());
    let other: Vec<u8> =
        (0..info.size()).map(|i| if i / 4000 % 2 == 0 { 230 } else { 15 }).collect();
    let out = h.push_and_pull(buffer(other, 1)).unwrap();
    assert!(mask(&out, &info).is_none());
}

#[test]
fn outputs_show_the_regions() {
    for format in FORMATS {
        let info = info(format, 400, 240);
        let bytes = scene(&info, DISC, RADIUS);
        let seeds = "seeds=fg:200,120;bg:20,20";
        let mut h = harness(&format!("cnnsegment output=mask {seeds}"), &info);
        let out = h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
        let caps = h.sinkpad().unwrap().current_caps().unwrap();
        let grey = VideoInfo::from_caps(&caps).unwrap();
        assert_eq!(grey.format(), VideoFormat::Gray8);
        let labels = ndarray::Array2::from_shape_vec(
            (240, 400),
            components(&grey, &to_bytes(&out)).remove(0),
        )
        .unwrap();
        assert!(
            labels.iter().all(|v| [0, 255].contains(v)) && overlap(&labels, DISC, RADIUS) > 0.85,
            "{format:?}"
        );

        let mut h = harness(&format!("cnnsegment output=alpha {seeds}"), &info);
        let out = h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
        let caps = h.sinkpad().unwrap().current_caps().unwrap();
        let transparent = VideoInfo::from_caps(&caps).unwrap();
        assert!(transparent.has_alpha(), "{format:?}: {caps}");
        let after = components(&transparent, &to_bytes(&out));
        let before = components(&info, &bytes);
        assert_eq!(after[3], labels.into_raw_vec_and_offset().0, "{format:?}");
        assert_eq!(after[0], before[0], "{format:?}");
        if before[1..].first().is_some_and(|chroma| chroma.len() == after[1].len()) {
            assert_eq!((&after[1], &after[2]), (&before[1], &before[2]), "{format:?}");
        }

        let mut h = harness(&format!("cnnsegment output=overlay {seeds}"), &info);
        let out = h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
        let after = components(&info, &to_bytes(&out));
        let changed = |x: usize, y: usize| {
            let scaled = |c: &Vec<u8>| {
                (if c.len() == 400 * 240 { 0 } else { 1 }, if c.len() == 200 * 120 { 1 } else { 0 })
            };
            before.iter().zip(&after).any(|(a, b)| {
                let (sx, sy) = scaled(a);
                let at = (y >> sy) * (400 >> sx) + (x >> sx);
                a[at] != b[at]
            })
        };
        assert!(!changed(10, 10), "{format:?}");
        assert!((140..=260).any(|x| changed(x, 120)), "{format:?}");
        assert!(mask(&out, &info).is_some());
    }
}

/// Returns the samples from a pipeline between `appsrc name=i` and `appsink name=o`.
fn run_through(description: &str, from: &VideoInfo, frames: &[Vec<u8>]) -> Vec<gst::Sample> {
    let pipeline =
        pipeline(&format!("appsrc name=i format=time ! {description} ! appsink name=o sync=false"));
    let input = pipeline.by_name("i").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let output = pipeline.by_name("o").unwrap().downcast::<gst_app::AppSink>().unwrap();
    input.set_caps(Some(&from.to_caps().unwrap()));
    pipeline.set_state(gst::State::Playing).unwrap();
    let samples = frames
        .iter()
        .enumerate()
        .map(|(number, frame)| {
            input.push_buffer(buffer(frame.clone(), number as u64)).unwrap();
            output.pull_sample().unwrap()
        })
        .collect();
    pipeline.set_state(gst::State::Null).unwrap();
    samples
}

#[test]
fn mask_meta_passes_elements_that_keep_the_geometry() {
    let info = info(VideoFormat::I420, 400, 240);
    let frame = [scene(&info, DISC, RADIUS)];
    let seg = "cnnsegment seeds=fg:200,120;bg:20,20";
    for (then, kept) in [
        ("queue ! tee ! queue", true),
        ("videoconvert ! video/x-raw,format=RGB", true),
        ("cnndenoise ! cnnsmooth", true),
        ("videoscale ! video/x-raw,width=200,height=120", true),
        ("videocrop left=100", false),
        ("videoflip video-direction=90r", false),
    ] {
        let sample = run_through(&format!("{seg} ! {then}"), &info, &frame).remove(0);
        let after = VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let labels = mask(&sample.buffer_owned().unwrap(), &after);
        assert_eq!(labels.is_some(), kept, "{then}: {}", sample.caps().unwrap());
        if let Some(labels) = labels {
            let scale = after.width() as f32 / 400.0;
            assert!(overlap(&labels, DISC.map(|v| v * scale), RADIUS * scale) > 0.85, "{then}");
        }
    }
}

#[test]
fn region_strengths_apply_with_sharp_borders() {
    for format in FORMATS {
        let info = info(format, 400, 240);
        let bytes = scene(&info, DISC, RADIUS);
        let before = components(&info, &bytes);
        for filter in [
            "cnndenoise noise-level=20 temporal=false",
            "cnndenoise noise-level=20",
            "cnnsmooth scale=12",
        ] {
            for (foreground, background) in [(0.0, 1.0), (1.0, 0.0)] {
                let name = filter.split(' ').next().unwrap();
                let mut h = harness(filter, &info);
                let filter_element = element(&h);
                filter_element.set_property("foreground-strength", foreground as f32);
                filter_element.set_property("background-strength", background as f32);
                let labels = ndarray::Array2::from_shape_fn((240, 400), |(y, x)| {
                    u8::from((150..250).contains(&x) && (60..180).contains(&y))
                });
                let mut buffer = buffer(bytes.clone(), 0);
                let mask = RegionMask::new(400, 240, labels.iter().copied().collect()).unwrap();
                mask.attach(buffer.make_mut(), (400, 240));
                let after = components(&info, &to_bytes(&h.push_and_pull(buffer).unwrap()));
                let colours = if info.has_alpha() { 3 } else { before.len() };
                let (mut kept, mut changed) = (0, 0);
                for (before, after) in before.iter().zip(&after).take(colours) {
                    // A chroma sample is protected if the mask protects its top left pixel.
                    let (sx, sy) = match before.len() {
                        n if n == 400 * 240 => (0, 0),
                        n if n == 200 * 240 => (1, 0),
                        _ => (1, 1),
                    };
                    for (i, (a, b)) in before.iter().zip(after).enumerate() {
                        let (x, y) = ((i % (400 >> sx)) << sx, (i / (400 >> sx)) << sy);
                        let inside = labels[[y, x]] > 0;
                        let stays = inside == (foreground == 0.0);
                        if stays {
                            assert_eq!(a, b, "{name} {format:?} at {x},{y}");
                            kept += 1;
                        } else {
                            changed += u32::from(a != b);
                        }
                    }
                }
                assert!(kept > 1000 && changed > 1000, "{name} {format:?}: {kept} {changed}");
            }
        }
    }
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
fn only_long_gaps_end_regions() {
    let info = info(VideoFormat::I420, 400, 240);
    for (number, flags, kept) in [
        (2, gst::BufferFlags::empty(), true),
        (3, gst::BufferFlags::DISCONT, true),
        (20, gst::BufferFlags::DISCONT, true),
        (100, gst::BufferFlags::DISCONT, false),
        (100, gst::BufferFlags::empty(), false),
    ] {
        for output in ["meta", "mask"] {
            let seeds = "seeds=fg:200,120;bg:20,20";
            let mut h = harness(&format!("cnnsegment output={output} {seeds}"), &info);
            for number in 0..2 {
                h.push_and_pull(buffer(scene(&info, DISC, RADIUS), number)).unwrap();
            }
            let mut after_gap = buffer(scene(&info, DISC, RADIUS), number);
            after_gap.make_mut().set_flags(flags);
            h.push_and_pull(after_gap).unwrap();
            let stats: gst::Structure = element(&h).property("stats");
            let regions = stats.get::<u32>("regions").unwrap();
            assert_eq!(regions == 1, kept, "frame {number}, {flags:?}, {output}");
        }
    }
}

#[test]
fn a_new_segment_ends_regions() {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment seeds=fg:200,120;bg:20,20", &info);
    let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
    assert!(mask(&out, &info).is_some());
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(h.push_event(gst::event::Segment::new(&segment)));
    let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 1)).unwrap();
    assert!(mask(&out, &info).is_none());
}

/// Returns a buffer with the frame of `bytes` in rows that are padded by `padding` bytes.
fn padded(info: &VideoInfo, bytes: Vec<u8>, padding: i32) -> gst::Buffer {
    use gst_video::VideoFrameExt;
    let frame =
        gst_video::VideoFrame::from_buffer_readable(gst::Buffer::from_slice(bytes), info).unwrap();
    let (mut memory, mut offsets, mut strides) = (Vec::new(), Vec::new(), Vec::new());
    for (plane, stride) in frame.plane_stride().iter().enumerate() {
        offsets.push(memory.len());
        strides.push(stride + padding);
        for row in frame.plane_data(plane as u32).unwrap().chunks(*stride as usize) {
            memory.extend_from_slice(row);
            memory.resize(memory.len() + padding as usize, 99);
        }
    }
    let mut buffer = buffer(memory, 0);
    let (format, width, height) = (info.format(), info.width(), info.height());
    gst_video::VideoMeta::add_full(
        buffer.make_mut(),
        gst_video::VideoFrameFlags::empty(),
        format,
        width,
        height,
        &offsets,
        &strides,
    )
    .unwrap();
    buffer
}

#[test]
fn padded_rows_do_not_change_the_output() {
    for format in FORMATS {
        let info = info(format, 400, 240);
        for output in ["mask", "alpha"] {
            let description = format!("cnnsegment output={output} seeds=fg:200,120;bg:20,20");
            let bytes = scene(&info, DISC, RADIUS);
            let mut tight = harness(&description, &info);
            let expected = tight.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
            // Both an odd number of bytes, and whole frames in bytes.
            for padding in [37, 400] {
                let mut h = harness(&description, &info);
                let out = h.push_and_pull(padded(&info, bytes.clone(), padding)).unwrap();
                assert!(to_bytes(&out) == to_bytes(&expected), "{format:?} {output} {padding}");
                assert!(out.meta::<gst_video::VideoMeta>().is_none());
            }
        }
    }
}

/// Returns the output caps of `cnnsegment` with a property, for input caps.
fn output_caps(output: &str, caps: &str) -> gst::Caps {
    crate::common::init();
    let mut h = Harness::new_parse(&format!("cnnsegment output={output}"));
    let caps: gst::Caps = caps.parse().unwrap();
    let size = VideoInfo::from_caps(&caps).unwrap().size();
    h.set_src_caps(caps);
    h.push_and_pull(buffer(vec![100; size], 0)).unwrap();
    h.sinkpad().unwrap().current_caps().unwrap()
}

#[test]
fn caps_keep_the_meaning_of_the_samples() {
    let hdr = "mastering-display-info=(string)\
               34000:16000:13250:34500:7500:3000:15635:16450:10000000:1,\
               content-light-level=(string)1000:400,pixel-aspect-ratio=2/1,\
               multiview-mode=(string)side-by-side,interlace-mode=mixed";
    for (format, alpha, site) in [
        ("I420", "A420", Some("mpeg2")),
        ("NV12", "A420", Some("mpeg2")),
        ("Y42B", "AYUV", None),
        ("Y444", "AYUV", Some("mpeg2")),
    ] {
        // The fourth one is that of decoded JPEG.
        for colorimetry in ["bt601", "bt709", "1:3:5:1", "1:4:0:0", "bt2100-pq"] {
            let caps = format!(
                "video/x-raw,format={format},width=64,height=48,framerate=25/1,{hdr},\
                 colorimetry=(string){colorimetry},chroma-site=mpeg2"
            );
            let out = output_caps("alpha", &caps);
            let out = out.structure(0).unwrap();
            let expected: gst::Caps = caps.parse().unwrap();
            let mut expected = expected.structure(0).unwrap().to_owned();
            expected.set("format", alpha);
            if site.is_none() {
                expected.remove_field("chroma-site");
            }
            assert_eq!(out, expected.as_ref(), "{format}");
            // A mask has geometry, but no colours.
            let mask = output_caps("mask", &caps);
            let mask = mask.structure(0).unwrap();
            expected.set("format", "GRAY8");
            expected.remove_fields(["colorimetry", "chroma-site"]);
            assert_eq!(mask, expected.as_ref(), "{format}");
        }
    }
    // The default of grey is the full range, that of YUV is not.
    for (fields, expected) in [("", "1:4:0:0"), (",colorimetry=(string)bt709", "bt709")] {
        let caps = format!("video/x-raw,format=GRAY8,width=64,height=48,framerate=25/1{fields}");
        let out = output_caps("alpha", &caps);
        assert_eq!(out.structure(0).unwrap().get::<String>("colorimetry").unwrap(), expected);
        assert!(!output_caps("meta", &caps).to_string().contains("1:4:0:0"));
    }
    let rgb =
        "video/x-raw,format=RGB,width=64,height=48,framerate=25/1,colorimetry=(string)1:1:5:7";
    assert!(output_caps("alpha", rgb).to_string().contains("1:1:5:7"));
}

/// Returns the names of the metas in the answer to an allocation query, empty without an answer.
fn offered_metas(h: &mut Harness, info: &VideoInfo) -> Vec<String> {
    let mut query = gst::query::Allocation::new(Some(&info.to_caps().unwrap()), true);
    if !h.srcpad().unwrap().peer_query(&mut query) {
        return Vec::new();
    }
    query.allocation_metas().map(|(api, _)| api.name().to_owned()).collect()
}

#[test]
fn allocation_answers_promise_what_is_kept() {
    use gst::meta::MetaAPI;
    use gst_video::{VideoCropMeta, VideoMeta};
    let info = info(VideoFormat::I420, 400, 240);
    for output in ["meta", "overlay", "mask", "alpha"] {
        for offered in [vec![], vec![VideoCropMeta::meta_api()], vec![VideoMeta::meta_api()]] {
            let mut h = harness(&format!("cnnsegment output={output}"), &info);
            // A harness answers the query only if it offers something.
            let region = glib::Type::from_name("GstVideoRegionOfInterestMetaAPI");
            let region = region.unwrap_or_else(gst_video::VideoRegionOfInterestMeta::meta_api);
            for api in offered.iter().copied().chain([region]) {
                h.add_propose_allocation_meta(api, None);
            }
            h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
            let answer = offered_metas(&mut h, &info);
            let has = |api: glib::Type| answer.iter().filter(|name| *name == api.name()).count();
            // In place, buffers of upstream go downstream; otherwise the element reads them.
            let reads = ["mask", "alpha"].contains(&output);
            let expected = usize::from(reads || offered.contains(&VideoMeta::meta_api()));
            assert_eq!(has(VideoMeta::meta_api()), expected, "{output}: {offered:?}, {answer:?}");
            assert_eq!(has(VideoCropMeta::meta_api()), 0, "{output}: {answer:?}");
        }
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

#[test]
fn metas_that_suit_the_output_are_kept() {
    use gst_video::{
        VideoAFDMeta, VideoAFDSpec, VideoAFDValue, VideoBarMeta, VideoCaptionMeta,
        VideoCaptionType, VideoRegionOfInterestMeta,
    };
    for format in [VideoFormat::I420, VideoFormat::Rgb] {
        let info = info(format, 400, 240);
        for output in ["meta", "overlay", "mask", "alpha"] {
            let mut h = harness(&format!("cnnsegment output={output} seeds=fg:200,120"), &info);
            let mut buffer = buffer(scene(&info, DISC, RADIUS), 0);
            let writable = buffer.make_mut();
            VideoRegionOfInterestMeta::add(writable, "face", (5, 6, 20, 20));
            VideoAFDMeta::add(writable, 0, VideoAFDSpec::AtscA53, VideoAFDValue::Unavailable);
            VideoBarMeta::add(writable, 0, true, 4, 5);
            VideoCaptionMeta::add(writable, VideoCaptionType::Cea608Raw, &[0x80, 0x80]);
            let out = h.push_and_pull(buffer).unwrap();
            let region = out.meta::<VideoRegionOfInterestMeta>().expect(output);
            assert_eq!(region.rect(), (5, 6, 20, 20));
            assert!(out.meta::<VideoAFDMeta>().is_some(), "{output}");
            assert!(out.meta::<VideoBarMeta>().is_some(), "{output}");
            assert!(out.meta::<VideoCaptionMeta>().is_some(), "{output}");
        }
    }
}

#[test]
fn caps_end_at_8192_pixels() {
    crate::common::init();
    for (width, height, accepted) in [(8192, 2, true), (2, 8192, true), (8193, 2, false)] {
        let info = info(VideoFormat::I420, width, height);
        let s = gst::ElementFactory::make("cnnsegment").build().unwrap();
        for pad in ["sink", "src"] {
            let template = s.pad_template(pad).unwrap().caps().clone();
            let is_subset = info.to_caps().unwrap().is_subset(&template);
            assert_eq!(is_subset, accepted, "{pad}: {width}x{height}");
        }
    }
}
