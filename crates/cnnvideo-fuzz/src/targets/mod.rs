// SPDX-License-Identifier: MIT OR Apache-2.0

//! The fuzz targets, one module each.

pub mod faulty;
pub mod key_file;
pub mod model;
pub mod navigation;
pub mod raw_frame;
pub mod region_mask;
pub mod text;
pub mod video_meta;
pub mod y4m;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Returns `count` inputs of up to `length` random bytes, always the same ones: the corpus of a
/// target that reads decisions from its input.
fn random_corpus(count: usize, length: usize) -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut input = || (0..rng.random_range(1..=length)).map(|_| rng.random()).collect();
    (0..count).map(|_| input()).collect()
}
