// SPDX-License-Identifier: MIT OR Apache-2.0

//! The output file and the standard output.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use cnnvideo::nn::files::{Temporary, is_same_file, write_atomically};

use crate::error::{Failure, Result, failed};

/// The name of the standard input and output.
pub(crate) const STANDARD: &str = "-";

/// Returns whether a path stands for the standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new(STANDARD)
}

/// Checks, before any work, that a file may be written.
///
/// # Errors
/// The file is one of those that are read, it exists and `overwrite` is false, or its folder does
/// not exist.
pub(crate) fn check_output(output: &Path, read: &[&Path], overwrite: bool) -> Result<()> {
    if is_standard(output) {
        return Ok(());
    }
    if let Some(same) = read.iter().find(|path| is_same_file(path, output)) {
        return Err(failed!(
            "{} is the file that is read ({}): choose another name for the output",
            output.display(),
            same.display()
        ));
    }
    match output.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            Err(failed!("{} is a folder: add the name of a file", output.display()))
        }
        Ok(metadata) if metadata.is_file() && !overwrite => Err(failed!(
            "{} exists: add --overwrite to replace it, or choose another name",
            output.display()
        )),
        Ok(_) => Ok(()),
        Err(_) => check_folder(output),
    }
}

/// Checks that the folder of a file exists.
fn check_folder(output: &Path) -> Result<()> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(failed!("{} is not a folder: create it first", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file under a temporary name beside it and renames it at the end.
///
/// # Errors
/// The failure of `write`, or of storing the file.
pub(crate) fn write_whole(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // The failures of `write` name the file themselves.
    let mut writing = false;
    let result = write_atomically(path, |temporary| {
        writing = true;
        write(temporary)?;
        writing = false;
        Ok(())
    });
    result.map_err(|failure| match failure {
        Failure::Failed(reason) if !writing => {
            failed!("cannot store {}: {reason}", path.display())
        }
        other => other,
    })
}

/// Checks, before any work, that a folder may be written.
///
/// # Errors
/// It has no name, it exists and is not an empty folder, or the folder around it does not exist.
pub(crate) fn check_new_folder(folder: &Path) -> Result<()> {
    let shown = folder.display();
    if folder.file_name().is_none() {
        return Err(failed!("{shown} is no name for a new folder: choose another one"));
    }
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(failed!("{shown} is not empty: choose the name of a new folder")),
            None => Ok(()),
        },
        Err(err) if err.kind() == io::ErrorKind::NotFound => check_folder(folder),
        Err(err) => {
            Err(failed!("{shown} cannot be a folder ({err}): choose the name of a new folder"))
        }
    }
}

/// A folder under a temporary name, which is removed unless it gets its final one.
pub(crate) struct NewFolder {
    temporary: Temporary,
    path: PathBuf,
}

impl NewFolder {
    /// Creates the folder beside `path`, its final name, which [`check_new_folder`] accepts.
    ///
    /// # Errors
    /// It cannot be created.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let temporary = Temporary::folder(path)
            .map_err(|err| failed!("cannot create a folder beside {}: {err}", path.display()))?;
        Ok(Self { temporary, path: path.to_owned() })
    }

    /// Returns its temporary path.
    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Writes a file into the folder.
    ///
    /// # Errors
    /// The disk is full, for example.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let write = |path: &Path| {
            let mut file = fs::File::create(path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write(&self.temporary.path().join(name)).map_err(|err| match err.kind() {
            io::ErrorKind::StorageFull => {
                failed!("the disk is full: free some space, or write to another disk")
            }
            _ => failed!("cannot write {}: {err}", self.path.join(name).display()),
        })
    }

    /// Gives the folder its name. An empty folder of this name is replaced.
    ///
    /// # Errors
    /// Something else has the name by now.
    pub(crate) fn finish(self) -> Result<()> {
        // Fails for all but an empty folder, and then the renaming fails as well.
        let _ = fs::remove_dir(&self.path);
        self.temporary
            .rename(&self.path)
            .map_err(|err| failed!("cannot store {}: {err}", self.path.display()))
    }
}

/// Prints a line to the standard output.
///
/// # Errors
/// It is closed or full.
pub(crate) fn print_line(line: impl fmt::Display) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    written.map_err(|err| standard_output_error(&err))
}

/// Returns the failure of a write to the standard output.
pub(crate) fn standard_output_error(err: &io::Error) -> Failure {
    if err.kind() == io::ErrorKind::BrokenPipe {
        Failure::BrokenPipe
    } else {
        failed!("cannot write the standard output: {err}")
    }
}

/// Prints a line to the standard error. Ignores errors: there is no other place to report them.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
