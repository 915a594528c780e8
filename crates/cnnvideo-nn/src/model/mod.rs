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

mod metadata;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use metadata::Metadata;

pub use super::quantisation::{Finer, Quantisation};
use super::{
    Error, IoSpec, Signature,
    arch::{Architecture, ConvSpec, Graph},
};

/// Weights and biases of one convolution; [`ConvSpec::weight_shape`] gives the layout.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvWeights {
    /// Weights in row-major order of [`ConvSpec::weight_shape`].
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

/// Upper limit of the file size; all models of the plugin are far smaller.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Upper limit of the number of weights and biases.
const MAX_PARAMETERS: usize = 32 << 20;
/// Number of parameters above which [`Model::to_bytes`] writes weights in float16 to halve the file
/// size.
const HALF_ABOVE: usize = 400_000;
/// Upper limit of the magnitude of weights and biases, far above that of trained ones. Larger
/// values could overflow the activations.
const MAX_WEIGHT: f32 = 1e4;

impl Model {
    /// Creates a model from its parts, with `weights` in the order of [`Graph::convs`].
    ///
    /// # Errors
    /// [`Error::Invalid`] when the architecture has other channels than the signature, when sizes do
    /// not fit the graph or when a weight is not finite.
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
            if conv.weight.len() != size || conv.bias.len() != spec.outputs {
                return Err(Error::invalid(&spec.name, "wrong number of weights or biases"));
            }
            check_values(&spec.name, conv.weight.iter().chain(&conv.bias))?;
        }
        let (version, training) = (String::new(), String::new());
        let (task, io) = (signature.task.to_owned(), signature.io);
        Ok(Self { task, io, architecture, version, training, graph, weights, quantisation: None })
    }

    /// Parses the contents of a model file.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the missing or wrong field.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (_, header) = SafeTensors::read_metadata(bytes)
            .map_err(|err| Error::invalid("safetensors header", err.to_string()))?;
        let file = SafeTensors::deserialize(bytes)
            .map_err(|err| Error::invalid("safetensors file", err.to_string()))?;
        let metadata =
            header.metadata().as_ref().ok_or_else(|| Error::invalid("metadata", "missing"))?;
        let metadata = Metadata::parse(metadata)?;
        let graph = checked_graph(metadata.io, &metadata.architecture)?;

        let weights =
            graph.convs.iter().map(|spec| read_conv(&file, spec)).collect::<Result<Vec<_>, _>>()?;
        let quantisation = read_quantisation(&file, &graph)?;
        let steps =
            quantisation.as_ref().map_or(0, |steps| if steps.finer.is_empty() { 2 } else { 4 });
        let count = 2 * graph.convs.len() + steps;
        if file.len() != count {
            return Err(Error::invalid(
                "tensors",
                format!("{} tensors, expected {count}", file.len()),
            ));
        }
        let Metadata { task, io, architecture, version, training } = metadata;
        Ok(Self { task, io, architecture, version, training, graph, weights, quantisation })
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Read`] or [`Error::Invalid`].
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let read_error = |reason: String| Error::Read { path: path.to_owned(), reason };
        let file = File::open(path).map_err(|err| match err.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound(path.to_owned()),
            _ => read_error(err.to_string()),
        })?;
        if !file.metadata().map_err(|err| read_error(err.to_string()))?.is_file() {
            return Err(read_error("not a regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|err| read_error(err.to_string()))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(read_error(format!(
                "larger than {} MiB, so it is not a model file",
                MAX_FILE_BYTES >> 20
            )));
        }
        Self::from_bytes(&bytes)
    }

    /// Returns the contents of a model file that holds this model.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the tensors cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut tensors = Vec::with_capacity(2 * self.weights.len() + 4);
        // The rounding error of float16 does not matter to large networks. Small ones, which run in
        // int8, keep float32.
        let half = self.graph.parameters() > HALF_ABOVE;
        for (spec, conv) in self.graph.convs.iter().zip(&self.weights) {
            let (dtype, weights) = if half {
                (Dtype::F16, half_bytes(&conv.weight))
            } else {
                (Dtype::F32, le_bytes(&conv.weight))
            };
            tensors.push((
                format!("{}.weight", spec.name),
                spec.weight_shape().to_vec(),
                dtype,
                weights,
            ));
            tensors.push((
                format!("{}.bias", spec.name),
                vec![spec.outputs],
                Dtype::F32,
                le_bytes(&conv.bias),
            ));
        }
        if let Some(Quantisation { input, convs, finer }) = &self.quantisation {
            tensors.push((INPUT_STEPS.to_owned(), vec![input.len()], Dtype::F32, le_bytes(input)));
            tensors.push((CONV_STEPS.to_owned(), vec![convs.len()], Dtype::F32, le_bytes(convs)));
            if !finer.is_empty() {
                let most: Vec<f32> = finer.iter().map(|finer| finer.most).collect();
                let steps: Vec<f32> =
                    finer.iter().flat_map(|finer| finer.convs.iter().copied()).collect();
                tensors.push((MOST.to_owned(), vec![most.len()], Dtype::F32, le_bytes(&most)));
                tensors.push((
                    FINER_STEPS.to_owned(),
                    vec![most.len(), convs.len()],
                    Dtype::F32,
                    le_bytes(&steps),
                ));
            }
        }
        let views = tensors
            .iter()
            .map(|(name, shape, dtype, data)| {
                Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), data)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let metadata = self.metadata().entries()?;
        views
            .and_then(|views| safetensors::serialize(views, Some(metadata)))
            .map_err(|err| Error::invalid("tensors", err.to_string()))
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            task: self.task.clone(),
            io: self.io,
            architecture: self.architecture.clone(),
            version: self.version.clone(),
            training: self.training.clone(),
        }
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

const INPUT_STEPS: &str = "quantisation.input";
const CONV_STEPS: &str = "quantisation.steps";
const MOST: &str = "quantisation.most";
const FINER_STEPS: &str = "quantisation.finer";

/// Reads the activation scales, if the file has any.
fn read_quantisation(file: &SafeTensors<'_>, graph: &Graph) -> Result<Option<Quantisation>, Error> {
    if file.tensor(INPUT_STEPS).is_err() && file.tensor(CONV_STEPS).is_err() {
        return Ok(None);
    }
    let convs = graph.convs.len();
    let mut quantisation = Quantisation::new(
        read_tensor(file, INPUT_STEPS, &[graph.input_channels()])?,
        read_tensor(file, CONV_STEPS, &[convs])?,
    );
    if let Ok(most) = file.tensor(MOST) {
        let most = read_tensor(file, MOST, &[most.shape().iter().product()])?;
        let steps = read_tensor(file, FINER_STEPS, &[most.len(), convs])?;
        let finer = most.into_iter().zip(steps.chunks(convs));
        quantisation.finer =
            finer.map(|(most, convs)| Finer { most, convs: convs.to_vec() }).collect();
    }
    quantisation.check(graph)?;
    Ok(Some(quantisation))
}

/// Builds the graph of an architecture, and checks that it has the declared channels and that it is
/// not too large.
fn checked_graph(io: IoSpec, architecture: &Architecture) -> Result<Graph, Error> {
    let [inputs, outputs] = architecture.ends();
    let declared = io.picture.checked_add(io.control).unwrap_or(usize::MAX);
    for (field, has, needs) in [("inputs", inputs, declared), ("outputs", outputs, io.output)] {
        if has != needs {
            return Err(Error::invalid(
                field,
                format!("{has} channels, but the file declares {needs}"),
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

/// Reads weights and biases of a convolution.
fn read_conv(file: &SafeTensors<'_>, spec: &ConvSpec) -> Result<ConvWeights, Error> {
    Ok(ConvWeights {
        weight: read_tensor(file, &format!("{}.weight", spec.name), &spec.weight_shape())?,
        bias: read_tensor(file, &format!("{}.bias", spec.name), &[spec.outputs])?,
    })
}

/// Reads a float32 or float16 tensor of the given shape.
fn read_tensor(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
    let tensor = file.tensor(name).map_err(|_| Error::invalid(name, "tensor missing"))?;
    if tensor.shape() != shape {
        return Err(Error::invalid(
            name,
            format!("shape {:?}, expected {shape:?}", tensor.shape()),
        ));
    }
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => {
            tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }
        Dtype::F16 => tensor
            .data()
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect(),
        other => {
            return Err(Error::invalid(name, format!("type {other:?}, expected F32 or F16")));
        }
    };
    check_values(name, &values)?;
    Ok(values)
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

/// Returns the values as little-endian float32.
fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Returns the values as little-endian float16.
fn half_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
}
