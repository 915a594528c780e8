// SPDX-License-Identifier: MIT OR Apache-2.0

//! Equalisation of the ranges of channels before quantisation (Nagel et al., "Data-Free
//! Quantization Through Weight Equalization and Bias Correction", 2019).

use tch::{Kind, Tensor};

use super::Error;
use cnnvideo::nn::arch::{ConvId, ConvKind, Graph, Layer, MapId};

/// Lower limit of a channel's range, as a share of the widest channel's range.
const MIN_RANGE_SHARE: f64 = 1.0 / 64.0;
/// A channel with a range below this share of the widest one's counts as dead and is not rescaled.
const DEAD_RANGE_SHARE: f64 = 1e-3;

/// Rescales the channels of each feature map to about the same range, which does not change the
/// function of the network. Returns the activation scale of each convolution's input.
///
/// `ranges` holds the range of each input channel of each convolution.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn equalise(
    graph: &Graph,
    weights: &mut [Tensor],
    ranges: &[Vec<f64>],
) -> Result<Vec<f32>, Error> {
    // Feature maps that are added to each other share their scales. `readers` lists the
    // convolutions that read each group of such maps.
    let groups = scale_groups(graph);
    let mut readers: Vec<Vec<ConvId>> = vec![Vec::new(); graph.maps.len()];
    let mut activation_scales = vec![1.0; graph.convs.len()];
    for layer in &graph.layers {
        if layer.input() != Graph::INPUT {
            readers[groups[layer.input()]].push(layer.input_conv());
        }
        if let Layer::Residual { first, second, .. } = *layer {
            let factors = equalisation_factors(&[&ranges[second]]);
            scale_outputs(graph, weights, first, &factors)?;
            scale_inputs(graph, weights, second, &factors)?;
            activation_scales[second] = scale_for_range(&ranges[second], &factors, 255.0);
        }
    }
    for (group, readers) in readers.iter().enumerate().filter(|(_, readers)| !readers.is_empty()) {
        let factors = equalisation_factors(
            &readers.iter().map(|r| ranges[*r].as_slice()).collect::<Vec<_>>(),
        );
        for reader in readers {
            scale_inputs(graph, weights, *reader, &factors)?;
            activation_scales[*reader] = scale_for_range(&ranges[*reader], &factors, 127.0);
        }
        for layer in graph.layers.iter().filter(|layer| groups[layer.output()] == group) {
            scale_outputs(graph, weights, layer.output_conv(), &factors)?;
        }
    }
    Ok(activation_scales)
}

/// Returns for each feature map the representative of its group: the first of the maps that are
/// added to each other.
fn scale_groups(graph: &Graph) -> Vec<MapId> {
    let mut groups: Vec<MapId> = (0..graph.maps.len()).collect();
    for layer in &graph.layers {
        let other = match *layer {
            Layer::Residual { input, .. } => Some(input),
            Layer::Conv { skip, .. } => skip,
            Layer::Inverted { input, residual, .. } => residual.then_some(input),
        };
        if let Some(other) = other {
            let (a, b) = (groups[layer.output()], groups[other]);
            groups
                .iter_mut()
                .filter(|group| **group == a.max(b))
                .for_each(|group| *group = a.min(b));
        }
    }
    groups
}

/// Returns factors by channel that equalise `ranges`, given for one or more feature maps.
///
/// Their geometric mean is 1. An optimiser step is as long for small weights as for large ones, so
/// a block of little influence must not get larger weights.
fn equalisation_factors(ranges: &[&[f64]]) -> Vec<f64> {
    let count = ranges[0].len();
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) =
            values.fold((0.0, 0.0), |(sum, count), v| (sum + v.max(1e-12).ln(), count + 1.0));
        (sum / f64::max(count, 1.0)).exp()
    };
    let channel_ranges: Vec<f64> =
        (0..count).map(|c| mean(&mut ranges.iter().map(|r| r[c]))).collect();
    let widest = channel_ranges.iter().copied().fold(1e-9, f64::max);
    let alive = |range: &f64| *range > widest * DEAD_RANGE_SHARE;
    let average = mean(
        &mut channel_ranges
            .iter()
            .copied()
            .filter(alive)
            .map(|range| range.max(widest * MIN_RANGE_SHARE)),
    );
    let factor =
        |range| if alive(&range) { range.max(widest * MIN_RANGE_SHARE) / average } else { 1.0 };
    channel_ranges.into_iter().map(factor).collect()
}

/// Returns the activation scale at which `count` codes cover the widest range, after the channels
/// are divided by `factors`.
fn scale_for_range(ranges: &[f64], factors: &[f64], count: f64) -> f32 {
    let widest =
        ranges.iter().zip(factors).map(|(range, factor)| range / factor).fold(1e-3, f64::max);
    (widest / count) as f32
}

/// Multiplies the kernels that read each input channel with its factor.
fn scale_inputs(
    graph: &Graph,
    weights: &mut [Tensor],
    conv: ConvId,
    factors: &[f64],
) -> Result<(), Error> {
    let transposed = graph.convs[conv].kind == ConvKind::Transposed2x2;
    let shape = if transposed { [-1, 1, 1, 1] } else { [1, -1, 1, 1] };
    let factors =
        Tensor::from_slice(factors).to_kind(Kind::Float).to_device(weights[2 * conv].device());
    let _ = weights[2 * conv].f_mul_(&factors.view(shape))?;
    Ok(())
}

/// Divides the kernels and biases of each output channel by its factor.
fn scale_outputs(
    graph: &Graph,
    weights: &mut [Tensor],
    conv: ConvId,
    factors: &[f64],
) -> Result<(), Error> {
    let transposed = graph.convs[conv].kind == ConvKind::Transposed2x2;
    let shape = if transposed { [1, -1, 1, 1] } else { [-1, 1, 1, 1] };
    let factors =
        Tensor::from_slice(factors).to_kind(Kind::Float).to_device(weights[2 * conv].device());
    let _ = weights[2 * conv].f_div_(&factors.view(shape))?;
    let _ = weights[2 * conv + 1].f_div_(&factors)?;
    Ok(())
}
