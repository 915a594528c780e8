//! Model files.
//!
//! A model is a safetensors file. Its metadata (all values are strings) has:
//!
//! | key | value |
//! | --- | --- |
//! | `format` | `1` |
//! | `task` | `denoise`, `estimate`, `smooth`, `segment` or `watermark` |
//! | `domain` | `rgb`, `yuv420`, `plane`, `guide`, `region` or `texture`: the planes that go in and come out, see [`Domain`] |
//! | `architecture` | `residual-unet` or `inverted-unet`, see [`Architecture`] |
//! | `hyper-parameters` | JSON object of the architecture's fields |
//! | `version` | free text |
//! | `training` | free text: data, steps, seed |
//!
//! Tensors are float32 or, to halve the file, float16, named after the layers ([`ConvSpec::name`]). A model that can run in 8-bit integers also has
//! `quantisation.input` and `quantisation.steps`, and may have `quantisation.most` and `quantisation.finer`, a row of steps for each of its values,
//! see [`Quantisation`]. There are no others.
//! Everything is checked before it is used; a file from anywhere gives a model or an [`Error`] that names the field.

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

/// What a model was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Tells the noise of a picture.
    Denoise,
    /// Tells how strong the noise of a picture is.
    Estimate,
    /// Tells the texture of a picture, and where structure has edges.
    Smooth,
    /// Tells the region that a person points at.
    Segment,
    /// Tells how much of a watermark each place hides.
    Watermark,
}

impl Task {
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

/// Planes that make up a model's input, pixel-unshuffled to half the frame's size, values `(v - 128) / 255`,
/// followed by the control maps; and what its output is made of, also at half the frame's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// R, G and B, four channels each; one control map. Out comes the noise of the same planes.
    Rgb,
    /// Y in four channels, then U and V; two control maps, for luma and for chroma. Out comes the noise of the same planes.
    Yuv420,
    /// One component: how the columns, the rows and the diagonals of 2x2 pixels differ, and how their mean differs from that of the four to the left and
    /// above, all for a standard deviation as that of white noise and as square roots with their sign; and that mean. Out come a logarithm of the noise's level and one of the scale of its error.
    Plane,
    /// Y in four channels, then U and V; one control map. Out comes the texture of the same planes, and how likely an edge
    /// of structure is (before the logistic function).
    Guide,
    /// Y in four channels, then U and V; maps of the seeds inside, of those outside and of the region so far. Out comes how likely
    /// each pixel belongs to the region (before the logistic function), in four channels.
    Region,
    /// Mean and deviation of luma in cells of some pixels, not of half the frame's size. Out comes the logarithm of an amplitude.
    Texture,
}

impl Domain {
    const NAMED: [(&str, Self); 6] = [
        ("rgb", Self::Rgb),
        ("yuv420", Self::Yuv420),
        ("plane", Self::Plane),
        ("guide", Self::Guide),
        ("region", Self::Region),
        ("texture", Self::Texture),
    ];

    pub const ALL: [Self; 6] =
        [Self::Yuv420, Self::Rgb, Self::Plane, Self::Guide, Self::Region, Self::Texture];

    /// What models that work on these planes are for.
    pub fn task(self) -> Task {
        match self {
            Self::Rgb | Self::Yuv420 => Task::Denoise,
            Self::Plane => Task::Estimate,
            Self::Guide => Task::Smooth,
            Self::Region => Task::Segment,
            Self::Texture => Task::Watermark,
        }
    }

    /// Channels of picture content in the input.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb => 12,
            Self::Yuv420 | Self::Plane | Self::Guide | Self::Region => 6,
            Self::Texture => 2,
        }
    }

    /// Control maps that follow them.
    pub const fn controls(self) -> usize {
        match self {
            Self::Rgb | Self::Guide => 1,
            Self::Yuv420 => 2,
            Self::Region => 3,
            Self::Plane | Self::Texture => 0,
        }
    }

    /// All channels of the input.
    pub const fn inputs(self) -> usize {
        self.channels() + self.controls()
    }

    /// Channels of the output.
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

    fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, domain)| *domain == self).map_or("", |(name, _)| name)
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Weights and bias of one convolution, in the layout that [`ConvSpec::weight_shape`] tells.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvWeights {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// A network: what it is for, its layers and its weights.
#[derive(Debug, Clone)]
pub struct Model {
    pub domain: Domain,
    pub architecture: Architecture,
    pub version: String,
    pub training: String,
    graph: Graph,
    weights: Vec<ConvWeights>,
    quantisation: Option<Quantisation>,
}

/// Where a model comes from; also its identity in the cache of loaded models.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelSource {
    /// A model that is part of the plugin.
    Embedded {
        name: &'static str,
        bytes: &'static [u8],
    },
    File(PathBuf),
}

impl ModelSource {
    /// Reads and checks the model.
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

const FORMAT: &str = "1";
/// No model of this plugin comes near; a larger file is not a model.
const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_PARAMETERS: usize = 32 << 20;
/// Parameters above which weights are written in float16, for the size of the file.
const HALF_ABOVE: usize = 400_000;
/// Trained weights lie well within; beyond, activations could overflow.
const MAX_WEIGHT: f32 = 1e4;

impl Model {
    /// Puts a model together from its parts, `weights` in the order of the graph's convolutions.
    ///
    /// # Errors
    /// [`Error::Invalid`] where sizes do not fit or a weight is not finite.
    pub fn new(
        domain: Domain,
        architecture: Architecture,
        weights: Vec<ConvWeights>,
    ) -> Result<Self, Error> {
        let graph = checked_graph(domain, &architecture)?;
        if weights.len() != graph.convs.len() {
            return Err(Error::invalid(
                "weights",
                format!("{} where {} are needed", weights.len(), graph.convs.len()),
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

    /// Parses a model file's bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field that is missing or wrong.
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
                format!("'{domain}' is not one for the task {}", task.name()),
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
                format!("{} where {count} are needed", file.len()),
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
                "larger than {} MiB, this is no model",
                MAX_FILE_BYTES >> 20
            )));
        }
        Self::from_bytes(&bytes)
    }

    /// The bytes of a model file that holds this model.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the tensors cannot be written.
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
        // Float16 is fine enough for what networks know; small ones that are run in 8 bits are kept as they were trained.
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

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Weights in the order of [`Graph::convs`].
    pub fn weights(&self) -> &[ConvWeights] {
        &self.weights
    }

    /// How to run it in 8-bit integers, if it was trained for that.
    pub fn quantisation(&self) -> Option<&Quantisation> {
        self.quantisation.as_ref()
    }

    /// The same model with a quantisation.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the steps do not fit the model.
    pub fn with_quantisation(self, quantisation: Quantisation) -> Result<Self, Error> {
        quantisation.check(&self.graph)?;
        Ok(Self { quantisation: Some(quantisation), ..self })
    }
}

const INPUT_STEPS: &str = "quantisation.input";
const CONV_STEPS: &str = "quantisation.steps";
const MOST: &str = "quantisation.most";
const FINER_STEPS: &str = "quantisation.finer";

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

fn checked_graph(domain: Domain, architecture: &Architecture) -> Result<Graph, Error> {
    let [inputs, outputs] = architecture.ends();
    for (field, has, needs) in
        [("inputs", inputs, domain.inputs()), ("outputs", outputs, domain.outputs())]
    {
        if has != needs {
            return Err(Error::invalid(field, format!("{has} where this domain has {needs}")));
        }
    }
    let graph = architecture.graph()?;
    if graph.parameters() > MAX_PARAMETERS {
        return Err(Error::invalid(
            "hyper-parameters",
            format!("{} parameters are too many", graph.parameters()),
        ));
    }
    Ok(graph)
}

fn read_conv(file: &SafeTensors<'_>, spec: &ConvSpec) -> Result<ConvWeights, Error> {
    Ok(ConvWeights {
        weight: read_tensor(file, &format!("{}.weight", spec.name), &spec.weight_shape())?,
        bias: read_tensor(file, &format!("{}.bias", spec.name), &[spec.outputs])?,
    })
}

fn read_tensor(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
    let tensor = file.tensor(name).map_err(|_| Error::invalid(name, "tensor missing"))?;
    if tensor.shape() != shape {
        return Err(Error::invalid(
            name,
            format!("shape {:?} where {shape:?} is needed", tensor.shape()),
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
            return Err(Error::invalid(name, format!("type {other:?} where F32 or F16 is needed")));
        }
    };
    check_values(name, &values)?;
    Ok(values)
}

fn check_values<'a>(name: &str, values: impl IntoIterator<Item = &'a f32>) -> Result<(), Error> {
    match values.into_iter().find(|v| !v.is_finite() || v.abs() > MAX_WEIGHT) {
        Some(bad) => {
            Err(Error::invalid(name, format!("value {bad} is not a number within +-{MAX_WEIGHT}")))
        }
        None => Ok(()),
    }
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn half_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
}

/// The start of a text from a file, fit for a message.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}
