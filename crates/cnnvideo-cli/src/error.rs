// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a command ends without a result, and the exit status of each reason.

use std::io;

/// Reason for which a command ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The work cannot be done. One sentence that tells the user what to do. Exit status 1.
    #[error("{0}")]
    Failed(String),
    /// The command line is wrong in a way that the parser cannot see. Exit status 2.
    #[error("{0}")]
    Usage(String),
    /// A signal asked the program to stop.
    #[error("stopped by a signal; no output was written")]
    Signal(i32),
    /// The reader of the standard output has closed it.
    #[error("the reader of the standard output has closed it")]
    BrokenPipe,
}

/// Result of the parts of a command.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl From<io::Error> for Failure {
    fn from(err: io::Error) -> Self {
        Self::Failed(err.to_string())
    }
}

impl From<glib::BoolError> for Failure {
    fn from(err: glib::BoolError) -> Self {
        Self::Failed(err.to_string())
    }
}

impl From<glib::Error> for Failure {
    fn from(err: glib::Error) -> Self {
        Self::Failed(err.message().to_owned())
    }
}

impl From<gst::StateChangeError> for Failure {
    fn from(err: gst::StateChangeError) -> Self {
        Self::Failed(err.to_string())
    }
}

/// Returns a failure with a formatted sentence.
macro_rules! failed {
    ($($text:tt)*) => { $crate::error::Failure::Failed(format!($($text)*)) };
}
pub(crate) use failed;

/// Returns a usage error with a formatted sentence.
macro_rules! usage {
    ($($text:tt)*) => { $crate::error::Failure::Usage(format!($($text)*)) };
}
pub(crate) use usage;
