//! Training of the shipped models (feature `torch`): data, synthesis of noisy pictures, optimiser, checkpoints.
//!
//! Everything follows from the seed and the step number, so that a run that was stopped and resumed sees the same
//! batches as one that was not. The exception: with threads that draw ahead, the noise of fused clips comes from libtorch's generator,
//! which they share.

mod checkpoint;
mod clips;
mod codec;
mod data;
pub mod denoise;
mod fused;
mod init;
pub mod level;
mod loader;
mod noise;
mod optimiser;
mod quantise;
mod report;
mod rounding;
mod run;
pub mod segment;
pub mod smooth;
pub mod texture;

pub use data::{PhotoSet, Photos};
pub use run::{Length, Options};

/// What can end a training run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Picture(#[from] crate::frame::Error),
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error("no photographs (.jpg, .png) in {0}")]
    NoPhotos(String),
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    #[error(transparent)]
    Model(#[from] crate::nn::Error),
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    #[error("{0} is not trained for 8-bit integers yet")]
    NoQuantisation(&'static str),
    #[error("a thread that draws what is learnt from ended")]
    Loader,
    #[error("{0} is trained on the CPU alone")]
    CpuOnly(&'static str),
    #[error("the loss is no longer a number at step {0}; lower --rate")]
    Diverged(u64),
}

impl Error {
    fn file(path: &std::path::Path, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.display().to_string(), reason: reason.to_string() }
    }
}
