// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compute kernels of the CPU backend: one module per arithmetic, each with a safe interface over
//! implementations for several instruction sets.

pub(super) mod float;
pub(super) mod int8;
mod winograd;

/// Rows per row block: the number of rows of a 3x3 convolution that a kernel computes in one call.
pub(super) const ROW_BLOCK: usize = 4;

/// Environment variable with the beginning of the name of the kernel set to use.
const SELECTION_VARIABLE: &str = "CNNVIDEO_KERNELS";

/// Returns the first of `available` kernel sets whose name begins with the value of the environment
/// variable `CNNVIDEO_KERNELS`. Without the variable or a match, returns the first one, which is
/// the fastest.
///
/// # Panics
/// If `available` is empty.
fn select_kernels<K: Copy>(available: &[K], name: fn(K) -> &'static str) -> K {
    let wanted = std::env::var(SELECTION_VARIABLE).ok();
    let is_wanted = |k: &&K| wanted.as_deref().is_some_and(|wanted| name(**k).starts_with(wanted));
    *available.iter().find(is_wanted).unwrap_or(&available[0])
}
