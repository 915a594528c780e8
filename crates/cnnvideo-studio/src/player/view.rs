// SPDX-License-Identifier: MIT OR Apache-2.0

//! The thread that turns pairs of frames into messages for the page.
//!
//! It works on the newest pair only, and only while the page has acknowledged enough pictures, so
//! that a slow link skips frames instead of falling behind.

use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;

use super::{
    frame::{Frame, Pair},
    outbox::Outbox,
    overlay::overlay,
    picture::Encoder,
};
use crate::problem::Result;

/// Pictures that may be under way: one is shown while the next one is sent.
const UNDER_WAY: u32 = 2;

/// A pair of frames to show.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The frames.
    pub(crate) pair: Pair,
    /// Whether to send them without loss.
    pub(crate) lossless: bool,
    /// Number of the settings by which the frame was made; the page counts them.
    pub(crate) revision: u64,
    /// Number of the opened source.
    pub(crate) opening: u64,
    /// Whether the regions are to be drawn.
    pub(crate) regions: bool,
}

#[derive(Debug)]
struct State {
    newest: Option<Shown>,
    credit: u32,
    skipped: u64,
    ended: bool,
}

/// The pair that waits for the thread.
#[derive(Debug)]
pub(crate) struct View {
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
}

/// Notes that the thread has ended, by a panic too.
struct Alive(Arc<View>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

impl View {
    /// Starts the thread, which ends with [`Self::end`].
    ///
    /// # Errors
    /// The system provides no thread.
    pub(crate) fn start(outbox: Arc<Outbox>) -> std::io::Result<Arc<Self>> {
        let state = State { newest: None, credit: UNDER_WAY, skipped: 0, ended: false };
        let view = Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let alive = Alive(Arc::clone(&view));
        std::thread::Builder::new().name("studio-view".to_owned()).spawn(move || {
            let mut painter = Painter { before: Encoder::new(), after: Encoder::new(), sent: None };
            while let Some((shown, skipped)) = alive.0.next() {
                match painter.message(&shown, skipped) {
                    Ok(message) => outbox.picture(message),
                    Err(problem) => {
                        alive.0.acknowledge();
                        outbox.event(&json!({"type": "problem", "problem": problem}));
                    }
                }
            }
        })?;
        Ok(view)
    }

    /// Replaces the pair to show.
    pub(crate) fn show(&self, shown: Shown) {
        let mut state = self.lock();
        state.skipped += u64::from(state.newest.replace(shown).is_some());
        drop(state);
        self.changed.notify_all();
    }

    /// Notes that the page has shown a picture.
    pub(crate) fn acknowledge(&self) {
        let mut state = self.lock();
        state.credit = (state.credit + 1).min(UNDER_WAY);
        drop(state);
        self.changed.notify_all();
    }

    /// Returns whether the thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Ends the thread.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for a pair; returns it with the number of skipped ones, or `None` at the end.
    fn next(&self) -> Option<(Shown, u64)> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if state.credit > 0
                && let Some(shown) = state.newest.take()
            {
                state.credit -= 1;
                return Some((shown, state.skipped));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes messages of pairs.
struct Painter {
    before: Encoder,
    after: Encoder,
    /// The frame before the chain that the page has.
    sent: Option<(u64, Option<gst::ClockTime>, bool)>,
}

impl Painter {
    /// Returns the message: the length of a header, the header in JSON, and the pictures.
    fn message(&mut self, shown: &Shown, skipped: u64) -> Result<Vec<u8>> {
        let Pair { before, after } = &shown.pair;
        let key = (shown.opening, before.buffer.pts(), shown.lossless);
        let repeated = self
            .sent
            .is_some_and(|sent| (sent.0, sent.1) == (key.0, key.1) && (sent.2 || !shown.lossless));
        let (own, other) = (&mut self.before, &mut self.after);
        let (before_file, after_file) = std::thread::scope(|scope| {
            let before_file = scope.spawn(|| match repeated {
                true => Ok(Vec::new()),
                false => encode(own, before, shown.lossless),
            });
            let after_file = encode(other, after, shown.lossless);
            let before_file = before_file.join().unwrap_or_else(|_| Ok(Vec::new()));
            (before_file, after_file)
        });
        let (before_file, after_file) = (before_file?, after_file?);
        let regions = if shown.regions { overlay(after)? } else { Vec::new() };
        if !repeated {
            self.sent = Some(key);
        }
        let seconds = before.buffer.pts().map(|time| time.nseconds() as f64 / 1e9);
        let header = json!({
            "seconds": seconds,
            "opening": shown.opening,
            "revision": shown.revision,
            "lossless": shown.lossless,
            "skipped": skipped,
            "bytes": [before_file.len(), after_file.len(), regions.len()],
        })
        .to_string();
        let mut message = (header.len() as u32).to_le_bytes().to_vec();
        for part in [header.as_bytes(), &before_file, &after_file, &regions] {
            message.extend_from_slice(part);
        }
        Ok(message)
    }
}

fn encode(encoder: &mut Encoder, frame: &Frame, lossless: bool) -> Result<Vec<u8>> {
    if lossless { encoder.png(frame) } else { encoder.jpeg(frame) }
}
