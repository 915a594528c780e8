// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo studio`: starts the server, and opens its page in the browser.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cnnvideo_studio::{Options, Problem, Studio};

use crate::{
    args::StudioArguments,
    error::{Failure, Result, failed},
    output::{note, print_line},
    stop::Stop,
};

/// Programs that open an address in the browser.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// Serves the page until a signal stops the program.
///
/// # Errors
/// The port is taken, or a folder does not exist.
pub(crate) fn studio(arguments: &StudioArguments, stop: &Stop) -> Result<()> {
    let mut options = Options::new(arguments.listen);
    let (folder, file) = folder_of(arguments.path.as_deref())?;
    options.folders = vec![folder];
    options.folders.extend(arguments.allow.iter().cloned());
    options.file = file;
    if let Ok(program) = env::current_exe() {
        options.program = program;
    }
    let studio = Studio::bind(options)?;
    print_line(studio.url())?;
    if !arguments.listen.ip().is_loopback() {
        note(
            "cnnvideo: other machines can reach this studio, and the connection is not encrypted: \
             use it in a network that you trust",
        );
    }
    note("cnnvideo: Ctrl+C ends the studio");
    if !arguments.no_browser {
        open_browser(&studio.url_for_browser());
    }
    studio.serve(|| stop.check().is_err())?;
    Ok(())
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        failed!("{problem}")
    }
}

/// Returns the folder to allow, and the video to open.
fn folder_of(path: Option<&Path>) -> Result<(PathBuf, Option<PathBuf>)> {
    let path = path.unwrap_or(Path::new("."));
    let real =
        path.canonicalize().map_err(|err| failed!("cannot open {}: {err}", path.display()))?;
    match real.parent() {
        Some(parent) if !real.is_dir() => Ok((parent.to_owned(), Some(real.clone()))),
        _ => Ok((real, None)),
    }
}

/// Opens an address in the browser. Without one, the printed address remains.
fn open_browser(url: &str) {
    for program in OPENERS {
        let mut command = Command::new(program);
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = command.spawn() {
            // Waits for the program, which ends soon, so that nothing of it is left.
            std::thread::spawn(move || child.wait());
            return;
        }
    }
    note("cnnvideo: no browser was found: open the address above in one");
}
