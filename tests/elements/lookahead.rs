// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the property `lookahead` of `cnndenoise`.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};
use rand::{SeedableRng, rngs::StdRng};

use crate::common::{
    random::normal,
    video::{buffer, bytes, components, element, harness, info, to_bytes},
};

/// Sends the end of the stream, and returns all frames that have come out.
fn finish(h: &mut Harness) -> Vec<gst::Buffer> {
    h.push_event(gst::event::Eos::new());
    std::iter::from_fn(|| h.try_pull()).collect()
}

/// Returns the numbers of frames at 25 frames per second.
fn numbers(frames: &[gst::Buffer]) -> Vec<u64> {
    frames.iter().map(|frame| frame.pts().unwrap().mseconds() / 40).collect()
}

#[test]
fn every_frame_comes_out_with_its_own_time_alpha_and_flags() {
    for (format, mode) in [
        (VideoFormat::I420, "progressive"),
        (VideoFormat::Nv12, "interleaved"),
        (VideoFormat::Rgba, "progressive"),
        (VideoFormat::I42010le, "progressive"),
    ] {
        let info = VideoInfo::builder(format, 66, 50)
            .fps(gst::Fraction::new(25, 1))
            .interlace_mode(mode.parse().unwrap())
            .build()
            .unwrap();
        for (lookahead, count) in [(1, 1), (1, 5), (4, 3), (4, 12), (16, 9)] {
            let mut h = harness(&format!("cnndenoise lookahead={lookahead}"), &info);
            let frames: Vec<_> = (0..count).map(|i| bytes(&info, 9.0, i)).collect();
            for (number, frame) in frames.iter().enumerate() {
                let mut frame = buffer(frame.clone(), number as u64);
                frame.get_mut().unwrap().set_offset(100 + number as u64);
                h.push(frame).unwrap();
                let expected = (number as u32 + 1).saturating_sub(lookahead);
                assert_eq!(h.buffers_received(), expected, "{format:?} {lookahead} {number}");
            }
            let out = finish(&mut h);
            assert_eq!(numbers(&out), (0..count).collect::<Vec<_>>(), "{format:?} {lookahead}");
            for (number, (out, frame)) in out.iter().zip(&frames).enumerate() {
                assert_eq!(out.offset(), 100 + number as u64);
                if format == VideoFormat::Rgba {
                    let alpha = |bytes: &[u8]| components(&info, bytes).remove(3);
                    assert_eq!(alpha(&to_bytes(out)), alpha(frame), "{number}");
                }
            }
        }
    }
}

#[test]
fn latency_is_that_of_the_future_frames() {
    let info = info(VideoFormat::I420, 64, 48);
    for lookahead in [0, 3, 16] {
        let mut h = harness(&format!("cnndenoise lookahead={lookahead}"), &info);
        h.push(buffer(bytes(&info, 9.0, 1), 0)).unwrap();
        assert_eq!(h.query_latency().unwrap().mseconds(), 40 * lookahead);
    }
}

#[test]
fn events_keep_their_place_and_flushes_drop_frames() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut h = harness("cnndenoise lookahead=2", &info);
    let frame = |number| buffer(bytes(&info, 9.0, number), number);
    (0..2).for_each(|number| {
        h.push(frame(number)).unwrap();
    });
    h.push_event(gst::event::Tag::new(gst::TagList::new()));
    while h.try_pull_event().is_some() {}
    h.push(frame(2)).unwrap();
    assert_eq!(numbers(&[h.pull().unwrap()]), [0]);
    assert!(h.try_pull_event().is_none(), "the tag comes behind frame 1");
    h.push(frame(3)).unwrap();
    h.push(frame(4)).unwrap();
    let tag = std::iter::from_fn(|| h.try_pull_event())
        .find(|event| event.type_() == gst::EventType::Tag);
    assert!(tag.is_some());
    assert_eq!(numbers(&[h.pull().unwrap(), h.pull().unwrap()]), [1, 2]);
    // Frames 3 and 4 wait; a gap sends them, a flush drops them.
    h.push_event(gst::event::Gap::new(gst::ClockTime::from_mseconds(200), None));
    assert_eq!(numbers(&[h.pull().unwrap(), h.pull().unwrap()]), [3, 4]);
    h.push(frame(6)).unwrap();
    h.push_event(gst::event::FlushStart::new());
    h.push_event(gst::event::FlushStop::new(true));
    h.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    h.push(frame(9)).unwrap();
    assert_eq!(numbers(&finish(&mut h)), [9]);
}

#[test]
fn settings_and_caps_change_in_order() {
    let [small, large] = [64, 96].map(|width| info(VideoFormat::I420, width, 48));
    let mut h = harness("cnndenoise lookahead=3", &small);
    let d = element(&h);
    let mut number = 0;
    let mut sizes = Vec::new();
    for (strength, info) in [(1.0f32, &small), (0.0, &small), (1.0, &small), (1.0, &large)] {
        h.set_src_caps(info.to_caps().unwrap());
        d.set_property("strength", strength);
        for _ in 0..5 {
            h.push(buffer(bytes(info, 9.0, number), number)).unwrap();
            sizes.push(info.size());
            number += 1;
        }
        let stats: gst::Structure = d.property("stats");
        assert_eq!(stats.get::<u64>("dropped").unwrap(), 0);
    }
    let out = finish(&mut h);
    assert_eq!(numbers(&out), (0..number).collect::<Vec<_>>());
    assert_eq!(out.iter().map(|frame| frame.size()).collect::<Vec<_>>(), sizes);
    let passed = to_bytes(&out[7]);
    assert!(passed == bytes(&small, 9.0, 7), "strength=0 passes frames through");
}

/// Returns the mean square errors of the frames of a texture that moves by 2 pixels a frame, with
/// noise of sigma 20, and the output.
fn moving_texture(settings: &str) -> (Vec<f32>, Vec<Vec<u8>>) {
    let info = info(VideoFormat::Gray8, 192, 128);
    let stride = info.stride()[0] as usize;
    let clean = |number: usize| {
        let mut plane = vec![0.0; info.size()];
        for (at, value) in plane.iter_mut().enumerate() {
            let (x, y) = ((at % stride + 2 * number) as f32, (at / stride) as f32);
            *value = 120.0
                + 40.0 * (x * 0.21).sin() * (y * 0.17).cos()
                + 25.0 * (x * 0.043 + y * 0.11).sin();
        }
        plane
    };
    let mut rng = StdRng::seed_from_u64(8);
    let mut h = harness(&format!("cnndenoise noise-level=20 {settings}"), &info);
    for number in 0..20 {
        let noisy = clean(number).into_iter().map(|v| (v + 20.0 * normal(&mut rng)) as u8);
        h.push(buffer(noisy.collect(), number as u64)).unwrap();
    }
    let out: Vec<_> = finish(&mut h).iter().map(to_bytes).collect();
    let error = |(number, frame): (usize, &Vec<u8>)| {
        let clean = clean(number);
        let squares = frame.iter().zip(&clean).map(|(a, b)| (f32::from(*a) - b).powi(2));
        squares.sum::<f32>() / clean.len() as f32
    };
    (out.iter().enumerate().map(error).collect(), out)
}

#[test]
fn future_frames_reduce_the_error_most_at_the_start() {
    let (without, _) = moving_texture("");
    let (with, frames) = moving_texture("lookahead=8 threads=2");
    let ratio = |range: std::ops::Range<usize>| {
        with[range.clone()].iter().sum::<f32>() / without[range].iter().sum::<f32>()
    };
    let (first, later) = (ratio(0..1), ratio(6..12));
    assert!(first < 0.6 && later < 0.95, "first frame {first}, later {later}");
    for threads in [1, 3] {
        let (_, others) = moving_texture(&format!("lookahead=8 threads={threads}"));
        assert!(others == frames, "{threads} threads");
    }
}
