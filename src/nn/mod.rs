//! The shared CNN inference core.
//!
//! A [`Model`] is a checked description of a network and its weights, read from a safetensors file.
//! A [`Network`] is a model made ready by a backend for one device; it is shared between elements.
//! A [`Session`] runs a network at one picture size and owns what changes from frame to frame.
//!
//! Pictures go in and come out a row at a time ([`Source`], [`Output`]), so that unpacking pixels and adding the
//! result into the frame happen while the first and the last layer run, without conversion passes over the frame.

pub mod arch;
pub mod cache;
pub mod cpu;

mod device;
mod error;
mod io;
pub mod model;
mod quantisation;
mod sessions;
#[cfg(feature = "torch")]
pub mod torch;

pub use cpu::Threads;
pub use device::{Device, Precision};
pub use error::Error;
pub(crate) use io::parts;
pub use io::{Output, RowSink, Size, Source};
pub use model::{Domain, Model, ModelSource, Task};
pub(crate) use sessions::Sessions;

/// A network that a backend has made ready to run. Cheap to share, never changes.
pub trait Network: Send + Sync {
    /// Planes that it works on; they tell the channels of input and output.
    fn domain(&self) -> Domain;

    /// Width and height of an input must be multiples of this.
    fn granularity(&self) -> usize;

    /// Name of the backend, and of the kernel set or device that it uses: `cpu/int8/avx512vnni`, `torch/cuda:0`.
    fn backend(&self) -> String;

    /// Prepares to run on inputs of `size` with at most `threads` threads; 0 takes all that the machine has.
    fn session(&self, size: Size, threads: usize) -> Result<Box<dyn Session>, Error>;
}

/// Runs a network at one picture size.
pub trait Session: Send {
    /// The size that it was made for.
    fn size(&self) -> Size;

    /// Runs the network over the rows of `source` and gives each row of the result to `output`.
    ///
    /// # Errors
    /// What the backend reports; the CPU backend has nothing to report.
    fn run(&mut self, source: &dyn Source, output: &mut dyn Output) -> Result<(), Error>;
}
