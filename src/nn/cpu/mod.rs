//! The embedded CPU backend: float32, no library but this crate.
//!
//! Layer by layer, each one shared out over the threads in bands of rows. Both convolutions of a residual block run
//! together, so what lies between them is a few rows that stay in cache; the first layer takes its rows straight from
//! the [`Source`](super::Source) and the last gives them straight to the [`Output`](super::Output).

pub mod kernels;
mod layers;
mod map;
mod network;
mod pack;
mod session;
mod threads;

pub use network::CpuNetwork;
