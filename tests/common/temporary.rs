// SPDX-License-Identifier: MIT OR Apache-2.0

//! Temporary files of tests.

use std::path::PathBuf;

/// Path of a temporary file or folder that is removed on drop.
pub(crate) struct Temporary(pub(crate) PathBuf);

impl Temporary {
    /// Returns a path that is unique to this process.
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("cnnvideo-{}-{name}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
