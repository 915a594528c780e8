// SPDX-License-Identifier: MIT OR Apache-2.0

//! Thread that decodes windows, so that decoding does not delay the streaming thread.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
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
    /// Whether the thread has to end and callers must not block.
    stopped: bool,
}

/// Runs a [`Decoder`] on a thread of its own; the thread passes reports to a callback.
pub(super) struct Worker<T> {
    /// The queue, and the condition that it has changed.
    shared: Arc<(Mutex<Queue<T>>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread, which calls `done` with each report.
    ///
    /// # Errors
    /// Returns an error if the system cannot start a thread.
    pub(super) fn start(
        mut decoder: Decoder,
        mut done: impl FnMut(Report, T) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new((
            Mutex::new(Queue { jobs: VecDeque::new(), busy: false, stopped: false }),
            Condvar::new(),
        ));
        let thread_shared = shared.clone();
        let thread = thread::Builder::new().name("watermark".to_owned()).spawn(move || {
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
                done(report, job.info);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a window.
    pub(super) fn push(&self, job: Job<T>, when_full: WhenFull) {
        let (mutex, changed) = &*self.shared;
        let mut queue = lock(mutex);
        while queue.jobs.len() >= MAX_QUEUED && !queue.stopped {
            match when_full {
                WhenFull::Wait => {
                    queue = changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                WhenFull::DropOldest => {
                    queue.jobs.pop_front();
                }
            }
        }
        queue.jobs.push_back(job);
        changed.notify_all();
    }

    /// Blocks until all queued windows are decoded, or until [`Self::stop`].
    pub(super) fn drain(&self) {
        let (mutex, changed) = &*self.shared;
        let mut queue = lock(mutex);
        while (queue.busy || !queue.jobs.is_empty()) && !queue.stopped {
            queue = changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Discards queued windows and wakes all blocked callers.
    pub(super) fn stop(&self) {
        let (mutex, changed) = &*self.shared;
        let mut queue = lock(mutex);
        queue.jobs.clear();
        queue.stopped = true;
        changed.notify_all();
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        let (mutex, changed) = &*self.shared;
        lock(mutex).stopped = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
