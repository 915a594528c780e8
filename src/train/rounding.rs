//! Weights on the grids of 8-bit integers, chosen so that what a convolution computes stays near.
//!
//! Rounding each weight to the nearest step leaves errors that add up over taps which see much the same. Here the error of each weight is
//! made up for by those not rounded yet, as far as their inputs go together (Frantar et al., "GPTQ: Accurate Post-Training Quantization for
//! Generative Pre-trained Transformers", 2023), and what is left on average by the bias.

use tch::{Kind, Tensor};

use super::{Error, quantise::Quantiser};
use crate::nn::{
    arch::{ConvKind, Graph},
    cpu::kernels::int8::Input,
};

/// Added to the diagonal of second moments, in units of its mean.
const DAMPING: f64 = 1e-3;

/// Weights that the int8 engine takes as they are. Layer by layer, as each reads what those before it compute in 8 bits.
///
/// # Errors
/// What libtorch reports.
pub fn settled(
    graph: &Graph,
    weights: &[Tensor],
    quantiser: &Quantiser,
) -> Result<Vec<Tensor>, Error> {
    let _no_grad = tch::no_grad_guard();
    let mut settled: Vec<Tensor> = weights.iter().map(|w| w.detach().copy()).collect();
    for (conv, spec) in graph.convs.iter().enumerate() {
        let Some(columns) = columns(spec.kind, &quantiser.read(graph, &settled, conv)?)? else {
            continue;
        };
        let weight = &settled[2 * conv];
        let size = weight.size();
        // Each output of a matrix has a step of its own; for a transposed convolution that is each of 2x2 pixels.
        let transposed = spec.kind == ConvKind::Up2x2;
        let matrix =
            if transposed { weight.f_permute([1, 2, 3, 0])? } else { weight.shallow_clone() };
        let matrix = matrix.f_reshape([-1, columns.size()[0]])?;
        let steps = match quantiser.input_steps(conv) {
            Some(steps) => steps.f_expand_as(&weight.f_narrow(0, 0, 1)?)?.f_reshape([1, -1])?,
            None => Tensor::ones([1, 1], (Kind::Float, matrix.device())),
        };
        let form = if conv + 1 == graph.convs.len() { Input::Fine } else { Input::Coarse };
        let limit = f64::from(form.weight_limit(spec.macs_per_output() / spec.outputs));
        let rounded =
            rounded(&(&matrix * &steps), &(columns.f_div(&steps.f_transpose(0, 1)?)?), limit)?
                / steps;

        let mean = columns.f_mean_dim(&[1i64][..], false, Kind::Float)?;
        let missing = (&matrix - &rounded).f_mv(&mean)?.f_view([spec.outputs as i64, -1])?;
        let missing = missing.f_mean_dim(&[1i64][..], false, Kind::Float)?;
        let _ = settled[2 * conv + 1].f_add_(&missing)?;
        settled[2 * conv] = if transposed {
            rounded
                .f_reshape([size[1], size[2], size[3], size[0]])?
                .f_permute([3, 0, 1, 2])?
                .f_contiguous()?
        } else {
            rounded.f_reshape(&size)?
        };
    }
    Ok(settled)
}

/// What the columns of a convolution's matrix are multiplied with, one after the other; none where it is no matrix.
fn columns(kind: ConvKind, maps: &[Tensor]) -> Result<Option<Tensor>, tch::TchError> {
    let (side, padding, stride) = match kind {
        ConvKind::Same3x3 => (3, 1, 1),
        ConvKind::Down2x2 => (2, 0, 2),
        ConvKind::Up2x2 | ConvKind::Point1x1 => (1, 0, 1),
        ConvKind::Depthwise(_) => return Ok(None),
    };
    let unfold = |map: &Tensor| {
        let columns = map.f_contiguous()?.f_im2col([side; 2], [1, 1], [padding; 2], [stride; 2])?;
        columns.f_permute([1, 0, 2])?.f_flatten(1, 2)
    };
    let columns = maps.iter().map(unfold).collect::<Result<Vec<_>, _>>()?;
    Tensor::f_cat(&columns, 1).map(Some)
}

/// `weights`, by output and column, as whole multiples of each output's largest over `limit`, for the inputs `columns`.
fn rounded(weights: &Tensor, columns: &Tensor, limit: f64) -> Result<Tensor, Error> {
    let double = |t: &Tensor| t.to_device(tch::Device::Cpu).to_kind(Kind::Double);
    let moments =
        double(&(columns.f_matmul(&columns.f_transpose(0, 1)?)? / columns.size()[1] as f64));
    let count = moments.size()[0];
    let damping = moments.f_trace()?.double_value(&[]) / count as f64 * DAMPING + 1e-12;
    let moments = moments + Tensor::f_eye(count, (Kind::Double, tch::Device::Cpu))? * damping;
    // Those whose errors weigh most come first, while others are left to make up for them.
    let order = moments.f_diagonal(0, 0, 1)?.f_argsort(0, true)?;
    let inverse = moments.f_index_select(0, &order)?.f_index_select(1, &order)?.f_inverse()?;
    let factor = ((&inverse + inverse.f_transpose(0, 1)?) * 0.5).f_linalg_cholesky(true)?;

    let mut rest = double(weights).f_index_select(1, &order)?;
    let (largest, place) = rest.f_abs()?.f_max_dim(1, true)?;
    let step = largest / limit + 1e-15;
    let mut done = Vec::with_capacity(count as usize);
    for column in 0..count {
        let own = rest.f_narrow(1, 0, 1)?;
        let nearest = (&own / &step).f_round()?.f_clamp(-limit, limit)?;
        // The engine finds the step from the largest one, so that stays.
        let whole = (own.f_sign()? * limit).f_where_self(&place.f_eq(column)?, &nearest)?;
        let value = whole * &step;
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

    /// Weights of 5 outputs, and what their 36 columns see: much the same, as neighbouring pixels do.
    fn scene() -> (Tensor, Tensor) {
        tch::manual_seed(4);
        let options = (Kind::Float, tch::Device::Cpu);
        let weights = Tensor::randn([5, 36], options);
        let columns =
            Tensor::randn([1, 2000], options) * 3.0 + Tensor::randn([36, 2000], options) + 1.0;
        (weights, columns)
    }

    #[test]
    fn weights_come_to_lie_on_the_grid_that_the_engine_finds() {
        let (weights, columns) = scene();
        let settled = rounded(&weights, &columns, 127.0).unwrap();
        let step = settled.abs().amax([1i64], true) / 127.0;
        let whole = &settled / &step;
        assert!((&whole - whole.round()).abs().max().double_value(&[]) < 1e-3);
        assert!(
            (&settled - &weights).abs().max().double_value(&[])
                < 3.0 * step.max().double_value(&[])
        );
    }

    #[test]
    fn errors_are_made_up_for() {
        let (weights, columns) = scene();
        let error = |rounded: &Tensor| {
            (weights.matmul(&columns) - rounded.matmul(&columns))
                .square()
                .mean(Kind::Double)
                .double_value(&[])
                .sqrt()
        };
        let step = weights.abs().amax([1i64], true) / 127.0;
        let nearest = (&weights / &step).round() * &step;
        let settled = rounded(&weights, &columns, 127.0).unwrap();
        assert!(
            error(&settled) < 0.5 * error(&nearest),
            "{} and {}",
            error(&settled),
            error(&nearest)
        );
    }
}
