// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `cnndenoise` in a test harness.

use crate::common::{
    pipeline, start_error,
    video::{FORMATS, buffer, bytes, components, element, harness, info, to_bytes, variance},
};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

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
                // With few samples, the variance does not separate noise from image content.
                if before[c].len() >= 500 {
                    let (b, a) = (variance(&before[c]), variance(&after[c]));
                    assert!(
                        a < 0.35 * b,
                        "{format:?} {width}x{height} component {c}: variance {b:.1} to {a:.1}"
                    );
                }
            }
            if info.has_alpha() {
                assert_eq!(before[3], after[3], "{format:?}: alpha changed");
            }
        }
    }
}

#[test]
fn strength_may_change_between_frames() {
    let info = info(VideoFormat::I420, 64, 48);
    // Temporal denoising would take noise that repeats in each frame for image content.
    let mut h = harness("cnndenoise noise-level=20 temporal=false", &info);
    let element = element(&h);
    let noisy = bytes(&info, 20.0, 3);
    let mut changes = Vec::new();
    for (number, strength) in [0.0f32, 0.5, 1.0, 0.0].into_iter().enumerate() {
        element.set_property("strength", strength);
        let out = to_bytes(&h.push_and_pull(buffer(noisy.clone(), number as u64)).unwrap());
        let change: f64 =
            out.iter().zip(&noisy).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).sum();
        changes.push(change);
    }
    assert_eq!((changes[0], changes[3]), (0.0, 0.0));
    assert!(changes[2] > 0.0 && (changes[1] / changes[2] - 0.5).abs() < 0.1, "{changes:?}");
}

#[test]
fn flushes_gaps_and_eos_pass() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut h = harness("cnndenoise", &info);
    let noisy = bytes(&info, 20.0, 9);
    let first = to_bytes(&h.push_and_pull(buffer(noisy.clone(), 0)).unwrap());
    // Weaker noise in between lowers the estimate; a flush resets it.
    for number in 1..20 {
        h.push_and_pull(buffer(bytes(&info, 2.0, number), number)).unwrap();
    }
    assert!(h.push_event(gst::event::FlushStart::new()));
    assert!(h.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(h.push_event(gst::event::Segment::new(&segment)));
    let again = to_bytes(&h.push_and_pull(buffer(noisy, 0)).unwrap());
    assert_eq!(first, again);
    let gap = gst::event::Gap::builder(gst::ClockTime::from_mseconds(40))
        .duration(gst::ClockTime::from_mseconds(40));
    assert!(h.push_event(gap.build()));
    assert!(h.push_event(gst::event::Eos::new()));
    let mut types = Vec::new();
    while let Some(event) = h.try_pull_event() {
        types.push(event.type_());
    }
    assert!(
        types.contains(&gst::EventType::Gap) && types.last() == Some(&gst::EventType::Eos),
        "{types:?}"
    );
}

#[test]
fn estimated_sigma_is_within_ten_percent_or_1_5() {
    let info = info(VideoFormat::I420, 320, 240);
    for sigma in [3.0, 10.0, 25.0] {
        let mut h = harness("cnndenoise", &info);
        h.push_and_pull(buffer(bytes(&info, sigma, 10), 0)).unwrap();
        let element = element(&h);
        let estimate: f32 = element.property("estimated-noise-level");
        assert!((estimate - sigma).abs() < 1.5f32.max(0.1 * sigma), "{sigma}: {estimate}");
        let stats: gst::Structure = element.property("stats");
        assert_eq!(stats.get::<u64>("frames").unwrap(), 1);
        assert!(stats.get::<f64>("mean-ms").unwrap() > 0.0);
        assert!(!stats.get::<String>("backend").unwrap().is_empty());
    }
}

#[test]
fn each_quality_preset_has_its_network() {
    let info = info(VideoFormat::Nv12, 64, 48);
    let input = bytes(&info, 20.0, 13);
    let [fast, balanced, best] = ["fast", "balanced", "best"].map(|quality| {
        let mut h = harness(&format!("cnndenoise quality={quality}"), &info);
        let output = to_bytes(&h.push_and_pull(buffer(input.clone(), 0)).unwrap());
        let stats: gst::Structure = element(&h).property("stats");
        let backend = stats.get::<String>("backend").unwrap();
        assert!(backend.contains("int8"), "{quality}: {backend}");
        output
    });
    assert!(fast != balanced && balanced != best && best != fast && best != input);
}

#[test]
fn float32_model_with_precision_int8_is_refused() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/smooth-fast-fp32.safetensors");
    let text = start_error(&format!(
        "videotestsrc ! cnnsmooth model-file={model} precision=int8 ! fakesink"
    ))
    .to_string();
    assert!(text.contains("float32"), "{text}");
}

#[test]
fn model_for_other_planes_is_refused_with_a_reason() {
    let rgb = info(VideoFormat::Rgb, 32, 32);
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/denoise-rgb-fast.safetensors");
    let mut h = harness(&format!("cnndenoise model-file={model}"), &rgb);
    assert!(h.push_and_pull(buffer(bytes(&rgb, 5.0, 12), 0)).is_ok());

    let text = start_error(&format!(
        "videotestsrc ! video/x-raw,format=I420 ! cnndenoise model-file={model} ! fakesink"
    ))
    .to_string();
    assert!(text.contains("'denoise-rgb'") && text.contains("'denoise-yuv420'"), "{text}");
}

/// Returns the last frame of eight noisy frames, and `noise-model` after them.
fn denoise_eight(h: &mut gst_check::Harness, info: &VideoInfo) -> (Vec<u8>, gst::Structure) {
    let mut out = Vec::new();
    for number in 0..8 {
        let frame = buffer(bytes(info, 9.0, number), number);
        out = to_bytes(&h.push_and_pull(frame).unwrap());
    }
    (out, element(h).property("noise-model"))
}

#[test]
fn a_noise_model_can_be_read_and_fixed() {
    for format in [VideoFormat::I420, VideoFormat::Y444, VideoFormat::Rgb] {
        let info = info(format, 128, 96);
        let (_, estimated) = denoise_eight(&mut harness("cnndenoise", &info), &info);
        let sigma: f64 = estimated.get("sigma").unwrap();
        assert!((6.0..12.0).contains(&sigma), "{estimated}");
        let mut h = harness("cnndenoise", &info);
        element(&h).set_property("noise-model", &estimated);
        let (fixed, model) = denoise_eight(&mut h, &info);
        assert_eq!(model, estimated);
        // Twice the same, as nothing is estimated.
        let mut h = harness("cnndenoise", &info);
        element(&h).set_property("noise-model", &estimated);
        assert!(denoise_eight(&mut h, &info).0 == fixed);
        // A structure without fields estimates again.
        let mut h = harness("cnndenoise", &info);
        let other: gst::Structure = "noise, sigma=3.0, chroma-sigma=2.0".parse().unwrap();
        element(&h).set_property("noise-model", other);
        assert_ne!(denoise_eight(&mut h, &info).1, estimated);
        element(&h).set_property("noise-model", gst::Structure::new_empty("any"));
        assert_eq!(denoise_eight(&mut h, &info).1, estimated);
    }
}

#[test]
fn an_invalid_noise_model_is_a_warning_and_changes_nothing() {
    let pipeline = pipeline("videotestsrc num-buffers=3 ! cnndenoise name=d ! fakesink");
    let denoise = pipeline.by_name("d").unwrap();
    let valid: gst::Structure = "noise, sigma=5.0, chroma-sigma=2.0".parse().unwrap();
    denoise.set_property("noise-model", valid);
    let before: gst::Structure = denoise.property("noise-model");
    for wrong in ["noise, sigma=5.0", "noise, sigma=900.0, chroma-sigma=1.0"] {
        denoise.set_property("noise-model", wrong.parse::<gst::Structure>().unwrap());
        let message = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Warning]);
        assert!(message.is_some(), "{wrong}");
        assert_eq!(denoise.property::<gst::Structure>("noise-model"), before, "{wrong}");
    }
}

#[test]
fn chroma_noise_level_is_that_of_chroma() {
    for format in [VideoFormat::I420, VideoFormat::Y42b, VideoFormat::Y444] {
        let info = info(format, 128, 96);
        let mut residues = Vec::new();
        for level in [0.0f32, 9.0] {
            let settings = format!("cnndenoise noise-level=0 chroma-noise-level={level}");
            let mut h = harness(&settings, &info);
            let out = to_bytes(&h.push_and_pull(buffer(bytes(&info, 9.0, 1), 0)).unwrap());
            let stats: gst::Structure = element(&h).property("stats");
            assert!((stats.get::<f32>("chroma-noise-level").unwrap() - level).abs() < 1e-3);
            residues.push(variance(&components(&info, &out)[1]));
        }
        assert!(residues[1] < 0.3 * residues[0], "{format:?}: {residues:?}");
    }
}
