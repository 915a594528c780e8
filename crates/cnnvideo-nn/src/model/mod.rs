// SPDX-License-Identifier: MIT OR Apache-2.0

//! Model files: format, validation, reading and writing.
//!
//! A model is a safetensors file. Its metadata (all values are strings) has these keys:
//!
//! | key | value |
//! | --- | --- |
//! | `format` | `2` |
//! | `task` | name of the task; the algorithm that loads the model compares it |
//! | `picture-channels`, `control-channels`, `output-channels` | numbers, see [`IoSpec`] |
//! | `architecture` | `residual-unet` or `inverted-unet`; see [`Architecture`] |
//! | `hyper-parameters` | JSON object with the fields of the architecture |
//! | `version` | free text |
//! | `training` | free text: data, steps, seed |
//!
//! Files of format 1 remain readable. They have the key `domain` in place of the channel counts;
//! their task is `task-domain`.
//!
//! Tensors are named after the layers ([`ConvSpec::name`]) and have type float32, or float16 to
//! halve the file size. A model that can run in int8 also has the tensors `quantisation.input` (one
//! scale per input channel) and `quantisation.steps` (one activation scale per convolution). It may
//! have `quantisation.most` and `quantisation.finer`: further rows of activation scales, one for
//! each control limit in `most`; see [`Quantisation`]. A file with any other tensor is invalid.
//!
//! Files are untrusted input. The reader validates everything before use and returns either a
//! [`Model`] or an [`Error`] that names the wrong field.
//!
//! [`ConvSpec::name`]: super::arch::ConvSpec::name

mod file;
mod metadata;

use std::path::PathBuf;

pub use file::open_regular_file;

pub use super::quantisation::{LowNoiseScales, Quantisation, ScaleSet};
use super::{
    Error, IoSpec, Signature,
    arch::{Architecture, Graph},
};

/// Weights and biases of one convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvWeights {
    /// Weights in row-major order of
    /// [`ConvSpec::weight_shape`](super::arch::ConvSpec::weight_shape).
    pub weight: Vec<f32>,
    /// One bias per output channel.
    pub bias: Vec<f32>,
}

/// A validated network: task, channels, architecture, layers and weights.
#[derive(Debug, Clone)]
pub struct Model {
    /// Task, see [`Signature`].
    pub task: String,
    /// Channels of input and output.
    pub io: IoSpec,
    /// Architecture with its hyper-parameters.
    pub architecture: Architecture,
    /// Version, free text.
    pub version: String,
    /// Description of the training (data, steps, seed), free text.
    pub training: String,
    graph: Graph,
    weights: Vec<ConvWeights>,
    quantisation: Option<Quantisation>,
}

/// Source of a model. It also identifies the model in the cache of loaded networks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelSource {
    /// A model that is compiled into the plugin.
    Embedded {
        /// Name for messages and for the cache.
        name: &'static str,
        /// Contents of the model file.
        bytes: &'static [u8],
    },
    /// A model file.
    File(PathBuf),
}

impl ModelSource {
    /// Reads and validates the model.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Read`] or [`Error::Invalid`].
    pub fn load(&self) -> Result<Model, Error> {
        match self {
            Self::Embedded { bytes, .. } => Model::from_bytes(bytes),
            Self::File(path) => Model::from_file(path),
        }
    }
}

impl std::fmt::Display for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded { name, .. } => write!(f, "built-in {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Upper limit of the number of weights and biases.
const MAX_PARAMETERS: usize = 32 << 20;
/// Upper limit of the magnitude of weights and biases, far above that of trained ones. Larger
/// values could overflow the activations.
const MAX_WEIGHT: f32 = 1e4;

impl Model {
    /// Creates a model from its parts, with `weights` in the order of [`Graph::convs`].
    ///
    /// # Errors
    /// [`Error::Invalid`] when the architecture has other channels than the signature, when sizes
    /// do not fit the graph or when a weight is not finite.
    pub fn new(
        signature: Signature,
        architecture: Architecture,
        weights: Vec<ConvWeights>,
    ) -> Result<Self, Error> {
        let graph = checked_graph(signature.io, &architecture)?;
        if weights.len() != graph.convs.len() {
            return Err(Error::invalid(
                "weights",
                format!("{} convolutions, expected {}", weights.len(), graph.convs.len()),
            ));
        }
        for (spec, conv) in graph.convs.iter().zip(&weights) {
            let size: usize = spec.weight_shape().iter().product();
            if conv.weight.len() != size || conv.bias.len() != spec.out_channels {
                return Err(Error::invalid(&spec.name, "wrong number of weights or biases"));
            }
            check_values(&spec.name, conv.weight.iter().chain(&conv.bias))?;
        }
        let (version, training) = (String::new(), String::new());
        let (task, io) = (signature.task.to_owned(), signature.io);
        Ok(Self { task, io, architecture, version, training, graph, weights, quantisation: None })
    }

    /// Returns the layers of the model.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the weights in the order of [`Graph::convs`].
    pub fn weights(&self) -> &[ConvWeights] {
        &self.weights
    }

    /// Returns the activation scales for int8, if the model was trained for int8.
    pub fn quantisation(&self) -> Option<&Quantisation> {
        self.quantisation.as_ref()
    }

    /// Returns the model with the given activation scales.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the scales do not fit the model.
    pub fn with_quantisation(self, quantisation: Quantisation) -> Result<Self, Error> {
        quantisation.check(&self.graph)?;
        Ok(Self { quantisation: Some(quantisation), ..self })
    }
}

/// Builds the graph of an architecture, and checks that it has the declared channels and that it is
/// not too large.
fn checked_graph(io: IoSpec, architecture: &Architecture) -> Result<Graph, Error> {
    // The declared numbers come from a file, so that their sum can exceed the range.
    let inputs = io.picture.saturating_add(io.control);
    for (field, channels, declared) in [
        ("inputs", architecture.input_channels(), inputs),
        ("outputs", architecture.output_channels(), io.output),
    ] {
        if channels != declared {
            return Err(Error::invalid(
                field,
                format!("{channels} channels, but the file declares {declared}"),
            ));
        }
    }
    let graph = architecture.graph()?;
    if graph.parameters() > MAX_PARAMETERS {
        return Err(Error::invalid(
            "hyper-parameters",
            format!("{} parameters exceed {MAX_PARAMETERS}", graph.parameters()),
        ));
    }
    Ok(graph)
}

/// Checks that all values are finite and within [`MAX_WEIGHT`].
fn check_values<'a>(name: &str, values: impl IntoIterator<Item = &'a f32>) -> Result<(), Error> {
    match values.into_iter().find(|v| !v.is_finite() || v.abs() > MAX_WEIGHT) {
        Some(bad) => {
            Err(Error::invalid(name, format!("value {bad} is not a number within +-{MAX_WEIGHT}")))
        }
        None => Ok(()),
    }
}
