// SPDX-License-Identifier: MIT OR Apache-2.0

//! Manual pages and completions of shells, from the definition of the command line.

use std::{fs, path::Path, process::ExitCode};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    args::Arguments,
    error::{Result, failed},
    output::print_line,
};

/// Prints the completions for a shell.
///
/// # Errors
/// The standard output is closed or full.
pub(crate) fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "cnnvideo", &mut script);
    print_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page of the program and one of each subcommand into a folder.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn pages(folder: &Path) -> Result<ExitCode> {
    let shown = folder.display();
    fs::create_dir_all(folder).map_err(|err| failed!("cannot create {shown}: {err}"))?;
    clap_mangen::generate_to(Arguments::command().disable_help_subcommand(true), folder)
        .map_err(|err| failed!("cannot write to {shown}: {err}"))?;
    Ok(ExitCode::SUCCESS)
}
