// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the elements `watermarkembed` and `watermarkdetect`.

use crate::common::{
    Temporary, init, run_to_end, start_error, tool,
    video::{FORMATS, buffer, components, harness, info, to_bytes},
};
use cnnvideo::quality::psnr;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo, VideoInterlaceMode};
use gstcnnvideo::watermarkdetect::WatermarkMessage;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const PAYLOAD: &str = "fedcba9876543210";

/// Creates a textured frame; alpha and padding are textured too.
fn textured(info: &VideoInfo, number: u64) -> Vec<u8> {
    let stride = info.stride()[0] as usize;
    (0..info.size())
        .map(|i| {
            let (x, y) = ((i % stride) as f32, (i / stride) as f32);
            let shift = 3.0 * number as f32;
            (120.0
                + 40.0 * ((x + shift) * 0.021).sin()
                + 25.0 * (y * 0.13 + x * 0.05).sin() * (x * 0.08).cos()) as u8
        })
        .collect()
}

/// Returns the elements in the bin of a harness, in the order of the description.
fn children(harness: &Harness) -> Vec<gst::Element> {
    let bin = harness.element().unwrap().downcast::<gst::Bin>().unwrap();
    let mut children: Vec<_> = bin.children().into_iter().collect();
    children.reverse();
    children
}

#[test]
fn every_format_carries_a_mark_in_luma_only() {
    for format in FORMATS {
        let info = info(format, 641, 361);
        let embed = format!("watermarkembed key={KEY} payload={PAYLOAD}");
        let mut h = harness(&format!("{embed} ! watermarkdetect key={KEY} search=none"), &info);
        for number in 0..2 {
            let input = textured(&info, number);
            let output = to_bytes(&h.push_and_pull(buffer(input.clone(), number)).unwrap());
            let (before, after) = (components(&info, &input), components(&info, &output));
            let colours = if info.is_rgb() { 3 } else { 1 };
            for (i, (before, after)) in before.iter().zip(&after).enumerate() {
                if i >= colours {
                    assert!(before == after, "{format:?}: component {i} was changed");
                    continue;
                }
                let sum: f64 = before
                    .iter()
                    .zip(after)
                    .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                    .sum();
                let psnr = psnr(sum / before.len() as f64);
                assert!((44.4..48.0).contains(&psnr), "{format:?}: component {i} at {psnr} dB");
            }
        }
        assert!(h.push_event(gst::event::Eos::new()));
        let found: Option<String> = children(&h)[1].property("last-payload");
        assert_eq!(found.as_deref(), Some(PAYLOAD), "{format:?}");
    }
}

/// Runs a pipeline to its end and returns the messages of its detector.
fn messages(description: &str) -> Vec<WatermarkMessage> {
    let structures = run_to_end(description).unwrap();
    structures.iter().filter_map(|s| WatermarkMessage::try_from(s.as_ref()).ok()).collect()
}

fn payloads(messages: &[WatermarkMessage]) -> Vec<Option<String>> {
    messages.iter().map(|m| m.report.payload.map(|p| p.to_string())).collect()
}

const SOURCE: &str = "videotestsrc num-buffers=60 pattern=zone-plate kx2=6 ky2=6 kt=3 ! \
                      video/x-raw,format=I420,width=960,height=540,framerate=25/1";

#[test]
fn a_mark_survives_vp8_and_is_reported_once() {
    let coded = "vp8enc target-bitrate=1500000 deadline=1 cpu-used=8 ! vp8dec";
    let embed = format!("watermarkembed key={KEY} payload={PAYLOAD}");
    let found = messages(&format!(
        "{SOURCE} ! {embed} ! {coded} ! videoscale ! video/x-raw,width=640,height=360 ! \
         watermarkdetect key={KEY} ! fakesink"
    ));
    assert_eq!(payloads(&found), [Some(PAYLOAD.to_owned())]);
    let message = &found[0];
    assert!(message.report.log10_p < -9.0);
    assert_eq!(message.duration, Some(gst::ClockTime::from_mseconds(40)));
    assert_eq!(message.timestamp, message.running_time);
}

#[test]
fn no_payload_is_reported_without_mark_or_with_another_key() {
    for embed in
        ["identity".to_owned(), format!("watermarkembed key={OTHER_KEY} payload={PAYLOAD}")]
    {
        let found = messages(&format!("{SOURCE} ! {embed} ! watermarkdetect key={KEY} ! fakesink"));
        assert_eq!(payloads(&found), [None]);
    }
}

#[test]
fn the_payload_may_change_while_playing() {
    let info = info(VideoFormat::I420, 640, 360);
    let embed = format!("watermarkembed key={KEY} payload={PAYLOAD}");
    let mut h = harness(
        &format!("{embed} ! watermarkdetect key={KEY} search=none window=12 interval=12"),
        &info,
    );
    let children = children(&h);
    let mut found = Vec::new();
    for number in 0..72 {
        if number == 30 {
            children[0].set_property("payload", "no payload");
        }
        if number == 32 {
            children[0].set_property("payload", "00000000000000AB");
        }
        h.push_and_pull(buffer(textured(&info, number), number)).unwrap();
        found.push(children[1].property::<Option<String>>("last-payload"));
    }
    assert!(h.push_event(gst::event::Eos::new()));
    found.push(children[1].property("last-payload"));
    found.dedup();
    assert_eq!(found, [None, Some(PAYLOAD.to_owned()), Some("00000000000000ab".to_owned())]);
}

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
fn missing_or_invalid_properties_are_errors() {
    let wrong = Temporary::new("wrong.key");
    std::fs::write(&wrong.0, b"too short").unwrap();
    let (wrong, payload) = (wrong.0.to_str().unwrap(), format!("payload={PAYLOAD}"));
    let cases = [
        (format!("watermarkembed {payload}"), "key-file"),
        (format!("watermarkembed {payload} key-file=/nowhere/key"), "/nowhere/key"),
        (format!("watermarkembed {payload} key-file={wrong}"), "64 hex digits"),
        (format!("watermarkembed {payload} key=12"), "64 hex digits"),
        (format!("watermarkembed key={KEY}"), "payload"),
        (format!("watermarkembed key={KEY} payload=12"), "16 hex digits"),
        ("watermarkdetect".to_owned(), "key-file"),
        ("watermarkdetect key-file=/nowhere/key".to_owned(), "/nowhere/key"),
    ];
    for (element, reason) in cases {
        let error = start_error(&format!("videotestsrc ! {element} ! fakesink"));
        let text = error.to_string();
        assert!(text.contains(reason), "{element}: {text}");
    }
}

#[test]
fn keys_are_neither_readable_nor_logged() {
    init();
    for name in ["watermarkembed", "watermarkdetect"] {
        let element = gst::ElementFactory::make(name).build().unwrap();
        assert!(
            !element.find_property("key").unwrap().flags().contains(glib::ParamFlags::READABLE)
        );
    }
    let registry = Temporary::new("keys.registry");
    let description = format!(
        "videotestsrc num-buffers=3 ! watermarkembed key={KEY} payload={PAYLOAD} ! \
         watermarkdetect key={KEY} ! fakesink"
    );
    let mut command = tool("gst-launch-1.0", &registry);
    // The parser of gst-launch logs its own input in other categories; the elements must not log
    // the key.
    command
        .env("GST_DEBUG", "watermark*:9,basetransform:9,videofilter:9,bus:9,GST_STATES:9")
        .arg("-v");
    let output = command.args(description.split_whitespace()).output().unwrap();
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(KEY), "the key was logged");
}
