// SPDX-License-Identifier: MIT OR Apache-2.0

//! The process that runs one target.

use std::{
    io, panic,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::progress::Progress;
use crate::{Target, mutate::Mutator};

/// Exit status after a panic.
pub(super) const PANICKED: i32 = 101;

/// Number of panics of all threads. An element catches those of its own code.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// What a worker has to do.
#[derive(Debug)]
pub struct Work {
    /// The target to run.
    pub target: Target,
    /// Where its inputs come from.
    pub inputs: Inputs,
    /// Longest time.
    pub time: Duration,
    /// Most inputs.
    pub executions: u64,
}

/// Where inputs come from.
#[derive(Debug)]
pub enum Inputs {
    /// Mutations with a seed.
    Seed(u64),
    /// One input from a file.
    File(PathBuf),
}

/// Runs a target with one input after the other, and writes the number of the current input to the
/// file `progress`. Ends the process with the status of a panic if there was one on any thread.
///
/// # Errors
/// A file that cannot be read, or a file `progress` that cannot be written.
pub fn run(work: &Work, progress: &Path) -> io::Result<()> {
    count_panics();
    let progress = Progress::open(progress)?;
    let (mutator, executions) = match &work.inputs {
        Inputs::Seed(seed) => (Mutator::new(work.target, *seed), work.executions),
        Inputs::File(file) => (Mutator::of_inputs(work.target, vec![std::fs::read(file)?]), 1),
    };
    let start = Instant::now();
    let mut number = 0;
    while number < executions && start.elapsed() < work.time {
        let input = mutator.input(number);
        let result = panic::catch_unwind(|| (work.target.run)(&input));
        if result.is_err() || PANICS.load(Ordering::Relaxed) > 0 {
            // Without a wait for other threads, which may be blocked.
            std::process::exit(PANICKED);
        }
        number += 1;
        progress.set(number)?;
    }
    Ok(())
}

/// Counts panics in addition to what the current hook does.
fn count_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        PANICS.fetch_add(1, Ordering::Relaxed);
    }));
}
