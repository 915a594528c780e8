// SPDX-License-Identifier: MIT OR Apache-2.0

//! Marks of payloads: where they are embedded, what they survive, and what their reading needs.

use cnnvideo::quality::psnr;
use gst::prelude::*;
use gst_video::VideoFormat;

use super::{KEY, PAYLOAD, SOURCE, children, messages, payloads, textured};
use crate::common::video::{FORMATS, buffer, components, harness, info, to_bytes};

const OTHER_KEY: &str = "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

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
fn a_mark_with_a_nonce_needs_it_to_be_read() {
    let found = |embed: &str, detect: &str| {
        let messages = messages(&format!(
            "{SOURCE} ! watermarkembed key={KEY} payload={PAYLOAD} {embed} ! \
             watermarkdetect key={KEY} search=none {detect} ! fakesink"
        ));
        payloads(&messages).into_iter().flatten().any(|payload| payload == PAYLOAD)
    };
    assert!(found("nonce=\"show 7\"", "nonce=\"show 7\""));
    assert!(!found("nonce=\"show 7\"", "nonce=\"show 8\""));
    assert!(!found("nonce=\"show 7\"", "") && !found("", "nonce=\"show 7\""));
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
fn parts_with_a_frame_offset_are_marked_like_the_whole() {
    let info = info(VideoFormat::Gray8, 160, 120);
    let mark = |range: std::ops::Range<u64>, settings: &str| -> Vec<Vec<u8>> {
        let mut h =
            harness(&format!("watermarkembed key={KEY} payload={PAYLOAD} {settings}"), &info);
        let mut frame =
            |number| to_bytes(&h.push_and_pull(buffer(textured(&info, number), number)).unwrap());
        range.map(&mut frame).collect()
    };
    let whole = mark(0..80, "");
    for first in [1, 24, 37] {
        let part = mark(first..80, &format!("frame-offset={first}"));
        assert!(part == whole[first as usize..], "from frame {first}");
    }
    assert!(mark(24..80, "") != whole[24..], "the watermark changes over the frames");
}
