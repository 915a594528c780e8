// SPDX-License-Identifier: MIT OR Apache-2.0

//! A folder of manifests. The name of a file is the payload and a hash of the manifest, which keeps
//! several manifests with one payload apart.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use cnnvideo::{nn::files::Temporary, watermark::Payload};
use sha2::{Digest, Sha256};

use crate::{
    error::{Result, failed},
    output::write_whole,
};

/// Extension of the files, that of manifests which are stored outside of their assets.
const EXTENSION: &str = "c2pa";
/// Bytes of the hash in names.
const HASH_LEN: usize = 16;

/// A folder of manifests.
pub(super) struct Store<'a>(&'a Path);

impl<'a> Store<'a> {
    /// Opens a folder.
    ///
    /// # Errors
    /// It is not a folder.
    pub(super) fn open(folder: &'a Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(failed!("the store {} is not a folder: create it first", folder.display()));
        }
        Ok(Self(folder))
    }

    /// Checks, before any work, that a manifest can be added.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn check_writable(&self) -> Result<()> {
        Temporary::file(&self.0.join(EXTENSION))
            .map(drop)
            .map_err(|err| failed!("cannot write to the store {}: {err}", self.0.display()))
    }

    /// Returns the files of the manifests with a payload, sorted.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn files(&self, payload: Payload) -> Result<Vec<PathBuf>> {
        let cannot_read = |err| failed!("cannot read the store {}: {err}", self.0.display());
        let start = format!("{payload}-");
        let mut files = Vec::new();
        for entry in fs::read_dir(self.0).map_err(cannot_read)? {
            let path = entry.map_err(cannot_read)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&start) && path.extension().is_some_and(|ext| ext == EXTENSION) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Adds a manifest with a payload. Returns its file.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn add(&self, payload: Payload, manifest: &[u8]) -> Result<PathBuf> {
        let mut name = format!("{payload}-");
        for byte in &Sha256::digest(manifest)[..HASH_LEN] {
            write!(name, "{byte:02x}").expect("a text takes everything");
        }
        let file = self.0.join(name).with_extension(EXTENSION);
        write_whole(&file, |temporary| {
            fs::write(temporary, manifest)
                .map_err(|err| failed!("cannot write {}: {err}", file.display()))
        })?;
        Ok(file)
    }
}
