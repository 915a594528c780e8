// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads and writes model files; the documentation of the parent module has the format.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::Path,
};

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    ConvWeights, LowNoiseScales, Model, Quantisation, check_values, checked_graph,
    metadata::Metadata,
};
use crate::{
    Error,
    arch::{ConvSpec, Graph},
};

/// Upper limit of the file size; all models of the plugin are far smaller.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Number of parameters from which on [`Model::to_bytes`] writes weights in float16 to halve the
/// file size.
const MIN_PARAMETERS_FOR_F16: usize = 400_001;

/// Tensor of [`Quantisation::input_scales`].
const INPUT_SCALES: &str = "quantisation.input";
/// Tensor of [`Quantisation::activation_scales`].
const ACTIVATION_SCALES: &str = "quantisation.steps";
/// Tensor of [`LowNoiseScales::max_control`], one value per set.
const LOW_NOISE_LIMITS: &str = "quantisation.most";
/// Tensor of [`LowNoiseScales::activation_scales`], one row per set.
const LOW_NOISE_SCALES: &str = "quantisation.finer";

/// A tensor to write: name, shape, type and contents.
struct RawTensor {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    data: Vec<u8>,
}

impl RawTensor {
    fn f32(name: String, shape: Vec<usize>, values: &[f32]) -> Self {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { name, shape, dtype: Dtype::F32, data }
    }

    fn f16(name: String, shape: Vec<usize>, values: &[f32]) -> Self {
        let data = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        Self { name, shape, dtype: Dtype::F16, data }
    }
}

/// Opens a regular file for reading, and refuses every other kind of file.
///
/// It never blocks, as opening a FIFO without a writer would.
///
/// # Errors
/// Errors of the operating system, and [`io::ErrorKind::InvalidInput`] for a FIFO, directory,
/// device or socket.
pub fn open_regular_file(path: &Path) -> io::Result<File> {
    // Opening a device can have effects, so the path is checked first. The file is checked again,
    // because the path can change in between.
    check_is_regular(&fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    check_is_regular(&file.metadata()?)?;
    Ok(file)
}

/// Returns an error that names the kind of file unless it is a regular one.
fn check_is_regular(metadata: &fs::Metadata) -> io::Result<()> {
    let file_type = metadata.file_type();
    #[cfg(unix)]
    let (is_fifo, is_socket) = {
        use std::os::unix::fs::FileTypeExt;
        (file_type.is_fifo(), file_type.is_socket())
    };
    #[cfg(not(unix))]
    let (is_fifo, is_socket) = (false, false);
    let kind = match file_type {
        t if t.is_file() => return Ok(()),
        t if t.is_dir() => "directory",
        _ if is_fifo => "FIFO",
        _ if is_socket => "socket",
        _ => "device",
    };
    let reason = format!("it is a {kind}, not a regular file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

impl Model {
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
        let quantisation_tensors = match &quantisation {
            None => 0,
            Some(quantisation) if quantisation.low_noise.is_empty() => 2,
            Some(_) => 4,
        };
        let count = 2 * graph.convs.len() + quantisation_tensors;
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
        let too_large = || {
            let reason =
                format!("larger than {} MiB, so it is not a model file", MAX_FILE_BYTES >> 20);
            Error::Read { path: path.to_owned(), reason }
        };
        let failed = |err| Error::reading(path, &err);
        let file = open_regular_file(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > MAX_FILE_BYTES {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        // The file can grow, and files of the kernel do not report their length.
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(too_large());
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
        let use_f16 = self.graph.parameters() >= MIN_PARAMETERS_FOR_F16;
        for (spec, conv) in self.graph.convs.iter().zip(&self.weights) {
            let tensor = if use_f16 { RawTensor::f16 } else { RawTensor::f32 };
            let (name, shape) = (format!("{}.weight", spec.name), spec.weight_shape().to_vec());
            tensors.push(tensor(name, shape, &conv.weight));
            let (name, shape) = (format!("{}.bias", spec.name), vec![spec.out_channels]);
            tensors.push(RawTensor::f32(name, shape, &conv.bias));
        }
        if let Some(quantisation) = &self.quantisation {
            let Quantisation { input_scales, activation_scales, low_noise } = quantisation;
            let (inputs, convs) = (input_scales.len(), activation_scales.len());
            tensors.push(RawTensor::f32(INPUT_SCALES.to_owned(), vec![inputs], input_scales));
            tensors.push(RawTensor::f32(
                ACTIVATION_SCALES.to_owned(),
                vec![convs],
                activation_scales,
            ));
            if !low_noise.is_empty() {
                let limits: Vec<f32> = low_noise.iter().map(|set| set.max_control).collect();
                let scales: Vec<f32> =
                    low_noise.iter().flat_map(|set| set.activation_scales.clone()).collect();
                let sets = limits.len();
                tensors.push(RawTensor::f32(LOW_NOISE_LIMITS.to_owned(), vec![sets], &limits));
                tensors.push(RawTensor::f32(
                    LOW_NOISE_SCALES.to_owned(),
                    vec![sets, convs],
                    &scales,
                ));
            }
        }
        let views = tensors
            .iter()
            .map(|RawTensor { name, shape, dtype, data }| {
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
}

/// Reads the activation scales, if the file has any.
fn read_quantisation(file: &SafeTensors<'_>, graph: &Graph) -> Result<Option<Quantisation>, Error> {
    if file.tensor(INPUT_SCALES).is_err() && file.tensor(ACTIVATION_SCALES).is_err() {
        return Ok(None);
    }
    let convs = graph.convs.len();
    let mut quantisation = Quantisation::new(
        read_tensor(file, INPUT_SCALES, &[graph.input_channels()])?,
        read_tensor(file, ACTIVATION_SCALES, &[convs])?,
    );
    if let Ok(limits) = file.tensor(LOW_NOISE_LIMITS) {
        let limits = read_tensor(file, LOW_NOISE_LIMITS, &[limits.shape().iter().product()])?;
        let scales = read_tensor(file, LOW_NOISE_SCALES, &[limits.len(), convs])?;
        let sets = limits.into_iter().zip(scales.chunks(convs));
        quantisation.low_noise = sets
            .map(|(max_control, scales)| LowNoiseScales {
                max_control,
                activation_scales: scales.to_vec(),
            })
            .collect();
    }
    quantisation.check(graph)?;
    Ok(Some(quantisation))
}

/// Reads weights and biases of a convolution.
fn read_conv(file: &SafeTensors<'_>, spec: &ConvSpec) -> Result<ConvWeights, Error> {
    Ok(ConvWeights {
        weight: read_tensor(file, &format!("{}.weight", spec.name), &spec.weight_shape())?,
        bias: read_tensor(file, &format!("{}.bias", spec.name), &[spec.out_channels])?,
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
