// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory layouts of frames: padded rows, and layouts and sizes that are refused.

use gst::prelude::*;
use gst_video::{VideoFormat, VideoFrameExt};

use super::{FILTERS, add_meta, with_meta};
use crate::common::video::{buffer, bytes, components, element, harness, info, to_bytes};

#[test]
fn padded_strides_give_the_same_picture() {
    for filter in FILTERS {
        let (width, height) = (45usize, 31usize);
        let info = info(VideoFormat::Gray8, width as u32, height as u32);
        let dense = bytes(&info, 15.0, 4);
        let mut h = harness(filter, &info);
        let expected =
            components(&info, &to_bytes(&h.push_and_pull(buffer(dense.clone(), 0)).unwrap()));

        // The same rows with bright padding, which must not affect the output.
        let stride = 112;
        let visible = components(&info, &dense).remove(0);
        let padded: Vec<u8> = visible
            .chunks(width)
            .flat_map(|row| [row, &vec![255; stride - width]].concat())
            .collect();
        let mut padded = buffer(padded, 0);
        gst_video::VideoMeta::add_full(
            padded.get_mut().unwrap(),
            gst_video::VideoFrameFlags::empty(),
            VideoFormat::Gray8,
            width as u32,
            height as u32,
            &[0],
            &[stride as i32],
        )
        .unwrap();
        let mut h = harness(filter, &info);
        let out = h.push_and_pull(padded).unwrap();
        let frame = gst_video::VideoFrame::from_buffer_readable(out, &info).unwrap();
        let (stride, data) = (frame.plane_stride()[0] as usize, frame.plane_data(0).unwrap());
        let rows: Vec<u8> =
            (0..height).flat_map(|y| data[y * stride..][..width].to_vec()).collect();
        assert_eq!(rows, expected[0]);
    }
}

/// Returns a bus that receives the messages of the filter in a harness.
fn bus_of(h: &gst_check::Harness) -> gst::Bus {
    let bus = gst::Bus::new();
    element(h).set_bus(Some(&bus));
    bus
}

/// Returns the text of the next error on a bus.
fn error_text(bus: &gst::Bus) -> String {
    match bus.pop_filtered(&[gst::MessageType::Error]).expect("an error").view() {
        gst::MessageView::Error(error) => error.error().to_string(),
        _ => unreachable!(),
    }
}

#[test]
fn planes_outside_of_the_memory_are_errors() {
    let formats = [VideoFormat::I420, VideoFormat::Nv12, VideoFormat::Rgba, VideoFormat::P01010le];
    let cases = FILTERS.into_iter().flat_map(|filter| formats.map(|format| (filter, format)));
    for (filter, format) in cases {
        let info = info(format, 64, 48);
        let (size, planes) = (info.size(), info.n_planes() as usize);
        let (offset, stride) = (info.offset().to_vec(), info.stride().to_vec());
        let memory = format!("the memory has {size} bytes");
        let layouts = [
            (offset.clone(), stride.iter().map(|s| s * 1000).collect(), memory.as_str()),
            (offset.clone(), vec![i32::MAX - 1; planes], &memory),
            (vec![size - 2; planes], stride.clone(), &memory),
            (offset.clone(), stride.iter().map(|s| s + 2).collect(), &memory),
            (vec![size + 4096; planes], stride.clone(), "cannot be mapped"),
            (vec![usize::MAX / 2; planes], stride.clone(), "cannot be mapped"),
            (offset.clone(), stride.iter().map(|s| -s).collect(), "has a stride of -"),
            (offset.clone(), vec![0; planes], "has a stride of 0 bytes"),
            (offset, stride.iter().map(|s| s - 1).collect(), "has a stride of"),
        ];
        for (offsets, strides, expected) in layouts {
            let mut h = harness(filter, &info);
            let bus = bus_of(&h);
            let input = with_meta(buffer(bytes(&info, 5.0, 1), 0), |input| {
                add_meta(input, &info, &offsets, &strides)
            });
            assert_eq!(h.push(input), Err(gst::FlowError::Error));
            let text = error_text(&bus);
            assert!(text.contains(expected), "{filter} {format:?} {strides:?}: {text}");
        }
    }
}

#[test]
fn strides_of_ten_bit_video_are_whole_samples() {
    let info = info(VideoFormat::I42010le, 64, 48);
    let mut h = harness("cnndenoise", &info);
    let bus = bus_of(&h);
    let size = 129 * 48 * 2;
    let input = with_meta(buffer(vec![0; size], 0), |input| {
        add_meta(input, &info, &[0, 129 * 48, 129 * 72], &[129, 65, 65])
    });
    assert_eq!(h.push(input), Err(gst::FlowError::Error));
    let text = error_text(&bus);
    assert!(text.contains("stride of 129 bytes") && text.contains("multiple of 2"), "{text}");
}

#[test]
fn metas_that_contradict_the_caps_are_errors() {
    let [caps, larger, other] = [
        info(VideoFormat::I420, 64, 48),
        info(VideoFormat::I420, 4096, 4096),
        info(VideoFormat::Y444, 64, 48),
    ];
    for (filter, meta) in FILTERS.into_iter().flat_map(|f| [(f, &larger), (f, &other)]) {
        let mut h = harness(filter, &caps);
        let bus = bus_of(&h);
        let input = with_meta(buffer(bytes(&caps, 5.0, 1), 0), |input| {
            add_meta(input, meta, caps.offset(), caps.stride())
        });
        assert_eq!(h.push(input), Err(gst::FlowError::Error));
        let text = error_text(&bus);
        assert!(text.contains("video meta describes"), "{filter}: {text}");
    }
    let mut h = harness("cnndenoise", &caps);
    let bus = bus_of(&h);
    assert!(h.push(buffer(vec![0; caps.size() - 1], 0)).is_err());
    assert!(error_text(&bus).contains(&format!("{} bytes", caps.size() - 1)));
}

#[test]
fn frames_beyond_the_size_limit_are_refused_with_a_reason() {
    for filter in FILTERS {
        for (width, height) in [(8193, 8), (8, 16384)] {
            let mut h = harness(filter, &info(VideoFormat::I420, 64, 48));
            let bus = bus_of(&h);
            let large = info(VideoFormat::I420, width, height);
            h.push_event(gst::event::Caps::new(&large.to_caps().unwrap()));
            assert_eq!(
                h.push(buffer(vec![0; large.size()], 0)),
                Err(gst::FlowError::NotNegotiated)
            );
            let text = error_text(&bus);
            assert!(text.contains(&format!("{width}x{height}")) && text.contains("8192"), "{text}");
        }
    }
}
