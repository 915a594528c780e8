// SPDX-License-Identifier: MIT OR Apache-2.0

//! Thread pools, one for each number of threads, that all sessions share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Error;

/// Upper limit of the number of threads; more do not make a frame faster.
const MAX_THREADS: usize = 64;

/// A handle to the shared pool with a given number of threads.
#[derive(Debug, Clone)]
pub struct Threads {
    pool: Arc<ThreadPool>,
    count: usize,
}

impl Threads {
    /// Returns the pool with `count` threads, at most 64; 0 uses as many as the machine has
    /// processors.
    ///
    /// # Errors
    /// [`Error::Backend`] when the system cannot start the threads.
    pub fn new(count: usize) -> Result<Self, Error> {
        let count = match count {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let count = count.min(MAX_THREADS);
        Ok(Self { pool: pool(count)?, count })
    }

    /// Returns the number of threads.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` on the pool, so that rayon's parallel iterators inside it use these threads.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

/// Returns the pool with `count` threads, and creates it when no session uses one.
fn pool(count: usize) -> Result<Arc<ThreadPool>, Error> {
    static POOLS: Mutex<Option<HashMap<usize, Weak<ThreadPool>>>> = Mutex::new(None);
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let pools = pools.get_or_insert_default();
    if let Some(pool) = pools.get(&count).and_then(Weak::upgrade) {
        return Ok(pool);
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("cnnvideo-{i}"))
        .build()
        .map_err(|err| Error::Backend {
            backend: "cpu",
            reason: format!("cannot start {count} threads: {err}"),
        })?;
    let pool = Arc::new(pool);
    pools.insert(count, Arc::downgrade(&pool));
    Ok(pool)
}
