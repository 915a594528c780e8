// SPDX-License-Identifier: MIT OR Apache-2.0

//! Initial weights of a training run: from a model file, from a safetensors file of pretrained
//! weights, or re-initialised.

use std::{collections::HashMap, path::Path};

use tch::{Kind, Tensor};

use super::{Error, colour::YUV_WEIGHTS};
use cnnvideo::denoise::{RGB, YUV420};
use cnnvideo::nn::{
    Model, Signature,
    arch::{ConvKind, ConvSpec, Graph, Layer},
    torch,
};

/// Tensors by the names they have in a model file.
pub(crate) type NamedTensors = HashMap<String, Tensor>;

/// Returns the names that kernel and bias of a convolution have in a model file.
fn parameter_names(spec: &ConvSpec) -> [String; 2] {
    ["weight", "bias"].map(|part| format!("{}.{part}", spec.name))
}

/// Reads the tensors of a safetensors file.
///
/// # Errors
/// [`Error::File`] if the file cannot be read.
pub(crate) fn read_safetensors(path: &Path) -> Result<NamedTensors, Error> {
    let read = Tensor::read_safetensors(path).map_err(|err| Error::file(path, err))?;
    Ok(read.into_iter().collect())
}

/// Reads the weights of a model file for a network of `signature`. Converts an RGB model if
/// `signature` is 4:2:0.
///
/// # Errors
/// A file that cannot be read or is not a model.
pub(crate) fn read_model_weights(path: &Path, signature: Signature) -> Result<NamedTensors, Error> {
    let model = Model::from_file(path)?;
    let names = model.graph().convs.iter().flat_map(parameter_names);
    let mut named: NamedTensors =
        names.zip(torch::upload_parameters(&model, tch::Device::Cpu)?).collect();
    if (model.task.as_str(), signature) == (RGB.task, YUV420)
        && let [first, .., last] = model.graph().convs.as_slice()
    {
        fold_in_colour_conversion(&mut named, &first.name, &last.name)?;
    }
    Ok(named)
}

/// Converts the weights of an RGB network to 4:2:0 by folding the colour conversion (ITU-R BT.601)
/// into its first and last layer.
///
/// The converted network computes what the RGB network does on the upsampled and converted input,
/// each chroma value standing for four pixels. Of the two control maps it uses that of luma; the
/// weights of the chroma map are 0.
fn fold_in_colour_conversion(
    named: &mut NamedTensors,
    first: &str,
    last: &str,
) -> Result<(), Error> {
    const TO_RGB: [[f32; 3]; 3] =
        [[1.164, 0.0, 1.596], [1.164, -0.392, -0.813], [1.164, 2.017, 0.0]];
    let (mut to, mut from) = (vec![0.0f32; 13 * 8], vec![0.0f32; 6 * 12]);
    for colour in 0..3 {
        for place in 0..4 {
            let rgb = 4 * colour + place;
            let [y, u, v] = TO_RGB[colour];
            (to[rgb * 8 + place], to[rgb * 8 + 4], to[rgb * 8 + 5]) = (y, u, v);
            from[place * 12 + rgb] = YUV_WEIGHTS[0][colour];
            from[4 * 12 + rgb] = YUV_WEIGHTS[1][colour] / 4.0;
            from[5 * 12 + rgb] = YUV_WEIGHTS[2][colour] / 4.0;
        }
    }
    to[12 * 8 + 6] = 1.0;
    let (to, from) =
        (Tensor::from_slice(&to).view([13, 8]), Tensor::from_slice(&from).view([6, 12]));
    // Layout of kernels: [outputs, inputs, height, width].
    if let Some(kernel) = named.get_mut(&format!("{first}.weight")) {
        *kernel = Tensor::f_einsum("oihw,ij->ojhw", &[&*kernel, &to], None::<i64>)?;
    }
    if let Some(kernel) = named.get_mut(&format!("{last}.weight")) {
        *kernel = Tensor::f_einsum("pihw,op->oihw", &[&*kernel, &from], None::<i64>)?;
    }
    if let Some(bias) = named.get_mut(&format!("{last}.bias")) {
        *bias = from.f_matmul(bias)?;
    }
    Ok(())
}

/// Copies the tensors of `given` into the weights of the same name.
///
/// A tensor that is larger in the new network starts as a function-preserving extension: the
/// weights that read the added channels are 0 (Chen et al., "Net2Net", 2016). Tensors that are
/// smaller in the new network keep their initial values.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn copy_by_name(
    graph: &Graph,
    weights: &mut [Tensor],
    given: &NamedTensors,
) -> Result<(), Error> {
    let _no_grad = tch::no_grad_guard();
    for (spec, own) in graph.convs.iter().zip(weights.chunks_mut(2)) {
        for (name, own) in parameter_names(spec).iter().zip(own) {
            let Some(given) = given.get(name) else { continue };
            let size = given.size();
            if own.dim() != size.len()
                || own.size().iter().zip(&size).any(|(own, given)| own < given)
            {
                continue;
            }
            let outputs =
                if spec.kind == ConvKind::Transposed2x2 && size.len() == 4 { 1 } else { 0 };
            let _ = own.f_narrow(outputs, 0, size[outputs as usize])?.f_zero_()?;
            let mut corner = own.shallow_clone();
            for (dim, length) in size.iter().enumerate() {
                corner = corner.f_narrow(dim as i64, 0, *length)?;
            }
            corner.f_copy_(given)?;
        }
    }
    Ok(())
}

/// Prunes the hidden channels of residual blocks to the number that `graph` has. Keeps the channels
/// with the largest product of the squared norms of their input and output kernels; this product
/// does not depend on the scale of a channel.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn prune_hidden_channels(graph: &Graph, named: &mut NamedTensors) -> Result<(), Error> {
    for layer in &graph.layers {
        let Layer::Residual { first, second, .. } = *layer else { continue };
        let [first_kernel, first_bias] = parameter_names(&graph.convs[first]);
        let [second_kernel, _] = parameter_names(&graph.convs[second]);
        let keys = [first_kernel, first_bias, second_kernel];
        let [Some(kernels), Some(bias), Some(second_kernels)] =
            keys.each_ref().map(|key| named.get(key))
        else {
            continue;
        };
        let (old_count, new_count) = (kernels.size()[0], graph.convs[first].out_channels as i64);
        if old_count <= new_count {
            continue;
        }
        let importance =
            kernels.f_square()?.f_sum_dim_intlist(&[1i64, 2, 3][..], false, Kind::Float)?
                * second_kernels.f_square()?.f_sum_dim_intlist(
                    &[0i64, 2, 3][..],
                    false,
                    Kind::Float,
                )?;
        let (kept_channels, _) =
            importance.f_topk(new_count, 0, true, false)?.1.f_sort(0, false)?;
        let pruned = [
            kernels.f_index_select(0, &kept_channels)?,
            bias.f_index_select(0, &kept_channels)?,
            second_kernels.f_index_select(1, &kept_channels)?,
        ];
        named.extend(keys.into_iter().zip(pruned));
    }
    Ok(())
}

/// Root mean square of a hidden channel's kernel, relative to a randomly initialised one, above
/// which the kernel counts as diverged.
const DIVERGED_RATIO: f64 = 8.0;

/// Re-initialises hidden channels of residual blocks whose kernels have diverged; returns their
/// number.
///
/// Such a channel is zero or saturated for almost all inputs, and the optimiser's steps are too
/// short to bring it back. It gets its kernel from `fresh`, and the weights that read it become 0.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn reinitialise_diverged(
    graph: &Graph,
    weights: &mut [Tensor],
    fresh: &[Tensor],
) -> Result<usize, Error> {
    let _no_grad = tch::no_grad_guard();
    let mut count = 0;
    for layer in &graph.layers {
        let Layer::Residual { first, second, .. } = *layer else { continue };
        let size = |kernels: &Tensor| -> Result<Vec<f64>, Error> {
            let squares = kernels.f_square()?.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Double)?;
            Ok(Vec::try_from(squares.f_sqrt()?)?)
        };
        let random = size(&fresh[2 * first])?;
        for (channel, (own, random)) in
            size(&weights[2 * first])?.into_iter().zip(random).enumerate()
        {
            if own > DIVERGED_RATIO * random {
                count += 1;
                for i in [2 * first, 2 * first + 1] {
                    weights[i].get(channel as i64).f_copy_(&fresh[i].get(channel as i64))?;
                }
                let _ = weights[2 * second].f_narrow(1, channel as i64, 1)?.f_zero_()?;
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimiser::Optimiser;
    use cnnvideo::nn::arch::ResidualUnet;

    #[test]
    fn rgb_network_converted_to_420_computes_the_same() {
        tch::manual_seed(3);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, tch::Device::Cpu));
        let (first, last) = (random(&[12, 13, 3, 3]), random(&[12, 12, 3, 3]));
        let bias = random(&[12]);
        let run = |x: &Tensor, first: &Tensor, last: &Tensor, bias: &Tensor| {
            let hidden = x.conv2d(first, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1);
            hidden.conv2d(last, Some(bias), [1, 1], [1, 1], [1, 1], 1)
        };
        let mut named: NamedTensors = [
            ("a.weight".to_owned(), first.shallow_clone()),
            ("b.weight".to_owned(), last.shallow_clone()),
            ("b.bias".to_owned(), bias.shallow_clone()),
        ]
        .into();
        fold_in_colour_conversion(&mut named, "a", "b").unwrap();
        let yuv = random(&[1, 8, 6, 6]);
        let ours = run(&yuv, &named["a.weight"], &named["b.weight"], &named["b.bias"]);
        // Reference: convert to RGB, run the RGB network, convert back.
        let [y, u, v] = [yuv.narrow(1, 0, 4), yuv.narrow(1, 4, 1), yuv.narrow(1, 5, 1)];
        let rgb = [
            &y * 1.164 + &v * 1.596,
            &y * 1.164 - &u * 0.392 - &v * 0.813,
            &y * 1.164 + &u * 2.017,
        ];
        let control = yuv.narrow(1, 6, 1);
        let theirs =
            run(&Tensor::cat(&[&rgb[0], &rgb[1], &rgb[2], &control], 1), &first, &last, &bias);
        let mix = |weights: [f64; 3]| {
            (0..3).map(|c| theirs.narrow(1, 4 * c, 4) * weights[c as usize]).reduce(|a, b| a + b)
        };
        let mean = |t: Tensor| t.mean_dim(&[1i64][..], true, Kind::Float);
        let expected = [
            mix([0.2568, 0.5041, 0.0979]).unwrap(),
            mean(mix([-0.1482, -0.2910, 0.4392]).unwrap()),
            mean(mix([0.4392, -0.3678, -0.0714]).unwrap()),
        ];
        let expected = Tensor::cat(&expected, 1);
        let [difference, largest] =
            [ours - &expected, expected].map(|t| t.abs().max().double_value(&[]));
        assert!(difference < 1e-5 * largest, "{difference} of {largest}");
    }

    #[test]
    fn pruning_removes_unused_channels_first() {
        let unet = |hidden| ResidualUnet {
            inputs: 4,
            outputs: 2,
            widths: vec![8],
            hidden: vec![hidden],
            down_blocks: vec![1],
            up_blocks: vec![],
        };
        let (wide, small) = (unet(6).graph().unwrap(), unet(4).graph().unwrap());
        let weights = Optimiser::new(&wide, 1).weights;
        let _no_grad = tch::no_grad_guard();
        let block = wide.layers.iter().find(|layer| matches!(layer, Layer::Residual { .. }));
        let Some(&Layer::Residual { first, second, .. }) = block else { panic!("no block") };
        // Channel 1 has no input weights; channel 4 is not read.
        let _ = weights[2 * first].get(1).zero_();
        let _ = weights[2 * first + 1].get(1).zero_();
        let _ = weights[2 * second].narrow(1, 4, 1).zero_();
        let names = wide.convs.iter().flat_map(parameter_names);
        let mut named: NamedTensors =
            names.zip(weights.iter().map(|w| w.detach().copy())).collect();
        prune_hidden_channels(&small, &mut named).unwrap();
        let mut pruned = Optimiser::new(&small, 2).weights;
        copy_by_name(&small, &mut pruned, &named).unwrap();
        let picture = Tensor::randn([1, 4, 6, 6], (Kind::Float, tch::Device::Cpu));
        let difference = torch::forward(&wide, &weights, &picture).unwrap()
            - torch::forward(&small, &pruned, &picture).unwrap();
        assert!(difference.abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn diverged_channels_are_reinitialised() {
        let unet = ResidualUnet {
            inputs: 4,
            outputs: 2,
            widths: vec![8],
            hidden: vec![6],
            down_blocks: vec![1],
            up_blocks: vec![],
        };
        let graph = unet.graph().unwrap();
        let fresh = Optimiser::new(&graph, 1).weights;
        let mut weights =
            Optimiser::from_weights(&graph, Optimiser::new(&graph, 2).weights).weights;
        let _no_grad = tch::no_grad_guard();
        let before: Vec<Tensor> = weights.iter().map(|w| w.copy()).collect();
        let block = graph.layers.iter().find(|layer| matches!(layer, Layer::Residual { .. }));
        let Some(&Layer::Residual { first, second, .. }) = block else { panic!("no block") };
        let _ = weights[2 * first].get(4).g_mul_scalar_(900.0);
        assert_eq!(reinitialise_diverged(&graph, &mut weights, &fresh).unwrap(), 1);
        for channel in 0..6 {
            let expected = if channel == 4 { &fresh } else { &before };
            assert_eq!(weights[2 * first].get(channel), expected[2 * first].get(channel));
            let reads = weights[2 * second].narrow(1, channel, 1);
            assert_eq!(reads.abs().max().double_value(&[]) == 0.0, channel == 4);
        }
        assert_eq!(reinitialise_diverged(&graph, &mut weights, &fresh).unwrap(), 0);
    }
}
