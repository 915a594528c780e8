// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interlaced frames: their fields are processed apart.

use gst_video::{VideoFormat, VideoInfo};

use super::{FILTERS, add_meta, interlaced, with_meta};
use crate::common::{
    start_error,
    video::{buffer, bytes, components, harness, info, to_bytes},
};

/// Returns a frame whose fields are two progressive frames of half the height.
fn weave(interlaced: &VideoInfo, progressive: &VideoInfo, fields: &[Vec<u8>; 2]) -> Vec<u8> {
    let width = interlaced.width() as usize;
    let mut woven = vec![0; interlaced.size()];
    for (parity, field) in fields.iter().enumerate() {
        for (c, component) in components(progressive, field).into_iter().enumerate() {
            let (offset, stride) = (interlaced.offset()[c], interlaced.stride()[c] as usize);
            let width = if c == 0 { width } else { width / 2 };
            for (y, row) in component.chunks(width).enumerate() {
                woven[offset + (2 * y + parity) * stride..][..width].copy_from_slice(row);
            }
        }
    }
    woven
}

#[test]
fn fields_of_interlaced_frames_do_not_mix() {
    // In 4:2:0, a field of 42 rows has 21 rows of luma and 11 of chroma.
    for (filter, height) in FILTERS.into_iter().flat_map(|filter| [(filter, 40), (filter, 42)]) {
        let width = 48;
        let progressive = info(VideoFormat::I420, width, height / 2);
        let interlaced = interlaced(VideoFormat::I420, width, height);
        let mut h = harness(filter, &interlaced);
        let mut alone = [0, 1].map(|_| harness(filter, &progressive));
        for number in 0..3 {
            let fields = [0, 1].map(|field| bytes(&progressive, 15.0, 2 * number + field));
            let woven = weave(&interlaced, &progressive, &fields);
            let out = to_bytes(&h.push_and_pull(buffer(woven, number)).unwrap());
            let out = components(&interlaced, &out);
            // Chroma noise is estimated over both fields in turn, so only luma must match the
            // output for a single field.
            for (parity, field) in fields.into_iter().enumerate() {
                let alone = alone[parity].push_and_pull(buffer(field, number)).unwrap();
                let alone = components(&progressive, &to_bytes(&alone));
                let rows = out[0].chunks(width as usize).skip(parity).step_by(2);
                let ours: Vec<u8> = rows.flatten().copied().collect();
                assert_eq!(ours.len(), alone[0].len());
                let worst = ours.iter().zip(&alone[0]).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(worst <= 1, "{filter} {height}: field {parity} differs by {worst}");
            }
        }
    }
}

#[test]
fn interlaced_frames_without_room_for_all_chroma_rows_pass() {
    // 42 rows with 21 rows of chroma, although GStreamer reserves 22 for interlaced frames.
    let (interlaced, tight) =
        (interlaced(VideoFormat::I420, 48, 42), info(VideoFormat::I420, 48, 42));
    assert!(tight.size() < interlaced.size());
    for filter in FILTERS {
        let mut h = harness(filter, &interlaced);
        for number in 0..2 {
            let strides = [48, 24, 24];
            let input = with_meta(buffer(bytes(&tight, 15.0, number), number), |input| {
                add_meta(input, &interlaced, tight.offset(), &strides)
            });
            assert_eq!(h.push_and_pull(input).unwrap().size(), interlaced.size(), "{filter}");
        }
    }
}

#[test]
fn separate_fields_are_refused_with_a_reason() {
    for filter in FILTERS {
        let error = start_error(&format!(
            "videotestsrc ! video/x-raw,format=I420,interlace-mode=fields ! {filter} ! fakesink"
        ));
        assert!(error.matches(gst::StreamError::Format), "{error}");
        assert!(error.to_string().contains("interlace-mode=fields"), "{error}");
    }
}
