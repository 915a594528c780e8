// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fuzz targets of the plugin, and a driver that runs them on the stable toolchain (`make fuzz`).
//!
//! A [`Target`] feeds bytes to code that reads data from outside: files, strings, buffers, metas
//! and events. It panics if that code breaks a promise. The targets of cargo-fuzz (`fuzz/` in the
//! root of the repository) call the same functions.
//!
//! The driver has no feedback from coverage. It makes its inputs from a corpus of valid ones by
//! random mutations ([`mutate`]). An input depends only on target, seed and number, so a failure
//! can be found again. Each target runs in a process of its own, which the driver watches: a
//! crash, a panic on any thread, a hang or too much memory is a failure.

pub mod driver;
pub mod input;
pub mod mutate;
pub mod targets;

mod elements;
mod scratch;

use rand::rngs::StdRng;

/// A function that is fuzzed, and what the driver needs to make inputs for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name on the command line and in file names.
    pub name: &'static str,
    /// What the target fuzzes, in a few words.
    pub about: &'static str,
    /// Returns valid inputs to mutate, always the same ones.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Strings that mutations insert.
    pub dictionary: &'static [&'static str],
    /// Changes an input such that it stays nearly valid. Three of four inputs are made this way,
    /// the others by changes of any bytes.
    pub mutate: Option<fn(&mut Vec<u8>, &mut StdRng)>,
    /// Restores what a mutation of bytes breaks in nearly every case, such as a length field, so
    /// that the input reaches code behind the first check.
    pub repair: Option<fn(&mut [u8])>,
    /// Processes one input.
    ///
    /// # Panics
    /// If the code under test breaks a promise.
    pub run: fn(&[u8]),
}

/// All targets, in the order in which the driver runs them.
pub const TARGETS: [Target; 8] = [
    targets::model::TARGET,
    targets::text::TARGET,
    targets::key_file::TARGET,
    targets::region_mask::TARGET,
    targets::video_meta::TARGET,
    targets::raw_frame::TARGET,
    targets::navigation::TARGET,
    targets::y4m::TARGET,
];

/// Returns the target with a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().chain(targets::faulty::TARGETS).find(|target| target.name == name)
}

/// Processes one input with the target called `name`, for cargo-fuzz.
///
/// # Panics
/// If there is no such target, or if the code under test breaks a promise.
pub fn run(name: &str, data: &[u8]) {
    (target(name).expect("the name is that of a target").run)(data);
}
