// SPDX-License-Identifier: MIT OR Apache-2.0

//! The exported pipeline gives the pixels that the page has shown.

use std::{path::Path, process::Command};

use gst::prelude::*;
use serde_json::{Value, json};

use crate::common::{Running, make_clip, run};

/// Returns the words of a shell line, as the shell reads them.
fn words(line: &str) -> Vec<String> {
    let script = format!("for word in {line}; do printf '%s\\0' \"$word\"; done");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Returns the RGB values of the frames of a file.
fn frames(path: &str) -> Vec<Vec<u8>> {
    let text = "filesrc name=source ! decodebin ! videoconvert ! video/x-raw,format=RGB ! \
                appsink name=sink sync=false";
    let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("source").unwrap().set_property("location", path);
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let pull = || sink.pull_sample().ok()?.buffer()?.map_readable().ok().map(|map| map.to_vec());
    let frames = std::iter::from_fn(pull).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    frames
}

/// Writes a lossless clip of 8 frames.
fn make_deep_clip(path: &str, format: &str) {
    let text = format!(
        "videotestsrc num-buffers=8 pattern=ball ! video/x-raw,format={format},width=192,\
         height=128,framerate=25/1 ! avenc_ffv1 ! matroskamux ! filesink location={path}"
    );
    run(&gst::parse::launch(&text).unwrap().downcast().unwrap());
}

fn compare(name: &str, cards: &Value) -> Value {
    compare_in("I420", name, cards)
}

fn compare_in(format: &str, name: &str, cards: &Value) -> Value {
    let studio = Running::start();
    let clip = studio.file(name);
    match format {
        "I420" => make_clip(Path::new(&clip), 8),
        _ => make_deep_clip(&clip, format),
    }
    let mut page = studio.page().unwrap();
    page.set_cards(cards, 1);
    page.open_file(&clip);
    let format = page.event("opened")["video"]["format"].clone();
    let mut shown = vec![page.lossless().pixels()];
    for _ in 1..8 {
        page.send(&json!({"type": "step", "frames": 1}));
        shown.push(page.lossless().pixels());
    }
    let request = json!({
        "source": {"kind": "file", "path": clip}, "format": format, "cards": cards,
        "codec": "ffv1", "output": studio.file("out put's.mkv"),
    });
    let answer = studio.request("POST", "/api/export", &[], &request.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let lines: Value = serde_json::from_str(&answer.body).unwrap();
    let words = words(lines["gstreamer"].as_str().unwrap());
    assert_eq!(words[0], "gst-launch-1.0");
    let words: Vec<_> = words[1..].iter().map(String::as_str).collect();
    let pipeline = gst::parse::launchv(&words).unwrap().downcast::<gst::Pipeline>().unwrap();
    run(&pipeline);
    let written = frames(&studio.file("out put's.mkv"));
    assert_eq!(written.len(), 8);
    for (index, (written, shown)) in written.iter().zip(&shown).enumerate() {
        assert!(written == shown, "frame {index} differs");
    }
    lines
}

#[test]
fn a_denoiser() {
    let cards =
        json!([{"element": "cnndenoise", "properties": {"strength": 0.7, "noise-level": 9}}]);
    let lines = compare("it's a clip.mkv", &cards);
    let command = lines["command"].as_str().unwrap();
    assert!(command.starts_with("cnnvideo denoise "), "{command}");
    for option in ["--set strength=0.7", "--set lookahead=0", "--codec ffv1"] {
        assert!(command.contains(option), "{command}");
    }
}

#[test]
fn regions_with_another_strength() {
    let cards = json!([
        {"id": 1, "element": "cnnsegment", "properties": {"seeds": "fg:40,40;bg:1%,99%"}},
        {"id": 2, "element": "cnnsmooth", "properties": {"scale": 12, "foreground-strength": 0}},
    ]);
    let lines = compare("clip.mkv", &cards);
    let command = lines["command"].as_str().unwrap();
    assert!(command.contains("--filter"), "{command}");
    // Chunks would begin with the seeds of the first frame.
    assert!(lines["cluster"].is_null());
}

#[test]
fn video_of_10_bits() {
    let lines = compare_in("I420_10LE", "deep.mkv", &json!([{"element": "cnndenoise"}]));
    assert!(!lines["command"].as_str().unwrap().contains("videoconvert"));
    // This element takes 8 bits only.
    let lines = compare_in("I420_10LE", "deep.mkv", &json!([{"element": "cnnsegment"}]));
    let command = lines["command"].as_str().unwrap();
    assert!(command.contains("'videoconvert ! cnnsegment ! videoconvert'"), "{command}");
}

#[test]
fn a_denoiser_that_looks_ahead() {
    let properties = json!({"lookahead": 3, "quality": "balanced"});
    compare("clip.mkv", &json!([{"element": "cnndenoise", "properties": properties}]));
}

#[test]
fn a_matte_is_white_inside_of_regions() {
    let studio = Running::start();
    make_clip(Path::new(&studio.file("clip.mkv")), 3);
    let seeds = json!({"seeds": "box:70,38,122,90"});
    let request = json!({
        "source": {"kind": "file", "path": studio.file("clip.mkv")}, "format": "I420",
        "cards": [
            {"element": "cnnsegment", "properties": seeds},
            {"element": "cnnsmooth"},
        ],
        "codec": "ffv1", "matte": true, "output": studio.file("matte.mkv"),
    });
    let answer = studio.request("POST", "/api/export", &[], &request.to_string());
    let lines: Value = serde_json::from_str(&answer.body).unwrap();
    let words = words(lines["gstreamer"].as_str().unwrap());
    assert!(!words.contains(&"cnnsmooth".to_owned()), "{words:?}");
    let words: Vec<_> = words[1..].iter().map(String::as_str).collect();
    let pipeline = gst::parse::launchv(&words).unwrap().downcast::<gst::Pipeline>().unwrap();
    run(&pipeline);
    let written = frames(&studio.file("matte.mkv"));
    assert_eq!(written.len(), 3);
    let (mut inside, mut outside) = (0, 0);
    for value in &written[0] {
        match value {
            0..16 => outside += 1,
            240.. => inside += 1,
            _ => panic!("a grey value {value}"),
        }
    }
    assert!(inside > 0 && outside > inside, "{inside} inside, {outside} outside");
}

#[test]
fn a_detector_writes_no_file() {
    let studio = Running::start();
    make_clip(Path::new(&studio.file("clip.mkv")), 1);
    std::fs::write(studio.file("my.key"), [7; 32]).unwrap();
    let properties = json!({"key-file": studio.file("my.key"), "post-all": true});
    let request = json!({
        "source": {"kind": "file", "path": studio.file("clip.mkv")}, "format": "I420",
        "cards": [{"element": "watermarkdetect", "properties": properties}], "codec": "ffv1",
        "output": studio.file("out.mkv"),
    });
    let answer = studio.request("POST", "/api/export", &[], &request.to_string());
    let lines: Value = serde_json::from_str(&answer.body).unwrap();
    let gstreamer = lines["gstreamer"].as_str().unwrap();
    assert!(gstreamer.starts_with("gst-launch-1.0 -m ") && gstreamer.ends_with("! fakesink"));
    let command = lines["command"].as_str().unwrap();
    let expected = format!("watermark detect {} --key-file", studio.file("clip.mkv"));
    assert!(command.contains(&expected), "{command}");
}

#[test]
fn what_cannot_be_exported_is_explained() {
    let studio = Running::start();
    make_clip(Path::new(&studio.file("clip.mkv")), 1);
    let good = json!({
        "source": {"kind": "file", "path": studio.file("clip.mkv")}, "format": "I420",
        "cards": [{"element": "cnndenoise"}], "codec": "ffv1", "output": studio.file("out.mkv"),
    });
    let export = |field: &str, value: Value| {
        let mut request = good.clone();
        request[field] = value;
        studio.request("POST", "/api/export", &[], &request.to_string())
    };
    let card = |element: &str, name: &str, value: Value| {
        let properties = json!({ name: value });
        json!([{"element": element, "properties": properties}])
    };
    std::fs::write(studio.file("a.pt"), "no program").unwrap();
    assert_eq!(export("crf", Value::Null).status, 200);
    for (field, value, expected) in [
        ("cards", json!([]), "no card is on"),
        ("cards", json!([{"element": "cnndenoise", "on": false}]), "no card is on"),
        ("cards", json!([{"element": "filesink"}]), "no card filesink"),
        ("output", json!(studio.file("out.webm")), "needs Matroska"),
        ("output", json!(studio.file("out")), "no container"),
        ("matte", json!(true), "no regions"),
        // Names go into the lines without quotes, so only those of settings pass.
        ("cards", card("cnndeband", "range=24 ! filesink location", json!("x")), "no such setting"),
        ("cards", card("cnndenoise", "model_file", json!("/etc/passwd")), "no such setting"),
        ("cards", card("cnndenoise", "qos", json!(true)), "no such setting"),
        ("cards", card("cnndenoise", "strength", json!(1e9)), "is not between"),
        ("cards", card("cnndenoise", "model-file", json!(studio.file("a.pt"))), "TorchScript"),
    ] {
        let answer = export(field, value);
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.body.contains(expected), "{}", answer.body);
    }
}
