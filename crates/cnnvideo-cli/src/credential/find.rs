// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo watermark credential find`: reads the payloads of a video and looks the manifests up.

use std::{path::PathBuf, process::ExitCode};

use gstcnnvideo::watermarkdetect::WatermarkMessage;

use super::{
    arguments::FindArguments,
    context,
    manifest::{Credential, Mark, Validator},
    report,
    signer::read_certificates,
    store::Store,
};
use crate::{
    error::{Failure, Result, failed},
    output::is_standard,
    stop::Stop,
    watermark::{Detector, NOT_FOUND, check_key, key_settings, read_marks},
};

/// A file of the store, and what it holds.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) credential: std::result::Result<Credential, String>,
}

/// A payload of a file, and the manifests that the store has for it.
pub(super) struct Found {
    pub(super) mark: WatermarkMessage,
    pub(super) entries: Vec<Entry>,
}

/// Executes the command. The exit status is 0 if there is a valid manifest, and 3 if there is no
/// payload, or no manifest for any.
///
/// # Errors
/// The file or the store cannot be read, or no manifest is valid.
pub(super) fn find(arguments: &FindArguments, stop: &Stop) -> Result<ExitCode> {
    let FindArguments { file, key_file, trust_anchors, progress, .. } = arguments;
    check_key(key_file)?;
    let store = Store::open(&arguments.store)?;
    let anchors = trust_anchors.as_deref().map(read_certificates).transpose()?;
    let anchors = anchors.as_deref().map(String::from_utf8_lossy);
    let context = context::reading(anchors.as_deref(), stop)?;
    let path = Some(file.as_path()).filter(|file| !is_standard(file));
    let validator = Validator::new(context, path, stop);

    let settings = key_settings(key_file, None)?;
    let detector = Detector { file, settings: &settings, mode: progress.progress };
    let (marks, frames) = read_marks(&detector, arguments.all, stop)?;
    let found = marks.into_iter().map(|mark| look_up(mark, &store, &validator));
    let found = found.collect::<Result<Vec<_>>>()?;
    if progress.report.json {
        report::print_json(file, frames, &found)?;
    } else {
        report::print_text(arguments, &found)?;
    }
    status(&found, anchors.is_some())
}

/// Reads the manifests for a mark.
fn look_up(mark: WatermarkMessage, store: &Store<'_>, validator: &Validator<'_>) -> Result<Found> {
    let Some(payload) = mark.report.payload else {
        return Ok(Found { mark, entries: Vec::new() });
    };
    let version = mark.report.version;
    let mut entries = Vec::new();
    for path in store.files(payload)? {
        // One damaged manifest does not hide the others.
        let credential = match validator.read(&path, Mark { payload, version }) {
            Ok(credential) => Ok(credential),
            Err(Failure::Failed(problem)) => Err(problem),
            Err(other) => return Err(other),
        };
        entries.push(Entry { path, credential });
    }
    Ok(Found { mark, entries })
}

/// Returns the exit status.
///
/// # Errors
/// There are manifests, but none is valid.
fn status(found: &[Found], has_anchors: bool) -> Result<ExitCode> {
    let mut entries = found.iter().flat_map(|found| &found.entries).peekable();
    if entries.peek().is_none() {
        return Ok(ExitCode::from(NOT_FOUND));
    }
    let is_valid = |entry: &Entry| {
        let credential = entry.credential.as_ref();
        credential
            .is_ok_and(|found| found.problems.is_empty() && (found.is_trusted || !has_anchors))
    };
    match entries.any(is_valid) {
        true => Ok(ExitCode::SUCCESS),
        false => {
            Err(failed!("no manifest for this payload is valid; the reasons are listed above"))
        }
    }
}
