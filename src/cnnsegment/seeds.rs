// SPDX-License-Identifier: MIT OR Apache-2.0

//! Seeds: those of the property `seeds`, and those that are queued for the next frame.

use std::sync::atomic::Ordering;

use glib::subclass::prelude::*;

use super::{
    commands::{Command, ToShare},
    imp::CnnSegment,
};
use crate::shared::lock;
use cnnvideo::segment::{Shape, seeds::ParsedSeeds};

impl CnnSegment {
    /// Queues a seed for the next frame and returns whether it was accepted
    /// ([`CommandQueue::add_seed`](super::commands::CommandQueue::add_seed)).
    pub(super) fn add_seed(
        &self,
        label: u32,
        shape: impl FnOnce(&ToShare<'_>) -> Option<Shape>,
    ) -> bool {
        lock(&self.queue).add_seed(label, shape)
    }

    /// Queues a command for the next frame.
    pub(super) fn queue_command(&self, command: Command) {
        lock(&self.queue).push(command);
    }

    /// Sets the property `seeds`. A started element replaces all seeds at the next frame; if the
    /// value cannot be parsed, it posts a warning, and seeds and property stay.
    pub(super) fn set_seeds(&self, value: &glib::Value) {
        let text = value.get::<Option<String>>().ok().flatten();
        // Before the start there may be no bus to post to; start() parses the value and reports
        // errors.
        if !self.started.load(Ordering::Acquire) {
            lock(&self.settings).seeds = text;
            return;
        }
        match text.as_deref().unwrap_or_default().parse::<ParsedSeeds>() {
            Ok(seeds) => {
                lock(&self.settings).seeds = text;
                self.queue_command(Command::Replace(seeds));
            }
            Err(err) => {
                gst::element_imp_warning!(
                    self,
                    gst::LibraryError::Settings,
                    ("Cannot parse the property seeds, keeping the previous seeds: {err}")
                );
            }
        }
    }

    /// Replaces all queued commands by the seeds of the property, which apply at every start.
    /// Commands queued before the start had no frame to apply to.
    ///
    /// # Errors
    /// Fails if the value of the property cannot be parsed.
    pub(super) fn queue_initial_seeds(&self) -> Result<(), gst::ErrorMessage> {
        // Held while the property is read, so that a new value is either read here or queued after.
        let mut queue = lock(&self.queue);
        queue.reset();
        let text = lock(&self.settings).seeds.clone();
        if let Some(text) = text {
            let seeds = text.parse().map_err(|err| {
                gst::error_msg!(
                    gst::LibraryError::Settings,
                    ("Cannot parse the property seeds: {}", err)
                )
            })?;
            queue.push(Command::Replace(seeds));
        }
        Ok(())
    }
}
