// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs a pipeline that measures something, with a progress bar and the messages of its elements.

use gst::prelude::*;

use crate::{
    args::ProgressMode,
    error::{Result, failed},
    progress::{Count, Progress},
    run::{Next, Observer, Running, run},
    stop::Stop,
};

/// What is done with the messages of elements.
pub(crate) trait Measure {
    /// Receives a message. Returns whether to go on.
    ///
    /// # Errors
    /// The message is wrong.
    fn message(&mut self, message: &gst::StructureRef) -> Result<Next>;
}

/// Passes messages on and shows the progress.
struct Watcher<'a, M> {
    measure: &'a mut M,
    progress: Option<Progress>,
    start: (ProgressMode, Count),
    pipeline: gst::Pipeline,
    next: Next,
}

/// Runs a pipeline until it ends, or until `measure` has enough. The frames that pass `pad` are the
/// progress.
///
/// # Errors
/// An element fails, `measure` fails, there is no frame, or a signal arrives.
pub(crate) fn watch(
    pipeline: &Running,
    pad: &gst::Pad,
    mode: ProgressMode,
    about: &str,
    measure: &mut impl Measure,
    stop: &Stop,
) -> Result<u64> {
    let count = Count::at(pad);
    let mut watcher = Watcher {
        measure,
        progress: None,
        start: (mode, count.clone()),
        pipeline: pipeline.0.clone(),
        next: Next::Continue,
    };
    run(pipeline, gst::State::Playing, stop, about, &mut watcher)?;
    match count.frames() {
        0 => Err(failed!("{about} has no video frame")),
        frames => Ok(frames),
    }
}

impl<M: Measure> Observer for Watcher<'_, M> {
    fn element_message(&mut self, message: &gst::StructureRef) -> Result<()> {
        self.next = self.measure.message(message)?;
        Ok(())
    }

    fn tick(&mut self) -> Result<Next> {
        let (mode, count) = &self.start;
        // The duration is known once frames pass.
        if self.progress.is_none() && count.frames() > 0 {
            let duration = self.pipeline.query_duration::<gst::ClockTime>();
            self.progress = Some(Progress::new(*mode, count.clone(), duration, None));
        }
        if let Some(progress) = &mut self.progress {
            progress.tick()?;
        }
        Ok(self.next)
    }
}
