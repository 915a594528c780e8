// SPDX-License-Identifier: MIT OR Apache-2.0

//! CPU backend in float32 or int8, written in Rust without an external library.
//!
//! Consecutive layers of the same resolution form a chain. Rows stream through all layers of a
//! chain while they are in cache, in bands that the threads of a pool process in parallel. The
//! first layer reads its rows from the [`Source`](super::Source), and the last one writes its rows
//! to the [`Output`](super::Output).

mod arithmetic;
mod float;
mod int8;
mod kernels;
mod map;
mod matrix;
mod network;
mod plan;
mod session;
mod stream;
mod threads;

pub use kernels::{
    float::FloatKernels,
    int8::{Int8Kernels, StorageForm},
};
pub use network::{CpuNetwork, FloatNetwork, Int8Network};
pub use threads::Threads;
