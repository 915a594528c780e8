// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make fuzz` and `make fuzz-repro`: runs the fuzz targets on the stable toolchain.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Parser, Subcommand};
use cnnvideo_fuzz::{
    TARGETS, Target,
    driver::{self, Inputs, Limits, Plan, Work},
    target,
};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run targets, one after the other
    Run(RunArguments),
    /// Run a target once with the input of a file
    Repro {
        /// File of a failure. Its name begins with that of the target
        file: PathBuf,
        /// Name of the target, for files with other names
        #[arg(long, value_parser = parse_target)]
        target: Option<Target>,
        #[command(flatten)]
        limits: LimitArguments,
    },
    /// Write the valid inputs of the targets to folders, for cargo-fuzz
    Corpus {
        /// Folder in which a folder for each target is created
        folder: PathBuf,
    },
    /// List the targets
    List,
    /// Run a target in this process (the command `run` calls this)
    #[command(hide = true)]
    Worker {
        #[arg(value_parser = parse_target)]
        target: Target,
        progress: PathBuf,
        /// Run only the input in this file
        #[arg(long)]
        file: Option<PathBuf>,
        #[command(flatten)]
        amount: Amount,
    },
}

/// Seed and number of the inputs.
#[derive(Args)]
struct Amount {
    /// Seed of the inputs; another one at each run if it is left out
    #[arg(long)]
    seed: Option<u64>,
    /// Longest time for each target
    #[arg(long, default_value_t = 10.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Most inputs of each target
    #[arg(long, default_value_t = u64::MAX)]
    executions: u64,
}

#[derive(Args)]
struct RunArguments {
    #[command(flatten)]
    amount: Amount,
    /// Target to run, all if it is left out; may be repeated
    #[arg(long = "target", value_parser = parse_target)]
    targets: Vec<Target>,
    #[command(flatten)]
    limits: LimitArguments,
    /// Folder for inputs that fail
    #[arg(long, default_value = "fuzz/failures")]
    failures: PathBuf,
}

/// Limits of one execution.
#[derive(Args)]
struct LimitArguments {
    /// Longest time of one input in seconds; a longer one counts as a hang
    #[arg(long, default_value_t = 60.0, value_parser = parse_seconds)]
    hang_seconds: f64,
    /// Largest memory of a target in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u64,
}

impl From<LimitArguments> for Limits {
    fn from(LimitArguments { hang_seconds, memory }: LimitArguments) -> Self {
        Self { time: Duration::from_secs_f64(hang_seconds), memory }
    }
}

impl Amount {
    /// Returns the seed, or one from the time of day.
    fn seed(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.seed.unwrap_or_else(now)
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// Parses a time in seconds.
fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    let is_time = seconds > 0.0 && seconds <= 1e6;
    is_time.then_some(seconds).ok_or_else(|| "must be above 0 and at most 1000000".to_owned())
}

/// Parses the name of a target.
fn parse_target(name: &str) -> Result<Target, String> {
    let names = || TARGETS.map(|target| target.name).join(", ");
    target(name).ok_or_else(|| format!("there is no target '{name}'; the targets are {}", names()))
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}

/// Executes a command. Returns whether no input failed.
fn run(command: Command) -> Result<bool, String> {
    match command {
        Command::Run(arguments) => {
            let RunArguments { amount, targets, limits, failures } = arguments;
            let plan = Plan {
                targets: if targets.is_empty() { TARGETS.into() } else { targets },
                seed: amount.seed(),
                time: amount.time(),
                executions: amount.executions,
                limits: limits.into(),
                failures,
            };
            driver::run(&plan).map_err(|err| err.to_string())
        }
        Command::Repro { file, target, limits } => {
            let unknown = || format!("{}: name the target with --target", file.display());
            let target = target.or_else(|| driver::target_of_file(&file)).ok_or_else(unknown)?;
            driver::reproduce(&target, &file, limits.into())
                .map_err(|err| format!("{}: {err}", file.display()))
        }
        Command::Corpus { folder } => driver::write_corpora(&TARGETS, &folder)
            .map(|()| true)
            .map_err(|err| format!("{}: {err}", folder.display())),
        Command::List => {
            for Target { name, about, .. } in TARGETS {
                println!("{name:<14}{about}");
            }
            Ok(true)
        }
        Command::Worker { target, progress, file, amount } => {
            let inputs = file.map_or_else(|| Inputs::Seed(amount.seed()), Inputs::File);
            let (time, executions) = (amount.time(), amount.executions);
            let work = Work { target, inputs, time, executions };
            driver::run_worker(&work, &progress).map_err(|err| err.to_string()).map(|()| true)
        }
    }
}
