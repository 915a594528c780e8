// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `cnndenoise quality=auto`. Intervals between frames that are far longer or far shorter
//! than any processing time decide on the preset, so the tests do not depend on speed.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};
use gstcnnvideo::{
    cnndenoise::{DenoiseQualityMessage, QualityReason},
    shared::QualityPreset,
};

use crate::common::{
    init, run_to_end,
    video::{bytes, element, harness, info, to_bytes},
};

const PRESETS: [&str; 3] = ["fast", "balanced", "best"];
/// A distance of frames that no frame takes.
const LONG: gst::ClockTime = gst::ClockTime::from_seconds(100);
/// A distance of frames that every frame exceeds.
const SHORT: gst::ClockTime = gst::ClockTime::from_nseconds(100);

/// Returns the info of small frames at a frame rate.
fn info_at(fps: [i32; 2]) -> VideoInfo {
    init();
    let builder = VideoInfo::builder(VideoFormat::I420, 48, 32);
    builder.fps(gst::Fraction::new(fps[0], fps[1])).build().unwrap()
}

/// A harness whose element has a bus.
struct Stream {
    harness: Harness,
    bus: gst::Bus,
    messages: Vec<DenoiseQualityMessage>,
}

impl Stream {
    fn new(settings: &str, info: &VideoInfo) -> Self {
        let harness = harness(&format!("cnndenoise {settings}"), info);
        let bus = gst::Bus::new();
        harness.element().unwrap().set_bus(Some(&bus));
        Self { harness, bus, messages: Vec::new() }
    }

    /// Denoises a frame with a timestamp, and returns it with the preset that `stats` report.
    fn push(&mut self, frame: &[u8], pts: gst::ClockTime) -> (Vec<u8>, String) {
        let mut buffer = gst::Buffer::from_slice(frame.to_vec());
        buffer.get_mut().unwrap().set_pts(pts);
        let output = self.harness.push_and_pull(buffer).unwrap();
        assert_eq!(output.pts(), Some(pts));
        while let Some(message) = self.bus.pop_filtered(&[gst::MessageType::Element]) {
            let structure = message.structure().unwrap();
            self.messages.push(DenoiseQualityMessage::try_from(structure).unwrap());
        }
        let stats: gst::Structure = element(&self.harness).property("stats");
        (to_bytes(&output), stats.get("quality").unwrap())
    }
}

/// Runs `quality=auto` on noisy frames with these distances, beside all fixed presets. Checks that
/// every frame is that of the preset that the messages and `stats` name, and returns the presets.
fn run(info: &VideoInfo, settings: &str, distances: &[gst::ClockTime]) -> Vec<String> {
    let settings = format!("noise-level=12 {settings}");
    let mut auto = Stream::new(&format!("{settings} quality=auto"), info);
    let mut fixed =
        PRESETS.map(|preset| Stream::new(&format!("{settings} quality={preset}"), info));
    let mut presets = Vec::new();
    let mut pts = gst::ClockTime::ZERO;
    for (number, distance) in distances.iter().enumerate() {
        let frame = bytes(info, 12.0, number as u64);
        let (output, quality) = auto.push(&frame, pts);
        for (name, stream) in PRESETS.into_iter().zip(&mut fixed) {
            let (expected, name_in_stats) = stream.push(&frame, pts);
            assert_eq!(name_in_stats, name);
            assert_eq!(output == expected, name == quality, "frame {number}, {name}");
        }
        let message = auto.messages.last().expect("a message about the first frame");
        assert_eq!(message.quality.name(), quality, "frame {number}");
        let changes = presets.last() != Some(&quality);
        assert_eq!(message.timestamp == Some(pts), changes, "frame {number}");
        presets.push(quality);
        pts += *distance;
    }
    assert!(fixed.iter().all(|stream| stream.messages.is_empty()));
    let expected = presets.chunk_by(|a, b| a == b).count();
    assert_eq!(auto.messages.len(), expected);
    assert_eq!(auto.messages[0].reason, QualityReason::Start);
    let stats: gst::Structure = element(&auto.harness).property("stats");
    assert_eq!(stats.get::<u64>("frames").unwrap(), distances.len() as u64);
    assert_eq!(
        element(&auto.harness).property_value("quality").get::<QualityPreset>().unwrap(),
        QualityPreset::Auto
    );
    presets
}

#[test]
fn a_low_frame_rate_leads_to_the_best_preset() {
    let presets = run(&info_at([1, 1000]), "", &[gst::ClockTime::from_seconds(1000); 44]);
    assert_eq!((presets[0].as_str(), presets[43].as_str()), ("fast", "best"), "{presets:?}");
}

#[test]
fn a_high_frame_rate_keeps_the_fastest_preset() {
    let presets = run(&info_at([1_000_000, 1]), "", &[gst::ClockTime::from_useconds(1); 44]);
    assert_eq!(presets, ["fast"; 44]);
}

#[test]
fn timestamps_decide_without_a_frame_rate() {
    // Enough frames for delays by other programs: a distance counts as a second at most.
    let mut distances = vec![LONG; 120];
    distances.extend([SHORT; 30]);
    let presets = run(&info_at([0, 1]), "temporal=false", &distances);
    assert_eq!((presets[119].as_str(), presets[149].as_str()), ("best", "fast"), "{presets:?}");
}

#[test]
fn late_frames_downstream_lead_to_a_faster_preset() {
    let info = info_at([1, 1000]);
    let mut stream = Stream::new("noise-level=12 quality=auto qos=false", &info);
    let frame = bytes(&info, 12.0, 1);
    let mut push = |count: u64, is_late: bool| {
        for number in 0..count {
            if is_late {
                let qos = gst::event::Qos::new(
                    gst::QOSType::Underflow,
                    2.0,
                    1_000_000,
                    gst::ClockTime::from_seconds(number),
                );
                stream.harness.push_upstream_event(qos);
            }
            stream.push(&frame, gst::ClockTime::from_seconds(1000 * number));
        }
        let last = stream.messages.last().unwrap();
        (last.quality, last.reason)
    };
    assert_eq!(push(44, false), (QualityPreset::Best, QualityReason::Margin));
    assert_eq!(push(4, true), (QualityPreset::Balanced, QualityReason::Late));
    assert_eq!(push(6, true), (QualityPreset::Fast, QualityReason::Late));
}

#[test]
fn frames_without_noise_are_no_reason_for_a_better_preset() {
    let info = info_at([1, 1000]);
    let mut stream = Stream::new("noise-level=0 chroma-noise-level=0 quality=auto", &info);
    let frame = bytes(&info, 12.0, 1);
    for number in 0..60 {
        let (output, quality) = stream.push(&frame, gst::ClockTime::from_seconds(1000 * number));
        assert!(output == frame && quality == "fast");
    }
    assert_eq!(stream.messages.len(), 1);
}

#[test]
fn new_caps_start_again_and_other_formats_work() {
    let mut stream = Stream::new("noise-level=12 quality=auto", &info_at([1, 1000]));
    let mut number = 0;
    for format in [VideoFormat::I420, VideoFormat::Rgb, VideoFormat::I42010le, VideoFormat::Gray8] {
        let base = info(format, 64, 48);
        let info =
            VideoInfo::builder(format, 64, 48).fps(gst::Fraction::new(1, 1000)).build().unwrap();
        assert_eq!(info.size(), base.size());
        stream.harness.set_src_caps(info.to_caps().unwrap());
        let before = stream.messages.len();
        for _ in 0..44 {
            let frame = if format == VideoFormat::I42010le {
                vec![1; info.size()]
            } else {
                bytes(&info, 12.0, number)
            };
            stream.push(&frame, gst::ClockTime::from_seconds(1000 * number));
            number += 1;
        }
        let reasons: Vec<_> = stream.messages[before..].iter().map(|m| m.reason).collect();
        let expected = [QualityReason::Start, QualityReason::Margin, QualityReason::Margin];
        assert_eq!(reasons, expected, "{format:?}");
    }
}

#[test]
fn lookahead_and_interlaced_video_work() {
    let source = "videotestsrc num-buffers=60 pattern=snow ! \
                  video/x-raw,format=I420,width=64,height=48,framerate=1/1000 ! \
                  capssetter caps=video/x-raw,interlace-mode=interleaved";
    let messages =
        run_to_end(&format!("{source} ! cnndenoise quality=auto lookahead=4 ! fakesink")).unwrap();
    let last = messages.last().map(|m| DenoiseQualityMessage::try_from(m.as_ref()).unwrap());
    assert_eq!(last.unwrap().quality, QualityPreset::Best);
}

#[test]
fn a_model_file_takes_the_place_of_the_presets() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/denoise-yuv420-fast.safetensors");
    let info = info_at([1, 1000]);
    let mut stream = Stream::new(&format!("quality=auto model-file={model}"), &info);
    let (_, quality) = stream.push(&bytes(&info, 12.0, 1), gst::ClockTime::ZERO);
    assert_eq!(quality, "model-file");
    assert!(stream.messages.is_empty());
}

#[test]
fn other_elements_take_auto_for_fast() {
    for element in ["cnnsmooth", "cnnsegment seeds=fg:50%,50%"] {
        let source = "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48";
        run_to_end(&format!("{source} ! {element} quality=auto ! fakesink")).unwrap();
    }
}
