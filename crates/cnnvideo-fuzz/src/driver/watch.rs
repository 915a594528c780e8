// SPDX-License-Identifier: MIT OR Apache-2.0

//! Starts a worker process and watches it.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{progress::Progress, worker::PANICKED};
use crate::{Target, scratch};

/// Time between two looks at a worker.
const INTERVAL: Duration = Duration::from_millis(20);

/// Limits that one execution must keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time; the first execution, which also starts the elements, may take twice as long.
    pub time: Duration,
    /// Largest resident memory of the process in MiB.
    pub memory: u64,
}

/// What came of a worker.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Number of finished executions: the number of the input that failed, if one did.
    pub(super) executions: u64,
    /// Time of the process.
    pub(super) time: Duration,
    /// What went wrong.
    pub(super) failure: Option<String>,
}

/// Runs a target in a process of its own until it ends, fails or exceeds a limit. `arguments`
/// select the inputs (see `main.rs`).
///
/// # Errors
/// A process that cannot be started, or files that cannot be written.
pub(super) fn run(target: &Target, arguments: &[String], limits: Limits) -> io::Result<Outcome> {
    let name = format!("cnnvideo-fuzz-progress-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let progress = Progress::create(&path)?;
    let mut worker = Command::new(std::env::current_exe()?)
        .arg("worker")
        .arg(target.name)
        .arg(&path)
        .args(arguments)
        // Misuse of GLib or GStreamer is a fault too.
        .env("G_DEBUG", "fatal-criticals")
        .spawn()?;
    let start = Instant::now();
    let failure = watch(&mut worker, &progress, limits);
    let outcome = Outcome { executions: progress.get()?, time: start.elapsed(), failure: failure? };
    scratch::remove(worker.id());
    std::fs::remove_file(&path)?;
    Ok(outcome)
}

/// Waits for the end of a worker, or ends it when it exceeds a limit. Returns what went wrong.
fn watch(worker: &mut Child, progress: &Progress, limits: Limits) -> io::Result<Option<String>> {
    let (mut current, mut since) = (0, Instant::now());
    loop {
        if let Some(status) = worker.try_wait()? {
            return Ok(describe(status));
        }
        let number = progress.get()?;
        if number != current {
            (current, since) = (number, Instant::now());
        }
        let longest = if number == 0 { 2 * limits.time } else { limits.time };
        let exceeded = if since.elapsed() > longest {
            format!("no end after {} s", longest.as_secs_f64())
        } else if let Some(mib) = resident_mib(worker.id()).filter(|mib| *mib > limits.memory) {
            format!("{mib} MiB of memory")
        } else {
            sleep(INTERVAL);
            continue;
        };
        worker.kill()?;
        worker.wait()?;
        return Ok(Some(exceeded));
    }
}

/// Describes the end of a worker that has failed.
fn describe(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(PANICKED), _) => Some("panic".to_owned()),
        (_, Some(signal)) => Some(format!("crash with signal {signal}")),
        _ => Some(status.to_string()),
    }
}

/// Returns the resident memory of a process; `None` where the system does not tell.
fn resident_mib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
