// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs `watermark variants`, `playlist` and `trace`: A/B variants as HLS streams of GStreamer.

use std::{fs, path::Path};

use gst::prelude::*;
use serde_json::Value;

use crate::common::{self, Folder, launch};

/// Segments of the clip.
const SEGMENTS: usize = 32;

/// Writes a clip with texture and sound, whose last segment is shorter.
fn clip(folder: &Folder) {
    let frames = SEGMENTS * 24 - 9;
    launch(&format!(
        "videotestsrc pattern=snow num-buffers={frames} ! \
         video/x-raw,width=160,height=90,framerate=24/1 ! videoscale method=bilinear ! \
         video/x-raw,format=I420,width=480,height=270 ! \
         x264enc pass=qual quantizer=18 speed-preset=ultrafast ! m. \
         audiotestsrc num-buffers={} samplesperbuffer=2000 ! audio/x-raw,rate=48000,channels=1 ! \
         avenc_aac ! aacparse ! m. mp4mux name=m ! filesink location={}",
        frames,
        folder.file("in.mp4").display()
    ));
}

/// Joins the first `count` segments of a playlist, as the leaker of a copy does.
fn leak(folder: &Folder, playlist: &str, copy: &str, count: usize) {
    let text = fs::read_to_string(folder.file(playlist)).unwrap();
    let base = folder.file(playlist).parent().unwrap().to_owned();
    let segments = text.lines().filter(|line| line.ends_with(".ts")).take(count);
    let bytes: Vec<_> =
        segments.flat_map(|segment| fs::read(base.join(segment)).unwrap()).collect();
    fs::write(folder.file(copy), bytes).unwrap();
}

/// Returns the number of frames that GStreamer's HLS client gets from a playlist.
fn played_frames(playlist: &Path) -> u64 {
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={} ! hlsdemux ! tsdemux ! h264parse ! avdec_h264 ! identity name=i ! \
         fakesink",
        playlist.display()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = count.clone();
    let pad = pipeline.by_name("i").unwrap().static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    common::finish(&pipeline);
    count.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn a_leaked_copy_names_its_receiver() {
    let folder = Folder::new("variants");
    clip(&folder);
    fs::write(folder.file("key"), [0x5a; 32]).unwrap();
    folder.run(&["watermark", "key", "new", "other"]).success();
    let make = ["watermark", "variants", "in.mp4", "out", "--key-file", "key", "--asset", "7"];
    let make = [&make[..], &["--segment", "1", "--json"]].concat();
    let report: Value = serde_json::from_str(&folder.run(&make).success()).unwrap();
    assert_eq!(report["segments"], SEGMENTS);
    let playlist = |receiver: &'static str| {
        let playlist = ["watermark", "playlist", "out", "--key-file", "key", "--receiver"];
        folder.run(&[&playlist[..], &[receiver]].concat())
    };
    playlist("5").success();
    playlist("5").fails(1, "exists");
    playlist("2").success();
    let [a, b] = ["out/receiver-5.m3u8", "out/receiver-2.m3u8"].map(|name| folder.file(name));
    assert_ne!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
    assert_eq!(played_frames(&a), SEGMENTS as u64 * 24 - 9);

    leak(&folder, "out/receiver-5.m3u8", "leak.ts", SEGMENTS);
    let trace = |copy: &'static str, key: &'static str| {
        let trace = ["watermark", "trace", "out", copy, "--receivers", "8", "--key-file", key];
        folder.run(&[&trace[..], &["--false-accusations", "0.02", "--json"]].concat())
    };
    let report: Value = serde_json::from_str(&trace("leak.ts", "key").success()).unwrap();
    let receivers = report["receivers"].as_array().unwrap();
    assert_eq!(receivers.len(), 1, "{report}");
    assert_eq!(receivers[0]["receiver"], 5);
    // A key that the video is not marked with reads nothing. The full search of a window without a
    // mark takes long, so the copy is short.
    leak(&folder, "out/receiver-5.m3u8", "short.ts", 3);
    let run = trace("short.ts", "other");
    assert_eq!(run.0.status.code(), Some(3), "{}", run.errors());
}

#[test]
fn wrong_folders_and_values_are_explained() {
    let folder = Folder::new("variants-errors");
    common::usual_clip(&folder.file("in.mkv"));
    folder.run(&["watermark", "key", "new", "key"]).success();
    let key = ["--key-file", "key"];
    let run = |arguments: &[&str]| folder.run(&[&["watermark"], arguments, &key].concat());
    run(&["playlist", ".", "--receiver", "1"]).fails(1, "variants.json");
    run(&["trace", ".", "in.mkv", "--receivers", "3"]).fails(1, "variants.json");
    fs::write(folder.file("variants.json"), "{}").unwrap();
    run(&["playlist", ".", "--receiver", "1"]).fails(1, "does not describe variants");
    run(&["variants", "none.mkv", "out", "--asset", "1"]).fails(1, "cannot read none.mkv");
    assert!(!folder.file("out").exists());
    for wrong in [
        ["trace", ".", "in.mkv", "--receivers", "0"],
        ["variants", "in.mkv", "out", "--asset=1", "--segment=0"],
    ] {
        let run = run(&wrong);
        assert_eq!(run.0.status.code(), Some(2), "{}", run.errors());
    }
}
