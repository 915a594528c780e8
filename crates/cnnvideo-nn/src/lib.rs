// SPDX-License-Identifier: MIT OR Apache-2.0

//! Inference of small convolutional networks on video frames.
//!
//! The crate runs networks of up to about a million weights on the CPU. Rows stream through the
//! layers of one resolution while they are in cache, and pixels are converted while the first and
//! the last layer run, without separate passes over the frame. The arithmetic is float32, or int8
//! with 16-bit residuals. There are kernels for AMX, AVX-512, AVX-VNNI, AVX2 and NEON, and portable
//! ones.
//!
//! The crate does not depend on video formats or on the purpose of a network. A model declares the
//! name of a task and numbers of channels; the algorithm that uses the model interprets them.
//!
//! # Overview
//!
//! * [`Model`]: a validated description of a network with its weights, read from a safetensors
//!   file (see [`model`] for the format) or assembled by a trainer.
//! * [`arch`]: architectures, which turn hyper-parameters into a [`Graph`](arch::Graph) of layers.
//! * [`Network`]: a model prepared by a backend, with weights packed for one instruction set
//!   ([`cpu`]) or uploaded to a device (`torch`). It is immutable, and several users share it.
//! * [`network_cache`]: loads networks and shares those that are in use.
//! * [`Session`]: runs a network at one input size and owns the memory for that. [`SessionCache`]
//!   keeps the sessions for the frame sizes of a stream.
//! * [`Source`] and [`Output`]: supply the rows of the input and receive the rows of the output.
//!   Algorithms implement them to convert pixels while the network runs.
//! * [`Tensor`]: values in memory that serve as source and output.
//! * [`Signature`]: the task and the channels that an algorithm expects of a network.
//! * [`simd`]: helpers for plain Rust code that the compiler vectorises.
//!
//! Input and output are rows of interleaved pixels: all channels of the first pixel, then those of
//! the second one. The channels of a picture come first, those of control maps (parameters of the
//! network for each pixel, such as a noise sigma) follow.
//!
//! # Examples
//!
//! Create a network with random weights, and run it:
//!
//! ```
//! use cnnvideo_nn::{
//!     IoSpec, Model, Network, Signature, Size, Tensor,
//!     arch::{Architecture, ResidualUnet},
//!     cpu::FloatNetwork,
//!     model::ConvWeights,
//! };
//!
//! const DENOISE: Signature =
//!     Signature::new("denoise", IoSpec { picture: 3, control: 1, output: 3 });
//!
//! # fn main() -> Result<(), cnnvideo_nn::Error> {
//! // A U-Net with two stages.
//! let architecture = Architecture::ResidualUnet(ResidualUnet {
//!     inputs: DENOISE.io.input_channels(),
//!     outputs: DENOISE.io.output,
//!     widths: vec![8, 16],
//!     hidden: vec![8, 16],
//!     down_blocks: vec![1, 1],
//!     up_blocks: vec![1],
//! });
//! let graph = architecture.graph()?;
//! let weights = graph.convs.iter().map(|conv| {
//!     let count = conv.weight_shape().iter().product();
//!     ConvWeights {
//!         weight: (0..count).map(|_| rand::random_range(-0.1..0.1)).collect(),
//!         bias: vec![0.0; conv.out_channels],
//!     }
//! });
//! let model = Model::new(DENOISE, architecture, weights.collect())?;
//!
//! let network = FloatNetwork::new(model)?;
//! // Width and height are multiples of this.
//! assert_eq!(network.granularity(), 2);
//! let size = Size { width: 64, height: 48 };
//! let mut session = network.session(size, 0)?;
//!
//! let input = Tensor::zeros(size, network.io().input_channels());
//! let output = input.run(&mut *session, network.io().output)?;
//! let Size { width, height } = output.size();
//! println!("{width}x{height} pixels with {} channels", output.channels());
//! # assert_eq!((output.size(), output.channels()), (size, 3));
//! # Ok(())
//! # }
//! ```
//!
//! Load a model file for the fastest device and arithmetic, and check that it fits:
//!
//! ```no_run
//! use cnnvideo_nn::{Device, IoSpec, ModelSource, Precision, Signature, network_cache};
//!
//! const DENOISE: Signature =
//!     Signature::new("denoise-rgb", IoSpec { picture: 12, control: 1, output: 12 });
//!
//! # fn main() -> Result<(), cnnvideo_nn::Error> {
//! let source = ModelSource::File("models/denoise-rgb-fast.safetensors".into());
//! let network = network_cache::load(&source, Device::Auto, Precision::Auto, &[DENOISE])?;
//! println!("{} runs on {}", network.task(), network.backend());
//! # Ok(())
//! # }
//! ```
//!
//! # Environment variables
//!
//! `CNNVIDEO_KERNELS` selects a kernel set of the CPU backend: the first available one whose name
//! begins with the value of the variable. A value without a match has no effect. The names are
//! those that [`FloatKernels::name`](cpu::FloatKernels::name) and
//! [`Int8Kernels::name`](cpu::Int8Kernels::name) return, for example `avx2`.
//!
//! # Features
//!
//! * `torch` adds the module `torch`: a backend that runs models on CUDA devices with libtorch,
//!   runs TorchScript files, and has the differentiable forward pass that training needs. A
//!   TorchScript file is a program that runs with the rights of the process.

pub mod arch;
pub mod cpu;
pub mod files;
pub mod model;
pub mod network_cache;
pub mod simd;
#[cfg(feature = "torch")]
pub mod torch;

mod device;
mod error;
mod io;
mod plane_output;
mod quantisation;
mod session_cache;
mod signature;
mod tensor;

pub use cpu::Threads;
pub use device::{Device, Precision};
pub use error::Error;
pub use io::{Output, RowSink, Size, Source, split_rows};
pub use model::{Model, ModelSource};
pub use plane_output::PlaneOutput;
pub use session_cache::SessionCache;
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
