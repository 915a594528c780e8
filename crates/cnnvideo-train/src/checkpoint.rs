// SPDX-License-Identifier: MIT OR Apache-2.0

//! Checkpoints of a training run: weights, optimiser state and progress, stored in two files beside
//! the model file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Error, optimiser::Optimiser, report::LogEntry};

/// Progress of a run: the part of a checkpoint that is stored as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Number of optimiser steps done.
    pub(crate) step: u64,
    /// Training time in seconds, summed over all resumed parts of the run.
    pub(crate) seconds: f64,
    /// Log entries so far, oldest first.
    pub(crate) log: Vec<LogEntry>,
}

/// Returns the paths of the two checkpoint files of a model file: tensors, then JSON.
fn paths(model: &Path) -> (PathBuf, PathBuf) {
    (model.with_extension("checkpoint.pt"), model.with_extension("checkpoint.json"))
}

/// Saves a checkpoint. Each file is written under a temporary name and renamed, so a run that is
/// killed leaves complete files behind.
///
/// # Errors
/// [`Error::File`], [`Error::Torch`] or [`Error::Checkpoint`] if a file cannot be written.
pub(crate) fn save(model: &Path, optimiser: &Optimiser, progress: &Progress) -> Result<(), Error> {
    let (tensors, text) = paths(model);
    let json = serde_json::to_vec(progress).map_err(|err| Error::Checkpoint(err.to_string()))?;
    let part = tensors.with_extension("part");
    // The tensor file holds the step too: if the run is killed between the two renames, `load`
    // takes the step that belongs to the tensors.
    let mut state = optimiser.state();
    state.push(("step".to_owned(), Tensor::from(progress.step as i64)));
    Tensor::save_multi(&state, &part)?;
    std::fs::rename(&part, &tensors).map_err(|err| Error::file(&tensors, err))?;
    write_atomically(&text, &json)
}

/// Loads the checkpoint of `model` into `optimiser`. Returns `None` if there is none.
///
/// # Errors
/// A checkpoint that cannot be read, is damaged, or belongs to another architecture.
pub(crate) fn load(model: &Path, optimiser: &mut Optimiser) -> Result<Option<Progress>, Error> {
    let (tensors, text) = paths(model);
    if !tensors.exists() {
        return Ok(None);
    }
    let mut state = Tensor::load_multi(&tensors)?;
    let step = match state.iter().position(|(name, _)| name == "step") {
        Some(at) => u64::try_from(state.swap_remove(at).1.int64_value(&[]))
            .map_err(|_| Error::Checkpoint("the step is negative".to_owned()))?,
        None => return Err(Error::Checkpoint("step missing".to_owned())),
    };
    let json = std::fs::read(&text).map_err(|err| Error::file(&text, err))?;
    let mut progress: Progress =
        serde_json::from_slice(&json).map_err(|err| Error::file(&text, err))?;
    progress.step = step;
    optimiser.restore(step, state)?;
    Ok(Some(progress))
}

/// Replaces a file atomically: at every moment the path holds either the complete old or the
/// complete new content.
///
/// # Errors
/// [`Error::File`] if the file cannot be written.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(|err| Error::file(&part, err))?;
    std::fs::rename(&part, path).map_err(|err| Error::file(path, err))
}
