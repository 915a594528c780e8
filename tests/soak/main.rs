// SPDX-License-Identifier: MIT OR Apache-2.0

//! Soak test: long runs of all elements with new caps, seeks, property changes and clicks, many
//! state changes, and many instances at once. Memory, objects, threads and files must not pile up.
//!
//! It is the only test of its process, so that nothing else allocates. `make test` runs a short
//! part. `CNNVIDEO_SOAK=full` (`make soak`) runs all of it and prints the figures;
//! `CNNVIDEO_SOAK_P99=1` also fails if the 99th percentile of the time of a frame exceeds three
//! times the median, which holds on a machine that does nothing else.

#[path = "../common/mod.rs"]
mod common;

mod actions;
mod frames;
mod instances;
mod leaks;
mod resources;
mod states;
mod subject;

use subject::{DELAYED, SUBJECTS};

/// Amount of work.
#[derive(Debug, Clone, Copy)]
struct Amount {
    /// Frames of each element in the long run.
    frames: u64,
    /// Times each element starts and stops.
    cycles: u64,
    /// Frames of each of the parallel instances.
    parallel_frames: u64,
    /// Largest growth of the resident memory in the course of a run, in KiB. Short runs have few
    /// measurements, so that the minimum of some of them fluctuates.
    max_growth: u64,
    /// Whether times of frames are checked.
    checks_times: bool,
}

impl Amount {
    /// Returns what the environment asks for.
    fn from_environment() -> Self {
        let full = std::env::var("CNNVIDEO_SOAK").is_ok_and(|amount| amount == "full");
        let checks_times = std::env::var_os("CNNVIDEO_SOAK_P99").is_some();
        if full {
            Self {
                frames: 10_000,
                cycles: 200,
                parallel_frames: 300,
                max_growth: 4096,
                checks_times,
            }
        } else {
            Self { frames: 160, cycles: 5, parallel_frames: 5, max_growth: 16_384, checks_times }
        }
    }
}

#[test]
fn nothing_piles_up_in_long_runs() {
    resources::share_an_arena();
    common::init();
    let amount = Amount::from_environment();
    for subject in &SUBJECTS {
        frames::run(subject, amount);
        states::run(subject, amount);
        instances::run(subject, amount);
        leaks::run(subject);
    }
    states::run(&DELAYED, amount);
    leaks::run(&DELAYED);
}
