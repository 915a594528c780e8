//! CNN inference core.
//!
//! * A [`Model`] is a validated network description with its weights, read from a safetensors file.
//! * A [`Network`] is a model prepared by a backend (weights packed or uploaded for one device). It
//!   is immutable, and several elements share it.
//! * A [`Session`] runs a network at one input size and owns the state that changes between runs.
//!
//! Input and output pass through the core one row at a time ([`Source`], [`Output`]). Pixel format
//! conversion therefore happens while the first and the last layer run, without separate passes
//! over the frame.

pub mod arch;
pub mod cache;
pub mod cpu;

mod device;
mod error;
mod io;
pub mod model;
mod quantisation;
mod sessions;
mod signature;
pub mod simd;
mod tensor;
#[cfg(feature = "torch")]
pub mod torch;

pub use cpu::Threads;
pub use device::{Device, Precision};
pub use error::Error;

pub use io::{Output, RowSink, Size, Source, parts};
pub use model::{Model, ModelSource};
pub use sessions::Sessions;
pub use signature::{IoSpec, Signature};
pub use tensor::Tensor;

/// A network that a backend has prepared to run. It is immutable and cheap to share.
pub trait Network: Send + Sync {
    /// Returns the task of the model, see [`Signature`].
    fn task(&self) -> &str;

    /// Returns the channels of input and output.
    fn io(&self) -> IoSpec;

    /// Returns the number that the width and the height of an input must be multiples of.
    fn granularity(&self) -> usize;

    /// Returns the name of the backend with its kernel set or device, such as `cpu/int8/avx512vnni`
    /// or `torch/cuda:0`.
    fn backend(&self) -> String;

    /// Creates a session for inputs of `size` that uses at most `threads` threads; 0 uses all
    /// processors of the machine.
    ///
    /// # Errors
    /// [`Error::Backend`] for a size that the network cannot run on, or when the backend cannot
    /// allocate its resources.
    fn session(&self, size: Size, threads: usize) -> Result<Box<dyn Session>, Error>;
}

/// Runs a network at one input size.
pub trait Session: Send {
    /// Returns the input size that the session was created for.
    fn size(&self) -> Size;

    /// Reads all rows of `source`, runs the network and writes every row of the result to `output`.
    ///
    /// # Errors
    /// [`Error::Backend`] when the backend fails. The CPU backend never fails here.
    fn run(&mut self, source: &dyn Source, output: &mut dyn Output) -> Result<(), Error>;
}
