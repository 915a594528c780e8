// SPDX-License-Identifier: MIT OR Apache-2.0

//! The queue of files, with a program that stands in for `cnnvideo`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Instant};

use serde_json::{Value, json};

use crate::common::{PATIENCE, Running};

/// Reports half of the work. Then it waits for the end if the output is called slow, fails if it is
/// called bad, and else succeeds.
const PROGRAM: &str = r#"#!/bin/sh
echo '{"event":"progress","percent":50.0,"fps":10.0,"eta_seconds":2.0,"step":"encoding"}'
printf '%s\n' "$*" >> "$0.log"
case "$*" in
*slow*) trap 'touch "$0.ended"; exit 143' TERM; while :; do sleep 0.05; done ;;
*bad*) echo "cnnvideo: the disk is full" >&2; exit 1 ;;
esac
"#;

fn start() -> Running {
    let studio = Running::with(|options| {
        let program = options.folders[0].join("program");
        fs::write(&program, PROGRAM).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        options.program = program;
    });
    fs::write(studio.file("clip.mkv"), "x").unwrap();
    studio
}

fn add(studio: &Running, output: &str) -> u64 {
    let request = json!({
        "source": {"kind": "file", "path": studio.file("clip.mkv")}, "format": "I420",
        "cards": [{"element": "cnndenoise"}], "codec": "h264", "resume": true,
        "output": studio.file(output),
    });
    let answer = studio.request("POST", "/api/jobs", &[], &request.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body.trim().parse().unwrap()
}

/// Waits until a job has a state, and returns it.
fn wait_for(studio: &Running, id: u64, state: &str) -> Value {
    let start = Instant::now();
    loop {
        let jobs: Value = serde_json::from_str(&studio.get("/api/jobs").body).unwrap();
        let job = jobs.as_array().unwrap().iter().find(|job| job["id"] == id).unwrap().clone();
        if job["state"] == state {
            return job;
        }
        assert!(start.elapsed() < PATIENCE, "{job} does not become {state}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn wait_for_file(path: &str) {
    let start = Instant::now();
    while !Path::new(path).exists() {
        assert!(start.elapsed() < PATIENCE, "no {path}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn files_are_worked_on_one_after_the_other() {
    let studio = start();
    let first = add(&studio, "a.mkv");
    let second = add(&studio, "bad.mkv");
    let third = add(&studio, "c.mkv");
    assert_eq!(wait_for(&studio, third, "done")["percent"], 100.0);
    wait_for(&studio, first, "done");
    assert_eq!(wait_for(&studio, second, "failed")["message"], "cnnvideo: the disk is full");
    let log = fs::read_to_string(studio.file("program.log")).unwrap();
    assert_eq!(log.lines().count(), 3);
    let line = log.lines().next().unwrap();
    for part in ["denoise ", "--set lookahead=0", "--codec h264", "--resume", "--progress json"] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn a_file_is_stopped_and_goes_on() {
    let studio = start();
    let slow = add(&studio, "slow.mkv");
    let next = add(&studio, "next.mkv");
    let start = Instant::now();
    while wait_for(&studio, slow, "running")["percent"] != 50.0 {
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!(studio.request("POST", &format!("/api/jobs/{slow}/cancel"), &[], "").status, 200);
    // The program got a signal, so that it can clean up, and the next file begins.
    wait_for(&studio, next, "done");
    wait_for_file(&studio.file("program.ended"));
    wait_for(&studio, slow, "cancelled");
    assert_eq!(studio.request("POST", &format!("/api/jobs/{slow}/again"), &[], "").status, 200);
    wait_for(&studio, slow, "running");
    assert_eq!(studio.request("DELETE", &format!("/api/jobs/{slow}"), &[], "").status, 200);
    assert!(!studio.get("/api/jobs").body.contains("running"));
    assert_eq!(studio.request("DELETE", &format!("/api/jobs/{slow}"), &[], "").status, 400);
}

#[test]
fn the_end_of_the_studio_ends_its_program() {
    let studio = start();
    let slow = add(&studio, "slow.mkv");
    let start = Instant::now();
    while wait_for(&studio, slow, "running")["percent"] != 50.0 {
        assert!(start.elapsed() < PATIENCE);
    }
    let mark = studio.file("program.ended");
    let watcher = std::thread::spawn(move || {
        let start = Instant::now();
        while !Path::new(&mark).exists() && start.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Path::new(&mark).exists()
    });
    // The folder goes with the studio, but only after its program has ended.
    studio.stop();
    assert!(watcher.join().unwrap());
}

#[test]
fn only_files_within_the_folders_are_queued() {
    let studio = start();
    for (source, output) in [
        (json!({"kind": "file", "path": "/etc/passwd"}), studio.file("a.mkv")),
        (json!({"kind": "file", "path": studio.file("clip.mkv")}), "/tmp/a.mkv".to_owned()),
        (
            json!({"kind": "test", "pattern": "ball", "width": 64, "height": 64}),
            studio.file("a.mkv"),
        ),
    ] {
        let request = json!({
            "source": source, "format": "I420", "cards": [{"element": "cnndenoise"}],
            "codec": "h264", "output": output,
        });
        let answer = studio.request("POST", "/api/jobs", &[], &request.to_string());
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    assert_eq!(studio.get("/api/jobs").body, "[]");
}
