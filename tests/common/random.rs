// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random numbers for tests, from a fixed seed.

use rand::{Rng, rngs::StdRng};

/// Approximately normal with zero mean and unit variance.
pub(crate) fn normal(rng: &mut StdRng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}
