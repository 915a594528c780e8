// SPDX-License-Identifier: MIT OR Apache-2.0

//! Error type of the inference core.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{IoSpec, Network, Signature};

/// Errors of loading a model, preparing it for a device and running it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The model file does not exist.
    #[error("model file {} not found", .0.display())]
    NotFound(PathBuf),
    /// The model file exists but cannot be read.
    #[error("cannot read model file {}: {reason}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system, or why the file is not read.
        reason: String,
    },
    /// The file is not a valid model.
    #[error("invalid model: {field}: {reason}")]
    Invalid {
        /// The wrong part: metadata key, tensor or hyper-parameter.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model is valid but made for another task.
    #[error("the model is for the task {found}, expected {expected}")]
    Task {
        /// Task and channels of the model.
        found: String,
        /// Tasks and channels that the caller supports.
        expected: String,
    },
    /// The requested device does not exist or does not support the requested precision.
    #[error("device '{device}' cannot be used: {reason}")]
    Device {
        /// The requested device.
        device: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// The backend failed or does not support the network or the input size.
    #[error("{backend} backend: {reason}")]
    Backend {
        /// Name of the backend.
        backend: &'static str,
        /// Cause of the failure.
        reason: String,
    },
}

impl Error {
    /// Returns an [`Error::Task`] for a network that has none of the signatures.
    pub(crate) fn task(network: &dyn Network, expected: &[Signature]) -> Self {
        let describe = |task: &str, io: IoSpec| {
            format!("'{task}' ({} input and {} output channels)", io.input_channels(), io.output)
        };
        let expected: Vec<_> = expected.iter().map(|s| describe(s.task, s.io)).collect();
        Self::Task {
            found: describe(network.task(), network.io()),
            expected: expected.join(" or "),
        }
    }

    /// Returns an [`Error::NotFound`] or [`Error::Read`] for a model file.
    pub(crate) fn reading(path: &Path, err: &io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::NotFound => Self::NotFound(path.to_owned()),
            _ => Self::Read { path: path.to_owned(), reason: err.to_string() },
        }
    }

    /// Returns an [`Error::Invalid`] for `field`.
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }
}
