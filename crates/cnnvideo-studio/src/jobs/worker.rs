// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the program for each file of the queue.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Job, Shared, State};

/// Time between looks at whether the program has ended or is to.
const INTERVAL: Duration = Duration::from_millis(100);
/// Time that the program has to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// Longest error text that is kept.
const MAX_ERROR: u64 = 8 * 1024;

/// Works on the queue until it ends.
pub(super) fn work(shared: &Shared) {
    while let Some(job) = shared.next() {
        let (state, message) = run(shared, &job);
        shared.update(job.id, |job| {
            // A job that was cancelled stays so.
            if job.state == State::Running {
                job.state = state;
                job.message = message;
                job.percent = if state == State::Done { Some(100.0) } else { job.percent };
            }
            job.fps = None;
            job.eta_seconds = None;
            job.step = None;
        });
    }
}

/// Runs the program; returns how it ended.
fn run(shared: &Shared, job: &Job) -> (State, Option<String>) {
    let spawned = Command::new(&shared.program)
        .args(&job.arguments)
        .args(["--progress", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(err) => {
            let text = format!("cannot run {}: {err}", shared.program.display());
            return (State::Failed, Some(text));
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (ended, errors) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
                let Ok(line) = line else { break };
                note_progress(shared, job.id, &line);
            }
        });
        let errors = scope.spawn(|| {
            let mut text = Vec::new();
            if let Some(mut pipe) = stderr {
                let _ = pipe.by_ref().take(MAX_ERROR).read_to_end(&mut text);
                // The rest is read, so that the program does not wait for it.
                let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let ended = wait(shared, job.id, &mut child);
        (ended, errors.join().unwrap_or_default())
    });
    match ended {
        Some(true) => (State::Done, None),
        _ if errors.is_empty() => (State::Failed, Some("the program ended early".to_owned())),
        _ => (State::Failed, Some(errors)),
    }
}

/// Notes a line of `--progress json`.
fn note_progress(shared: &Shared, id: u64, line: &str) {
    let Ok(progress) = serde_json::from_str::<Value>(line) else { return };
    if progress["event"] == "progress" {
        shared.update(id, |job| {
            job.percent = progress["percent"].as_f64();
            job.fps = progress["fps"].as_f64();
            job.eta_seconds = progress["eta_seconds"].as_f64();
            job.step = progress["step"].as_str().map(str::to_owned);
        });
    }
}

/// Waits for the end of the program, which is asked to end if the job is cancelled. Returns whether
/// it succeeded.
fn wait(shared: &Shared, id: u64, child: &mut Child) -> Option<bool> {
    let mut asked: Option<Instant> = None;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => (),
            Err(_) => return None,
        }
        match asked {
            None if !shared.is_wanted(id) => {
                ask_to_end(child);
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => {
                let _ = child.kill();
            }
            _ => (),
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Asks the program to end cleanly: it removes its temporary file.
fn ask_to_end(child: &mut Child) {
    #[cfg(unix)]
    {
        let id = rustix::process::Pid::from_child(child);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    #[cfg(not(unix))]
    {
        let _ = child.kill();
    }
}
