// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs a pipeline until it ends, fails or is stopped.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use gst::prelude::*;

use crate::{
    error::{Result, failed},
    explain,
    output::note,
    stop::Stop,
};

/// Longest time between two looks at the signals and the progress.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// A pipeline that is stopped when the value is dropped.
pub(crate) struct Running(pub(crate) gst::Pipeline);

impl Drop for Running {
    fn drop(&mut self) {
        // A pipeline that cannot stop is a bug of an element; there is nothing to do about it.
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// What an observer of a running pipeline wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Continue,
    /// Stop the pipeline, without an error.
    Finish,
}

/// Something that observes a running pipeline.
pub(crate) trait Observer {
    /// Receives a message that an element has posted for applications.
    ///
    /// # Errors
    /// The work cannot go on.
    fn element_message(&mut self, _message: &gst::StructureRef) -> Result<()> {
        Ok(())
    }

    /// Learns that an element misses the plugin called `name`.
    fn missing_plugin(&mut self, _name: &str) {}

    /// Receives the warning of an element. Prints it, but only once: chunks repeat it.
    fn warning(&mut self, text: &str) {
        static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.insert(text.to_owned()) {
            note(format_args!("cnnvideo: warning: {text}"));
        }
    }

    /// Is called ten times a second or more often.
    ///
    /// # Errors
    /// The work cannot go on.
    fn tick(&mut self) -> Result<Next> {
        Ok(Next::Continue)
    }
}

/// Runs a pipeline in a state until the end of its stream.
///
/// `about` names the file for errors.
///
/// # Errors
/// An element fails, the observer fails, or a signal arrives.
pub(crate) fn run(
    pipeline: &Running,
    state: gst::State,
    stop: &Stop,
    about: &str,
    observer: &mut impl Observer,
) -> Result<()> {
    let bus = pipeline.0.bus().ok_or_else(|| failed!("the pipeline has no bus"))?;
    // Where this fails, an element has posted the error.
    let started = pipeline.0.set_state(state);
    let mut missing = None;
    loop {
        stop.check()?;
        if observer.tick()? == Next::Finish {
            return Ok(());
        }
        let Some(message) = bus.timed_pop(TICK) else {
            started?;
            continue;
        };
        match message.view() {
            gst::MessageView::Eos(_) => return Ok(()),
            gst::MessageView::Error(error) => {
                return Err(explain::error(error, about, missing.as_deref()));
            }
            gst::MessageView::Warning(warning) => {
                observer.warning(warning.error().message());
            }
            gst::MessageView::Element(element) => {
                if let Some(structure) = element.structure() {
                    if let Some(name) = explain::missing_plugin(structure) {
                        observer.missing_plugin(&name);
                        missing = Some(name);
                    }
                    observer.element_message(structure)?;
                }
            }
            _ => (),
        }
    }
}
