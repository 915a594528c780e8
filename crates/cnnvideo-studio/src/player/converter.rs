// SPDX-License-Identifier: MIT OR Apache-2.0

//! Elements that turn one frame into another one. They start anew when the format changes.

use super::{
    frame::Frame,
    strand::{Strand, make, make_caps},
};
use crate::problem::{Problem, Result};

/// `videoconvert` to some caps, and an encoder behind it.
pub(crate) struct Converter {
    caps: gst::Caps,
    encoder: Option<fn() -> Result<gst::Element>>,
    running: Option<(gst::Caps, Strand)>,
}

impl Converter {
    /// Returns a converter to caps.
    pub(crate) fn to(caps: gst::Caps) -> Self {
        Self { caps, encoder: None, running: None }
    }

    /// Adds an encoder.
    pub(crate) fn encoded_by(self, encoder: fn() -> Result<gst::Element>) -> Self {
        Self { encoder: Some(encoder), ..self }
    }

    /// Converts a frame.
    ///
    /// # Errors
    /// An element is missing or fails.
    pub(crate) fn convert(&mut self, frame: &Frame) -> Result<Frame> {
        if self.running.as_ref().is_none_or(|(caps, _)| *caps != frame.caps) {
            self.running = Some((frame.caps.clone(), self.start()?));
        }
        let pushed = self.running.as_mut().map(|(_, strand)| strand.push(frame));
        let lost = || Problem::new("a frame was not converted", "open the video again");
        match pushed.ok_or_else(lost)? {
            Ok(frames) => frames.into_iter().last().ok_or_else(lost),
            Err(fault) => {
                self.running = None;
                Err(fault.problem)
            }
        }
    }

    fn start(&self) -> Result<Strand> {
        let mut elements = vec![make("videoconvert")?, make_caps(&self.caps)?];
        if let Some(encoder) = self.encoder {
            elements.push(encoder()?);
        }
        Strand::start(&elements).map_err(|fault| fault.problem)
    }
}
