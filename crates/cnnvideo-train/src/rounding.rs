// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rounding of trained weights to int8 so that the outputs of each convolution change little.
//!
//! Rounding each weight to the nearest step leaves errors that add up over taps with correlated
//! inputs. Here the weights that are not rounded yet compensate for the error of each rounded
//! weight, as far as their inputs are correlated (Frantar et al., "GPTQ: Accurate Post-Training
//! Quantization for Generative Pre-trained Transformers", 2023). The bias compensates for the
//! remaining mean error.

use tch::{Kind, Tensor};

use super::{Error, quantise::Quantiser};
use cnnvideo::nn::{
    arch::{ConvKind, Graph},
    cpu::StorageForm,
};

/// Damping added to the diagonal of the second-moment matrix, relative to the mean of that
/// diagonal.
const DAMPING: f64 = 1e-3;

/// Returns weights that the int8 engine represents without further rounding.
///
/// Processes layer by layer, because the input of each layer depends on the rounded weights of
/// those before it.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn round_weights(
    graph: &Graph,
    weights: &[Tensor],
    quantiser: &Quantiser,
) -> Result<Vec<Tensor>, Error> {
    let _no_grad = tch::no_grad_guard();
    let mut result: Vec<Tensor> = weights.iter().map(|w| w.detach().copy()).collect();
    for (conv, spec) in graph.convs.iter().enumerate() {
        let Some(columns) = im2col(spec.kind, &quantiser.conv_inputs(graph, &result, conv)?)?
        else {
            continue;
        };
        let weight = &result[2 * conv];
        let size = weight.size();
        // Each output channel has a scale of its own; in a transposed convolution, each output
        // channel and pixel of 2x2.
        let transposed = spec.kind == ConvKind::Transposed2x2;
        let matrix =
            if transposed { weight.f_permute([1, 2, 3, 0])? } else { weight.shallow_clone() };
        let matrix = matrix.f_reshape([-1, columns.size()[0]])?;
        let scales = match quantiser.input_scales(conv) {
            Some(scales) => scales.f_expand_as(&weight.f_narrow(0, 0, 1)?)?.f_reshape([1, -1])?,
            None => Tensor::ones([1, 1], (Kind::Float, matrix.device())),
        };
        let form = if conv + 1 == graph.convs.len() { StorageForm::I16 } else { StorageForm::U8 };
        let limit = f64::from(form.weight_limit(spec.macs_per_output() / spec.out_channels));
        let rounded = round_matrix(
            &(&matrix * &scales),
            &(columns.f_div(&scales.f_transpose(0, 1)?)?),
            limit,
        )? / scales;

        let mean = columns.f_mean_dim(&[1i64][..], false, Kind::Float)?;
        let mean_error =
            (&matrix - &rounded).f_mv(&mean)?.f_view([spec.out_channels as i64, -1])?;
        let mean_error = mean_error.f_mean_dim(&[1i64][..], false, Kind::Float)?;
        let _ = result[2 * conv + 1].f_add_(&mean_error)?;
        result[2 * conv] = if transposed {
            rounded
                .f_reshape([size[1], size[2], size[3], size[0]])?
                .f_permute([3, 0, 1, 2])?
                .f_contiguous()?
        } else {
            rounded.f_reshape(&size)?
        };
    }
    Ok(result)
}

/// Returns the inputs of a convolution's matrix multiplication (im2col), `[taps, positions]`, or
/// `None` for a depthwise convolution.
fn im2col(kind: ConvKind, maps: &[Tensor]) -> Result<Option<Tensor>, tch::TchError> {
    let (side, padding, stride) = match kind {
        ConvKind::Conv3x3 => (3, 1, 1),
        ConvKind::Strided2x2 => (2, 0, 2),
        ConvKind::Transposed2x2 | ConvKind::Pointwise => (1, 0, 1),
        ConvKind::Depthwise(_) => return Ok(None),
    };
    let unfold = |map: &Tensor| {
        let columns = map.f_contiguous()?.f_im2col([side; 2], [1, 1], [padding; 2], [stride; 2])?;
        columns.f_permute([1, 0, 2])?.f_flatten(1, 2)
    };
    let columns = maps.iter().map(unfold).collect::<Result<Vec<_>, _>>()?;
    Tensor::f_cat(&columns, 1).map(Some)
}

/// Rounds `weights`, `[outputs, taps]`, to multiples of a scale, for the inputs `columns`,
/// `[taps, positions]`. The scale of each output is its largest magnitude over `limit`.
fn round_matrix(weights: &Tensor, columns: &Tensor, limit: f64) -> Result<Tensor, Error> {
    let double = |t: &Tensor| t.to_device(tch::Device::Cpu).to_kind(Kind::Double);
    let moments =
        double(&(columns.f_matmul(&columns.f_transpose(0, 1)?)? / columns.size()[1] as f64));
    let count = moments.size()[0];
    let damping = moments.f_trace()?.double_value(&[]) / count as f64 * DAMPING + 1e-12;
    let moments = moments + Tensor::f_eye(count, (Kind::Double, tch::Device::Cpu))? * damping;
    // Weights with the largest input energy come first, while most others are left to compensate.
    let order = moments.f_diagonal(0, 0, 1)?.f_argsort(0, true)?;
    let inverse = moments.f_index_select(0, &order)?.f_index_select(1, &order)?.f_inverse()?;
    let factor = ((&inverse + inverse.f_transpose(0, 1)?) * 0.5).f_linalg_cholesky(true)?;

    let mut rest = double(weights).f_index_select(1, &order)?;
    let (largest, place) = rest.f_abs()?.f_max_dim(1, true)?;
    let scale = largest / limit + 1e-15;
    let mut done = Vec::with_capacity(count as usize);
    for column in 0..count {
        let own = rest.f_narrow(1, 0, 1)?;
        let nearest = (&own / &scale).f_round()?.f_clamp(-limit, limit)?;
        // The engine derives the scale from the largest weight, so that weight must not change.
        let whole = (own.f_sign()? * limit).f_where_self(&place.f_eq(column)?, &nearest)?;
        let value = whole * &scale;
        let row = factor.f_get(column)?.f_narrow(0, column, count - column)?.f_unsqueeze(0)?;
        let error = (&own - &value).f_div(&row.f_narrow(1, 0, 1)?)?;
        rest = (&rest - error.f_matmul(&row)?).f_narrow(1, 1, count - column - 1)?;
        done.push(value);
    }
    let done = Tensor::f_cat(&done, 1)?.f_index_select(1, &order.f_argsort(0, false)?)?;
    Ok(done.to_kind(Kind::Float).to_device(weights.device()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns weights of 5 outputs, and inputs of their 36 taps that are correlated as
    /// neighbouring pixels are.
    fn correlated_example() -> (Tensor, Tensor) {
        tch::manual_seed(4);
        let options = (Kind::Float, tch::Device::Cpu);
        let weights = Tensor::randn([5, 36], options);
        let columns =
            Tensor::randn([1, 2000], options) * 3.0 + Tensor::randn([36, 2000], options) + 1.0;
        (weights, columns)
    }

    #[test]
    fn rounded_weights_are_on_the_engines_grid() {
        let (weights, columns) = correlated_example();
        let result = round_matrix(&weights, &columns, 127.0).unwrap();
        let scale = result.abs().amax([1i64], true) / 127.0;
        let whole = &result / &scale;
        assert!((&whole - whole.round()).abs().max().double_value(&[]) < 1e-3);
        assert!(
            (&result - &weights).abs().max().double_value(&[])
                < 3.0 * scale.max().double_value(&[])
        );
    }

    #[test]
    fn gptq_beats_nearest_rounding() {
        let (weights, columns) = correlated_example();
        let error = |rounded: &Tensor| {
            (weights.matmul(&columns) - rounded.matmul(&columns))
                .square()
                .mean(Kind::Double)
                .double_value(&[])
                .sqrt()
        };
        let scale = weights.abs().amax([1i64], true) / 127.0;
        let nearest = (&weights / &scale).round() * &scale;
        let result = round_matrix(&weights, &columns, 127.0).unwrap();
        assert!(
            error(&result) < 0.5 * error(&nearest),
            "{} and {}",
            error(&result),
            error(&nearest)
        );
    }
}
