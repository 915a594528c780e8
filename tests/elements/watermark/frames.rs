// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames of all shapes and layouts, and frames that cannot be marked or read.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo, VideoInterlaceMode};

use super::{KEY, PAYLOAD, children, messages, own_bus, payloads, problems, textured};
use crate::common::video::{buffer, harness, info};

#[test]
fn interlaced_small_and_changing_streams_pass() {
    let embed = format!("watermarkembed key={KEY} payload={PAYLOAD}");
    let mut h = harness(
        &format!("{embed} ! watermarkdetect key={KEY} interval=2"),
        &info(VideoFormat::I420, 240, 180),
    );
    let interlaced = VideoInfo::builder(VideoFormat::I420, 640, 360)
        .interlace_mode(VideoInterlaceMode::Interleaved)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .unwrap();
    let infos = [info(VideoFormat::I420, 240, 180), interlaced, info(VideoFormat::Bgrx, 33, 17)];
    for (number, info) in infos.iter().flat_map(|info| [info; 4]).enumerate() {
        if number % 4 == 0 {
            h.set_src_caps(info.to_caps().unwrap());
        }
        let out = h.push_and_pull(buffer(textured(info, number as u64), number as u64)).unwrap();
        assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(40 * number as u64)));
    }
    assert!(h.push_event(gst::event::Eos::new()));
}

#[test]
fn a_frame_that_cannot_be_mapped_is_an_error() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut h = harness(&format!("watermarkembed key={KEY} payload={PAYLOAD}"), &info);
    let bus = own_bus(&children(&h)[0]);
    h.push_and_pull(buffer(textured(&info, 0), 0)).unwrap();
    assert_eq!(h.push(buffer(vec![100; 50], 1)), Err(gst::FlowError::Error));
    assert!(h.try_pull().is_none(), "an unmarked frame passed");
    let problems = problems(&bus);
    assert!(problems.len() == 1 && problems[0].contains("Cannot mark a frame"), "{problems:?}");
}

#[test]
fn frames_arrive_cropped() {
    // Upstream would send whole frames with a crop meta to a sink that offers it.
    let info = info(VideoFormat::I420, 64, 48);
    for element in [
        format!("watermarkembed key={KEY} payload={PAYLOAD}"),
        format!("watermarkdetect key={KEY}"),
    ] {
        let mut h = Harness::new_parse(&element);
        h.add_propose_allocation_meta(gst_video::VideoMeta::meta_api(), None);
        h.add_propose_allocation_meta(gst_video::VideoCropMeta::meta_api(), None);
        h.set_src_caps(info.to_caps().unwrap());
        h.push_and_pull(buffer(textured(&info, 0), 0)).unwrap();
        let mut query = gst::query::Allocation::new(Some(&info.to_caps().unwrap()), false);
        assert!(h.srcpad().unwrap().peer_query(&mut query));
        assert!(query.find_allocation_meta::<gst_video::VideoMeta>().is_some(), "{element}");
        assert!(query.find_allocation_meta::<gst_video::VideoCropMeta>().is_none(), "{element}");
    }
}

#[test]
fn frames_that_the_detector_cannot_read_pass_with_one_warning() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut h = harness(&format!("watermarkdetect key={KEY}"), &info);
    let bus = own_bus(&children(&h)[0]);
    for number in 0..3 {
        let mut frame = buffer(textured(&info, number), number);
        gst_video::VideoMeta::add_full(
            frame.get_mut().unwrap(),
            gst_video::VideoFrameFlags::empty(),
            info.format(),
            16,
            16,
            info.offset(),
            info.stride(),
        )
        .unwrap();
        assert!(h.push_and_pull(frame).is_ok());
    }
    assert!(h.push_and_pull(buffer(vec![100; 50], 3)).is_ok());
    let problems = problems(&bus);
    assert!(problems.len() == 1 && problems[0].contains("I420 of 16x16"), "{problems:?}");
}

#[test]
fn frames_of_extreme_shape_pass() {
    for (width, height) in [(32_767, 2), (2, 32_767)] {
        let found = messages(&format!(
            "videotestsrc num-buffers=2 ! video/x-raw,format=GRAY8,width={width},height={height} ! \
             watermarkdetect key={KEY} search=full ! fakesink"
        ));
        assert_eq!(payloads(&found), [None]);
    }
}
