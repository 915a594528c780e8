// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the driver: every target runs, and every kind of fault is found and can be reproduced.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

/// Runs the program. Returns its output and what it printed.
fn fuzz(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cnnvideo-fuzz")).args(arguments).output();
    let output = output.expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

/// A temporary folder that is removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("cnnvideo-fuzz-{name}-{}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the name is UTF-8")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_target_runs() {
    let folder = Folder::new("all");
    let (output, text) = fuzz(&[
        "run",
        "--seed=7",
        "--executions=150",
        "--seconds=100",
        "--failures",
        folder.path(),
    ]);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for target in cnnvideo_fuzz::TARGETS {
        let line = text.lines().find(|line| line.starts_with(target.name)).expect("a line each");
        assert!(line.contains(" 150 executions"), "{line}");
    }
    let total = 150 * cnnvideo_fuzz::TARGETS.len();
    assert!(text.contains(&format!(" {total} executions")), "{text}");
}

#[test]
fn faults_are_found_and_reproduced() {
    let folder = Folder::new("faults");
    for (target, limit, reason) in [
        ("faulty-panic", 60, "panic"),
        ("faulty-thread", 60, "panic"),
        ("faulty-abort", 60, "crash with signal 6"),
        ("faulty-hang", 5, "no end after"),
    ] {
        let limit = format!("--hang-seconds={limit}");
        let target_argument = format!("--target={target}");
        let failures = format!("--failures={}", folder.path());
        let (output, text) = fuzz(&["run", "--seed=1", &limit, &target_argument, &failures]);
        assert_eq!(output.status.code(), Some(1), "{target}: {text}");
        assert!(text.contains(&format!("FAILED: {reason}")), "{text}");
        let file = text.lines().find_map(|line| line.trim().strip_prefix("input: "));
        let file = file.expect("the file of the input is printed");
        assert!(file.contains(&format!("{target}.seed-1.input-")), "{file}");
        assert!(std::fs::read(file).unwrap().starts_with(b"!"), "{target}: another input");

        let (output, text) = fuzz(&["repro", &limit, file]);
        assert_eq!(output.status.code(), Some(1), "{target}: {text}");
        assert!(text.contains(reason), "{text}");
        std::fs::write(file, b"fine").unwrap();
        let (output, text) = fuzz(&["repro", file]);
        assert!(output.status.success() && text.contains("no failure"), "{text}");
    }
}

#[test]
fn corpora_are_written_for_cargo_fuzz() {
    let folder = Folder::new("corpora");
    assert!(fuzz(&["corpus", folder.path()]).0.status.success());
    for target in cnnvideo_fuzz::TARGETS {
        let inputs = std::fs::read_dir(folder.0.join(target.name)).unwrap().count();
        assert_eq!(inputs, (target.corpus)().len());
    }
}

#[test]
fn wrong_arguments_are_explained() {
    for arguments in [&["run", "--target=nothing"][..], &["run", "--seconds=-1"], &["repro", "x"]] {
        let (output, _) = fuzz(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("target") || error.contains("seconds"), "{error}");
    }
}
