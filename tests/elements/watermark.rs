// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the elements `watermarkembed` and `watermarkdetect`.

use crate::common::{
    Temporary, init, pipeline, run_to_end, start_error, tool,
    video::{FORMATS, buffer, components, harness, info, to_bytes},
};
use std::{
    os::unix::fs::PermissionsExt,
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use cnnvideo::{quality::psnr, watermark::Version};
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
    let [wrong, zeros, fifo] = ["wrong.key", "zeros.key", "fifo.key"].map(Temporary::new);
    std::fs::write(&wrong.0, b"too short").unwrap();
    std::fs::write(&zeros.0, [0; 32]).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    let [wrong, zeros, fifo] = [&wrong, &zeros, &fifo].map(|file| file.0.to_str().unwrap());
    let (payload, zero_key) = (format!("payload={PAYLOAD}"), "0".repeat(64));
    let cases = [
        (format!("watermarkembed {payload}"), "key-file"),
        (format!("watermarkembed {payload} key-file=/nowhere/key"), "/nowhere/key"),
        (format!("watermarkembed {payload} key-file={wrong}"), "64 hex digits"),
        (format!("watermarkembed {payload} key-file={zeros}"), "all bytes of the key are zero"),
        (format!("watermarkembed {payload} key-file={fifo}"), "FIFO, not a regular file"),
        (format!("watermarkembed {payload} key-file=/tmp"), "directory, not a regular file"),
        (format!("watermarkembed {payload} key=12"), "64 hex digits"),
        (format!("watermarkembed {payload} key={zero_key}"), "all bytes of the key are zero"),
        (format!("watermarkembed key={KEY}"), "payload"),
        (format!("watermarkembed key={KEY} payload=12"), "16 hex digits"),
        ("watermarkdetect".to_owned(), "key-file"),
        ("watermarkdetect key-file=/nowhere/key".to_owned(), "/nowhere/key"),
        (format!("watermarkdetect key-file={zeros}"), "all bytes of the key are zero"),
        (format!("watermarkdetect key-file={fifo}"), "FIFO, not a regular file"),
        ("watermarkdetect key-file=/dev/zero".to_owned(), "device, not a regular file"),
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

/// Gives an element a bus of its own and returns it.
fn own_bus(element: &gst::Element) -> gst::Bus {
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    bus
}

/// Returns the warnings and errors on a bus.
fn problems(bus: &gst::Bus) -> Vec<String> {
    let messages = bus.iter_filtered(&[gst::MessageType::Warning, gst::MessageType::Error]);
    messages
        .map(|message| match message.view() {
            gst::MessageView::Warning(warning) => warning.error().to_string(),
            gst::MessageView::Error(error) => error.error().to_string(),
            _ => unreachable!(),
        })
        .collect()
}

#[test]
fn a_wrong_payload_while_playing_is_one_warning_and_changes_nothing() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut h = harness(&format!("watermarkembed key={KEY} payload={PAYLOAD}"), &info);
    let embed = children(&h).remove(0);
    let bus = own_bus(&embed);
    let mut number = 0;
    for wrong in [Some("fedcba987654321g"), Some(""), None] {
        embed.set_property("payload", wrong);
        for _ in 0..3 {
            h.push_and_pull(buffer(textured(&info, number), number)).unwrap();
            number += 1;
        }
        let problems = problems(&bus);
        assert_eq!(problems.len(), 1, "{wrong:?}: {problems:?}");
        assert!(problems[0].contains("16 hex digits"), "{problems:?}");
        assert_eq!(embed.property::<String>("payload"), PAYLOAD);
    }
    embed.set_property("payload", "00000000000000ab");
    assert_eq!(embed.property::<String>("payload"), "00000000000000ab");
    assert!(problems(&bus).is_empty());
}

#[test]
fn a_frame_that_cannot_be_mapped_is_an_error() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut h = harness(&format!("watermarkembed key={KEY} payload={PAYLOAD}"), &info);
    let bus = own_bus(&children(&h)[0]);
    h.push_and_pull(buffer(textured(&info, 0), 0)).unwrap();
    assert_eq!(h.push(buffer(vec![100; 50], 1)), Err(gst::FlowError::Error));
    assert!(h.try_pull().is_none(), "an unmarked frame passed");
    let problems = problems(&bus);
    assert!(problems.len() == 1 && problems[0].contains("Cannot mark a frame"), "{problems:?}");
}

#[test]
fn frames_arrive_cropped() {
    // Upstream would send whole frames with a crop meta to a sink that offers it.
    let info = info(VideoFormat::I420, 64, 48);
    for element in [
        format!("watermarkembed key={KEY} payload={PAYLOAD}"),
        format!("watermarkdetect key={KEY}"),
    ] {
        let mut h = Harness::new_parse(&element);
        h.add_propose_allocation_meta(gst_video::VideoMeta::meta_api(), None);
        h.add_propose_allocation_meta(gst_video::VideoCropMeta::meta_api(), None);
        h.set_src_caps(info.to_caps().unwrap());
        h.push_and_pull(buffer(textured(&info, 0), 0)).unwrap();
        let mut query = gst::query::Allocation::new(Some(&info.to_caps().unwrap()), false);
        assert!(h.srcpad().unwrap().peer_query(&mut query));
        assert!(query.find_allocation_meta::<gst_video::VideoMeta>().is_some(), "{element}");
        assert!(query.find_allocation_meta::<gst_video::VideoCropMeta>().is_none(), "{element}");
    }
}

#[test]
fn frames_that_the_detector_cannot_read_pass_with_one_warning() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut h = harness(&format!("watermarkdetect key={KEY}"), &info);
    let bus = own_bus(&children(&h)[0]);
    for number in 0..3 {
        let mut frame = buffer(textured(&info, number), number);
        gst_video::VideoMeta::add_full(
            frame.get_mut().unwrap(),
            gst_video::VideoFrameFlags::empty(),
            info.format(),
            16,
            16,
            info.offset(),
            info.stride(),
        )
        .unwrap();
        assert!(h.push_and_pull(frame).is_ok());
    }
    assert!(h.push_and_pull(buffer(vec![100; 50], 3)).is_ok());
    let problems = problems(&bus);
    assert!(problems.len() == 1 && problems[0].contains("I420 of 16x16"), "{problems:?}");
}

#[test]
fn a_key_file_that_everyone_can_read_is_a_warning() {
    let key = Temporary::new("open.key");
    std::fs::write(&key.0, [7; 32]).unwrap();
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o666, 1)] {
        std::fs::set_permissions(&key.0, PermissionsExt::from_mode(mode)).unwrap();
        let pipeline = pipeline(&format!(
            "videotestsrc ! watermarkdetect key-file={} ! fakesink",
            key.0.display()
        ));
        pipeline.set_state(gst::State::Paused).unwrap();
        let found = problems(&pipeline.bus().unwrap());
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(found.len(), warnings, "{mode:o}: {found:?}");
        assert!(found.iter().all(|text| text.contains("chmod 600")), "{found:?}");
    }
}

#[test]
fn the_end_of_a_short_stream_reports_that_there_is_no_watermark() {
    for (frames, window, interval) in [(24, 48, 12), (12, 48, 12), (20, 48, 12), (48, 48, 12)] {
        let found = messages(&format!(
            "videotestsrc num-buffers={frames} ! video/x-raw,format=GRAY8,width=160,height=120 ! \
             watermarkdetect key={KEY} window={window} interval={interval} epochs=1 ! fakesink"
        ));
        assert_eq!(payloads(&found), [None], "{frames} frames");
        assert!(found[0].report.frames >= frames.min(window));
    }
}

#[test]
fn frames_of_extreme_shape_pass() {
    for (width, height) in [(32_767, 2), (2, 32_767)] {
        let found = messages(&format!(
            "videotestsrc num-buffers=2 ! video/x-raw,format=GRAY8,width={width},height={height} ! \
             watermarkdetect key={KEY} search=full ! fakesink"
        ));
        assert_eq!(payloads(&found), [None]);
    }
}

/// A playing pipeline whose detector cannot go on: its worker thread is stopped in the handler of
/// its first message, and its streaming thread waits for the worker.
struct Blocked {
    pipeline: gst::Pipeline,
    /// Lets the worker thread go on when it is dropped.
    _release: Sender<()>,
}

impl Blocked {
    fn new() -> Self {
        let pipeline = pipeline(&format!(
            "videotestsrc ! video/x-raw,format=GRAY8,width=64,height=48 ! identity name=source ! \
             watermarkdetect name=detector key={KEY} interval=1 window=1 search=none epochs=1 \
             post-all=true ! fakesink"
        ));
        let (entered, is_entered) = channel();
        let (release, is_released): (Sender<()>, Receiver<()>) = channel();
        let is_released = Mutex::new(is_released);
        pipeline.bus().unwrap().set_sync_handler(move |_, message| {
            if matches!(message.view(), gst::MessageView::Element(_)) {
                let _ = entered.send(());
                // An error means that the sender was dropped.
                let _ = is_released.lock().unwrap().recv();
            }
            gst::BusSyncReply::Drop
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        is_entered.recv_timeout(Duration::from_secs(20)).unwrap();
        // The frames of this time fill the queue many times.
        thread::sleep(Duration::from_millis(300));
        Self { pipeline, _release: release }
    }

    /// Runs a function on another thread. Returns whether it returns although the worker does not
    /// go on.
    fn returns(&self, run: impl FnOnce(gst::Pipeline) + Send + 'static) -> bool {
        let (done, is_done) = channel();
        let pipeline = self.pipeline.clone();
        thread::spawn(move || {
            run(pipeline);
            let _ = done.send(());
        });
        is_done.recv_timeout(Duration::from_secs(10)).is_ok()
    }
}

#[test]
fn stopping_and_flushing_do_not_wait_for_the_detector() {
    let blocked = Blocked::new();
    let flushes = blocked.returns(|pipeline| {
        let pad = pipeline.by_name("source").unwrap().static_pad("src").unwrap();
        pad.push_event(gst::event::FlushStart::new());
        // This event waits for the streaming thread.
        pad.push_event(gst::event::FlushStop::new(true));
    });
    assert!(flushes, "flushing waits for the worker");
    let stops = blocked.returns(|pipeline| {
        pipeline.set_state(gst::State::Null).unwrap();
    });
    assert!(stops, "stopping after a flush waits for the worker");
    drop(blocked);

    let blocked = Blocked::new();
    let stops = blocked.returns(|pipeline| {
        pipeline.set_state(gst::State::Null).unwrap();
    });
    assert!(stops, "stopping waits for the worker");
}

#[test]
fn an_unknown_kernel_set_is_one_warning() {
    let registry = Temporary::new("unknown.registry");
    let description = format!(
        "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48 ! \
         watermarkembed key={KEY} payload={PAYLOAD} ! cnndenoise ! fakesink"
    );
    for (value, warnings) in [("avx9", 1), ("portable", 0), ("", 0)] {
        let mut command = tool("gst-launch-1.0", &registry);
        command.env("CNNVIDEO_KERNELS", value).args(description.split_whitespace());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        assert_eq!(text.matches("CNNVIDEO_KERNELS").count(), warnings, "{value}: {text}");
    }
}

#[test]
fn messages_have_the_version_and_the_described_share() {
    let source = "videotestsrc num-buffers=12 pattern=smpte75 ! \
                  video/x-raw,format=I420,width=960,height=540,framerate=25/1";
    for (security, version) in [("robust", Version::One), ("copy-resistant", Version::Two)] {
        let found = messages(&format!(
            "{source} ! watermarkembed key={KEY} payload={PAYLOAD} security={security} ! \
             watermarkdetect key={KEY} search=none ! fakesink"
        ));
        assert_eq!(payloads(&found), [Some(PAYLOAD.to_owned())], "{security}");
        assert_eq!(found[0].report.version, version);
        assert!(version == Version::Two || found[0].report.described == 0.0);
    }
}

#[test]
fn the_candidates_file_names_issued_payloads() {
    let list = Temporary::new("issued.txt");
    std::fs::write(&list.0, format!("# issued\n{PAYLOAD}\n0000000000000001\n")).unwrap();
    let name = list.0.to_str().unwrap();
    let found = messages(&format!(
        "{SOURCE} ! watermarkembed key={KEY} payload={PAYLOAD} ! \
         watermarkdetect key={KEY} search=none candidates-file={name} ! fakesink"
    ));
    let named: Vec<_> = found[0].report.named.iter().map(ToString::to_string).collect();
    assert_eq!(named, [PAYLOAD]);
    std::fs::write(&list.0, "no payload\n").unwrap();
    for (file, reason) in [
        (name, "line 1: not a payload"),
        ("/nowhere/issued.txt", "/nowhere/issued.txt"),
        ("/tmp", "directory"),
    ] {
        let error = start_error(&format!(
            "videotestsrc ! watermarkdetect key={KEY} candidates-file={file} ! fakesink"
        ));
        assert!(error.to_string().contains(reason), "{file}: {error}");
    }
}
