// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command `cnnvideo`: video files in, video files out.
//!
//! The program is a thin layer over the elements of GStreamer: it plans what happens with each
//! stream of a file (`transcode`), builds one pipeline, and watches it. The elements of this
//! project are linked into the program, so it needs no installed plugin.
//!
//! The module [`y4m`] is public for the fuzz target that reads damaged streams.

mod args;
mod chunks;
mod codec;
mod compare;
mod container;
#[cfg(feature = "c2pa")]
mod credential;
mod error;
mod explain;
mod filter;
mod formats;
mod info;
mod manual;
mod media;
mod output;
mod pipe;
mod progress;
mod run;
mod stop;
mod studio;
mod transcode;
mod variants;
mod watch;
mod watermark;
pub mod y4m;

use std::{process::ExitCode, sync::OnceLock};

use clap::Parser;

use args::{Arguments, Command, FilterArguments, Transform};
use error::{Failure, Result};
use filter::Filter;
use output::note;
use stop::Stop;

/// Exit status of wrong usage, as clap's.
const USAGE: u8 = 2;

/// Runs the program with the arguments of the process and returns its exit status.
pub fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) => end(&failure),
    }
}

/// Reports a failure and returns its exit status. Ends the process by a signal where one has
/// stopped the work.
fn end(failure: &Failure) -> ExitCode {
    match failure {
        Failure::BrokenPipe => stop::end_by_broken_pipe(),
        Failure::Signal(number) => {
            note(format_args!("cnnvideo: {failure}"));
            stop::end_by(*number);
        }
        Failure::Failed(_) => note(format_args!("cnnvideo: {failure}")),
        Failure::Usage(_) => {
            note(format_args!("cnnvideo: {failure}"));
            return ExitCode::from(USAGE);
        }
    }
    ExitCode::FAILURE
}

/// Executes a command.
fn run(command: Command) -> Result<ExitCode> {
    // These need no GStreamer, for example while a package is built.
    match &command {
        Command::Completions { shell } => return manual::completions(*shell),
        Command::Manual { folder } => return manual::pages(folder),
        _ => (),
    }
    let stop = Stop::watch()?;
    init()?;
    match command {
        Command::Completions { .. } | Command::Manual { .. } => (),
        Command::Denoise(transform) => run_filter("denoise", "cnndenoise", &transform, &stop)?,
        Command::Smooth(transform) => run_filter("smooth", "cnnsmooth", &transform, &stop)?,
        Command::Deband(transform) => run_filter("deband", "cnndeband", &transform, &stop)?,
        Command::Plan(arguments) => {
            chunks::plan(&arguments, filter("cnndenoise", &arguments.filter)?, &stop)?;
        }
        Command::Chunk(arguments) => chunks::chunk(&arguments, &stop)?,
        Command::Join(arguments) => chunks::join(&arguments, &stop)?,
        Command::Watermark(command) => return watermark::watermark(&command, &stop),
        Command::Compare(arguments) => compare::compare(&arguments, &stop)?,
        Command::Studio(arguments) => studio::studio(&arguments, &stop)?,
        Command::Info { file, report } => info::info(&file, report.json, &stop)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Initialises GStreamer and registers the elements of this project, once.
fn init() -> Result<()> {
    static DONE: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let result = DONE.get_or_init(|| {
        gst::init().map_err(|err| format!("GStreamer cannot start: {err}"))?;
        gstcnnvideo::plugin_register_static().map_err(|err| err.to_string())
    });
    result.clone().map_err(Failure::Failed)
}

/// Frames in advance that a filter may use where the video comes from a file.
const LOOKAHEAD: &str = "8";

/// Runs an element over a video.
fn run_filter(
    command: &'static str,
    element: &'static str,
    transform: &Transform,
    stop: &Stop,
) -> Result<()> {
    let mut filter = filter(element, &transform.filter)?;
    if let Some(threads) = transform.encoding.threads.filter(|_| !transform.resume) {
        filter.set_default("threads", &threads.to_string());
    }
    let job = transcode::Job {
        command,
        files: &transform.files,
        filter,
        encoding: &transform.encoding,
        progress: transform.progress,
        read: Vec::new(),
        key_frame_interval: None,
    };
    match transform.resume {
        true => chunks::resume(&job, stop),
        false => transcode::transcode(job, stop),
    }
}

/// Returns the filter of the command line: an element with its properties, or other elements.
fn filter(element: &str, arguments: &FilterArguments) -> Result<Filter> {
    let mut filter = match &arguments.filter {
        Some(description) => Filter::description(description)?,
        None => Filter::element(element, &arguments.set)?,
    };
    filter.set_default("lookahead", LOOKAHEAD);
    // Nothing is late where no clock runs, and no frame may be dropped.
    filter.set_default("qos", "false");
    Ok(filter)
}
