//! The `torch` backend: the same models through tch, on the CPU or a CUDA device.

use tch::{Kind, Tensor};

use super::arch::{ConvKind, ConvSpec, Graph, Layer};

/// Runs one convolution on a batch in NCHW.
fn conv(spec: &ConvSpec, weight: &Tensor, bias: &Tensor, x: &Tensor) -> Result<Tensor, tch::TchError> {
    match spec.kind {
        ConvKind::Same3x3 => x.f_conv2d(weight, Some(bias), [1, 1], [1, 1], [1, 1], 1),
        ConvKind::Down2x2 => x.f_conv2d(weight, Some(bias), [2, 2], [0, 0], [1, 1], 1),
        ConvKind::Up2x2 => x.f_conv_transpose2d(weight, Some(bias), [2, 2], [0, 0], [0, 0], 1, [1, 1]),
    }
}

/// Runs a graph on a batch in NCHW. `parameters` has weight and bias of each convolution in turn; it and `x` have the
/// same kind and device. Differentiable, so the trainer uses it as well.
///
/// # Errors
/// What libtorch reports.
pub fn forward(graph: &Graph, parameters: &[Tensor], x: &Tensor) -> Result<Tensor, tch::TchError> {
    let apply = |id: usize, x: &Tensor| conv(&graph.convs[id], &parameters[2 * id], &parameters[2 * id + 1], x);
    let mut maps: Vec<Option<Tensor>> = graph.maps.iter().map(|_| None).collect();
    maps[Graph::INPUT] = Some(x.shallow_clone());
    let get = |maps: &[Option<Tensor>], id: usize| -> Result<Tensor, tch::TchError> {
        let missing = || tch::TchError::Torch(format!("feature map {id} is not computed yet"));
        maps[id].as_ref().map(Tensor::shallow_clone).ok_or_else(missing)
    };
    for layer in &graph.layers {
        let x = get(&maps, layer.from())?;
        let y = match *layer {
            Layer::Conv { conv, add: None, .. } => apply(conv, &x)?,
            Layer::Conv { conv, add: Some(skip), .. } => apply(conv, &x)?.f_add(&get(&maps, skip)?)?,
            Layer::Block { first, second, .. } => apply(second, &apply(first, &x)?.f_relu()?)?.f_add(&x)?,
        };
        maps[layer.to()] = Some(y);
    }
    get(&maps, graph.output())
}

/// The same NCHW tensor with channels innermost in memory, in which libtorch's convolutions are fastest.
///
/// # Errors
/// What libtorch reports.
pub fn channels_last(x: &Tensor) -> Result<Tensor, tch::TchError> {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// Uploads a model's weights as tensors of float32 on `device`.
///
/// # Errors
/// What libtorch reports.
pub fn parameters(model: &super::Model, device: tch::Device) -> Result<Vec<Tensor>, tch::TchError> {
    let mut tensors = Vec::with_capacity(2 * model.weights().len());
    for (spec, conv) in model.graph().convs.iter().zip(model.weights()) {
        let shape = spec.weight_shape().map(|n| n as i64);
        tensors.push(Tensor::f_from_slice(&conv.weight)?.f_view(shape)?.f_to_device(device)?);
        tensors.push(Tensor::f_from_slice(&conv.bias)?.f_to_device(device)?);
    }
    tensors.iter().try_for_each(|t| if t.kind() == Kind::Float { Ok(()) } else { Err(tch::TchError::Torch("kind".into())) })?;
    Ok(tensors)
}
