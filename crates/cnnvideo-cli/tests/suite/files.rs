// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the program on real files: what must be kept is kept.

use std::fs;

use gst::prelude::*;

use crate::common::{
    self, Folder, decoded, decoded_caps, launch, packets, times, usual_clip, usual_clip_of,
    vfr_clip,
};

#[test]
fn times_and_sound_are_kept() {
    let folder = Folder::new("kept");
    usual_clip(&folder.file("in.mkv"));
    let before = packets(&folder.file("in.mkv"));
    assert_eq!((before["video_0"].len(), before["audio_0"].len()), (24, 49));
    for codec in ["ffv1", "h264", "h265", "vp9", "av1"] {
        let output = format!("{codec}.mkv");
        folder.run(&["denoise", "in.mkv", &output, "--codec", codec]).success();
        let after = packets(&folder.file(&output));
        assert_eq!(times(&after["video_0"]), times(&before["video_0"]), "{codec}");
        assert_eq!(after["audio_0"], before["audio_0"], "{codec}");
    }
    for command in ["smooth", "deband"] {
        let output = format!("{command}.webm");
        folder.run(&[command, "in.mkv", &output, "--crf", "40"]).success();
        let after = packets(&folder.file(&output));
        assert_eq!(times(&after["video_0"]), times(&before["video_0"]), "{command}");
        assert_eq!(after["audio_0"], before["audio_0"], "{command}");
    }

    folder.run(&["denoise", "in.mkv", "out.mp4"]).success();
    let after = packets(&folder.file("out.mp4"));
    // MP4 stores durations in the order of decoding.
    let presented = |packets: &[common::Packet]| -> Vec<_> {
        times(packets).into_iter().map(|(pts, _)| pts).collect()
    };
    assert_eq!(presented(&after["video_0"]), presented(&before["video_0"]));
    // The edit list does not cut off the last frames.
    for frames in 20..=24 {
        let folder = Folder::new("length");
        usual_clip_of(&folder.file("in.mkv"), frames);
        folder.run(&["denoise", "in.mkv", "out.mp4", "--codec", "h264"]).success();
        assert_eq!(decoded(&folder.file("out.mp4")).len() as u64, frames);
    }
    let data =
        |packets: &[common::Packet]| -> Vec<_> { packets.iter().map(|packet| packet.2).collect() };
    assert_eq!(data(&after["audio_0"]), data(&before["audio_0"]));
}

/// Options of x265 for the HDR metadata of [`HDR_CAPS`].
const HDR_OPTIONS: &str = "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)\
     L(10000000,1):max-cll=1000,400";
/// Fields of the caps of HDR video.
const HDR_CAPS: &str = "colorimetry=bt2100-pq,mastering-display-info=(string)\
     35400:14600:8500:39850:6550:2300:15635:16450:10000000:1,\
     content-light-level=(string)1000:400";

/// Fields of caps that must be kept.
const KEPT: [&str; 9] = [
    "format",
    "width",
    "height",
    "pixel-aspect-ratio",
    "colorimetry",
    "interlace-mode",
    "field-order",
    "mastering-display-info",
    "content-light-level",
];

#[test]
fn formats_and_colours_are_kept() {
    let folder = Folder::new("formats");
    let x265 = "x265enc ! h265parse";
    let hdr = format!("x265enc option-string=\"{HDR_OPTIONS}\" ! h265parse");
    let fields = "interlace-mode=interleaved,field-order=bottom-field-first,\
         pixel-aspect-ratio=16/11";
    for (name, format, caps, encoder, output) in [
        ("hdr", "I420_10LE", HDR_CAPS, hdr.as_str(), "out.mp4"),
        ("fields", "I420", fields, "x264enc", "out.mov"),
        ("wide", "Y42B", "colorimetry=bt709,pixel-aspect-ratio=4/3", "x264enc", "out.mkv"),
        ("rich", "Y444_10LE", "colorimetry=bt2020-10", x265, "out.mkv"),
    ] {
        let input = folder.file(&format!("{name}.mp4"));
        launch(&format!(
            "videotestsrc num-buffers=6 ! \
             video/x-raw,format={format},width=96,height=64,framerate=25/1 ! \
             capssetter caps=\"video/x-raw,{caps}\" ! {encoder} ! mp4mux ! filesink location={}",
            input.display()
        ));
        folder.run(&["denoise", &format!("{name}.mp4"), output, "--overwrite"]).success();
        let (before, after) = (decoded_caps(&input), decoded_caps(&folder.file(output)));
        let field = |caps: &gst::Caps, name: &str| {
            caps.structure(0).unwrap().value(name).ok().map(|value| value.serialize().unwrap())
        };
        for name in KEPT {
            assert_eq!(field(&after, name), field(&before, name), "{name} of {output}");
        }
    }
    // Matroska of GStreamer 1.22 cannot keep the order of fields, and VP9 has no place for HDR. A
    // later version that can may do so.
    for (input, codec) in [("fields.mp4", "h264"), ("hdr.mp4", "vp9")] {
        let run = folder.run(&["denoise", input, "refused.mkv", "--codec", codec]);
        if run.0.status.code() == Some(0) {
            fs::remove_file(folder.file("refused.mkv")).unwrap();
        } else {
            run.fails(1, "loses the");
            assert!(!folder.file("refused.mkv").exists());
        }
    }
}

#[test]
fn rotation_is_kept_or_refused() {
    let folder = Folder::new("rotation");
    let input = folder.file("in.mp4");
    launch(&format!(
        "videotestsrc num-buffers=4 ! video/x-raw,format=I420,width=64,height=48 ! x264enc ! \
         mp4mux ! filesink location={}",
        input.display()
    ));
    // As phones write it: the matrix of a rotation by 90 degrees.
    let mut file = fs::read(&input).unwrap();
    let upright = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30].map(i32::to_be_bytes).concat();
    let rotated = [0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30];
    let track = file.windows(4).position(|name| name == b"tkhd").unwrap();
    let matrix = file[track..].windows(36).position(|bytes| bytes == upright).unwrap();
    file[track + matrix..][..36].copy_from_slice(&rotated.map(i32::to_be_bytes).concat());
    fs::write(&input, file).unwrap();

    for output in ["out.mp4", "out.mov"] {
        folder.run(&["denoise", "in.mp4", output]).success();
        let file = fs::read(folder.file(output)).unwrap();
        let matrix = rotated.map(i32::to_be_bytes).concat();
        assert!(file.windows(36).any(|bytes| bytes == matrix), "{output}");
    }
    let run = folder.run(&["denoise", "in.mp4", "out.mkv"]);
    if run.0.status.code() != Some(0) {
        run.fails(1, "loses the rotation");
    }
}

#[test]
fn subtitles_and_chapters_are_kept() {
    let folder = Folder::new("subtitles");
    let text = "1\n00:00:00,100 --> 00:00:00,300\nTom & Jerry < 3\n\n";
    fs::write(folder.file("in.srt"), text).unwrap();
    gst::init().unwrap();
    let description = format!(
        "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=64,height=48 ! x264enc ! \
         matroskamux name=m ! filesink location={} \
         filesrc location={} ! subparse ! text/x-raw,format=utf8 ! m. \
         audiotestsrc num-buffers=20 ! flacenc ! m. audiotestsrc num-buffers=20 ! vorbisenc ! m.",
        folder.file("in.mkv").display(),
        folder.file("in.srt").display()
    );
    let pipeline: gst::Pipeline = gst::parse::launch(&description).unwrap().downcast().unwrap();
    let setter: gst::TocSetter = pipeline.by_name("m").unwrap().dynamic_cast().unwrap();
    let mut toc = gst::Toc::new(gst::TocScope::Global);
    let mut edition = gst::TocEntry::new(gst::TocEntryType::Edition, "1");
    let mut chapter = gst::TocEntry::new(gst::TocEntryType::Chapter, "11");
    chapter.get_mut().unwrap().set_start_stop_times(0, 500_000_000);
    let mut tags = gst::TagList::new();
    tags.get_mut().unwrap().add::<gst::tags::Title>(&"First part", gst::TagMergeMode::Append);
    chapter.get_mut().unwrap().set_tags(tags);
    edition.get_mut().unwrap().append_sub_entry(chapter);
    toc.get_mut().unwrap().append_entry(edition);
    setter.set_toc(Some(&toc));
    common::finish(&pipeline);

    folder.run(&["denoise", "in.mkv", "out.mkv"]).success();
    let (before, after) = (packets(&folder.file("in.mkv")), packets(&folder.file("out.mkv")));
    assert_eq!(before["subtitle_0"].len(), 1);
    assert_eq!(after["subtitle_0"], before["subtitle_0"]);
    assert_eq!(after["audio_1"], before["audio_1"]);
    // The last packet of FLAC gets the duration of the others.
    let content = |packets: &[common::Packet]| -> Vec<_> {
        packets.iter().map(|(pts, _, hash)| (*pts, *hash)).collect()
    };
    assert_eq!(content(&after["audio_0"]), content(&before["audio_0"]));
    let file = fs::read(folder.file("out.mkv")).unwrap();
    for text in ["Tom & Jerry < 3", "First part"] {
        assert!(file.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "{text}");
    }
}

#[test]
fn streams_that_a_container_cannot_hold_are_named() {
    let folder = Folder::new("unsupported");
    usual_clip(&folder.file("opus.mkv"));
    launch(&format!(
        "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=64,height=48 ! x264enc ! \
         matroskamux name=m ! filesink location={} audiotestsrc num-buffers=9 ! vorbisenc ! m.",
        folder.file("in.mkv").display()
    ));
    let run = folder.run(&["denoise", "in.mkv", "out.mp4"]);
    run.fails(1, "cannot hold stream 1 (audio of type audio/x-vorbis)");
    assert!(!folder.file("out.mp4").exists());
    let run = folder.run(&["denoise", "in.mkv", "out.mp4", "--drop-unsupported", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&run.success()).unwrap();
    assert_eq!(report["frames"], 5);
    assert_eq!(report["streams"][1]["action"], "left out");
    assert!(run.errors().contains("left out: stream 1"), "{}", run.errors());
    folder.run(&["denoise", "in.mkv", "out.mp4", "--codec", "ffv1"]).fails(2, "cannot hold ffv1");
}

#[test]
fn settings_reach_the_element() {
    let folder = Folder::new("settings");
    let location = folder.file("in.mkv");
    vfr_clip(
        "video/x-raw,format=I420,width=64,height=48,framerate=0/1",
        4,
        &format!("avenc_ffv1 ! matroskamux name=m ! filesink location={}", location.display()),
    );
    let frames = |name: &str| packets(&folder.file(name))["video_0"].clone();
    let run = |output: &str, arguments: &[&str]| {
        let all = [&["denoise", "in.mkv", output, "--codec", "ffv1"], arguments].concat();
        folder.run(&all).success();
        frames(output)
    };
    let off = run("off.mkv", &["--set", "strength=0"]);
    let on = run("on.mkv", &["--set", "noise-level=20", "--threads", "1"]);
    assert_ne!(off, on);
    assert_eq!(on, run("filter.mkv", &["--filter", "cnndenoise noise-level=20"]));
    for (setting, expected) in [("strength=9", "from 0 to 2"), ("power=1", "no property power")] {
        folder.run(&["denoise", "in.mkv", "x.mkv", "--set", setting]).fails(2, expected);
    }
    folder.run(&["denoise", "in.mkv", "x.mkv", "--filter", "fakesink"]).fails(2, "--filter");
    let deep = ["denoise", "in.mkv", "deep.mkv", "--codec", "ffv1", "--depth", "10", "--json"];
    let report: serde_json::Value = serde_json::from_str(&folder.run(&deep).success()).unwrap();
    assert_eq!(report["depth"], 10);
    assert!(report["stats"]["noise-model"]["sigma"].is_f64(), "{report}");
    folder
        .run(&["denoise", "in.mkv", "x.mkv", "--filter", "identity", "--depth", "10"])
        .fails(1, "leave out --depth");
}

#[test]
fn progress_is_printed_as_json() {
    let folder = Folder::new("progress");
    usual_clip(&folder.file("in.mkv"));
    let run = folder.run(&["denoise", "in.mkv", "out.mkv", "--progress", "json", "--json"]);
    let text = run.success();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["frames"]), (&"done".into(), &24.into()));
    assert!(lines[..lines.len() - 1].iter().all(|line| line["event"] == "progress"));
}

#[cfg(target_os = "linux")]
#[test]
fn names_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new("names");
    usual_clip(&folder.file("in.mkv"));
    for name in [&b"it's \"a\" film ! $x.mkv"[..], b"\xff\xfe.mkv", b" =\n.mkv"] {
        let name = std::ffi::OsStr::from_bytes(name);
        fs::copy(folder.file("in.mkv"), folder.file("x").with_file_name(name)).unwrap();
        let mut output = std::ffi::OsString::from("out-");
        output.push(name);
        let denoise = folder.command(&["denoise", "--json"]).args([name, &output]).output();
        common::Run(denoise.unwrap()).success();
        let info = folder.command(&["info", "--json"]).arg(&output).output();
        common::Run(info.unwrap()).success();
    }
}
