// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sessions of a page: pictures, settings, and failures of the pipeline.

use std::{fs, path::Path, time::Duration};

use serde_json::json;

use crate::common::{self, Running, make_clip, socket::Message};

#[test]
fn a_file_opens_plays_steps_and_seeks() {
    let studio = Running::start();
    make_clip(Path::new(&studio.file("clip.mkv")), 40);
    let mut page = studio.page().unwrap();
    page.set_cards(&json!([{"id": 1, "element": "cnndenoise"}]), 7);
    page.open_file(&studio.file("clip.mkv"));
    let video = page.event("opened")["video"].clone();
    assert_eq!((&video["width"], &video["height"]), (&json!(192), &json!(128)));
    assert_eq!(video["rate"], json!([25, 1]));
    let first = page.lossless();
    assert_eq!((&first.header["seconds"], &first.header["revision"]), (&json!(0.0), &json!(7)));
    assert!(first.before.starts_with(b"\x89PNG") && first.after.starts_with(b"\x89PNG"));

    let time = |picture: &common::socket::Picture| picture.header["seconds"].as_f64().unwrap();
    page.send(&json!({"type": "step", "frames": 1}));
    assert_eq!(time(&page.lossless()), 0.04);
    page.send(&json!({"type": "step", "frames": -1}));
    assert_eq!(time(&page.lossless()), 0.0);
    page.send(&json!({"type": "seek", "seconds": 1.0}));
    let sought = page.lossless();
    assert_eq!(time(&sought), 1.0);
    assert_ne!(sought.after, first.after);
    page.send(&json!({"type": "play"}));
    let played = page.picture(|header| header["lossless"] == false);
    assert!(played.after.starts_with(&[0xff, 0xd8]));
    // At the end it stops on the last frame, without loss.
    assert_eq!(time(&page.lossless()), 39.0 * 0.04);
    page.send(&json!({"type": "seek", "seconds": 500.0}));
    assert_eq!(time(&page.lossless()), 39.0 * 0.04);
    page.send(&json!({"type": "loop", "on": true}));
    page.send(&json!({"type": "play"}));
    page.picture(|header| header["seconds"] == json!(1.2));
    page.picture(|header| header["seconds"] == json!(0.4));
}

#[test]
fn settings_apply_at_once_and_wrong_ones_are_reported() {
    let studio = Running::start();
    let mut page = studio.page().unwrap();
    page.open_test();
    let plain = page.lossless();
    let smooth = |strength: f64| {
        let properties = json!({"strength": strength, "scale": 16});
        json!([{"id": 4, "element": "cnnsmooth", "properties": properties}])
    };
    page.set_cards(&smooth(1.0), 1);
    let smoothed = page.picture(|header| header["revision"] == 1 && header["lossless"] == true);
    assert_ne!(smoothed.pixels(), plain.pixels());
    page.set_cards(&smooth(0.0), 2);
    let quick = page.picture(|header| header["revision"] == 2);
    assert!(quick.before.is_empty(), "the page has the frame before the chain");
    let off = page.picture(|header| header["revision"] == 2 && header["lossless"] == true);
    assert_eq!(off.pixels(), plain.pixels());

    for (properties, expected) in [
        (json!({"strength": 2}), "not between 0 and 1"),
        (json!({"strength": "x"}), "not a value"),
        (json!({"scale": null}), "not a number"),
        (json!({"parent": "x"}), "no such setting"),
        (json!({"quality": "good"}), "not a value"),
        (json!({"model-file": "/etc/passwd"}), "below the folders"),
    ] {
        page.set_cards(&json!([{"id": 4, "element": "cnnsmooth", "properties": properties}]), 3);
        let event = page.event("problem");
        assert_eq!(event["card"], 4, "{event}");
        assert!(event.to_string().contains(expected), "{event}");
    }
    page.set_cards(&json!([{"id": 5, "element": "filesink"}]), 4);
    assert!(page.event("problem").to_string().contains("no card filesink"));
}

#[test]
fn a_page_that_does_not_acknowledge_gets_few_pictures() {
    let studio = Running::start();
    let mut page = studio.page().unwrap();
    page.open_test();
    page.lossless();
    page.send(&json!({"type": "play"}));
    let mut pictures = 0;
    let mut states = 0;
    // The player reports its state twice a second while it plays on.
    while states < 6 {
        match page.next() {
            Message::Picture(_) => pictures += 1,
            Message::Event(event) if event["type"] == "status" => states += 1,
            Message::Event(_) => (),
            Message::Closed => panic!("closed"),
        }
    }
    assert!(pictures <= 2, "{pictures}");
    page.send(&json!({"type": "ack"}));
    let late = page.picture(|_| true);
    assert!(late.header["skipped"].as_u64().unwrap() > 0, "{:?}", late.header);
}

#[test]
fn files_that_are_no_videos_are_explained() {
    let studio = Running::start();
    let mut page = studio.page().unwrap();
    fs::write(studio.file("text.mp4"), "no video".repeat(100)).unwrap();
    fs::write(studio.file("empty.mp4"), "").unwrap();
    for name in ["text.mp4", "empty.mp4"] {
        page.open_file(&studio.file(name));
        let event = page.event("problem");
        assert!(
            event["problem"]["advice"].as_str().is_some_and(|text| !text.is_empty()),
            "{event}"
        );
    }
    page.open_test();
    page.lossless();
}

#[test]
fn a_card_that_fails_is_left_out() {
    let studio = Running::with(|options| options.more_elements.push("identity".to_owned()));
    let mut page = studio.page().unwrap();
    page.open_test();
    page.lossless();
    // Without a key the element does not start; the other one goes on.
    let cards = json!([
        {"id": 1, "element": "watermarkembed"},
        {"id": 2, "element": "cnnsmooth"},
    ]);
    page.set_cards(&cards, 1);
    assert_eq!(page.event("problem")["card"], 1);
    page.picture(|header| header["revision"] == 1);
    let cards = json!([{"id": 3, "element": "identity", "properties": {"error-after": 5}}]);
    page.set_cards(&cards, 2);
    page.send(&json!({"type": "play"}));
    assert_eq!(page.event("problem")["card"], 3);
    page.picture(|header| header["revision"] == 2 && header["seconds"].as_f64() > Some(0.4));
}

#[test]
fn a_blocked_pipeline_is_started_again() {
    let studio = Running::with(|options| {
        options.more_elements.push("identity".to_owned());
        options.patience = Duration::from_secs(1);
    });
    let mut page = studio.page().unwrap();
    page.open_test();
    page.lossless();
    let cards =
        json!([{"id": 1, "element": "identity", "properties": {"sleep-time": 4_000_000_000u32}}]);
    page.set_cards(&cards, 1);
    page.event("restarted");
    page.picture(|header| header["revision"] == 1);
    page.send(&json!({"type": "step", "frames": 1}));
    page.picture(|header| header["seconds"] == json!(0.04));
}

#[test]
fn quality_is_measured_against_the_input_or_a_file() {
    let studio = Running::start();
    make_clip(Path::new(&studio.file("clip.mkv")), 10);
    let mut page = studio.page().unwrap();
    page.open_file(&studio.file("clip.mkv"));
    page.lossless();
    page.send(&json!({"type": "quality", "on": true}));
    // Equal pictures have an infinite PSNR, which JSON does not have.
    let equal = page.event("quality");
    assert_eq!((&equal["values"]["psnr"], &equal["values"]["ssim"]), (&json!(null), &json!(1.0)));
    let bars = equal["histograms"][0].as_array().unwrap();
    let sum: f64 = bars.iter().map(|bar| bar.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    let cards = json!([{"id": 1, "element": "cnnsmooth", "properties": {"scale": 30}}]);
    page.set_cards(&cards, 1);
    let mut measured = page.event("quality");
    while measured["values"]["psnr"].is_null() {
        measured = page.event("quality");
    }
    page.set_cards(&json!([]), 2);
    page.picture(|header| header["revision"] == 2 && header["lossless"] == true);
    let reference = studio.file("clip.mkv");
    page.send(&json!({"type": "quality", "on": true, "reference": reference}));
    page.send(&json!({"type": "seek", "seconds": 0.2}));
    let mut against_file = page.event("quality");
    while against_file["seconds"] != 0.2 {
        against_file = page.event("quality");
    }
    assert_eq!(against_file["values"]["ssim"], 1.0, "{against_file}");
    page.send(&json!({"type": "quality", "on": true, "reference": "/etc/passwd"}));
    assert!(page.event("problem").to_string().contains("below the folders"));
}

#[test]
fn a_watermark_is_found_with_its_evidence() {
    let studio = Running::start();
    fs::write(studio.file("my.key"), (1..33).collect::<Vec<u8>>()).unwrap();
    let mut page = studio.page().unwrap();
    let source = json!({"kind": "test", "pattern": "snow", "width": 640, "height": 360});
    page.send(&json!({"type": "open", "source": source}));
    let key = studio.file("my.key");
    let embed = json!({"key-file": key, "payload": "0123456789abcdef"});
    let detect = json!({"key-file": key, "post-all": true, "search": "none"});
    let cards = json!([
        {"id": 1, "element": "watermarkembed", "properties": embed},
        {"id": 2, "element": "watermarkdetect", "properties": detect},
    ]);
    page.set_cards(&cards, 1);
    page.lossless();
    page.send(&json!({"type": "play"}));
    loop {
        let event = page.event("message");
        if event["name"] == "watermark" && event["fields"]["present"] == true {
            assert_eq!(event["card"], 2);
            assert_eq!(event["fields"]["payload"], "0123456789abcdef");
            assert!(event["fields"]["log10-p"].as_f64() < Some(-9.0), "{event}");
            break;
        }
    }
}

#[test]
fn any_order_of_commands_leaves_a_working_session() {
    let studio = Running::start();
    make_clip(Path::new(&studio.file("clip.mkv")), 30);
    let mut page = studio.page().unwrap();
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let file = json!({"kind": "file", "path": studio.file("clip.mkv")});
    let test = json!({"kind": "test", "pattern": "ball", "width": 64, "height": 48});
    for revision in 0..400 {
        let cards = json!([
            {"id": 1, "element": "cnnsegment", "on": random(2) == 0,
                "properties": {"seeds": "fg:30,30"}},
            {"id": 2, "element": "cnndenoise", "on": random(3) > 0,
                "properties": {"strength": random(20) as f64 / 10.0, "lookahead": random(2) * 2}},
            {"id": 3, "element": "cnnsmooth", "on": random(3) == 0, "properties": {}},
        ]);
        let command = match random(20) {
            0 => json!({"type": "open", "source": file}),
            1 => json!({"type": "open", "source": test}),
            2..5 => json!({"type": "play"}),
            5 => json!({"type": "pause"}),
            6..10 => json!({"type": "seek", "seconds": random(16) as f64 / 10.0}),
            10 | 11 => json!({"type": "step", "frames": 1}),
            12 | 13 => json!({"type": "step", "frames": -1}),
            14 => json!({"type": "loop", "on": random(2) == 0}),
            15 => json!({"type": "quality", "on": random(2) == 0}),
            16 => json!({"type": "regions", "on": random(2) == 0}),
            _ => json!({"type": "chain", "cards": cards, "revision": revision}),
        };
        page.send(&command);
        if random(4) == 0 {
            page.send(&json!({"type": "ack"}));
            std::thread::sleep(Duration::from_millis(random(30)));
        }
    }
    page.send(&json!({"type": "ack"}));
    page.send(&json!({"type": "loop", "on": false}));
    page.set_cards(&json!([]), 1000);
    page.open_file(&studio.file("clip.mkv"));
    page.picture(|header| header["revision"] == 1000 && header["lossless"] == true);
    page.send(&json!({"type": "seek", "seconds": 0.4}));
    page.picture(|header| header["seconds"] == 0.4);
}
