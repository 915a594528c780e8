//! The embedded CPU backend: float32 or 8-bit integers, no library but this crate.
//!
//! Layers that work at the same resolution run together: rows stream through all of them while they are in cache, in
//! bands that are shared out over the threads. The first layer takes its rows straight from the
//! [`Source`](super::Source) and the last gives them straight to the [`Output`](super::Output).

mod arithmetic;
mod float;
mod int8;
pub mod kernels;
mod map;
mod network;
mod plan;
mod session;
mod stream;
mod threads;

pub use network::{CpuNetwork, FloatNetwork, Int8Network};
pub use threads::Threads;
