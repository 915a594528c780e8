// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests that the programs report a full disk, name the file and leave no part of it behind.

#![cfg(target_os = "linux")]

#[path = "../../../tests/common/temporary.rs"]
mod temporary;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use temporary::Temporary;

const EVALUATE: &str = env!("CARGO_BIN_EXE_evaluate");
const DEMO: &str = env!("CARGO_BIN_EXE_demo");
const WATERMARK: &str = env!("CARGO_BIN_EXE_watermark");
const BENCHMARK: &str = env!("CARGO_BIN_EXE_benchmark");

/// Returns a file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Returns a new folder with the clip `in.y4m` of two frames and the key file `key`.
fn folder(name: &str) -> Temporary {
    let folder = Temporary::new(name);
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.0.join("key"), [7; 32]).unwrap();
    // Texture, so that no picture of a frame is compressed to less than the limit.
    let texture: Vec<u8> = (0..64 * 48 * 3 / 2u32).map(|i| (i * i % 251) as u8).collect();
    let frame = [&b"FRAME\n"[..], &texture].concat();
    let header = &b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n"[..];
    fs::write(folder.0.join("in.y4m"), [header, &frame, &frame].concat()).unwrap();
    folder
}

/// Runs a program that can write at most 1 KiB to each file: further writes fail, as on a full
/// disk.
fn run_limited(program: &str, arguments: &[&str]) -> Output {
    let limit = "trap '' XFSZ; ulimit -f 2; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limit, "sh", program]).args(arguments).output().unwrap()
}

/// Asserts that a program has ended with status 1 and an error that contains `expected`.
fn assert_fails(output: &Output, expected: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(expected), "{text}");
}

/// Returns the arguments of a small report in `folder`.
fn report<'a>(picture: &'a str, folder: &'a str) -> [&'a str; 7] {
    ["report", "--source", picture, "--element", "identity", "--out", folder]
}

#[test]
fn a_report_is_complete_or_absent() {
    let folder = folder("full-report");
    let out = folder.0.join("report");
    let [picture, out_text] = [&repository("tests/data/quality-clean.png"), &out]
        .map(|path| path.to_str().unwrap().to_owned());
    let arguments = report(&picture, &out_text);
    assert!(Command::new(EVALUATE).args(arguments).output().unwrap().status.success());
    let before = fs::read(out.join("index.html")).unwrap();
    assert!(before.ends_with(b"</html>\n"));

    let output = run_limited(EVALUATE, &arguments);
    assert_fails(&output, out.join("report.json").to_str().unwrap());
    assert!(String::from_utf8_lossy(&output.stdout).contains("ssim"), "the results are lost");
    assert_eq!(fs::read(out.join("index.html")).unwrap(), before);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "a temporary file remains");
}

#[test]
fn videos_and_pictures_are_complete_or_absent() {
    let folder = folder("full-videos");
    let at = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let (input, key, output) = (at("in.y4m"), at("key"), at("out.y4m"));
    let picture = at("picture.png");
    for file in [&output, &picture] {
        fs::write(file, "earlier result").unwrap();
    }
    let embed = ["embed", &input, &output, "--key-file", &key, "--payload", "0123456789abcdef"];
    let photo = repository("tests/data/rocket.jpg");
    let photo = photo.to_str().unwrap();
    let compare = ["compare", &input, &input, &input, "--picture", &picture, "--frame", "0"];
    let cases: [(&str, &[&str], &str); 4] = [
        (DEMO, &["noise", &input, &output], &output),
        (DEMO, &compare, &picture),
        (WATERMARK, &embed, &output),
        (WATERMARK, &["visible", photo, "--picture", &picture], &picture),
    ];
    for (program, arguments, file) in cases {
        assert_fails(&run_limited(program, arguments), file);
        assert_eq!(fs::read(file).unwrap(), b"earlier result", "{arguments:?}");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 4, "{arguments:?}");
    }
}

#[test]
fn results_that_cannot_be_printed_are_an_error() {
    let folder = folder("full-output");
    let input = folder.0.join("in.y4m").to_str().unwrap().to_owned();
    let picture = folder.0.join("picture.png").to_str().unwrap().to_owned();
    let model = repository("models/noise-level.safetensors").to_str().unwrap().to_owned();
    let compare = ["compare", &input, &input, &input, "--picture", &picture, "--frame", "0"];
    let benchmark =
        ["--model", &model, "--width", "64", "--height", "64", "--rounds", "1", "--threads", "1"];
    for (program, arguments) in
        [(DEMO, &compare[..]), (BENCHMARK, &benchmark), (EVALUATE, &["smooth-response"])]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(program);
        let output = command.args(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_fails(&output, "cannot write the standard output");
    }
}
