// SPDX-License-Identifier: MIT OR Apache-2.0

//! Quantisation-aware training: the forward pass rounds feature maps as the int8 engine does, the
//! gradient passes through the rounding unchanged (Jacob et al., "Quantization and Training of
//! Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018).
//!
//! Weights are not rounded during training, but before they are written ([`super::rounding`]).

use tch::{Kind, Tensor};

use super::{Error, equalise, run::RunOptions};
use cnnvideo::nn::{
    IoSpec, Model,
    arch::{ConvId, Graph, Layer},
    model::{LowNoiseScales, Quantisation},
    torch,
};

/// Quantile of the magnitudes in a channel that the calibrated range covers; larger values are
/// clipped.
///
/// Quantiles from 0.997 to 0.999 gave 0.07 dB more at sigma 5 and 0.02 dB more at sigma 25 than
/// 0.9999, measured before fine-tuning: the smaller scales gain more than clipping loses. 0.99 gave
/// less.
const RANGE_QUANTILE: f64 = 0.998;
/// Ratio between successive scales that the search tries for a feature map.
const SCALE_RATIO: f32 = 0.85;
/// Number of passes of the search over all feature maps.
const ROUNDS: usize = 2;
/// Minimum decrease of the loss for a scale to be accepted.
const MIN_IMPROVEMENT: f64 = 1e-6;

/// Simulates the int8 engine's rounding of feature maps.
pub(crate) struct Quantiser {
    /// Quantisation scales of all feature maps.
    pub(crate) quantisation: Quantisation,
    /// By convolution: whether its input is the output of a ReLU, which is stored as u8 with zero
    /// point 0.
    reads_relu_output: Vec<bool>,
    /// Quantisation scales of the network's input, `[1, channels, 1, 1]`.
    input_scales: Tensor,
    /// Number of input channels with picture content; the others are control maps.
    picture_channels: i64,
    /// Representative batches of the network's input.
    examples: Vec<Tensor>,
}

impl Quantiser {
    /// Creates a quantiser with the given scales.
    fn new(graph: &Graph, io: IoSpec, quantisation: Quantisation, examples: Vec<Tensor>) -> Self {
        let mut reads_relu_output = vec![false; graph.convs.len()];
        for layer in &graph.layers {
            if let Layer::Residual { second, .. } = *layer {
                reads_relu_output[second] = true;
            }
        }
        let device = examples.first().map_or(tch::Device::Cpu, Tensor::device);
        let input_scales =
            Tensor::from_slice(&quantisation.input_scales).view([1, -1, 1, 1]).to_device(device);
        let picture_channels = io.picture as i64;
        Self { quantisation, reads_relu_output, input_scales, picture_channels, examples }
    }

    /// Creates a quantiser with the scales of the model that the run starts from or resumes
    /// (`resumed`), or calibrates new ones.
    ///
    /// `examples` are representative batches of the network's input, `input_scales` the scales of
    /// its channels. Calibration rescales `weights`.
    ///
    /// # Errors
    /// A model file that cannot be read, or errors of libtorch.
    pub(crate) fn new_or_resumed(
        options: &RunOptions,
        resumed: Option<&Model>,
        graph: &Graph,
        weights: &mut [Tensor],
        examples: Vec<Tensor>,
        input_scales: Vec<f32>,
    ) -> Result<Self, Error> {
        let initial = match &options.init {
            Some(path) if resumed.is_none() => Some(Model::from_file(path)?),
            _ => None,
        };
        if let Some(model) = resumed.or(initial.as_ref()) {
            let alike =
                model.task == options.signature.task && model.architecture == options.architecture;
            if let Some(quantisation) = model.quantisation().filter(|_| alike) {
                return Ok(Self::new(graph, options.signature.io, quantisation.clone(), examples));
            }
        }
        Self::calibrate(graph, options.signature.io, weights, examples, input_scales)
    }

    /// Calibrates quantisation scales, after equalising the ranges of the channels.
    ///
    /// # Errors
    /// Errors of libtorch.
    fn calibrate(
        graph: &Graph,
        io: IoSpec,
        weights: &mut [Tensor],
        examples: Vec<Tensor>,
        input_scales: Vec<f32>,
    ) -> Result<Self, Error> {
        let _no_grad = tch::no_grad_guard();
        let input = Tensor::f_cat(&examples, 0)?;
        let mut ranges: Vec<Vec<f64>> = vec![Vec::new(); graph.convs.len()];
        let _ = torch::forward_with_hook(graph, weights, &input, |conv, x| {
            let channels = x.size()[1];
            let values = x.f_permute([1, 0, 2, 3])?.f_reshape([channels, -1])?.f_abs()?;
            let quantile = values.f_quantile_scalar(RANGE_QUANTILE, Some(1), false, "linear")?;
            ranges[conv] = Vec::try_from(quantile.to_kind(Kind::Double))?;
            Ok(x)
        })?;

        let activation_scales = equalise::equalise(graph, weights, &ranges)?;
        Ok(Self::new(graph, io, Quantisation::new(input_scales, activation_scales), examples))
    }

    /// Tunes the quantisation scales of the default class (images that no low-noise class covers)
    /// to minimise `loss`, one feature map at a time.
    ///
    /// # Errors
    /// Errors of `loss`.
    pub(crate) fn tune(&mut self, loss: impl Fn(&Self) -> Result<f64, Error>) -> Result<(), Error> {
        self.tune_class(self.quantisation.low_noise.len(), loss)
    }

    /// Adds a class of smaller quantisation scales for images whose control maps are at most
    /// `max_control`, and tunes them to minimise `loss`.
    ///
    /// Call it with decreasing values of `max_control`; the new class starts from the scales of the
    /// previous one.
    ///
    /// # Errors
    /// Errors of `loss`.
    pub(crate) fn add_low_noise_class(
        &mut self,
        max_control: f32,
        loss: impl Fn(&Self) -> Result<f64, Error>,
    ) -> Result<(), Error> {
        let convs = self.activation_scales(0).clone();
        self.quantisation
            .low_noise
            .insert(0, LowNoiseScales { max_control, activation_scales: convs });
        self.tune_class(0, loss)
    }

    /// Returns the activation scales of a class, in the order of [`Quantisation::classes`].
    fn activation_scales(&mut self, class: usize) -> &mut Vec<f32> {
        match self.quantisation.low_noise.get_mut(class) {
            Some(low_noise) => &mut low_noise.activation_scales,
            None => &mut self.quantisation.activation_scales,
        }
    }

    /// Tunes the scales of one class by a greedy search in both directions.
    fn tune_class(
        &mut self,
        class: usize,
        loss: impl Fn(&Self) -> Result<f64, Error>,
    ) -> Result<(), Error> {
        let _no_grad = tch::no_grad_guard();
        let mut best_loss = loss(self)?;
        // The input's scales are fixed, and the last convolution reads i16 residuals, whose scales
        // are too small to matter.
        let inner = 1..self.quantisation.activation_scales.len().saturating_sub(1);
        for conv in std::iter::repeat_n(inner.rev(), ROUNDS).flatten() {
            let first = self.activation_scales(class)[conv];
            for ratio in [SCALE_RATIO, SCALE_RATIO.recip()] {
                let mut best = self.activation_scales(class)[conv];
                loop {
                    self.activation_scales(class)[conv] = best * ratio;
                    let now = loss(self)?;
                    if now > best_loss - MIN_IMPROVEMENT {
                        break;
                    }
                    (best_loss, best) = (now, best * ratio);
                }
                self.activation_scales(class)[conv] = best;
                if best != first {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Runs the network with the int8 engine's rounding of feature maps; weights are used
    /// unrounded.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn forward(
        &self,
        graph: &Graph,
        weights: &[Tensor],
        x: &Tensor,
    ) -> Result<Tensor, tch::TchError> {
        let classes = self.classes(x)?;
        torch::forward_with_hook(graph, weights, x, |conv, x| {
            self.round_map(graph, conv, x, &classes)
        })
    }

    /// Returns the class of quantisation scales of each image, `[n]`, chosen as the engine does: by
    /// the maximum of its control maps.
    fn classes(&self, input: &Tensor) -> Result<Tensor, tch::TchError> {
        let size = input.size();
        let controls = size[1] - self.picture_channels;
        if controls == 0 {
            return Tensor::f_full(
                [size[0]],
                self.quantisation.low_noise.len() as i64,
                (Kind::Int64, input.device()),
            );
        }
        let max_control =
            input.f_narrow(1, self.picture_channels, controls)?.f_amax([1i64, 2, 3], false)?;
        let limits: Vec<f32> =
            self.quantisation.low_noise.iter().map(|set| set.max_control).collect();
        let limits = Tensor::from_slice(&limits).to_device(input.device());
        max_control.f_unsqueeze(1)?.f_gt_tensor(&limits)?.f_sum_dim_intlist(
            &[1i64][..],
            false,
            Kind::Int64,
        )
    }

    /// Returns the rounded input of a convolution for each example batch.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn conv_inputs(
        &self,
        graph: &Graph,
        weights: &[Tensor],
        conv: ConvId,
    ) -> Result<Vec<Tensor>, tch::TchError> {
        let mut inputs = Vec::with_capacity(self.examples.len());
        for example in &self.examples {
            let classes = self.classes(example)?;
            let _ = torch::forward_with_hook(
                graph,
                weights,
                &torch::channels_last(example)?,
                |id, x| {
                    let x = self.round_map(graph, id, x, &classes)?;
                    if id == conv {
                        inputs.push(x.shallow_clone());
                    }
                    Ok(x)
                },
            )?;
        }
        Ok(inputs)
    }

    /// Returns the quantisation scales of a convolution's input by channel, `[1, channels, 1, 1]`,
    /// or `None` if all channels have the same scale.
    pub(crate) fn input_scales(&self, conv: ConvId) -> Option<&Tensor> {
        (conv == 0).then_some(&self.input_scales)
    }

    /// Rounds the input of a convolution. `classes` are the classes of the images.
    fn round_map(
        &self,
        graph: &Graph,
        conv: ConvId,
        x: Tensor,
        classes: &Tensor,
    ) -> Result<Tensor, tch::TchError> {
        match conv {
            // The engine dithers control maps, so on average they are not rounded. They are only
            // clipped here.
            0 => {
                let codes = (&x / &self.input_scales).f_clamp(-128.0, 127.0)?;
                let controls = codes.size()[1] - self.picture_channels;
                let picture_channels = codes.f_narrow(1, 0, self.picture_channels)?.f_round()?;
                let codes = Tensor::f_cat(
                    &[picture_channels, codes.f_narrow(1, self.picture_channels, controls)?],
                    1,
                )?;
                straight_through(&x, &(codes * &self.input_scales))
            }
            // The last convolution reads i16 residuals, whose scales are too small to matter.
            _ if conv + 1 == graph.convs.len() => Ok(x),
            _ => {
                let (low, high) =
                    if self.reads_relu_output[conv] { (0.0, 255.0) } else { (-128.0, 127.0) };
                let scales: Vec<f32> =
                    self.quantisation.scale_sets().map(|set| set.activation_scales[conv]).collect();
                let scales =
                    Tensor::from_slice(&scales).to_device(x.device()).f_index_select(0, classes)?;
                let scales = scales.f_view([-1, 1, 1, 1])?;
                let codes = x.f_div(&scales)?.f_clamp(low, high)?;
                straight_through(&codes, &codes.f_round()?)?.f_mul(&scales)
            }
        }
    }
}

/// Returns `rounded` with the gradient of `x` (straight-through estimator).
fn straight_through(x: &Tensor, rounded: &Tensor) -> Result<Tensor, tch::TchError> {
    x.f_add(&(rounded - x).f_detach()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{optimiser::Optimiser, rounding};
    use cnnvideo::{denoise::YUV420, nn::arch::ResidualUnet};

    /// Returns a small network, its weights and a calibrated quantiser.
    fn network() -> (Graph, Vec<Tensor>, Quantiser) {
        let unet = ResidualUnet {
            inputs: YUV420.io.input_channels(),
            outputs: YUV420.io.output,
            widths: vec![8, 8],
            hidden: vec![8, 8],
            down_blocks: vec![1, 1],
            up_blocks: vec![1],
        };
        let graph = unet.graph().unwrap();
        let mut weights: Vec<Tensor> =
            Optimiser::new(&graph, 3).weights.into_iter().map(|w| w.detach()).collect();
        let examples = vec![
            Tensor::rand([2, unet.inputs as i64, 16, 16], (Kind::Float, tch::Device::Cpu)) - 0.5,
        ];
        let scales = vec![1.0 / 255.0; unet.inputs];
        let quantiser =
            Quantiser::calibrate(&graph, YUV420.io, &mut weights, examples, scales).unwrap();
        (graph, weights, quantiser)
    }

    /// Returns the root mean square change of the output due to rounding, with the weights `used`
    /// compared to the weights `exact`.
    fn error(graph: &Graph, [exact, used]: [&[Tensor]; 2], quantiser: &Quantiser) -> f64 {
        let _no_grad = tch::no_grad_guard();
        let input = &quantiser.examples[0];
        let rounded = quantiser.forward(graph, used, input).unwrap();
        (rounded - torch::forward(graph, exact, input).unwrap())
            .square()
            .mean(Kind::Double)
            .double_value(&[])
            .sqrt()
    }

    #[test]
    fn tuning_corrects_scales_that_are_too_large() {
        let (graph, weights, mut quantiser) = network();
        let error = |quantiser: &Quantiser| error(&graph, [&weights, &weights], quantiser);
        let calibrated = error(&quantiser);
        quantiser.quantisation.activation_scales.iter_mut().for_each(|step| *step *= 8.0);
        assert!(error(&quantiser) > 3.0 * calibrated);
        quantiser.tune(|quantiser| Ok(error(quantiser))).unwrap();
        assert!(error(&quantiser) < 1.2 * calibrated, "{} and {calibrated}", error(&quantiser));
    }

    #[test]
    fn weak_noise_gets_smaller_scales() {
        let (graph, weights, mut quantiser) = network();
        // Inputs that are multiples of the input scale, so that rounding the input changes nothing.
        let bytes =
            |scale: f64| (&quantiser.examples[0].narrow(0, 0, 1) * (255.0 * scale)).round() / 255.0;
        let [strong, weak] = [bytes(1.0), bytes(0.05)];
        let error = |quantiser: &Quantiser, input: &Tensor| {
            let _no_grad = tch::no_grad_guard();
            let rounded = quantiser.forward(&graph, &weights, input).unwrap();
            (rounded - torch::forward(&graph, &weights, input).unwrap())
                .square()
                .mean(Kind::Double)
                .double_value(&[])
        };
        let before = [&strong, &weak].map(|input| error(&quantiser, input));
        quantiser
            .add_low_noise_class(0.05, |quantiser| Ok(error(quantiser, &weak).sqrt()))
            .unwrap();
        let after = [&strong, &weak].map(|input| error(&quantiser, input));
        assert_eq!(after[0], before[0]);
        assert!(after[1] < 0.2 * before[1], "{} and {}", after[1], before[1]);
        // Each image of a batch has a class of its own.
        let both = error(&quantiser, &Tensor::cat(&[&strong, &weak], 0));
        assert!((both - 0.5 * (after[0] + after[1])).abs() < 1e-3 * both);
    }

    #[test]
    fn rounded_weights_keep_the_output_and_round_to_themselves() {
        let (graph, weights, quantiser) = network();
        let rounded_weights = rounding::round_weights(&graph, &weights, &quantiser).unwrap();
        let [maps, both] =
            [&weights, &rounded_weights].map(|used| error(&graph, [&weights, used], &quantiser));
        assert!(both < 2.0 * maps, "{both} and {maps}");
        // Rounding is idempotent.
        let again = rounding::round_weights(&graph, &rounded_weights, &quantiser).unwrap();
        for (first, second) in rounded_weights.iter().zip(&again).step_by(2) {
            let change = (first - second).abs().max().double_value(&[]);
            assert!(change < 1e-5, "{change}");
        }
    }
}
