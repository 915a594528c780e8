// SPDX-License-Identifier: MIT OR Apache-2.0

//! Checkpoints of a training run: weights, optimiser state, progress and the model so far, in one
//! file beside the model file.
//!
//! It is one file, because a run can be killed at any moment: parts in several files could then
//! belong to different steps.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Error, files::write_file, optimiser::Optimiser, report::LogEntry};
use cnnvideo::nn::Model;

/// Name of the tensor that holds [`Progress`] as JSON.
const PROGRESS: &str = "progress";
/// Name of the tensor that holds the model file.
const MODEL: &str = "model";

/// Progress of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Number of optimiser steps done.
    pub(crate) step: u64,
    /// Training time in seconds, summed over all resumed parts of the run.
    pub(crate) seconds: f64,
    /// Log entries so far, oldest first.
    pub(crate) log: Vec<LogEntry>,
}

/// A checkpoint in memory.
pub(crate) struct Checkpoint {
    /// Tensors of the optimiser by name.
    state: Vec<(String, Tensor)>,
    /// Progress of the run.
    pub(crate) progress: Progress,
    /// Model that the run wrote at this step. A quantised run keeps its scales.
    pub(crate) model: Model,
}

/// Returns the path of the checkpoint of a model file.
fn path_of(model: &Path) -> PathBuf {
    model.with_extension("checkpoint.pt")
}

/// Saves the checkpoint of the model file `path` as one step: at every moment, the file holds the
/// complete old or the complete new checkpoint. `model` is the content of the model file.
///
/// # Errors
/// [`Error::File`] or [`Error::Checkpoint`] if the file cannot be written.
pub(crate) fn save(
    path: &Path,
    optimiser: &Optimiser,
    progress: &Progress,
    model: &[u8],
) -> Result<(), Error> {
    let json = serde_json::to_vec(progress).map_err(|err| Error::Checkpoint(err.to_string()))?;
    let mut state = optimiser.state();
    state.push((PROGRESS.to_owned(), Tensor::from_slice(&json)));
    state.push((MODEL.to_owned(), Tensor::from_slice(model)));
    write_file(&path_of(path), |temporary| Ok(Tensor::save_multi(&state, temporary)?))
}

impl Checkpoint {
    /// Loads the checkpoint of a model file.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] if there is none, [`Error::Checkpoint`] if it cannot be read or is
    /// damaged.
    pub(crate) fn load(model: &Path) -> Result<Self, Error> {
        let path = path_of(model);
        let damaged = |reason: &dyn std::fmt::Display| {
            Error::Checkpoint(format!("cannot read {}: {reason}", path.display()))
        };
        if !path.try_exists().map_err(|err| damaged(&err))? {
            return Err(Error::NoCheckpoint(path));
        }
        let mut state = Tensor::load_multi(&path).map_err(|err| damaged(&err))?;
        let mut take = |wanted: &str| {
            let at = state.iter().position(|(name, _)| name == wanted);
            let at = at.ok_or_else(|| damaged(&format_args!("{wanted} is missing")))?;
            let bytes = state.swap_remove(at).1.to_kind(Kind::Uint8);
            Vec::<u8>::try_from(bytes).map_err(|err| damaged(&err))
        };
        let progress = serde_json::from_slice(&take(PROGRESS)?).map_err(|err| damaged(&err))?;
        let model = Model::from_bytes(&take(MODEL)?).map_err(|err| damaged(&err))?;
        Ok(Self { state, progress, model })
    }

    /// Restores the optimiser and returns the progress.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the checkpoint belongs to another architecture.
    pub(crate) fn restore(self, optimiser: &mut Optimiser) -> Result<Progress, Error> {
        optimiser.restore(self.progress.step, self.state)?;
        Ok(self.progress)
    }
}
