// SPDX-License-Identifier: MIT OR Apache-2.0

//! Thread that decodes windows, so that decoding does not delay the streaming thread.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use crate::shared::lock;
use cnnvideo::watermark::{Decoder, Report, Search, Window};

/// Maximum number of windows in the queue.
const MAX_QUEUED: usize = 3;

/// Behaviour of [`Worker::push`] when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// Block until there is room.
    Wait,
    /// Drop the oldest queued window.
    DropOldest,
}

/// A window to decode, with data of the caller about it.
pub(super) struct Job<T> {
    /// Residuals to decode.
    pub window: Window,
    /// Geometries to search.
    pub search: Search,
    /// Data that the worker passes on with the report.
    pub info: T,
}

/// State shared with the thread.
struct Queue<T> {
    jobs: VecDeque<Job<T>>,
    /// Whether the thread is decoding a window.
    busy: bool,
    /// Whether windows are discarded and callers must not block.
    flushing: bool,
    /// Whether the thread has to end; `flushing` is then set as well.
    stopped: bool,
}

/// Runs a [`Decoder`] on a thread of its own; the thread passes reports to a callback.
///
/// [`Self::stop`] and dropping the value do not wait for the thread, because decoding a window can
/// take seconds. The thread ends after the window that it decodes, and discards its report.
pub(super) struct Worker<T> {
    /// The queue, and the condition that it has changed.
    shared: Arc<(Mutex<Queue<T>>, Condvar)>,
}

impl<T> Worker<T> {
    /// Starts the thread, which calls `done` with each report.
    ///
    /// # Errors
    /// Returns an error if the system cannot start a thread.
    pub(super) fn start(
        mut decoder: Decoder,
        mut done: impl FnMut(Report, T) + Send + 'static,
    ) -> std::io::Result<Self>
    where
        T: Send + 'static,
    {
        let shared = Arc::new((
            Mutex::new(Queue {
                jobs: VecDeque::new(),
                busy: false,
                flushing: false,
                stopped: false,
            }),
            Condvar::new(),
        ));
        let thread_shared = shared.clone();
        thread::Builder::new().name("watermark".to_owned()).spawn(move || {
            let (mutex, changed) = &*thread_shared;
            loop {
                let mut queue = lock(mutex);
                queue.busy = false;
                changed.notify_all();
                let job = loop {
                    if queue.stopped {
                        return;
                    }
                    match queue.jobs.pop_front() {
                        Some(job) => break job,
                        None => queue = changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                    }
                };
                queue.busy = true;
                drop(queue);
                changed.notify_all();
                let report = decoder.decode(&job.window, job.search);
                if lock(mutex).stopped {
                    return;
                }
                done(report, job.info);
            }
        })?;
        Ok(Self { shared })
    }

    /// Queues a window, or discards it while flushing.
    pub(super) fn push(&self, job: Job<T>, when_full: WhenFull) {
        let (mutex, changed) = &*self.shared;
        let mut queue = lock(mutex);
        while queue.jobs.len() >= MAX_QUEUED && !queue.flushing {
            match when_full {
                WhenFull::Wait => {
                    queue = changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                WhenFull::DropOldest => {
                    queue.jobs.pop_front();
                }
            }
        }
        if !queue.flushing {
            queue.jobs.push_back(job);
            changed.notify_all();
        }
    }

    /// Blocks until all queued windows are decoded, or until the worker flushes or stops.
    pub(super) fn drain(&self) {
        let (mutex, changed) = &*self.shared;
        let mut queue = lock(mutex);
        while (queue.busy || !queue.jobs.is_empty()) && !queue.flushing {
            queue = changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Starts or ends flushing. Its start discards queued windows and wakes all blocked callers.
    pub(super) fn set_flushing(&self, flushing: bool) {
        let (mutex, changed) = &*self.shared;
        let mut queue = lock(mutex);
        queue.flushing = flushing || queue.stopped;
        if flushing {
            queue.jobs.clear();
        }
        changed.notify_all();
    }

    /// Discards queued windows, wakes all blocked callers, and lets the thread end.
    pub(super) fn stop(&self) {
        lock(&self.shared.0).stopped = true;
        self.set_flushing(true);
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.stop();
    }
}
