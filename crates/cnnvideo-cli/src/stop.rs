// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signals that ask the program to stop.
//!
//! The first one ends the work cleanly: the temporary file is removed. A second one ends the
//! program at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use signal_hook::{consts::signal, flag, low_level};

use crate::error::{Failure, Result};

#[cfg(unix)]
const SIGNALS: [i32; 3] = [signal::SIGINT, signal::SIGTERM, signal::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [signal::SIGINT, signal::SIGTERM];

/// The signal that has arrived, if any. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Watches the signals from now on.
    ///
    /// # Errors
    /// The system refuses the signal handlers.
    pub(crate) fn watch() -> io::Result<Self> {
        let received = Arc::new(AtomicUsize::new(0));
        for number in SIGNALS {
            let at_once = Arc::new(std::sync::atomic::AtomicBool::new(false));
            // In this order, the first signal sets the flag and the second one finds it set.
            flag::register_conditional_default(number, Arc::clone(&at_once))?;
            flag::register(number, at_once)?;
            flag::register_usize(number, Arc::clone(&received), number as usize)?;
        }
        Ok(Self(received))
    }

    /// Returns an error if a signal has arrived.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            number => Err(Failure::Signal(number as i32)),
        }
    }
}

/// Ends the process as if it had not handled a signal, so that shells see what ended it.
pub(crate) fn end_by(number: i32) {
    // If this fails, the program ends with the exit status of a failure.
    let _ = low_level::emulate_default_handler(number);
}

/// Ends the process as programs do whose reader has gone: quietly, by SIGPIPE.
pub(crate) fn end_by_broken_pipe() {
    #[cfg(unix)]
    end_by(signal::SIGPIPE);
}
