//! Checkpoints: all that a run needs to go on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Error, optimiser::Optimiser, report::Entry};

/// The part of a checkpoint that is no tensor.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub step: u64,
    pub seconds: f64,
    pub log: Vec<Entry>,
}

/// Where the checkpoint of a model file lies: two files beside it.
fn paths(model: &Path) -> (PathBuf, PathBuf) {
    (model.with_extension("checkpoint.pt"), model.with_extension("checkpoint.json"))
}

/// Saves a checkpoint. Each file is replaced at once, so a run that is killed leaves a whole one behind.
///
/// # Errors
/// What the file system or libtorch reports.
pub fn save(model: &Path, optimiser: &Optimiser, progress: &Progress) -> Result<(), Error> {
    let (tensors, text) = paths(model);
    let json = serde_json::to_vec(progress).map_err(|err| Error::Checkpoint(err.to_string()))?;
    let part = tensors.with_extension("part");
    // The step goes along with the tensors too: should the run die between the two renames, load() notices.
    let mut state = optimiser.state();
    state.push(("step".to_owned(), Tensor::from(progress.step as i64)));
    Tensor::save_multi(&state, &part)?;
    std::fs::rename(&part, &tensors).map_err(|err| Error::file(&tensors, err))?;
    replace(&text, &json)
}

/// Loads the checkpoint of `model` into `optimiser`, if there is one.
///
/// # Errors
/// A checkpoint that is damaged or of another architecture.
pub fn load(model: &Path, optimiser: &mut Optimiser) -> Result<Option<Progress>, Error> {
    let (tensors, text) = paths(model);
    if !tensors.exists() {
        return Ok(None);
    }
    let mut state = Tensor::load_multi(&tensors)?;
    let step = match state.iter().position(|(name, _)| name == "step") {
        Some(at) => u64::try_from(state.swap_remove(at).1.int64_value(&[])).unwrap_or(0),
        None => return Err(Error::Checkpoint("step missing".to_owned())),
    };
    let json = std::fs::read(&text).map_err(|err| Error::file(&text, err))?;
    let mut progress: Progress =
        serde_json::from_slice(&json).map_err(|err| Error::file(&text, err))?;
    progress.step = step;
    optimiser.restore(step, state)?;
    Ok(Some(progress))
}

/// Writes a file so that it is either the old or the new one at every moment.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(|err| Error::file(&part, err))?;
    std::fs::rename(&part, path).map_err(|err| Error::file(path, err))
}
