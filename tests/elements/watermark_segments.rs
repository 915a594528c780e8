// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the property `payload-file` of `watermarkembed`.

use crate::common::{
    Temporary, init, start_error,
    video::{buffer, harness, info, to_bytes},
};
use std::ops::Range;

use gst_video::VideoFormat;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Marks frames of grey, and returns them.
fn mark(range: Range<u64>, settings: &str) -> Vec<Vec<u8>> {
    let info = info(VideoFormat::Gray8, 160, 120);
    let mut h = harness(&format!("watermarkembed key={KEY} {settings}"), &info);
    let frame = |number: u64| {
        let sample = |i: usize| (100 + (i * 7 + number as usize * 3) % 53) as u8;
        buffer((0..info.size()).map(sample).collect(), number)
    };
    range.map(|number| to_bytes(&h.push_and_pull(frame(number)).unwrap())).collect()
}

#[test]
fn segments_carry_their_payloads_in_the_whole_and_in_parts() {
    let [a, b, c] = ["0000000000000001", "0000000000000002", "fedcba9876543210"];
    let file = Temporary::new("segments.txt");
    // Frame 30 lies within a hop, so its segment begins with the next one.
    std::fs::write(&file.0, format!("# A and B\n0 {a}\n30 {b}\n\n72 {c}\n")).unwrap();
    let segments = format!("payload-file={}", file.0.display());
    let whole = mark(0..100, &segments);
    for (range, payload) in [(0..48, a), (48..72, b), (72..100, c)] {
        let single =
            mark(range.clone(), &format!("payload={payload} frame-offset={}", range.start));
        let range = range.start as usize..range.end as usize;
        assert!(single == whole[range.clone()], "frames {range:?}");
    }
    for first in [31, 40, 48, 73] {
        let part = mark(first..100, &format!("{segments} frame-offset={first}"));
        assert!(part == whole[first as usize..], "from frame {first}");
    }
    // The file comes before the property.
    assert!(mark(0..48, &format!("{segments} payload={c}")) == whole[..48]);
}

#[test]
fn wrong_payload_files_are_errors_at_the_start() {
    init();
    let file = Temporary::new("wrong-segments.txt");
    let start = |path: &str| {
        start_error(&format!(
            "videotestsrc ! watermarkembed key={KEY} payload-file={path} ! fakesink"
        ))
        .to_string()
    };
    let path = file.0.to_str().unwrap();
    for (content, reason) in [
        ("0 0000000000000001\n24 1\n", "line 2: payload '1': not a payload"),
        ("24 0000000000000001\n", "line 1: the first segment begins at frame 24"),
        ("", "it has no segment"),
    ] {
        std::fs::write(path, content).unwrap();
        let text = start(path);
        assert!(text.contains(reason) && text.contains(path), "{text}");
    }
    assert!(start("/nowhere/segments").contains("Cannot read payload file /nowhere/segments"));
    assert!(start("/dev/zero").contains("device, not a regular file"));
}
