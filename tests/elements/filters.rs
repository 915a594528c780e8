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

#[test]
fn fields_of_interlaced_frames_do_not_mix() {
    for filter in FILTERS {
        let (width, height) = (48u32, 40u32);
        let progressive = info(VideoFormat::I420, width, height / 2);
        let interlaced = VideoInfo::builder(VideoFormat::I420, width, height)
            .interlace_mode(VideoInterlaceMode::Interleaved)
            .fps(gst::Fraction::new(25, 1))
            .build()
            .unwrap();
        let fields = [bytes(&progressive, 15.0, 5), bytes(&progressive, 15.0, 6)];
        let parts = fields.each_ref().map(|field| components(&progressive, field));
        let mut woven = vec![0; interlaced.size()];
        for c in 0..3 {
            let (offset, stride) = (interlaced.offset()[c], interlaced.stride()[c] as usize);
            let w = if c == 0 { width } else { width / 2 } as usize;
            for (parity, part) in parts.iter().enumerate() {
                for (y, row) in part[c].chunks(w).enumerate() {
                    woven[offset + (2 * y + parity) * stride..][..w].copy_from_slice(row);
                }
            }
        }
        let mut h = harness(filter, &interlaced);
        let out = components(&interlaced, &to_bytes(&h.push_and_pull(buffer(woven, 0)).unwrap()));
        // Chroma noise is estimated over both fields in turn, so only luma must match the output
        // for a single field.
        for (parity, field) in fields.into_iter().enumerate() {
            let mut h = harness(filter, &progressive);
            let alone =
                components(&progressive, &to_bytes(&h.push_and_pull(buffer(field, 0)).unwrap()));
            let ours: Vec<u8> =
                out[0].chunks(width as usize).skip(parity).step_by(2).flatten().copied().collect();
            let worst = ours.iter().zip(&alone[0]).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 1, "field {parity} differs by {worst}");
        }
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
    for (element, model) in [("cnndenoise", "smooth-fast"), ("cnnsmooth", "denoise-yuv420-fast")] {
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
