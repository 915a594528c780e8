//! A thread that searches windows, so that no frame waits for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use crate::{
    element::lock,
    watermark::{Decoder, Report, Search, Window},
};

/// Windows that may wait to be searched.
const WAITING: usize = 3;

/// A window to search, and what its frame was.
pub(super) struct Job<T> {
    pub window: Window,
    pub search: Search,
    pub frame: T,
}

struct Queue<T> {
    jobs: VecDeque<Job<T>>,
    busy: bool,
    over: bool,
}

/// Runs a [`Decoder`] on a thread of its own and hands over its reports.
pub(super) struct Worker<T> {
    shared: Arc<(Mutex<Queue<T>>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread; `done` is called on it.
    ///
    /// # Errors
    /// A system that gives no thread.
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

    /// Hands a window over. Where too many wait already, `patient` callers wait too; others have the oldest forgotten.
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

    /// Waits until all windows are searched, or until [`Self::stop`].
    pub fn finish(&self) {
        let (queue, changed) = &*self.shared;
        let mut waiting = lock(queue);
        while (waiting.busy || !waiting.jobs.is_empty()) && !waiting.over {
            waiting = changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Forgets windows that wait, and ends all waiting.
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
