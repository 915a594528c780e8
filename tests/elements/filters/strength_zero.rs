// SPDX-License-Identifier: MIT OR Apache-2.0

//! The property `strength` at zero: frames pass unchanged, in a layout that downstream reads.

use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

use super::{FILTERS, add_meta, interlaced, name, padded_frame, with_meta};
use crate::common::video::{FORMATS, buffer, bytes, element, harness, info, to_bytes};

const SIZES: [(u32, u32); 6] = [(1, 1), (2, 3), (16, 16), (33, 17), (66, 50), (127, 65)];

#[test]
fn strength_zero_is_bit_exact() {
    for filter in FILTERS {
        for format in FORMATS {
            for (width, height) in SIZES {
                let info = info(format, width, height);
                let mut h = harness(&format!("{} strength=0", name(filter)), &info);
                let noisy = bytes(&info, 30.0, 2);
                let out = h.push_and_pull(buffer(noisy.clone(), 0)).unwrap();
                assert_eq!(to_bytes(&out), noisy, "{filter} {format:?} {width}x{height}");
            }
        }
    }
}

#[test]
fn strength_zero_removes_padding_for_elements_that_read_bytes() {
    for filter in FILTERS {
        let info = info(VideoFormat::Gray8, 48, 31);
        let mut h = harness(name(filter), &info);
        let element = element(&h);
        for (number, strength) in [1.0f32, 0.0, 0.5, 0.0].into_iter().enumerate() {
            element.set_property("strength", strength);
            let (padded, packed) = padded_frame(&info, number as u64);
            let out = to_bytes(&h.push_and_pull(padded).unwrap());
            assert_eq!(out.len(), packed.len(), "{filter}: strength {strength}");
            assert_eq!(out == packed, strength == 0.0, "{filter}: strength {strength}");
        }
    }
}

#[test]
fn strength_zero_copies_no_frame_without_need() {
    for filter in FILTERS {
        let info = info(VideoFormat::Gray8, 48, 31);
        // A frame without padding.
        let mut h = harness(&format!("{} strength=0", name(filter)), &info);
        let input = buffer(bytes(&info, 5.0, 1), 0);
        let address = input.as_ptr();
        assert_eq!(h.push_and_pull(input).unwrap().as_ptr(), address, "{filter}");
        // A frame with padding for an element that reads video metas.
        let mut h = gst_check::Harness::new_parse(&format!("{} strength=0", name(filter)));
        h.add_propose_allocation_meta(gst_video::VideoMeta::meta_api(), None);
        h.set_src_caps(info.to_caps().unwrap());
        let input = padded_frame(&info, 1).0;
        let address = input.as_ptr();
        assert_eq!(h.push_and_pull(input).unwrap().as_ptr(), address, "{filter}");
    }
}

#[test]
fn strength_zero_keeps_all_chroma_rows_of_both_fields() {
    let interlaced = interlaced(VideoFormat::I420, 48, 42);
    for filter in FILTERS {
        let frame = bytes(&interlaced, 30.0, 3);
        // Bytes after the frame, which the video meta announces.
        let input = [&frame[..], &[255; 100]].concat();
        let input = with_meta(buffer(input, 0), |input| {
            add_meta(input, &interlaced, interlaced.offset(), interlaced.stride())
        });
        let mut h = harness(&format!("{} strength=0", name(filter)), &interlaced);
        assert!(to_bytes(&h.push_and_pull(input).unwrap()) == frame, "{filter}");
    }
}

/// Returns the metas that a filter offers to upstream, of video and crop meta.
fn offered_metas(h: &gst_check::Harness, info: &VideoInfo) -> [bool; 2] {
    let mut query = gst::query::Allocation::new(Some(&info.to_caps().unwrap()), false);
    assert!(h.srcpad().unwrap().peer_query(&mut query));
    [
        query.find_allocation_meta::<gst_video::VideoMeta>().is_some(),
        query.find_allocation_meta::<gst_video::VideoCropMeta>().is_some(),
    ]
}

#[test]
fn strength_zero_offers_no_metas_of_downstream() {
    // Upstream would crop with a meta, and `strength` may change before it asks again.
    let infos = [info(VideoFormat::I420, 64, 48), info(VideoFormat::I420, 96, 80)];
    for filter in FILTERS {
        let mut h = gst_check::Harness::new_parse(name(filter));
        h.add_propose_allocation_meta(gst_video::VideoMeta::meta_api(), None);
        h.add_propose_allocation_meta(gst_video::VideoCropMeta::meta_api(), None);
        for (number, strength) in [0.0f32, 0.0, 1.0, 0.0].into_iter().enumerate() {
            element(&h).set_property("strength", strength);
            let info = &infos[number % 2];
            h.set_src_caps(info.to_caps().unwrap());
            h.push_and_pull(buffer(bytes(info, 5.0, 1), number as u64)).unwrap();
            assert_eq!(offered_metas(&h, info), [true, false], "{filter}: {strength}");
        }
    }
}

#[test]
fn strength_may_be_zero_while_caps_change() {
    for filter in FILTERS {
        let sizes = [(64, 48), (96, 80), (33, 17), (127, 65)];
        let infos = sizes.map(|(width, height)| info(VideoFormat::I420, width, height));
        let mut h = harness(name(filter), &infos[0]);
        let element = element(&h);
        let mut number = 0;
        for (info, strengths) in
            infos.iter().zip([[1.0f32, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
        {
            h.set_src_caps(info.to_caps().unwrap());
            for strength in strengths {
                element.set_property("strength", strength);
                let input = bytes(info, 15.0, number);
                let out = h.push_and_pull(buffer(input.clone(), number)).unwrap();
                assert_eq!(out.size(), info.size(), "{filter}");
                assert_eq!(to_bytes(&out) == input, strength == 0.0, "{filter}: {strength}");
                number += 1;
            }
        }
    }
}
