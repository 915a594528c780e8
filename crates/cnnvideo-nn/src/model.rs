//! Model files: format, validation, reading and writing.
//!
//! A model is a safetensors file. Its metadata (all values are strings) has these keys:
//!
//! | key | value |
//! | --- | --- |
//! | `format` | `1` |
//! | `task` | `denoise`, `estimate`, `smooth`, `segment` or `watermark` |
//! | `domain` | `rgb`, `yuv420`, `plane`, `guide`, `region` or `texture`; see [`Domain`] |
//! | `architecture` | `residual-unet` or `inverted-unet`; see [`Architecture`] |
//! | `hyper-parameters` | JSON object with the fields of the architecture |
//! | `version` | free text |
//! | `training` | free text: data, steps, seed |
//!
//! Tensors are named after the layers ([`ConvSpec::name`]) and have type float32, or float16 to
//! halve the file size. A model that can run in int8 also has the tensors `quantisation.input` (one
//! scale per input channel) and `quantisation.steps` (one activation scale per convolution). It may
//! have `quantisation.most` and `quantisation.finer`: further rows of activation scales, one for
//! each control limit in `most`; see [`Quantisation`]. A file with any other tensor is invalid.
//!
//! Files are untrusted input. The reader validates everything before use and returns either a
//! [`Model`] or an [`Error`] that names the wrong field.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

pub use super::quantisation::{Finer, Quantisation};
use super::{
    Error,
    arch::{Architecture, ConvSpec, Graph},
};

/// Task that a model was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Predicts the noise of a frame.
    Denoise,
    /// Predicts the noise sigma of a frame.
    Estimate,
    /// Predicts the texture of a frame and the probability of structure edges.
    Smooth,
    /// Predicts the region that the user marks.
    Segment,
    /// Predicts the watermark amplitude that each cell of a frame masks.
    Watermark,
}

impl Task {
    /// Returns the name in the metadata of model files.
    fn name(self) -> &'static str {
        match self {
            Self::Denoise => "denoise",
            Self::Estimate => "estimate",
            Self::Smooth => "smooth",
            Self::Segment => "segment",
            Self::Watermark => "watermark",
        }
    }
}

/// Input and output channels of a model.
///
/// Unless a variant states otherwise, the input channels are planes pixel-unshuffled to half the
/// frame size, with values `(code value - 128) / 255`, followed by the control maps. The output
/// also has half the frame size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// R, G and B, four channels each; one control map. The model predicts the noise of the same
    /// planes.
    Rgb,
    /// Y in four channels, then U and V; two control maps, for luma and for chroma. The model
    /// predicts the noise of the same planes.
    Yuv420,
    /// One colour component in cells of 2x2 pixels. Five channels are differences: the horizontal,
    /// vertical and diagonal Haar coefficients of the cell, and the differences of its mean to
    /// those of the left and upper neighbour cells. They are normalised so that white noise has the
    /// same standard deviation in all of them, then compressed to signed square roots. The sixth
    /// channel is the mean. The model predicts the logarithm of the noise sigma and the logarithm
    /// of the scale of its error.
    Plane,
    /// Y in four channels, then U and V; one control map. The model predicts the texture of the
    /// same planes and the logit of a structure edge.
    Guide,
    /// Y in four channels, then U and V; maps of the foreground seeds, of the background seeds and
    /// of the current region. The model predicts the logit that a pixel belongs to the region, in
    /// four channels.
    Region,
    /// Mean and standard deviation of luma in cells of several pixels; one input pixel is one cell.
    /// The model predicts the logarithm of the watermark amplitude.
    Texture,
}

impl Domain {
    /// Domains with their names in model files.
    const NAMED: [(&str, Self); 6] = [
        ("rgb", Self::Rgb),
        ("yuv420", Self::Yuv420),
        ("plane", Self::Plane),
        ("guide", Self::Guide),
        ("region", Self::Region),
        ("texture", Self::Texture),
    ];

    /// All domains, in the order in which the torch backend tries them on a TorchScript file.
    pub const ALL: [Self; 6] =
        [Self::Yuv420, Self::Rgb, Self::Plane, Self::Guide, Self::Region, Self::Texture];

    /// Returns the task of models with this domain.
    pub fn task(self) -> Task {
        match self {
            Self::Rgb | Self::Yuv420 => Task::Denoise,
            Self::Plane => Task::Estimate,
            Self::Guide => Task::Smooth,
            Self::Region => Task::Segment,
            Self::Texture => Task::Watermark,
        }
    }

    /// Returns the number of input channels without the control maps.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb => 12,
            Self::Yuv420 | Self::Plane | Self::Guide | Self::Region => 6,
            Self::Texture => 2,
        }
    }

    /// Returns the number of control maps, which follow the other input channels.
    pub const fn controls(self) -> usize {
        match self {
            Self::Rgb | Self::Guide => 1,
            Self::Yuv420 => 2,
            Self::Region => 3,
            Self::Plane | Self::Texture => 0,
        }
    }

    /// Returns the number of input channels, control maps included.
    pub const fn inputs(self) -> usize {
        self.channels() + self.controls()
    }

    /// Returns the number of output channels.
    pub fn outputs(self) -> usize {
        match self {
            Self::Rgb => 12,
            Self::Yuv420 => 6,
            Self::Plane => 2,
            Self::Guide => 7,
            Self::Region => 4,
            Self::Texture => 1,
        }
    }

    /// Returns the name in the metadata of model files.
    fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, domain)| *domain == self).map_or("", |(name, _)| name)
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Weights and biases of one convolution; [`ConvSpec::weight_shape`] gives the layout.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvWeights {
    /// Weights in row-major order of [`ConvSpec::weight_shape`].
    pub weight: Vec<f32>,
    /// One bias per output channel.
    pub bias: Vec<f32>,
}

/// A validated network: domain, architecture, layers and weights.
#[derive(Debug, Clone)]
pub struct Model {
    /// Channels of input and output, and the task.
    pub domain: Domain,
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

/// Version of the file format.
const FORMAT: &str = "1";
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
    /// [`Error::Invalid`] when the channels do not fit the domain, when sizes do not fit the graph
    /// or when a weight is not finite.
    pub fn new(
        domain: Domain,
        architecture: Architecture,
        weights: Vec<ConvWeights>,
    ) -> Result<Self, Error> {
        let graph = checked_graph(domain, &architecture)?;
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
        Ok(Self { domain, architecture, version, training, graph, weights, quantisation: None })
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
        let text = |key: &str| {
            metadata
                .get(key)
                .map(String::as_str)
                .ok_or_else(|| Error::invalid(key, "missing from the metadata"))
        };
        let one_of = |key: &str, known: &[&str]| {
            let value = text(key)?;
            known.iter().position(|k| *k == value).ok_or_else(|| {
                Error::invalid(
                    key,
                    format!("'{}' is not one of {}", excerpt(value), known.join(", ")),
                )
            })
        };
        one_of("format", &[FORMAT])?;
        let tasks = [Task::Denoise, Task::Estimate, Task::Smooth, Task::Segment, Task::Watermark];
        let task = tasks[one_of("task", &tasks.map(Task::name))?];
        let (_, domain) = Domain::NAMED[one_of("domain", &Domain::NAMED.map(|(name, _)| name))?];
        if domain.task() != task {
            return Err(Error::invalid(
                "domain",
                format!("'{domain}' does not belong to the task {}", task.name()),
            ));
        }
        one_of("architecture", &Architecture::NAMES)?;
        let architecture = Architecture::parse(text("architecture")?, text("hyper-parameters")?)?;
        let graph = checked_graph(domain, &architecture)?;

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
        let (version, training) = (text("version")?.to_owned(), text("training")?.to_owned());
        Ok(Self { domain, architecture, version, training, graph, weights, quantisation })
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
        let hyper = serde_json::to_string(&self.architecture)
            .map_err(|err| Error::invalid("hyper-parameters", err.to_string()))?;
        let metadata = HashMap::from(
            [
                ("format", FORMAT),
                ("task", self.domain.task().name()),
                ("domain", self.domain.name()),
                ("architecture", self.architecture.name()),
                ("hyper-parameters", &hyper),
                ("version", &self.version),
                ("training", &self.training),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
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
        views
            .and_then(|views| safetensors::serialize(views, Some(metadata)))
            .map_err(|err| Error::invalid("tensors", err.to_string()))
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

/// Builds the graph of an architecture, and checks that its channels fit the domain and that it is
/// not too large.
fn checked_graph(domain: Domain, architecture: &Architecture) -> Result<Graph, Error> {
    let [inputs, outputs] = architecture.ends();
    for (field, has, needs) in
        [("inputs", inputs, domain.inputs()), ("outputs", outputs, domain.outputs())]
    {
        if has != needs {
            return Err(Error::invalid(field, format!("{has}, expected {needs} for the domain")));
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

/// Returns the first 40 characters of a text from a file, escaped for use in a message.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}
