// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the behaviour that all filters share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::common::{
    Temporary, error_of, init, pipeline, start_error,
    video::{FORMATS, buffer, bytes, components, element, harness, info, to_bytes},
};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoFrameExt, VideoInfo, VideoInterlaceMode};

const SIZES: [(u32, u32); 6] = [(1, 1), (2, 3), (16, 16), (33, 17), (66, 50), (127, 65)];
/// Elements with properties that make the output depend on the current frame only.
const FILTERS: [&str; 2] = ["cnndenoise noise-level=15", "cnnsmooth"];

fn name(filter: &str) -> &str {
    filter.split(' ').next().unwrap()
}

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

/// Returns the info of an interlaced format.
fn interlaced(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    crate::common::init();
    VideoInfo::builder(format, width, height)
        .interlace_mode(VideoInterlaceMode::Interleaved)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .unwrap()
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

/// Changes a buffer that nothing else references.
fn with_meta(mut buffer: gst::Buffer, add: impl FnOnce(&mut gst::BufferRef)) -> gst::Buffer {
    add(buffer.get_mut().unwrap());
    buffer
}

/// Adds a video meta with the format and size of `info`.
fn add_meta(buffer: &mut gst::BufferRef, info: &VideoInfo, offsets: &[usize], strides: &[i32]) {
    gst_video::VideoMeta::add_full(
        buffer,
        gst_video::VideoFrameFlags::empty(),
        info.format(),
        info.width(),
        info.height(),
        offsets,
        strides,
    )
    .unwrap();
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

/// Returns a grey frame with bright padding in each row, and the frame without padding.
fn padded_frame(info: &VideoInfo, seed: u64) -> (gst::Buffer, Vec<u8>) {
    let (width, stride) = (info.width() as usize, 112);
    let rows = components(info, &bytes(info, 15.0, seed)).remove(0);
    let pad = |row: &[u8]| [row, &vec![255; stride - width]].concat();
    let padded = rows.chunks(width).flat_map(pad).collect();
    let padded =
        with_meta(buffer(padded, seed), |input| add_meta(input, info, &[0], &[stride as i32]));
    let row_length = info.stride()[0] as usize;
    let packed = rows.chunks(width).flat_map(|row| [row, &vec![0; row_length - width]].concat());
    (padded, packed.collect())
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

/// Returns the last output for frames of a still scene at the given times in milliseconds, the last
/// one with the flag DISCONT if `discont`.
fn last_output(filter: &str, times: &[u64], discont: bool) -> Vec<u8> {
    let info = info(VideoFormat::I420, 96, 64);
    let mut h = harness(filter, &info);
    let mut output = Vec::new();
    for (i, time) in times.iter().enumerate() {
        let is_last = i + 1 == times.len();
        let seed = if is_last { 100 } else { i as u64 };
        let mut input = buffer(bytes(&info, 10.0, seed), 0);
        let writable = input.get_mut().unwrap();
        writable.set_pts(gst::ClockTime::from_mseconds(*time));
        if discont && is_last {
            writable.set_flags(gst::BufferFlags::DISCONT);
        }
        output = to_bytes(&h.push_and_pull(input).unwrap());
    }
    output
}

#[test]
fn long_gaps_end_a_scene_and_lost_frames_do_not() {
    for filter in FILTERS {
        let alone = last_output(filter, &[0], false);
        let continued = last_output(filter, &[0, 40, 80, 120], false);
        assert!(alone != continued, "{filter}");
        assert!(last_output(filter, &[0, 40, 80, 120], true) == continued, "{filter}: DISCONT");
        assert!(last_output(filter, &[0, 40, 80, 400], true) == continued, "{filter}: short gap");
        assert!(last_output(filter, &[0, 40, 80, 9000], false) == alone, "{filter}: long gap");
        assert!(last_output(filter, &[8000, 8040, 8080, 0], false) == alone, "{filter}: backwards");
    }
}

#[test]
fn metas_about_the_content_are_kept() {
    for filter in FILTERS {
        let info = info(VideoFormat::I420, 32, 32);
        for strength in ["0", "1"] {
            let mut h = harness(&format!("{} strength={strength}", name(filter)), &info);
            let input = with_meta(buffer(bytes(&info, 5.0, 7), 3), |input| {
                let region = (5, 6, 20, 20);
                gst_video::VideoRegionOfInterestMeta::add(input, "face", region);
                gst_video::VideoCropMeta::add(input, (0, 0, 32, 32));
                let kind = gst_video::VideoCaptionType::Cea608Raw;
                gst_video::VideoCaptionMeta::add(input, kind, &[0x80, 0x80]);
                let aspect = gst_video::VideoAFDValue::_43Full169Full;
                gst_video::VideoAFDMeta::add(input, 0, gst_video::VideoAFDSpec::AtscA53, aspect);
                gst_video::VideoBarMeta::add(input, 0, true, 4, 5);
                let flags = gst_video::VideoTimeCodeFlags::empty();
                let code = gst_video::VideoTimeCode::new(
                    gst::Fraction::new(25, 1),
                    None,
                    flags,
                    1,
                    2,
                    3,
                    4,
                    0,
                );
                gst_video::VideoTimeCodeMeta::add(input, &code.try_into().unwrap());
            });
            let out = h.push_and_pull(input).unwrap();
            assert!(out.meta::<gst_video::VideoCropMeta>().is_some(), "{filter}");
            assert!(out.meta::<gst_video::VideoCaptionMeta>().is_some(), "{filter}");
            assert!(out.meta::<gst_video::VideoAFDMeta>().is_some(), "{filter}");
            assert!(out.meta::<gst_video::VideoBarMeta>().is_some(), "{filter}");
            assert!(out.meta::<gst_video::VideoTimeCodeMeta>().is_some(), "{filter}");
            let region = out.meta::<gst_video::VideoRegionOfInterestMeta>();
            assert_eq!(region.expect("the region is kept").rect(), (5, 6, 20, 20), "{filter}");
        }
    }
}

#[test]
fn metas_about_the_memory_of_the_input_are_dropped() {
    let info = info(VideoFormat::Gray8, 48, 31);
    for filter in FILTERS {
        let mut h = harness(filter, &info);
        let parent = gst::Buffer::with_size(8).unwrap();
        let input = with_meta(padded_frame(&info, 1).0, |input| {
            gst::ParentBufferMeta::add(input, &parent);
        });
        let out = h.push_and_pull(input).unwrap();
        assert!(out.meta::<gst::ParentBufferMeta>().is_none(), "{filter}");
        let meta = out.meta::<gst_video::VideoMeta>();
        assert!(meta.is_none_or(|meta| meta.stride() == info.stride()), "{filter}");
    }
}

#[test]
fn times_and_metas_are_kept() {
    for filter in FILTERS {
        let info = info(VideoFormat::I420, 32, 32);
        for strength in ["0", "1"] {
            let mut h = harness(&format!("{} strength={strength}", name(filter)), &info);
            let mut input = buffer(bytes(&info, 5.0, 7), 3);
            {
                let input = input.get_mut().unwrap();
                input.set_offset(33);
                input.set_flags(gst::BufferFlags::MARKER);
                let reference = gst::Caps::builder("timestamp/x-test").build();
                gst::ReferenceTimestampMeta::add(
                    input,
                    &reference,
                    gst::ClockTime::from_seconds(7),
                    None,
                );
            }
            let out = h.push_and_pull(input).unwrap();
            assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(120)));
            assert_eq!(out.duration(), Some(gst::ClockTime::from_mseconds(40)));
            assert_eq!(out.offset(), 33);
            assert!(out.flags().contains(gst::BufferFlags::MARKER));
            let meta =
                out.meta::<gst::ReferenceTimestampMeta>().expect("the reference timestamp is kept");
            assert_eq!(meta.timestamp(), gst::ClockTime::from_seconds(7));
        }
    }
}

#[test]
fn caps_may_change_in_the_stream() {
    for filter in FILTERS {
        let infos = [
            info(VideoFormat::I420, 64, 48),
            info(VideoFormat::Rgb, 33, 17),
            info(VideoFormat::Nv12, 64, 48),
            info(VideoFormat::Gray8, 7, 5),
            info(VideoFormat::I420, 64, 48),
        ];
        let mut h = harness(name(filter), &infos[0]);
        for (number, info) in infos.iter().enumerate() {
            h.set_src_caps(info.to_caps().unwrap());
            let out = h.push_and_pull(buffer(bytes(info, 10.0, 8), number as u64)).unwrap();
            assert_eq!(out.size(), info.size());
            let caps = h.sinkpad().unwrap().current_caps().unwrap();
            assert_eq!(VideoInfo::from_caps(&caps).unwrap().format(), info.format());
        }
    }
}

#[test]
fn states_cycle() {
    for filter in FILTERS {
        let pipeline = pipeline(&format!(
            "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=48,height=32 ! {filter} ! \
             fakesink"
        ));
        for _ in 0..4 {
            pipeline.set_state(gst::State::Playing).unwrap();
            let bus = pipeline.bus().unwrap();
            let message = bus.timed_pop_filtered(
                gst::ClockTime::from_seconds(30),
                &[gst::MessageType::Eos, gst::MessageType::Error],
            );
            assert_eq!(message.expect("the stream ends").type_(), gst::MessageType::Eos);
            pipeline.set_state(gst::State::Null).unwrap();
        }
        for state in [
            gst::State::Ready,
            gst::State::Paused,
            gst::State::Ready,
            gst::State::Playing,
            gst::State::Null,
        ] {
            pipeline.set_state(state).unwrap();
        }
    }
}

/// Returns the error that an element posts when a pipeline with it starts, and its text.
fn element_error(filter: &str, properties: &[(&str, &str)]) -> (glib::Error, String) {
    init();
    let pipeline = gst::Pipeline::new();
    let element = gst::ElementFactory::make(name(filter)).build().unwrap();
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    pipeline.add(&element).unwrap();
    let _ = pipeline.set_state(gst::State::Paused);
    let error = error_of(&pipeline);
    let text = error.to_string();
    (error, text)
}

#[test]
fn invalid_models_and_devices_are_errors() {
    for filter in FILTERS {
        let (error, text) = element_error(filter, &[("model-file", "/nowhere/net.safetensors")]);
        assert!(
            error.matches(gst::ResourceError::NotFound)
                && text.contains("/nowhere/net.safetensors"),
            "{text}"
        );

        let (error, text) = element_error(filter, &[("model-file", "/")]);
        assert!(error.matches(gst::ResourceError::Read) && text.contains("regular file"), "{text}");

        let file = Temporary::new("corrupt.safetensors");
        std::fs::write(&file.0, b"this is no model at all").unwrap();
        let (error, text) = element_error(filter, &[("model-file", file.0.to_str().unwrap())]);
        assert!(error.matches(gst::ResourceError::Settings) && text.contains("header"), "{text}");

        for device in ["cuda:63", "gpu", ""] {
            let (error, text) = element_error(filter, &[("device", device)]);
            assert!(error.matches(gst::ResourceError::Settings) && text.contains(device), "{text}");
        }
    }
}

#[test]
fn names_and_flags_are_as_documented() {
    init();
    let live = ["strength", "temporal", "foreground-strength", "background-strength"];
    let own: [(&str, &str, &[&str]); 2] = [
        ("cnndenoise", "GstCnnDenoise", &["noise-level"]),
        ("cnnsmooth", "GstCnnSmooth", &["scale", "structure"]),
    ];
    for (name, kind, own) in own {
        let factory = gst::ElementFactory::find(name).unwrap();
        assert_eq!(factory.metadata("klass"), Some("Filter/Effect/Video"));
        let element = factory.create().build().unwrap();
        assert_eq!(element.type_().name(), kind);
        for property in live.iter().chain(own) {
            let flags = element.find_property(property).unwrap().flags();
            assert!(
                flags.contains(gst::PARAM_FLAG_CONTROLLABLE),
                "{name}: {property} is not controllable"
            );
        }
    }
}

#[test]
fn model_for_another_task_is_refused_with_a_reason() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
    for (element, model) in [
        ("cnndenoise", "smooth-fast"),
        ("cnnsmooth", "denoise-yuv420-fast"),
        ("cnndeband", "smooth-fast"),
    ] {
        let text = start_error(&format!(
            "videotestsrc ! video/x-raw,format=I420 ! {element} \
             model-file={folder}/{model}.safetensors ! fakesink"
        ))
        .to_string();
        assert!(text.contains("the model is for the task"), "{element}: {text}");
    }
}

#[test]
fn properties_may_change_while_frames_flow() {
    for (name, live) in [("cnndenoise", "noise-level"), ("cnnsmooth", "scale")] {
        let info = info(VideoFormat::Nv12, 64, 48);
        let mut h = harness(name, &info);
        let element = element(&h);
        let stop = Arc::new(AtomicBool::new(false));
        let other = thread::spawn({
            let (stop, element) = (stop.clone(), element);
            move || {
                let mut i = 0u32;
                while !stop.load(Ordering::Relaxed) {
                    i += 1;
                    element.set_property("strength", (i % 5) as f32 * 0.25);
                    element.set_property(live, (i % 60) as f32 + 1.0);
                    element.set_property("temporal", i.is_multiple_of(2));
                    let stats: gst::Structure = element.property("stats");
                    assert!(stats.has_field("mean-ms"));
                }
                i
            }
        });
        let noisy = bytes(&info, 10.0, 11);
        for number in 0..200 {
            let out = h.push_and_pull(buffer(noisy.clone(), number)).unwrap();
            assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(40 * number)));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(other.join().unwrap() > 0);
    }
}

#[test]
fn late_frames_are_dropped_and_counted() {
    for filter in FILTERS {
        let info = info(VideoFormat::I420, 64, 48);
        let mut h = harness(filter, &info);
        let count = |h: &gst_check::Harness, name: &str| {
            element(h).property::<gst::Structure>("stats").get::<u64>(name).unwrap()
        };
        h.push_and_pull(buffer(bytes(&info, 10.0, 1), 0)).unwrap();
        assert_eq!((count(&h, "frames"), count(&h, "dropped")), (1, 0), "{filter}");
        // A QoS event: the frame shown at 40 ms was half a second late.
        let shown = gst::ClockTime::from_mseconds(40);
        let late = gst::event::Qos::builder(gst::QOSType::Underflow, 3.0, 500_000_000i64)
            .timestamp(shown)
            .build();
        h.push_upstream_event(late);
        h.push(buffer(bytes(&info, 10.0, 2), 1)).unwrap();
        assert_eq!((count(&h, "frames"), count(&h, "dropped")), (1, 1), "{filter}");
        // A frame that is in time again is processed.
        h.push(buffer(bytes(&info, 10.0, 3), 100)).unwrap();
        assert_eq!((count(&h, "frames"), count(&h, "dropped")), (2, 1), "{filter}");
    }
}
