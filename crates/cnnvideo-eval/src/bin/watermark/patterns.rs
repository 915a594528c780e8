// SPDX-License-Identifier: MIT OR Apache-2.0

//! Simulates how many segments of A/B variants it takes to find receivers who mix their copies.

use clap::Args;
use cnnvideo::watermark::{Key, Observed, Patterns};
use rand::{Rng, SeedableRng, rngs::StdRng};

use cnnvideo_eval::{Result, say, say_line};

/// Number of segments to try.
const SEGMENTS: [usize; 12] = [20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960];
/// Share of the trials in which a colluder must be found.
const FOUND: f64 = 0.95;

/// Arguments of the subcommand `patterns`.
#[derive(Args)]
pub(crate) struct Simulation {
    /// Number of receivers.
    #[arg(long, default_value_t = 10_000)]
    receivers: u32,
    /// Number of colluders that the patterns allow for.
    #[arg(long, default_value_t = 3)]
    colluders: u32,
    /// Trials for each number of colluders and segments.
    #[arg(long, default_value_t = 40)]
    trials: u32,
}

/// How the colluders mix their copies.
#[derive(Clone, Copy)]
enum Mix {
    /// The mean of all copies: segments in which they differ cannot be read.
    Mean,
    /// Each segment from one of them at random.
    InTurns,
}

/// Runs the subcommand.
pub(crate) fn run(task: &Simulation) -> Result<()> {
    let header = "| receivers who mix | segments, mean of the copies | segments, in turns |";
    say_line!("{header}\n| --- | --- | --- |")?;
    let mut innocent = 0;
    for count in 1..=task.colluders + 1 {
        say!("| {count}")?;
        for mix in [Mix::Mean, Mix::InTurns] {
            let needed = SEGMENTS.into_iter().find(|segments| {
                let found = (0..task.trials).filter(|trial| {
                    let (found, wrong) = simulate(task, *segments, count, mix, *trial);
                    innocent += wrong;
                    found
                });
                found.count() as f64 >= FOUND * f64::from(task.trials)
            });
            match needed {
                Some(segments) => say!(" | {segments}")?,
                None => say!(" | more than {}", SEGMENTS[SEGMENTS.len() - 1])?,
            }
        }
        say_line!(" |")?;
    }
    say_line!("\ninnocent receivers accused: {innocent}")
}

/// Returns whether a colluder is accused, and the number of innocent receivers who are.
fn simulate(
    task: &Simulation,
    segments: usize,
    colluders: u32,
    mix: Mix,
    trial: u32,
) -> (bool, usize) {
    let key = Key::new([7; 32]);
    let mut rng = StdRng::seed_from_u64(u64::from(trial) << 32 | segments as u64);
    let colluders: Vec<u32> = (0..colluders).map(|_| rng.random_range(0..task.receivers)).collect();
    let patterns = Patterns::new(&key, trial, segments, task.colluders);
    let copies: Vec<_> = colluders.iter().map(|receiver| patterns.of(*receiver)).collect();
    let observed: Vec<_> = (0..segments)
        .map(|segment| match mix {
            Mix::Mean => {
                let mut observed = Observed::Nothing;
                copies.iter().for_each(|copy| observed.add(copy[segment]));
                observed
            }
            Mix::InTurns => Observed::One(copies[rng.random_range(0..copies.len())][segment]),
        })
        .collect();
    let accused = patterns.trace(&observed, task.receivers, 1e-3);
    let guilty = accused.iter().filter(|a| colluders.contains(&a.receiver)).count();
    (guilty > 0, accused.len() - guilty)
}
