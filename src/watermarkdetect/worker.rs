//! Thread that decodes windows, so that decoding does not delay the streaming thread.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use crate::shared::lock;
use cnnvideo::watermark::{Decoder, Report, Search, Window};

/// Maximum number of windows in the queue.
const WAITING: usize = 3;

/// A window to decode, with data of the caller about its last frame.
pub(super) struct Job<T> {
    /// Residuals to decode.
    pub window: Window,
    /// Geometries to search.
    pub search: Search,
    /// Data that the worker passes on with the report.
    pub frame: T,
}

/// State shared with the thread.
struct Queue<T> {
    jobs: VecDeque<Job<T>>,
    /// Whether the thread is decoding a window.
    busy: bool,
    /// Whether the thread has to end.
    over: bool,
}

/// Runs a [`Decoder`] on a thread of its own; the thread passes reports to a callback.
pub(super) struct Worker<T> {
    shared: Arc<(Mutex<Queue<T>>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread, which calls `done` with each report.
    ///
    /// # Errors
    /// Returns an error if the system cannot start a thread.
    pub fn start(
        mut decoder: Decoder,
        mut done: impl FnMut(Report, T) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new((
            Mutex::new(Queue { jobs: VecDeque::new(), busy: false, over: false }),
            Condvar::new(),
        ));
        let own = shared.clone();
        let thread = thread::Builder::new().name("watermark".to_owned()).spawn(move || {
            let (queue, changed) = &*own;
            loop {
                let mut waiting = lock(queue);
                waiting.busy = false;
                changed.notify_all();
                let job = loop {
                    if waiting.over {
                        return;
                    }
                    match waiting.jobs.pop_front() {
                        Some(job) => break job,
                        None => {
                            waiting = changed.wait(waiting).unwrap_or_else(PoisonError::into_inner)
                        }
                    }
                };
                waiting.busy = true;
                drop(waiting);
                changed.notify_all();
                let report = decoder.decode(&job.window, job.search);
                done(report, job.frame);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a window. If the queue is full, a `patient` caller blocks until there is room;
    /// otherwise the oldest window is dropped.
    pub fn push(&self, job: Job<T>, patient: bool) {
        let (queue, changed) = &*self.shared;
        let mut waiting = lock(queue);
        while waiting.jobs.len() >= WAITING && !waiting.over {
            if patient {
                waiting = changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            } else {
                waiting.jobs.pop_front();
            }
        }
        waiting.jobs.push_back(job);
        changed.notify_all();
    }

    /// Blocks until all queued windows are decoded, or until [`Self::stop`].
    pub fn finish(&self) {
        let (queue, changed) = &*self.shared;
        let mut waiting = lock(queue);
        while (waiting.busy || !waiting.jobs.is_empty()) && !waiting.over {
            waiting = changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Discards queued windows and wakes all blocked callers.
    pub fn stop(&self) {
        let (queue, changed) = &*self.shared;
        let mut waiting = lock(queue);
        waiting.jobs.clear();
        waiting.over = true;
        changed.notify_all();
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        let (queue, changed) = &*self.shared;
        lock(queue).over = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
