// SPDX-License-Identifier: MIT OR Apache-2.0

//! Targets with faults, with which the tests check that the driver finds them. The driver runs them
//! only where they are named.

use std::{thread, time::Duration};

use crate::Target;

/// The targets. Each one fails on inputs that begin with `!`, of which the corpus has none.
pub const TARGETS: [Target; 4] = [
    target("faulty-panic", |data| assert!(is_fine(data), "a fault")),
    target("faulty-thread", |data| {
        let fine = is_fine(data);
        // The panic does not reach the thread that waits.
        let _ = thread::spawn(move || assert!(fine, "a fault")).join();
    }),
    target("faulty-hang", |data| {
        while !is_fine(data) {
            thread::sleep(Duration::from_secs(1));
        }
    }),
    target("faulty-abort", |data| {
        if !is_fine(data) {
            std::process::abort();
        }
    }),
];

/// Returns whether a target must not fail on an input.
fn is_fine(data: &[u8]) -> bool {
    !data.starts_with(b"!")
}

/// Creates a target.
const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        about: "fails, for tests of the driver",
        corpus: || vec![b"fine".to_vec()],
        dictionary: &["!"],
        mutate: None,
        repair: None,
        run,
    }
}
