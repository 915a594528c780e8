// SPDX-License-Identifier: MIT OR Apache-2.0

//! Prefetching of training batches on background threads.

use std::{sync::mpsc, thread};

use rand::{SeedableRng, rngs::StdRng};

use super::Error;

/// Number of batches that each thread prefetches.
const PREFETCH_DEPTH: usize = 2;

/// A source of random training batches.
pub(crate) trait BatchSource: Sync {
    /// Data of one training step.
    type Batch: Send;

    /// Draws the batch of one step. The result depends on `rng` only.
    ///
    /// # Errors
    /// Errors of libtorch.
    fn draw(&self, rng: &mut StdRng) -> Result<Self::Batch, Error>;
}

/// A batch, and the random number generator for further draws of the same step.
pub(crate) type DrawnBatch<B> = Result<(B, StdRng), Error>;

/// Calls `train` with a function that returns the batches of step `first`, `first + 1` and so on.
///
/// Each batch depends on the seed of its step only, whichever of the `threads` draws it. Without
/// threads, each batch is drawn on demand.
pub(crate) fn with_prefetch<S: BatchSource, R>(
    source: &S,
    seed: impl Fn(u64) -> u64 + Sync,
    first: u64,
    threads: usize,
    train: impl FnOnce(&mut dyn FnMut() -> DrawnBatch<S::Batch>) -> R,
) -> R {
    let draw = |step: u64| {
        let mut rng = StdRng::seed_from_u64(seed(step));
        source.draw(&mut rng).map(|batch| (batch, rng))
    };
    let mut step = first;
    if threads == 0 {
        return train(&mut || {
            step += 1;
            draw(step - 1)
        });
    }
    thread::scope(|scope| {
        let receivers: Vec<_> = (0..threads as u64)
            .map(|number| {
                let (sender, receiver) = mpsc::sync_channel(PREFETCH_DEPTH);
                let draw = &draw;
                // The thread ends when the receiver is dropped.
                scope.spawn(move || {
                    (first + number..).step_by(threads).all(|step| sender.send(draw(step)).is_ok())
                });
                receiver
            })
            .collect();
        train(&mut move || {
            let receiver = &receivers[((step - first) % threads as u64) as usize];
            step += 1;
            receiver.recv().unwrap_or(Err(Error::PrefetchThreadEnded))
        })
    })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    struct Numbers;

    impl BatchSource for Numbers {
        type Batch = u64;

        fn draw(&self, rng: &mut StdRng) -> Result<u64, Error> {
            let number = rng.random();
            if number % 7 == 0 { Err(Error::PrefetchThreadEnded) } else { Ok(number) }
        }
    }

    #[test]
    fn threads_draw_the_same_in_the_same_order() {
        let take = |threads: usize| {
            with_prefetch(
                &Numbers,
                |step| 11 * step,
                5,
                threads,
                |next| {
                    (0..40)
                        .map(|_| next().ok().map(|(number, mut rng)| (number, rng.random::<u64>())))
                        .collect::<Vec<_>>()
                },
            )
        };
        let alone = take(0);
        assert!(alone.iter().flatten().count() > 20 && alone.contains(&None));
        assert_eq!(take(1), alone);
        assert_eq!(take(3), alone);
    }
}
