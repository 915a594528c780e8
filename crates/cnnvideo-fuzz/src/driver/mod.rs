// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs targets in processes of their own and watches them.

mod progress;
mod watch;
mod worker;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

pub use watch::Limits;
pub use worker::{Inputs, Work, run as run_worker};

use crate::{Target, mutate::Mutator};

/// What a run of all targets consists of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Targets in the order in which they run.
    pub targets: Vec<Target>,
    /// Seed of the inputs.
    pub seed: u64,
    /// Longest time for each target.
    pub time: Duration,
    /// Most inputs of each target.
    pub executions: u64,
    /// Limits of one execution.
    pub limits: Limits,
    /// Folder for inputs that fail.
    pub failures: PathBuf,
}

/// An input that fails.
#[derive(Debug)]
struct Failure {
    /// What happened.
    reason: String,
    /// File with the input.
    file: PathBuf,
}

/// Runs all targets of a plan and prints the number of executions of each one and their sum.
/// Returns whether no input failed.
///
/// # Errors
/// A process that cannot be started, or a file that cannot be written.
pub fn run(plan: &Plan) -> io::Result<bool> {
    let mut failures = Vec::new();
    let mut total = 0;
    println!("seed {}", plan.seed);
    for target in &plan.targets {
        let arguments = [
            format!("--seed={}", plan.seed),
            format!("--seconds={}", plan.time.as_secs_f64()),
            format!("--executions={}", plan.executions),
        ];
        let outcome = watch::run(target, &arguments, plan.limits)?;
        total += outcome.executions;
        println!(
            "{:<14}{:>10} executions {:>8} per second",
            target.name,
            outcome.executions,
            (outcome.executions as f64 / outcome.time.as_secs_f64().max(1e-3)) as u64
        );
        io::stdout().flush()?;
        if let Some(reason) = outcome.failure {
            let file = save(target, plan, outcome.executions)?;
            failures.push(Failure { reason, file });
        }
    }
    println!("{:<14}{total:>10} executions", "total");
    for Failure { reason, file } in &failures {
        println!(
            "FAILED: {reason}\n  input: {file}\n  again: make fuzz-repro FILE={file}",
            file = file.display()
        );
    }
    Ok(failures.is_empty())
}

/// Writes input `number` of a target to the folder for failures and returns its path.
fn save(target: &Target, plan: &Plan, number: u64) -> io::Result<PathBuf> {
    fs::create_dir_all(&plan.failures)?;
    let file = plan.failures.join(format!("{}.seed-{}.input-{number}", target.name, plan.seed));
    fs::write(&file, Mutator::new(*target, plan.seed).input(number))?;
    Ok(file)
}

/// Runs a target once with the input of a file. Prints what happens and returns whether it does not
/// fail.
///
/// # Errors
/// A file that cannot be read, or a process that cannot be started.
pub fn reproduce(target: &Target, file: &Path, limits: Limits) -> io::Result<bool> {
    fs::metadata(file)?;
    let arguments = [format!("--file={}", file.display())];
    let failure = watch::run(target, &arguments, limits)?.failure;
    println!("{}: {}", target.name, failure.as_deref().unwrap_or("no failure"));
    Ok(failure.is_none())
}

/// Writes the corpora of targets to a folder each, as cargo-fuzz expects them.
///
/// # Errors
/// A file that cannot be written.
pub fn write_corpora(targets: &[Target], folder: &Path) -> io::Result<()> {
    for target in targets {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, input) in (target.corpus)().iter().enumerate() {
            fs::write(folder.join(format!("valid-{number}")), input)?;
        }
    }
    Ok(())
}

/// Returns the name of the target that the file of a failure belongs to: the beginning of its name.
pub fn target_of_file(file: &Path) -> Option<Target> {
    crate::target(file.file_name()?.to_str()?.split('.').next()?)
}
