// SPDX-License-Identifier: MIT OR Apache-2.0

//! Output files of a training run.

use std::path::Path;

use super::Error;
use cnnvideo::nn::files::write_atomically;

/// Writes a file completely or not at all: `write` gets the path of a temporary file.
///
/// # Errors
/// [`Error::File`] with the error of `write`, or of storing the file.
pub(crate) fn write_file(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Error> {
    write_atomically(path, write).map_err(|err| Error::file(path, err))
}
