// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties, keys and variables of the environment: values that are errors or warnings.

use std::os::unix::fs::PermissionsExt;

use gst::prelude::*;
use gst_video::VideoFormat;

use super::{KEY, PAYLOAD, children, own_bus, problems, textured};
use crate::common::{
    Temporary, init, pipeline, start_error, tool,
    video::{buffer, harness, info},
};

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
