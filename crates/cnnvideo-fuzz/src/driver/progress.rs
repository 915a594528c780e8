// SPDX-License-Identifier: MIT OR Apache-2.0

//! The number of executions of a worker, in a file. The driver reads it there even after a crash of
//! the worker.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

/// File that holds the number of finished executions: the number of the current input.
#[derive(Debug)]
pub(super) struct Progress(File);

impl Progress {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let progress =
            Self(OpenOptions::new().create(true).truncate(true).write(true).read(true).open(path)?);
        progress.set(0)?;
        Ok(progress)
    }

    /// Opens an existing file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().write(true).read(true).open(path)?))
    }

    /// Writes the number of finished executions.
    pub(super) fn set(&self, number: u64) -> io::Result<()> {
        self.0.write_all_at(&number.to_le_bytes(), 0)
    }

    /// Reads the number of finished executions.
    pub(super) fn get(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 0)?;
        Ok(u64::from_le_bytes(bytes))
    }
}
