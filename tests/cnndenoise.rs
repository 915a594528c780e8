//! `cnndenoise` in a test harness, one behaviour at a time.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use common::{
    Temporary, init,
    video::{FORMATS, buffer, bytes, components, element, harness, info, to_bytes, variance},
};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoFrameExt, VideoInfo, VideoInterlaceMode};

const SIZES: [(u32, u32); 6] = [(1, 1), (2, 3), (16, 16), (33, 17), (66, 50), (127, 65)];

#[test]
fn every_format_and_size_is_denoised() {
    for format in FORMATS {
        for (width, height) in SIZES {
            let info = info(format, width, height);
            let mut h = harness("cnndenoise noise-level=15", &info);
            let noisy = bytes(&info, 15.0, 1);
            let out = h.push_and_pull(buffer(noisy.clone(), 0)).unwrap();
            assert_eq!(out.size(), info.size(), "{format:?} {width}x{height}");
            let out = to_bytes(&out);
            let (before, after) = (components(&info, &noisy), components(&info, &out));
            let colours = if info.has_alpha() { 3 } else { before.len() };
            for c in 0..colours {
                // On a few samples noise and picture cannot be told apart.
                if before[c].len() >= 500 {
                    let (b, a) = (variance(&before[c]), variance(&after[c]));
                    assert!(a < 0.35 * b, "{format:?} {width}x{height} component {c}: variance {b:.1} to {a:.1}");
                }
            }
            if info.has_alpha() {
                assert_eq!(before[3], after[3], "{format:?}: alpha changed");
            }
        }
    }
}

#[test]
fn strength_zero_is_bit_exact() {
    for format in FORMATS {
        for (width, height) in SIZES {
            let info = info(format, width, height);
            let mut h = harness("cnndenoise strength=0", &info);
            let noisy = bytes(&info, 30.0, 2);
            let out = h.push_and_pull(buffer(noisy.clone(), 0)).unwrap();
            assert_eq!(to_bytes(&out), noisy, "{format:?} {width}x{height}");
        }
    }
}

#[test]
fn strength_may_change_between_frames() {
    let info = info(VideoFormat::I420, 64, 48);
    // The same noise twice would pass for a picture that averaging along time need not touch.
    let mut h = harness("cnndenoise noise-level=20 temporal=false", &info);
    let element = element(&h);
    let noisy = bytes(&info, 20.0, 3);
    let mut removed = Vec::new();
    for (number, strength) in [0.0f32, 0.5, 1.0, 0.0].into_iter().enumerate() {
        element.set_property("strength", strength);
        let out = to_bytes(&h.push_and_pull(buffer(noisy.clone(), number as u64)).unwrap());
        let change: f64 = out.iter().zip(&noisy).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).sum();
        removed.push(change);
    }
    assert_eq!((removed[0], removed[3]), (0.0, 0.0));
    assert!(removed[2] > 0.0 && (removed[1] / removed[2] - 0.5).abs() < 0.1, "{removed:?}");
}

#[test]
fn padded_strides_give_the_same_picture() {
    let (width, height) = (45usize, 31usize);
    let info = info(VideoFormat::Gray8, width as u32, height as u32);
    let dense = bytes(&info, 15.0, 4);
    let mut h = harness("cnndenoise noise-level=15", &info);
    let expected = components(&info, &to_bytes(&h.push_and_pull(buffer(dense.clone(), 0)).unwrap()));

    // The same rows, each with a long padding of bright bytes that must not shine in.
    let stride = 112;
    let visible = components(&info, &dense).remove(0);
    let padded: Vec<u8> = visible.chunks(width).flat_map(|row| [row, &vec![255; stride - width]].concat()).collect();
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
    let mut h = harness("cnndenoise noise-level=15", &info);
    let out = h.push_and_pull(padded).unwrap();
    let frame = gst_video::VideoFrame::from_buffer_readable(out, &info).unwrap();
    let (stride, data) = (frame.plane_stride()[0] as usize, frame.plane_data(0).unwrap());
    let rows: Vec<u8> = (0..height).flat_map(|y| data[y * stride..][..width].to_vec()).collect();
    assert_eq!(rows, expected[0]);
}

#[test]
fn fields_of_interlaced_frames_do_not_mix() {
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
    let mut h = harness("cnndenoise noise-level=15", &interlaced);
    let out = components(&interlaced, &to_bytes(&h.push_and_pull(buffer(woven, 0)).unwrap()));
    // Chroma noise is estimated over both fields in turn, so luma alone must match what a field gives by itself.
    for (parity, field) in fields.into_iter().enumerate() {
        let mut h = harness("cnndenoise noise-level=15", &progressive);
        let alone = components(&progressive, &to_bytes(&h.push_and_pull(buffer(field, 0)).unwrap()));
        let ours: Vec<u8> = out[0].chunks(width as usize).skip(parity).step_by(2).flatten().copied().collect();
        let worst = ours.iter().zip(&alone[0]).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 1, "field {parity} differs by {worst}");
    }
}

#[test]
fn times_and_metas_are_kept() {
    let info = info(VideoFormat::I420, 32, 32);
    for strength in ["0", "1"] {
        let mut h = harness(&format!("cnndenoise strength={strength}"), &info);
        let mut input = buffer(bytes(&info, 5.0, 7), 3);
        {
            let input = input.get_mut().unwrap();
            input.set_offset(33);
            input.set_flags(gst::BufferFlags::MARKER);
            let reference = gst::Caps::builder("timestamp/x-test").build();
            gst::ReferenceTimestampMeta::add(input, &reference, gst::ClockTime::from_seconds(7), None);
        }
        let out = h.push_and_pull(input).unwrap();
        assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(120)));
        assert_eq!(out.duration(), Some(gst::ClockTime::from_mseconds(40)));
        assert_eq!(out.offset(), 33);
        assert!(out.flags().contains(gst::BufferFlags::MARKER));
        let meta = out.meta::<gst::ReferenceTimestampMeta>().expect("the reference timestamp is kept");
        assert_eq!(meta.timestamp(), gst::ClockTime::from_seconds(7));
    }
}

#[test]
fn caps_may_change_in_the_stream() {
    let infos = [
        info(VideoFormat::I420, 64, 48),
        info(VideoFormat::Rgb, 33, 17),
        info(VideoFormat::Nv12, 64, 48),
        info(VideoFormat::Gray8, 7, 5),
        info(VideoFormat::I420, 64, 48),
    ];
    let mut h = harness("cnndenoise", &infos[0]);
    for (number, info) in infos.iter().enumerate() {
        h.set_src_caps(info.to_caps().unwrap());
        let out = h.push_and_pull(buffer(bytes(info, 10.0, 8), number as u64)).unwrap();
        assert_eq!(out.size(), info.size());
        let caps = h.sinkpad().unwrap().current_caps().unwrap();
        assert_eq!(VideoInfo::from_caps(&caps).unwrap().format(), info.format());
    }
}

#[test]
fn flushes_gaps_and_eos_pass() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut h = harness("cnndenoise", &info);
    let noisy = bytes(&info, 20.0, 9);
    let first = to_bytes(&h.push_and_pull(buffer(noisy.clone(), 0)).unwrap());
    // Weaker noise in between pulls the estimate down; after a flush it starts anew.
    for number in 1..20 {
        h.push_and_pull(buffer(bytes(&info, 2.0, number), number)).unwrap();
    }
    assert!(h.push_event(gst::event::FlushStart::new()));
    assert!(h.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(h.push_event(gst::event::Segment::new(&segment)));
    let again = to_bytes(&h.push_and_pull(buffer(noisy, 0)).unwrap());
    assert_eq!(first, again);
    let gap = gst::event::Gap::builder(gst::ClockTime::from_mseconds(40)).duration(gst::ClockTime::from_mseconds(40));
    assert!(h.push_event(gap.build()));
    assert!(h.push_event(gst::event::Eos::new()));
    let mut types = Vec::new();
    while let Some(event) = h.try_pull_event() {
        types.push(event.type_());
    }
    assert!(types.contains(&gst::EventType::Gap) && types.last() == Some(&gst::EventType::Eos), "{types:?}");
}

#[test]
fn the_estimate_is_near_the_truth() {
    let info = info(VideoFormat::I420, 320, 240);
    for level in [3.0, 10.0, 25.0] {
        let mut h = harness("cnndenoise", &info);
        h.push_and_pull(buffer(bytes(&info, level, 10), 0)).unwrap();
        let element = element(&h);
        let estimate: f32 = element.property("estimated-noise-level");
        assert!((estimate - level).abs() < 1.5f32.max(0.1 * level), "{level}: {estimate}");
        let stats: gst::Structure = element.property("stats");
        assert_eq!(stats.get::<u64>("frames").unwrap(), 1);
        assert!(stats.get::<f64>("mean-ms").unwrap() > 0.0);
        assert!(!stats.get::<String>("backend").unwrap().is_empty());
    }
}

#[test]
fn states_cycle() {
    init();
    let description = "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=48,height=32 ! cnndenoise ! fakesink";
    let pipeline = gst::parse::launch(description).unwrap().downcast::<gst::Pipeline>().unwrap();
    for _ in 0..4 {
        pipeline.set_state(gst::State::Playing).unwrap();
        let bus = pipeline.bus().unwrap();
        let message =
            bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &[gst::MessageType::Eos, gst::MessageType::Error]);
        assert_eq!(message.expect("the stream ends").type_(), gst::MessageType::Eos);
        pipeline.set_state(gst::State::Null).unwrap();
    }
    for state in [gst::State::Ready, gst::State::Paused, gst::State::Ready, gst::State::Playing, gst::State::Null] {
        pipeline.set_state(state).unwrap();
    }
}

#[test]
fn properties_may_change_while_frames_flow() {
    let info = info(VideoFormat::Nv12, 64, 48);
    let mut h = harness("cnndenoise", &info);
    let element = element(&h);
    let stop = Arc::new(AtomicBool::new(false));
    let other = thread::spawn({
        let (stop, element) = (stop.clone(), element);
        move || {
            let mut i = 0u32;
            while !stop.load(Ordering::Relaxed) {
                i += 1;
                element.set_property("strength", (i % 5) as f32 * 0.5);
                element.set_property("noise-level", (i % 70) as f32 - 1.0);
                element.set_property("temporal", i.is_multiple_of(2));
                let _: gst::Structure = element.property("stats");
                let _: f32 = element.property("estimated-noise-level");
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

/// Waits for the error that a pipeline ends with.
fn error_of(pipeline: &gst::Pipeline) -> glib::Error {
    let bus = pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    match message.expect("an error").view() {
        gst::MessageView::Error(error) => error.error(),
        _ => unreachable!(),
    }
}

/// The error that a pipeline with this `cnndenoise` ends with.
fn start_error(properties: &[(&str, &str)]) -> (glib::Error, String) {
    init();
    let pipeline = gst::Pipeline::new();
    let element = gst::ElementFactory::make("cnndenoise").build().unwrap();
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
fn bad_models_and_devices_end_in_errors() {
    let (error, text) = start_error(&[("model-file", "/nowhere/net.safetensors")]);
    assert!(error.matches(gst::ResourceError::NotFound) && text.contains("/nowhere/net.safetensors"), "{text}");

    let (error, text) = start_error(&[("model-file", "/")]);
    assert!(error.matches(gst::ResourceError::Read) && text.contains("regular file"), "{text}");

    let file = Temporary::new("corrupt.safetensors");
    std::fs::write(&file.0, b"this is no model at all").unwrap();
    let (error, text) = start_error(&[("model-file", file.0.to_str().unwrap())]);
    assert!(error.matches(gst::ResourceError::Settings) && text.contains("header"), "{text}");

    for device in ["cuda:63", "gpu", ""] {
        let (error, text) = start_error(&[("device", device)]);
        assert!(error.matches(gst::ResourceError::Settings) && text.contains(device), "{text}");
    }
}

#[test]
fn a_model_for_other_planes_is_refused_with_a_reason() {
    let rgb = info(VideoFormat::Rgb, 32, 32);
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/denoise-rgb-fast.safetensors");
    let mut h = harness(&format!("cnndenoise model-file={model}"), &rgb);
    assert!(h.push_and_pull(buffer(bytes(&rgb, 5.0, 12), 0)).is_ok());

    init();
    let description = format!("videotestsrc ! video/x-raw,format=I420 ! cnndenoise model-file={model} ! fakesink");
    let pipeline = gst::parse::launch(&description).unwrap().downcast::<gst::Pipeline>().unwrap();
    let _ = pipeline.set_state(gst::State::Playing);
    let text = error_of(&pipeline).to_string();
    assert!(text.contains("planes"), "{text}");
}

#[test]
fn names_and_flags_are_as_documented() {
    init();
    // An element that exists under its documented name and class.
    let factory = gst::ElementFactory::find("cnndenoise").unwrap();
    assert_eq!(factory.metadata("klass"), Some("Filter/Effect/Video"));
    let element = factory.create().build().unwrap();
    assert_eq!(element.type_().name(), "GstCnnDenoise");
    for name in ["strength", "noise-level", "temporal", "foreground-strength", "background-strength"] {
        let flags = element.find_property(name).unwrap().flags();
        assert!(flags.contains(gst::PARAM_FLAG_CONTROLLABLE), "{name} is controllable");
    }
}
