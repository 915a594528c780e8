use std::path::PathBuf;

/// What can be wrong with a model, a device or a run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("model file {} not found", .0.display())]
    NotFound(PathBuf),
    #[error("cannot read model file {}: {reason}", .path.display())]
    Read { path: PathBuf, reason: String },
    /// The file is no valid model; `field` names the part that is wrong.
    #[error("invalid model: {field}: {reason}")]
    Invalid { field: String, reason: String },
    #[error("device '{device}' cannot be used: {reason}")]
    Device { device: String, reason: String },
    #[error("{backend} backend: {reason}")]
    Backend { backend: &'static str, reason: String },
}

impl Error {
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }
}
