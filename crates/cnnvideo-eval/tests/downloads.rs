// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `scripts/downloads`, whose functions keep a downloaded file whole or not at all.

#![cfg(target_os = "linux")]

#[path = "../../../tests/common/temporary.rs"]
mod temporary;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use temporary::Temporary;

/// SHA-256 hash of `whole`.
const HASH: &str = "5d5766cf2d78701614200418ee1450690d9af12c84d52545e4802f001ad53099";

/// Runs a command of bash with the functions of `scripts/downloads`, in `folder`.
fn bash(folder: &Path, command: &str) -> Output {
    let functions = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/downloads");
    let script = format!("set -euo pipefail; . {functions}; {command}");
    Command::new("bash").args(["-c", &script]).current_dir(folder).output().unwrap()
}

#[test]
fn a_cut_file_is_removed_and_reported() {
    let folder = Temporary::new("downloads");
    fs::create_dir_all(&folder.0).unwrap();
    let file = |name: &str| folder.0.join(name);
    fs::write(file("source"), "whol").unwrap();
    fs::write(file("target"), "older").unwrap();
    let keep = format!("keep_intact source {HASH} target");

    let output = bash(&folder.0, &keep);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("target: the download is cut or wrong"), "{text}");
    assert_eq!(fs::read(file("target")).unwrap(), b"older");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "a temporary file remains");
    assert!(!bash(&folder.0, &format!("is_intact target {HASH}")).status.success());
    assert!(!bash(&folder.0, &format!("is_intact absent {HASH}")).status.success());

    fs::write(file("source"), "whole").unwrap();
    assert!(bash(&folder.0, &keep).status.success());
    assert_eq!(fs::read(file("target")).unwrap(), b"whole");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "a temporary file remains");
    assert!(bash(&folder.0, &format!("is_intact target {HASH}")).status.success());
}

#[test]
fn every_download_of_the_scripts_compares_hashes() {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts");
    for entry in fs::read_dir(scripts).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        // Lines that end with a backslash go on.
        for line in text.replace("\\\n", " ").lines().filter(|line| !line.starts_with("    pip ")) {
            let downloads = ["pip download", "pip install", "curl ", "wget "];
            assert!(
                !downloads.iter().any(|word| line.contains(word))
                    || line.contains("--require-hashes"),
                "{}: {line}",
                path.display()
            );
        }
    }
}
