// SPDX-License-Identifier: MIT OR Apache-2.0

//! The queue of files: each one is a run of the program `cnnvideo`, one after the other.

mod worker;

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use serde::Serialize;

use crate::problem::{Problem, Result};

/// Most files of the queue.
const MAX_JOBS: usize = 1000;

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Not begun.
    Waiting,
    /// The program runs.
    Running,
    /// The output is complete.
    Done,
    /// The program has reported an error.
    Failed,
    /// The user has stopped it.
    Cancelled,
}

/// A file of the queue.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Job {
    id: u64,
    title: String,
    state: State,
    /// How much is done, 0 to 100.
    percent: Option<f64>,
    /// What the program does now, if it works in steps.
    step: Option<String>,
    fps: Option<f64>,
    eta_seconds: Option<f64>,
    /// The error.
    message: Option<String>,
    #[serde(skip)]
    arguments: Vec<String>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Vec<Job>,
    next: u64,
    ended: bool,
}

/// The queue, with the thread that works on it.
#[derive(Debug)]
pub(crate) struct Jobs(Arc<Shared>, Mutex<Option<JoinHandle<()>>>);

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Jobs {
    /// Starts the thread. `program` is the path of `cnnvideo`.
    ///
    /// # Errors
    /// The system provides no thread.
    pub(crate) fn start(program: PathBuf) -> Result<Self> {
        let queue = Mutex::default();
        let shared = Arc::new(Shared { program, queue, changed: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("studio-queue".to_owned())
            .spawn(move || worker::work(&own))
            .map_err(|err| Problem::new(format!("no queue: {err}"), "close other programs"))?;
        Ok(Self(shared, Mutex::new(Some(thread))))
    }

    /// Adds a run of the program.
    ///
    /// # Errors
    /// The queue is full.
    pub(crate) fn add(&self, title: String, arguments: Vec<String>) -> Result<u64> {
        let mut queue = self.0.lock();
        if queue.jobs.len() >= MAX_JOBS {
            return Err(Problem::new("the queue is full", "remove finished files"));
        }
        queue.next += 1;
        let id = queue.next;
        queue.jobs.push(Job {
            id,
            title,
            state: State::Waiting,
            percent: None,
            step: None,
            fps: None,
            eta_seconds: None,
            message: None,
            arguments,
        });
        drop(queue);
        self.0.changed.notify_all();
        Ok(id)
    }

    /// Returns all jobs.
    pub(crate) fn list(&self) -> Vec<Job> {
        self.0.lock().jobs.clone()
    }

    /// Stops a job.
    ///
    /// # Errors
    /// There is no such job.
    pub(crate) fn cancel(&self, id: u64) -> Result<()> {
        self.change(id, |job| {
            if matches!(job.state, State::Waiting | State::Running) {
                job.state = State::Cancelled;
            }
        })
    }

    /// Runs a job again that was cancelled or has failed. With `--resume` it goes on behind its
    /// last finished chunk.
    ///
    /// # Errors
    /// There is no such job.
    pub(crate) fn again(&self, id: u64) -> Result<()> {
        self.change(id, |job| {
            if matches!(job.state, State::Cancelled | State::Failed) {
                job.state = State::Waiting;
                job.message = None;
            }
        })
    }

    /// Removes a job, which stops first if it runs.
    ///
    /// # Errors
    /// There is no such job.
    pub(crate) fn remove(&self, id: u64) -> Result<()> {
        self.cancel(id)?;
        self.0.lock().jobs.retain(|job| job.id != id);
        Ok(())
    }

    /// Stops the running job, and waits until its program has ended.
    pub(crate) fn end(&self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
        let thread = self.1.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Job)) -> Result<()> {
        let mut queue = self.0.lock();
        let job = queue.jobs.iter_mut().find(|job| job.id == id);
        let job = job.ok_or_else(|| Problem::new("there is no such file", "look at the queue"))?;
        change(job);
        drop(queue);
        self.0.changed.notify_all();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job and marks it as running; returns `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.ended {
                return None;
            }
            if let Some(job) = queue.jobs.iter_mut().find(|job| job.state == State::Waiting) {
                job.state = State::Running;
                return Some(job.clone());
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns whether a job is to go on.
    fn is_wanted(&self, id: u64) -> bool {
        let queue = self.lock();
        let running = |job: &Job| job.id == id && job.state == State::Running;
        !queue.ended && queue.jobs.iter().any(running)
    }

    fn update(&self, id: u64, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.lock().jobs.iter_mut().find(|job| job.id == id) {
            change(job);
        }
    }
}
