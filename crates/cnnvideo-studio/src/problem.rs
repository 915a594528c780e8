// SPDX-License-Identifier: MIT OR Apache-2.0

//! Errors with advice for the user.

use serde::Serialize;

/// An error with advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{text}: {advice}")]
pub struct Problem {
    /// The error, without a full stop.
    pub text: String,
    /// The advice, without a full stop.
    pub advice: String,
}

/// Result of the parts of the server.
pub(crate) type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    /// Returns a problem with its advice.
    pub(crate) fn new(text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { text: text.into(), advice: advice.into() }
    }
}

impl From<glib::BoolError> for Problem {
    fn from(err: glib::BoolError) -> Self {
        Self::new(err.message.to_string(), "install the missing package of GStreamer")
    }
}

/// Turns an error message of GStreamer into a problem.
pub(crate) fn of_message(message: &gst::message::Error) -> Problem {
    let error = message.error();
    let text = error.message().trim_end_matches('.').to_owned();
    if error.matches(gst::CoreError::MissingPlugin)
        || error.matches(gst::StreamError::CodecNotFound)
    {
        return Problem::new(
            "there is no video in it that can be decoded",
            "choose another file, or install gstreamer1.0-libav, gstreamer1.0-plugins-good and \
             gstreamer1.0-plugins-bad",
        );
    }
    let advice = if error.matches(gst::StreamError::TypeNotFound)
        || error.matches(gst::StreamError::WrongType)
    {
        "choose a video file"
    } else if error.matches(gst::ResourceError::Settings) {
        "correct the settings of this card"
    } else if error.matches(gst::ResourceError::NotFound) {
        "check the path"
    } else if error.matches(gst::ResourceError::Read) {
        "check that the file is readable and whole"
    } else if error.matches(gst::StreamError::Format) {
        "switch the card off, or choose another video"
    } else {
        "try again; switch cards off to find the one that fails"
    };
    // The general sentence of GStreamer hides the reason, which is in the debug text.
    let debug = message.debug().unwrap_or_default();
    let is_general = text.starts_with("Internal data") || text.starts_with("GStreamer encountered");
    let reason = debug.lines().last().map(str::trim).filter(|line| is_general && !line.is_empty());
    Problem::new(reason.unwrap_or(&text), advice)
}
