// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `cnnsegment` on test pictures and drawings, and of seeds that it refuses.

use std::ops::Range;

use gst::prelude::*;
use gst_video::{NavigationEvent, VideoFormat, VideoFrameExt, VideoInfo};
use ndarray::Array2;

use crate::common::{
    pipeline,
    video::{FORMATS, buffer, element, harness, info},
};

/// Returns the pixels inside of regions in the first output frame of
/// `SOURCE ! cnnsegment output=mask SETTINGS`.
fn region(source: &str, settings: &str) -> Array2<bool> {
    let pipeline = pipeline(&format!(
        "{source} ! cnnsegment output=mask {settings} ! appsink name=out sync=false"
    ));
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let sample = sink.pull_sample().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    mask(&sample.buffer_owned().unwrap(), &VideoInfo::from_caps(sample.caps().unwrap()).unwrap())
}

/// Returns the pixels of a GRAY8 frame that are not 0.
fn mask(buffer: &gst::Buffer, info: &VideoInfo) -> Array2<bool> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
    let (stride, data) = (frame.plane_stride()[0] as usize, frame.plane_data(0).unwrap());
    let dim = (info.height() as usize, info.width() as usize);
    Array2::from_shape_fn(dim, |(y, x)| data[y * stride + x] > 0)
}

/// Returns the intersection over union of a region and the pixels that `is_object` says belong to
/// the object.
fn iou(region: &Array2<bool>, is_object: impl Fn(usize, usize) -> bool) -> f64 {
    let (mut both, mut either) = (0, 0);
    for ((y, x), inside) in region.indexed_iter() {
        both += u32::from(*inside && is_object(x, y));
        either += u32::from(*inside || is_object(x, y));
    }
    f64::from(both) / f64::from(either.max(1))
}

/// Columns of one of the seven bars of the test picture, 320 pixels wide.
fn bar(number: usize) -> Range<usize> {
    number * 320 / 7..(number + 1) * 320 / 7
}

#[test]
fn a_click_chooses_the_bar_of_a_test_picture() {
    for format in ["I420", "NV12", "Y444", "RGB", "BGRx"] {
        let source = format!(
            "videotestsrc pattern=smpte num-buffers=1 ! \
             video/x-raw,format={format},width=320,height=240"
        );
        for number in 0..7 {
            let is_bar = |x: usize, y: usize| bar(number).contains(&x) && y < 160;
            let (x, other) = (bar(number).start + 20, bar((number + 1) % 7).start + 20);
            for more in [String::new(), format!(";bg:{other},60")] {
                let found = iou(&region(&source, &format!("seeds=fg:{x},60{more}")), is_bar);
                assert!(found >= 0.95, "{format}, bar {number}, {more}: {found}");
            }
        }
        let pair = region(&source, "seeds=fg:20,60;fg2:110,60");
        let found = iou(&pair, |x, y| (bar(0).contains(&x) || bar(2).contains(&x)) && y < 160);
        assert!(found >= 0.95, "{format}: {found} of two bars");
    }
}

#[test]
fn test_pictures_may_have_passed_a_lossy_codec() {
    let source = "videotestsrc pattern=smpte num-buffers=1 ! \
                  video/x-raw,format=I420,width=320,height=240 ! jpegenc ! jpegdec";
    for number in [0, 1, 3, 5] {
        let seeds = format!("seeds=fg:{},60", bar(number).start + 20);
        let found = iou(&region(source, &seeds), |x, y| bar(number).contains(&x) && y < 160);
        assert!(found >= 0.85, "bar {number}: {found}");
    }
}

/// Returns a frame with a plain disc around the middle on plain ground. `colours` are those of the
/// disc and of the ground, in the components of the format.
fn disc(info: &VideoInfo, radius: f32, colours: [[u8; 3]; 2]) -> gst::Buffer {
    let memory = gst::Buffer::from_mut_slice(vec![77; info.size()]);
    let mut frame = gst_video::VideoFrame::from_buffer_writable(memory, info).unwrap();
    let centre = [info.width() as f32 / 2.0, info.height() as f32 / 2.0];
    for c in 0..info.n_components().min(3) {
        let size = [frame.comp_width(c), frame.comp_height(c)];
        let (stride, step) = (frame.comp_stride(c) as usize, frame.comp_pstride(c) as usize);
        let plane = frame.comp_plane(c);
        let offset = info.comp_offset(c as u8) - info.offset()[plane as usize];
        let scale = [info.width() / size[0], info.height() / size[1]].map(|s| s as f32);
        let data = frame.plane_data_mut(plane).unwrap();
        for (y, x) in (0..size[1]).flat_map(|y| (0..size[0]).map(move |x| (y, x))) {
            let distance = ((x as f32 + 0.5) * scale[0] - centre[0])
                .hypot((y as f32 + 0.5) * scale[1] - centre[1]);
            let colour = colours[usize::from(distance >= radius)][c as usize];
            data[y as usize * stride + x as usize * step + offset] = colour;
        }
    }
    frame.into_buffer()
}

#[test]
fn a_click_chooses_a_plain_disc_in_every_format() {
    for format in FORMATS {
        let info = info(format, 320, 240);
        // The colours differ in all components, by little, and not in the first one.
        for colours in [
            [[200, 90, 170], [60, 140, 110]],
            [[100, 128, 128], [104, 130, 128]],
            [[120, 140, 128], [120, 120, 136]],
        ] {
            if format == VideoFormat::Gray8 && colours[0][0] == colours[1][0] {
                continue;
            }
            let settings = "cnnsegment output=mask seeds=fg:50%,50%";
            let mut h = harness(settings, &info);
            let out = h.push_and_pull(disc(&info, 60.0, colours)).unwrap();
            let grey = VideoInfo::builder(VideoFormat::Gray8, 320, 240).build().unwrap();
            let found = iou(&mask(&out, &grey), |x, y| {
                (x as f32 + 0.5 - 160.0).hypot(y as f32 + 0.5 - 120.0) < 60.0
            });
            assert!(found >= 0.95, "{format:?}, {colours:?}: {found}");
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let info = info(VideoFormat::Gray8, 96, 64);
    let mut h = harness("cnnsegment", &info);
    let s = element(&h);
    let frame = |number| buffer((0..info.size()).map(|i| (i * i % 251) as u8).collect(), number);
    h.push_and_pull(frame(0)).unwrap();
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!s.emit_by_name::<bool>("add-seed", &[&wrong, &5.0f64, &1u32]));
        assert!(!s.emit_by_name::<bool>("add-seed", &[&5.0f64, &wrong, &0u32]));
        for (x, radius) in [(wrong, 1.0), (9.0, wrong)] {
            let points = gst::Array::new([5.0, 5.0, x, 9.0]);
            assert!(!s.emit_by_name::<bool>("add-stroke", &[&points, &1u32, &radius]));
        }
        let arguments: [&dyn ToValue; 5] = [&5.0f64, &5.0f64, &wrong, &60.0f64, &1u32];
        let arguments = arguments.map(|argument| argument.to_value());
        assert!(!s.emit_by_name_with_values("add-box", &arguments).unwrap().get::<bool>().unwrap());
        for event in [
            NavigationEvent::new_mouse_button_press(1, wrong, 5.0),
            NavigationEvent::new_mouse_button_release(1, wrong, 5.0),
            NavigationEvent::new_mouse_button_press(1, 5.0, wrong),
            NavigationEvent::new_mouse_move(wrong, wrong),
            NavigationEvent::new_mouse_button_release(1, 5.0, 5.0),
            NavigationEvent::new_mouse_scroll(5.0, 5.0, 0.0, wrong),
        ] {
            h.push_upstream_event(gst::event::Navigation::new(event.structure()));
        }
    }
    h.push_and_pull(frame(1)).unwrap();
    let stats: gst::Structure = s.property("stats");
    assert_eq!(stats.get::<u32>("regions").unwrap(), 0);
    // The element goes on.
    assert!(s.emit_by_name::<bool>("add-seed", &[&50.0f64, &30.0f64, &1u32]));
    h.push_and_pull(frame(2)).unwrap();
    let stats: gst::Structure = s.property("stats");
    assert_eq!(stats.get::<u32>("regions").unwrap(), 1);
}
