// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training of the shipped models (feature `torch`): data, synthesis of noisy images, optimiser,
//! checkpoints.
//!
//! All random choices derive from the seed and the step number, so a run that was stopped and
//! resumed trains on the same batches as one that was not. One exception: with prefetch threads,
//! the noise of fused clips comes from libtorch's global generator, which the threads share.

#![cfg(feature = "torch")]

mod camera_noise;
mod checkpoint;
mod clips;
mod colour;
mod compression;
mod data;
pub mod deband;
pub mod demosaic;
pub mod denoise;
mod equalise;
mod files;
mod fused;
mod init;
pub mod masking;
mod noise;
pub mod noise_estimate;
mod optimiser;
mod prefetch;
mod quantise;
mod report;
mod rounding;
mod run;
pub mod segment;
pub mod smooth;

pub use run::{Length, RunOptions};

/// Errors that end a training run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A video frame that cannot be processed.
    #[error(transparent)]
    Frame(#[from] cnnvideo::frame::Error),
    /// A file that cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Path of the file.
        path: String,
        /// Cause of the error.
        reason: String,
    },
    /// A folder without enough photographs for training and validation.
    #[error("no photographs (.jpg, .png) in {0}, or too few to split them for validation")]
    NoPhotos(String),
    /// An error of libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A model that cannot be read, built or written.
    #[error(transparent)]
    Model(#[from] cnnvideo::nn::Error),
    /// A checkpoint that is damaged or does not fit the network.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A run to resume that has no checkpoint at this path.
    #[error("no checkpoint {}; leave out --resume to start a new run", .0.display())]
    NoCheckpoint(std::path::PathBuf),
    /// A network that has no quantised training.
    #[error("{0} cannot be trained for 8-bit integers; leave out --quantise")]
    QuantisationUnsupported(&'static str),
    /// A prefetch thread that ended before the run.
    #[error("a thread that prefetches training batches ended")]
    PrefetchThreadEnded,
    /// A network that can only be trained on the CPU.
    #[error("{0} can only be trained on the CPU; use --device cpu")]
    CpuOnly(&'static str),
    /// A loss that is infinite or not a number.
    #[error("the loss is not finite at step {0}; lower --rate")]
    Diverged(u64),
}

impl Error {
    /// Creates [`Error::File`].
    fn file(path: &std::path::Path, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.display().to_string(), reason: reason.to_string() }
    }
}
