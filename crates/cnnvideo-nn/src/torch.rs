// SPDX-License-Identifier: MIT OR Apache-2.0

//! `torch` backend: runs the same models, and TorchScript files, with libtorch (crate `tch`) on the
//! CPU or a CUDA device.

use std::{
    path::Path,
    sync::{Arc, Mutex, Once, PoisonError},
};

use tch::{Kind, Tensor};

use super::{
    Error, IoSpec, Model, Network, Output, Session, Signature, Size, Source,
    arch::{ConvId, ConvKind, ConvSpec, Graph, Layer},
    model::open_regular_file,
};

/// A model on a libtorch device, or a TorchScript module.
pub struct TorchNetwork {
    program: Arc<Program>,
    task: String,
    io: IoSpec,
    granularity: usize,
    device: tch::Device,
}

/// Executable form of a network.
enum Program {
    /// A graph with its weights. Each session has its own handles to the weights, because tensors
    /// are not `Sync`.
    Graph { graph: Graph, parameters: Mutex<Vec<Tensor>> },
    /// A TorchScript module.
    Script(tch::CModule),
}

/// Width and height of the inputs of TorchScript modules are multiples of this, which allows three
/// halvings.
const SCRIPT_GRANULARITY: usize = 8;

impl TorchNetwork {
    /// Uploads the weights of a model to `device`.
    ///
    /// # Errors
    /// [`Error::Device`] for a device that does not exist, [`Error::Backend`] when libtorch fails.
    pub fn new(model: &Model, device: super::Device) -> Result<Self, Error> {
        let device = resolve_device(device)?;
        let (graph, parameters) =
            (model.graph().clone(), upload_parameters(model, device).map_err(backend_error)?);
        Ok(Self {
            task: model.task.clone(),
            io: model.io,
            granularity: graph.granularity(),
            program: Arc::new(Program::Graph { graph, parameters: Mutex::new(parameters) }),
            device,
        })
    }

    /// Loads a TorchScript file: a module whose `forward` maps one float32 tensor `[1, in, height,
    /// width]` to one `[1, out, height, width]`. `in` and `out` are the channels of one of
    /// `signatures`, and the network gets the task of the first one that fits. Height and width are
    /// multiples of 8.
    ///
    /// A TorchScript file is a program: its code runs with the rights of the process, here and in
    /// each session. Load only files whose origin you trust.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing file, [`Error::Read`] for a file that libtorch cannot
    /// load or that is not a regular one, [`Error::Invalid`] for a module that does not accept
    /// tensors of these shapes, [`Error::Device`] for a device that does not exist.
    pub fn from_script(
        path: &Path,
        device: super::Device,
        signatures: &[Signature],
    ) -> Result<Self, Error> {
        let device = resolve_device(device)?;
        // Opening a FIFO would block libtorch.
        open_regular_file(path).map_err(|err| Error::reading(path, &err))?;
        let read =
            |err: tch::TchError| Error::Read { path: path.to_owned(), reason: first_line(&err) };
        let mut module = tch::CModule::load_on_device(path, device).map_err(read)?;
        module.f_set_eval().map_err(read)?;
        let accepts = |io: IoSpec| {
            let side = 2 * SCRIPT_GRANULARITY as i64;
            let channels = io.input_channels() as i64;
            let _no_grad = tch::no_grad_guard();
            let output = Tensor::f_zeros([1, channels, side, side], (Kind::Float, device))
                .and_then(|x| module.forward_ts(&[x]));
            output.is_ok_and(|y| {
                y.size() == [1, io.output as i64, side, side] && y.kind() == Kind::Float
            })
        };
        let fits = signatures.iter().find(|signature| accepts(signature.io));
        let signature = fits.ok_or_else(|| {
            let shapes = |s: &Signature| {
                format!("[1, {}, h, w] to [1, {}, h, w]", s.io.input_channels(), s.io.output)
            };
            let known: Vec<_> = signatures.iter().map(shapes).collect();
            Error::invalid("forward", format!("the module maps none of {}", known.join(", ")))
        })?;
        Ok(Self {
            program: Arc::new(Program::Script(module)),
            task: signature.task.to_owned(),
            io: signature.io,
            granularity: SCRIPT_GRANULARITY,
            device,
        })
    }
}

impl Network for TorchNetwork {
    fn task(&self) -> &str {
        &self.task
    }

    fn io(&self) -> IoSpec {
        self.io
    }

    fn granularity(&self) -> usize {
        self.granularity
    }

    fn backend(&self) -> String {
        match self.device {
            tch::Device::Cuda(n) => format!("torch/cuda:{n}"),
            _ => "torch/cpu".to_owned(),
        }
    }

    /// libtorch has one thread count per process; the first session with a nonzero `threads` sets
    /// it.
    fn session(&self, size: Size, threads: usize) -> Result<Box<dyn Session>, Error> {
        static THREADS: Once = Once::new();
        if threads > 0 {
            THREADS.call_once(|| tch::set_num_threads(threads.min(64) as i32));
        }
        if !size.width.is_multiple_of(self.granularity)
            || !size.height.is_multiple_of(self.granularity)
        {
            let reason = format!(
                "cannot run on an input of {}x{}: width and height must be multiples of {}",
                size.width, size.height, self.granularity
            );
            return Err(Error::Backend { backend: "torch", reason });
        }
        let parameters = match &*self.program {
            Program::Graph { parameters, .. } => {
                let parameters = parameters.lock().unwrap_or_else(PoisonError::into_inner);
                parameters.iter().map(Tensor::shallow_clone).collect()
            }
            Program::Script(_) => Vec::new(),
        };
        let pixels = size.width * size.height;
        Ok(Box::new(TorchSession {
            program: self.program.clone(),
            parameters,
            device: self.device,
            io: self.io,
            size,
            input: vec![0.0; pixels * self.io.input_channels()],
            output: vec![0.0; pixels * self.io.output],
        }))
    }
}

/// Session of a [`TorchNetwork`].
struct TorchSession {
    program: Arc<Program>,
    parameters: Vec<Tensor>,
    device: tch::Device,
    io: IoSpec,
    size: Size,
    /// Input as interleaved pixels (NHWC).
    input: Vec<f32>,
    /// Output as interleaved pixels (NHWC).
    output: Vec<f32>,
}

impl TorchSession {
    /// Runs the network on `input` and writes the result to `output`.
    fn infer(&mut self) -> Result<(), tch::TchError> {
        let _no_grad = tch::no_grad_guard();
        let (height, width) = (self.size.height as i64, self.size.width as i64);
        let x = Tensor::f_from_slice(&self.input)?
            .f_view([1, height, width, -1])?
            .f_to_device(self.device)?;
        let x = x.f_permute([0, 3, 1, 2])?;
        let y = match &*self.program {
            Program::Graph { graph, .. } => forward(graph, &self.parameters, &x)?,
            Program::Script(module) => module.forward_ts(&[x])?,
        };
        if y.size() != [1, self.io.output as i64, height, width] {
            return Err(tch::TchError::Torch(format!("output of unexpected shape {:?}", y.size())));
        }
        let y = y.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_to_device(tch::Device::Cpu)?;
        y.f_copy_data(&mut self.output, y.numel())
    }
}

impl Session for TorchSession {
    fn size(&self) -> Size {
        self.size
    }

    fn run(&mut self, source: &dyn Source, output: &mut dyn Output) -> Result<(), Error> {
        let (width, height) = (self.size.width, self.size.height);
        let stride = self.input.len() / height;
        for (y, row) in self.input.chunks_exact_mut(stride).enumerate() {
            source.read_row(y, row);
        }
        self.infer().map_err(backend_error)?;
        let whole = 0..height;
        let rows = self.output.chunks_exact(width * self.io.output);
        for sink in &mut output.split(std::slice::from_ref(&whole)) {
            rows.clone().enumerate().for_each(|(y, row)| sink.write_row(y, row));
        }
        Ok(())
    }
}

/// Returns the libtorch device for a device property. `Auto` is the first CUDA device, or the CPU
/// if there is none.
///
/// # Errors
/// [`Error::Device`] for a CUDA device that does not exist.
pub fn resolve_device(device: super::Device) -> Result<tch::Device, Error> {
    match device {
        super::Device::Cpu => Ok(tch::Device::Cpu),
        super::Device::Auto => {
            Ok(if cuda_devices() > 0 { tch::Device::Cuda(0) } else { tch::Device::Cpu })
        }
        super::Device::Cuda(n) if n < cuda_devices() => Ok(tch::Device::Cuda(n)),
        super::Device::Cuda(_) => {
            let reason = match cuda_devices() {
                0 => "libtorch finds no CUDA device".to_owned(),
                count => format!("libtorch finds {count} CUDA devices"),
            };
            Err(Error::Device { device: device.to_string(), reason })
        }
    }
}

/// Returns the number of CUDA devices that libtorch can use.
pub fn cuda_devices() -> usize {
    if tch::Cuda::is_available() {
        usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
    } else {
        0
    }
}

/// Converts an error of libtorch.
fn backend_error(err: tch::TchError) -> Error {
    Error::Backend { backend: "torch", reason: first_line(&err) }
}

/// Returns the first line of an error of libtorch; the other lines are its C++ stack trace.
fn first_line(err: &tch::TchError) -> String {
    err.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Runs one convolution on a batch in NCHW order.
fn conv(
    spec: &ConvSpec,
    weight: &Tensor,
    bias: &Tensor,
    x: &Tensor,
) -> Result<Tensor, tch::TchError> {
    match spec.kind {
        ConvKind::Conv3x3 => x.f_conv2d(weight, Some(bias), [1, 1], [1, 1], [1, 1], 1),
        ConvKind::Strided2x2 => x.f_conv2d(weight, Some(bias), [2, 2], [0, 0], [1, 1], 1),
        ConvKind::Transposed2x2 => {
            x.f_conv_transpose2d(weight, Some(bias), [2, 2], [0, 0], [0, 0], 1, [1, 1])
        }
        ConvKind::Pointwise => x.f_conv2d(weight, Some(bias), [1, 1], [0, 0], [1, 1], 1),
        ConvKind::Depthwise(window) => {
            let [stride, before, after] =
                [window.stride, window.pad_before(), window.pad_after()].map(|n| n as i64);
            let channels = spec.out_channels as i64;
            if before == after {
                x.f_conv2d(weight, Some(bias), [stride, stride], [before, before], [1, 1], channels)
            } else {
                let x = x.f_constant_pad_nd([before, after, before, after])?;
                x.f_conv2d(weight, Some(bias), [stride, stride], [0, 0], [1, 1], channels)
            }
        }
    }
}

/// Runs a graph on a batch in NCHW order. `parameters` holds weight and bias of each convolution in
/// the order of [`Graph::convs`], with the type and device of `x`. The function is differentiable;
/// the trainer uses it as well.
///
/// # Errors
/// Errors of libtorch.
pub fn forward(graph: &Graph, parameters: &[Tensor], x: &Tensor) -> Result<Tensor, tch::TchError> {
    forward_with_hook(graph, parameters, x, |_, x| Ok(x))
}

/// Version of [`forward`] that passes the input of each convolution through `hook`, for example to
/// simulate quantisation. `hook` receives the convolution and its input, and returns the tensor
/// that the convolution reads instead.
///
/// # Errors
/// Errors of libtorch and of `hook`.
pub fn forward_with_hook(
    graph: &Graph,
    parameters: &[Tensor],
    x: &Tensor,
    mut hook: impl FnMut(ConvId, Tensor) -> Result<Tensor, tch::TchError>,
) -> Result<Tensor, tch::TchError> {
    let mut apply = |id: usize, x: Tensor| {
        conv(&graph.convs[id], &parameters[2 * id], &parameters[2 * id + 1], &hook(id, x)?)
    };
    let mut maps: Vec<Option<Tensor>> = graph.maps.iter().map(|_| None).collect();
    maps[Graph::INPUT] = Some(x.shallow_clone());
    let get = |maps: &[Option<Tensor>], id: usize| -> Result<Tensor, tch::TchError> {
        let missing = || tch::TchError::Torch(format!("feature map {id} is not computed yet"));
        maps[id].as_ref().map(Tensor::shallow_clone).ok_or_else(missing)
    };
    for layer in &graph.layers {
        let x = get(&maps, layer.input())?;
        let y = match *layer {
            Layer::Conv { conv, skip: None, .. } => apply(conv, x)?,
            Layer::Conv { conv, skip: Some(skip), .. } => {
                apply(conv, x)?.f_add(&get(&maps, skip)?)?
            }
            Layer::Residual { first, second, .. } => {
                let hidden = apply(first, x.shallow_clone())?.f_relu()?;
                apply(second, hidden)?.f_add(&x)?
            }
            Layer::Inverted { expand, depthwise, project, residual, .. } => {
                let hidden = apply(expand, x.shallow_clone())?.f_relu6()?;
                let hidden = apply(depthwise, hidden)?.f_relu6()?;
                let y = apply(project, hidden)?;
                if residual { y.f_add(&x)? } else { y }
            }
        };
        maps[layer.output()] = Some(y);
    }
    get(&maps, graph.output())
}

/// Returns the same NCHW tensor in channels-last memory format, in which the convolutions of
/// libtorch are fastest.
///
/// # Errors
/// Errors of libtorch.
pub fn channels_last(x: &Tensor) -> Result<Tensor, tch::TchError> {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// Uploads the weights of a model to `device` as float32 tensors, in the order that [`forward`]
/// expects.
///
/// # Errors
/// Errors of libtorch.
pub fn upload_parameters(model: &Model, device: tch::Device) -> Result<Vec<Tensor>, tch::TchError> {
    let mut tensors = Vec::with_capacity(2 * model.weights().len());
    for (spec, conv) in model.graph().convs.iter().zip(model.weights()) {
        let shape = spec.weight_shape().map(|n| n as i64);
        tensors.push(Tensor::f_from_slice(&conv.weight)?.f_view(shape)?.f_to_device(device)?);
        tensors.push(Tensor::f_from_slice(&conv.bias)?.f_to_device(device)?);
    }
    Ok(tensors)
}
