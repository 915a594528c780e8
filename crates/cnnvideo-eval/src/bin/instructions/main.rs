// SPDX-License-Identifier: MIT OR Apache-2.0

//! Counts the instructions of the algorithms on short synthetic clips, in Valgrind's callgrind, and
//! compares them with a budget.
//!
//! Counts hardly depend on the machine and on what else runs there, so they show a loss of a few
//! percent that times hide.

mod budget;
mod callgrind;
mod cases;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use cnnvideo_eval::{Result, output::run_program, say_line};

use self::{budget::Budget, cases::Case};

#[derive(Parser)]
#[command(about = "Compares the instructions of the algorithms with a budget")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count and compare with the budget
    Check {
        /// File of the budget
        budget: PathBuf,
    },
    /// Count and write the budget
    Update {
        /// File of the budget
        budget: PathBuf,
    },
    /// Run a case; the other commands do this in callgrind
    Run {
        /// Name of the case
        case: Case,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run_program("instructions", || match arguments.command {
        Command::Check { budget } => check(&budget),
        Command::Update { budget } => count_all()?.write(&budget),
        Command::Run { case } => case.run(),
    })
}

/// Counts the instructions of all cases.
fn count_all() -> Result<Budget> {
    let mut counted = Budget::empty();
    for case in Case::ALL {
        let count = callgrind::count(case)? / cases::MEASURED as u64;
        say_line!("{:<24} {:>8.2} million a frame", case.name(), count as f64 / 1e6)?;
        counted.cases.insert(case.name().to_owned(), count);
    }
    Ok(counted)
}

/// Compares with a budget.
///
/// # Errors
/// A case needs more than its budget.
fn check(path: &std::path::Path) -> Result<()> {
    let budget = Budget::read(path)?;
    let comparison = budget.compare(&count_all()?);
    for line in &comparison.notes {
        say_line!("{line}")?;
    }
    match comparison.failures[..] {
        [] => Ok(()),
        _ => Err(comparison.failures.join("\n").into()),
    }
}
