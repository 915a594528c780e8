// SPDX-License-Identifier: MIT OR Apache-2.0

//! Temporary folder of a process that runs a target.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Returns a folder that only this process uses.
///
/// It remains when the process ends, because a crash cannot remove it; the driver removes it
/// ([`remove`]).
///
/// # Panics
/// If the folder cannot be created.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let process = std::process::id();
        // An earlier process with this number may have left one behind.
        remove(process);
        let folder = of_process(process);
        std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        folder
    })
}

/// Removes the folder of a process.
pub(crate) fn remove(process: u32) {
    // It does not exist if the process needed none.
    let _ = std::fs::remove_dir_all(of_process(process));
}

/// Returns the folder of a process.
fn of_process(process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("cnnvideo-fuzz-{process}"))
}
