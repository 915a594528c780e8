//! Thread pools, shared by all sessions that want the same number of threads.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::nn::Error;

/// More threads than this never help on a frame.
const MAX_THREADS: usize = 64;

/// A number of threads to work on.
#[derive(Debug, Clone)]
pub struct Threads {
    pool: Arc<ThreadPool>,
    count: usize,
}

impl Threads {
    /// `count` threads; 0 stands for as many as the machine has.
    ///
    /// # Errors
    /// [`Error::Backend`] where the system gives no threads.
    pub fn new(count: usize) -> Result<Self, Error> {
        let count = match count {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let count = count.min(MAX_THREADS);
        Ok(Self { pool: pool(count)?, count })
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` on these threads: rayon's parallel iterators within it use them.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

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
