//! Quantisation-aware training: the forward pass rounds feature maps as the int8 engine does, the
//! gradient passes through the rounding unchanged (Jacob et al., "Quantization and Training of
//! Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018).
//!
//! Weights are not rounded during training, but before they are written ([`super::rounding`]).

use tch::{Kind, Tensor};

use super::{Error, run::Options};
use cnnvideo::nn::{
    IoSpec, Model,
    arch::{ConvId, ConvKind, Graph, Layer, MapId},
    model::{Finer, Quantisation},
    torch,
};

/// Quantile of the magnitudes in a channel that the calibrated range covers; larger values are
/// clipped.
///
/// Quantiles from 0.997 to 0.999 gave 0.07 dB more at sigma 5 and 0.02 dB more at sigma 25 than
/// 0.9999, measured before fine-tuning: the smaller steps gain more than clipping loses. 0.99 gave
/// less.
const WITHIN: f64 = 0.998;
/// Lower limit of a channel's range, as a share of the widest channel's range.
const NARROWEST: f64 = 1.0 / 64.0;
/// A channel with a range below this share of the widest one's counts as dead and is not rescaled.
const DEAD: f64 = 1e-3;

/// Ratio between successive steps that the search tries for a feature map.
const STEP_RATIO: f32 = 0.85;
/// Number of passes of the search over all feature maps.
const ROUNDS: usize = 2;
/// Minimum decrease of the loss for a step to be accepted.
const GAIN: f64 = 1e-6;

/// Simulates the int8 engine's rounding of feature maps.
pub struct Quantiser {
    /// Quantisation steps of all feature maps.
    pub quantisation: Quantisation,
    /// By convolution: whether its input is the output of a ReLU, which is stored as u8 with zero
    /// point 0.
    positive: Vec<bool>,
    /// Quantisation steps of the network's input, `[1, channels, 1, 1]`.
    input: Tensor,
    /// Number of input channels with picture content; the others are control maps.
    pictures: i64,
    /// Representative batches of the network's input.
    examples: Vec<Tensor>,
}

impl Quantiser {
    /// Creates a quantiser with the given steps.
    fn new(graph: &Graph, io: IoSpec, quantisation: Quantisation, examples: Vec<Tensor>) -> Self {
        let mut positive = vec![false; graph.convs.len()];
        for layer in &graph.layers {
            if let Layer::Block { second, .. } = *layer {
                positive[second] = true;
            }
        }
        let device = examples.first().map_or(tch::Device::Cpu, Tensor::device);
        let input = Tensor::from_slice(&quantisation.input).view([1, -1, 1, 1]).to_device(device);
        Self { quantisation, positive, input, pictures: io.picture as i64, examples }
    }

    /// Creates a quantiser with the steps of the model that the run resumes or starts from, or
    /// calibrates new ones.
    ///
    /// `examples` are representative batches of the network's input, `input_steps` the steps of its
    /// channels. Calibration rescales `weights`.
    ///
    /// # Errors
    /// A model file that cannot be read, or errors of libtorch.
    pub fn begin(
        options: &Options,
        graph: &Graph,
        weights: &mut [Tensor],
        examples: Vec<Tensor>,
        input_steps: Vec<f32>,
    ) -> Result<Self, Error> {
        let resumed = options.resumes().then_some(&options.out);
        if let Some(path) = resumed.or(options.init.as_ref()) {
            let model = Model::from_file(path)?;
            let alike =
                model.task == options.signature.task && model.architecture == options.architecture;
            if let Some(quantisation) = model.quantisation().filter(|_| alike) {
                return Ok(Self::new(graph, options.signature.io, quantisation.clone(), examples));
            }
        }
        Self::calibrate(graph, options.signature.io, weights, examples, input_steps)
    }

    /// Calibrates quantisation steps.
    ///
    /// Before that, rescales the channels of each feature map to about the same range, which does
    /// not change the function of the network (Nagel et al., "Data-Free Quantization Through Weight
    /// Equalization and Bias Correction", 2019).
    ///
    /// # Errors
    /// Errors of libtorch.
    fn calibrate(
        graph: &Graph,
        io: IoSpec,
        weights: &mut [Tensor],
        examples: Vec<Tensor>,
        input_steps: Vec<f32>,
    ) -> Result<Self, Error> {
        let _no_grad = tch::no_grad_guard();
        let input = Tensor::f_cat(&examples, 0)?;
        let mut ranges: Vec<Vec<f64>> = vec![Vec::new(); graph.convs.len()];
        let _ = torch::forward_with(graph, weights, &input, |conv, x| {
            let channels = x.size()[1];
            let values = x.f_permute([1, 0, 2, 3])?.f_reshape([channels, -1])?.f_abs()?;
            let quantile = values.f_quantile_scalar(WITHIN, Some(1), false, "linear")?;
            ranges[conv] = Vec::try_from(quantile.to_kind(Kind::Double))?;
            Ok(x)
        })?;

        // Feature maps that are added to each other share their scales. `readers` lists the
        // convolutions that read each group of such maps.
        let ties = ties(graph);
        let mut readers: Vec<Vec<ConvId>> = vec![Vec::new(); graph.maps.len()];
        let mut convs = vec![1.0; graph.convs.len()];
        for layer in &graph.layers {
            if layer.from() != Graph::INPUT {
                readers[ties[layer.from()]].push(layer.reader());
            }
            if let Layer::Block { first, second, .. } = *layer {
                let scales = scales(&[&ranges[second]]);
                scale_outputs(graph, weights, first, &scales)?;
                scale_inputs(graph, weights, second, &scales)?;
                convs[second] = step(&ranges[second], &scales, 255.0);
            }
        }
        for (tie, readers) in readers.iter().enumerate().filter(|(_, readers)| !readers.is_empty())
        {
            let scales = scales(&readers.iter().map(|r| ranges[*r].as_slice()).collect::<Vec<_>>());
            for reader in readers {
                scale_inputs(graph, weights, *reader, &scales)?;
                convs[*reader] = step(&ranges[*reader], &scales, 127.0);
            }
            for layer in graph.layers.iter().filter(|layer| ties[layer.to()] == tie) {
                scale_outputs(graph, weights, layer.writer(), &scales)?;
            }
        }
        Ok(Self::new(graph, io, Quantisation::new(input_steps, convs), examples))
    }

    /// Tunes the quantisation steps of the default class (images that no finer class covers) to
    /// minimise `loss`, one feature map at a time.
    ///
    /// # Errors
    /// Errors of `loss`.
    pub fn tune(&mut self, loss: impl Fn(&Self) -> Result<f64, Error>) -> Result<(), Error> {
        self.tune_class(self.quantisation.finer.len(), loss)
    }

    /// Adds a class of finer quantisation steps for images whose control maps are at most `most`,
    /// and tunes them to minimise `loss`.
    ///
    /// Call it with decreasing values of `most`; the new class starts from the steps of the
    /// previous one.
    ///
    /// # Errors
    /// Errors of `loss`.
    pub fn refine(
        &mut self,
        most: f32,
        loss: impl Fn(&Self) -> Result<f64, Error>,
    ) -> Result<(), Error> {
        let convs = self.steps(0).clone();
        self.quantisation.finer.insert(0, Finer { most, convs });
        self.tune_class(0, loss)
    }

    /// Returns the steps of a class, in the order of [`Quantisation::classes`].
    fn steps(&mut self, class: usize) -> &mut Vec<f32> {
        match self.quantisation.finer.get_mut(class) {
            Some(finer) => &mut finer.convs,
            None => &mut self.quantisation.convs,
        }
    }

    /// Tunes the steps of one class by a greedy search in both directions.
    fn tune_class(
        &mut self,
        class: usize,
        loss: impl Fn(&Self) -> Result<f64, Error>,
    ) -> Result<(), Error> {
        let _no_grad = tch::no_grad_guard();
        let mut least = loss(self)?;
        // The input's steps are fixed, and the last convolution reads i16 residuals, whose steps
        // are too small to matter.
        let inner = 1..self.quantisation.convs.len().saturating_sub(1);
        for conv in std::iter::repeat_n(inner.rev(), ROUNDS).flatten() {
            let first = self.steps(class)[conv];
            for ratio in [STEP_RATIO, STEP_RATIO.recip()] {
                let mut best = self.steps(class)[conv];
                loop {
                    self.steps(class)[conv] = best * ratio;
                    let now = loss(self)?;
                    if now > least - GAIN {
                        break;
                    }
                    (least, best) = (now, best * ratio);
                }
                self.steps(class)[conv] = best;
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
    pub fn forward(
        &self,
        graph: &Graph,
        weights: &[Tensor],
        x: &Tensor,
    ) -> Result<Tensor, tch::TchError> {
        let classes = self.classes(x)?;
        torch::forward_with(graph, weights, x, |conv, x| self.round_map(graph, conv, x, &classes))
    }

    /// Returns the class of quantisation steps of each image, `[n]`, chosen as the engine does: by
    /// the maximum of its control maps.
    fn classes(&self, input: &Tensor) -> Result<Tensor, tch::TchError> {
        let size = input.size();
        let controls = size[1] - self.pictures;
        if controls == 0 {
            return Tensor::f_full(
                [size[0]],
                self.quantisation.finer.len() as i64,
                (Kind::Int64, input.device()),
            );
        }
        let most = input.f_narrow(1, self.pictures, controls)?.f_amax([1i64, 2, 3], false)?;
        let limits: Vec<f32> = self.quantisation.finer.iter().map(|finer| finer.most).collect();
        let limits = Tensor::from_slice(&limits).to_device(input.device());
        most.f_unsqueeze(1)?.f_gt_tensor(&limits)?.f_sum_dim_intlist(
            &[1i64][..],
            false,
            Kind::Int64,
        )
    }

    /// Returns the rounded input of a convolution for each example batch.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(super) fn read(
        &self,
        graph: &Graph,
        weights: &[Tensor],
        conv: ConvId,
    ) -> Result<Vec<Tensor>, tch::TchError> {
        let mut read = Vec::with_capacity(self.examples.len());
        for example in &self.examples {
            let classes = self.classes(example)?;
            let _ =
                torch::forward_with(graph, weights, &torch::channels_last(example)?, |id, x| {
                    let x = self.round_map(graph, id, x, &classes)?;
                    if id == conv {
                        read.push(x.shallow_clone());
                    }
                    Ok(x)
                })?;
        }
        Ok(read)
    }

    /// Returns the quantisation steps of a convolution's input by channel, `[1, channels, 1, 1]`,
    /// or `None` if all channels have the same step.
    pub(super) fn input_steps(&self, conv: ConvId) -> Option<&Tensor> {
        (conv == 0).then_some(&self.input)
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
                let levels = (&x / &self.input).f_clamp(-128.0, 127.0)?;
                let controls = levels.size()[1] - self.pictures;
                let pictures = levels.f_narrow(1, 0, self.pictures)?.f_round()?;
                let levels =
                    Tensor::f_cat(&[pictures, levels.f_narrow(1, self.pictures, controls)?], 1)?;
                through(&x, &(levels * &self.input))
            }
            // The last convolution reads i16 residuals, whose steps are too small to matter.
            _ if conv + 1 == graph.convs.len() => Ok(x),
            _ => {
                let (low, high) = if self.positive[conv] { (0.0, 255.0) } else { (-128.0, 127.0) };
                let steps: Vec<f32> =
                    self.quantisation.classes().map(|(_, steps)| steps[conv]).collect();
                let steps =
                    Tensor::from_slice(&steps).to_device(x.device()).f_index_select(0, classes)?;
                let steps = steps.f_view([-1, 1, 1, 1])?;
                let levels = x.f_div(&steps)?.f_clamp(low, high)?;
                through(&levels, &levels.f_round()?)?.f_mul(&steps)
            }
        }
    }
}

/// Returns `rounded` with the gradient of `x` (straight-through estimator).
fn through(x: &Tensor, rounded: &Tensor) -> Result<Tensor, tch::TchError> {
    x.f_add(&(rounded - x).f_detach()?)
}

/// Returns for each feature map the representative of its group: the first of the maps that are
/// added to each other.
fn ties(graph: &Graph) -> Vec<MapId> {
    let mut ties: Vec<MapId> = (0..graph.maps.len()).collect();
    for layer in &graph.layers {
        let other = match *layer {
            Layer::Block { from, .. } => Some(from),
            Layer::Conv { add, .. } => add,
            Layer::Inverted { from, residual, .. } => residual.then_some(from),
        };
        if let Some(other) = other {
            let (a, b) = (ties[layer.to()], ties[other]);
            ties.iter_mut().filter(|tie| **tie == a.max(b)).for_each(|tie| *tie = a.min(b));
        }
    }
    ties
}

/// Returns scales by channel that equalise `ranges`, given for one or more feature maps.
///
/// Their geometric mean is 1. An optimiser step is as long for small weights as for large ones, so
/// a block of little influence must not get larger weights.
fn scales(ranges: &[&[f64]]) -> Vec<f64> {
    let count = ranges[0].len();
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) =
            values.fold((0.0, 0.0), |(sum, count), v| (sum + v.max(1e-12).ln(), count + 1.0));
        (sum / f64::max(count, 1.0)).exp()
    };
    let own: Vec<f64> = (0..count).map(|c| mean(&mut ranges.iter().map(|r| r[c]))).collect();
    let widest = own.iter().copied().fold(1e-9, f64::max);
    let alive = |range: &f64| *range > widest * DEAD;
    let average =
        mean(&mut own.iter().copied().filter(alive).map(|range| range.max(widest * NARROWEST)));
    let scale = |range| if alive(&range) { range.max(widest * NARROWEST) / average } else { 1.0 };
    own.into_iter().map(scale).collect()
}

/// Returns the step of which `count` cover the widest range, after the channels are divided by
/// `scales`.
fn step(ranges: &[f64], scales: &[f64], count: f64) -> f32 {
    let widest = ranges.iter().zip(scales).map(|(range, scale)| range / scale).fold(1e-3, f64::max);
    (widest / count) as f32
}

/// Multiplies the kernels that read each input channel with its scale.
fn scale_inputs(
    graph: &Graph,
    weights: &mut [Tensor],
    conv: ConvId,
    scales: &[f64],
) -> Result<(), Error> {
    let transposed = graph.convs[conv].kind == ConvKind::Up2x2;
    let shape = if transposed { [-1, 1, 1, 1] } else { [1, -1, 1, 1] };
    let scales =
        Tensor::from_slice(scales).to_kind(Kind::Float).to_device(weights[2 * conv].device());
    let _ = weights[2 * conv].f_mul_(&scales.view(shape))?;
    Ok(())
}

/// Divides the kernels and biases of each output channel by its scale.
fn scale_outputs(
    graph: &Graph,
    weights: &mut [Tensor],
    conv: ConvId,
    scales: &[f64],
) -> Result<(), Error> {
    let transposed = graph.convs[conv].kind == ConvKind::Up2x2;
    let shape = if transposed { [1, -1, 1, 1] } else { [-1, 1, 1, 1] };
    let scales =
        Tensor::from_slice(scales).to_kind(Kind::Float).to_device(weights[2 * conv].device());
    let _ = weights[2 * conv].f_div_(&scales.view(shape))?;
    let _ = weights[2 * conv + 1].f_div_(&scales)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{optimiser::Optimiser, rounding};
    use cnnvideo::{denoise::YUV420, nn::arch::ResidualUnet};

    /// Returns a small network, its weights and a calibrated quantiser.
    fn network() -> (Graph, Vec<Tensor>, Quantiser) {
        let unet = ResidualUnet {
            inputs: YUV420.io.inputs(),
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
        let steps = vec![1.0 / 255.0; unet.inputs];
        let quantiser =
            Quantiser::calibrate(&graph, YUV420.io, &mut weights, examples, steps).unwrap();
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
    fn steps_that_are_far_too_large_are_found_out() {
        let (graph, weights, mut quantiser) = network();
        let error = |quantiser: &Quantiser| error(&graph, [&weights, &weights], quantiser);
        let calibrated = error(&quantiser);
        quantiser.quantisation.convs.iter_mut().for_each(|step| *step *= 8.0);
        assert!(error(&quantiser) > 3.0 * calibrated);
        quantiser.tune(|quantiser| Ok(error(quantiser))).unwrap();
        assert!(error(&quantiser) < 1.2 * calibrated, "{} and {calibrated}", error(&quantiser));
    }

    #[test]
    fn weak_noise_gets_finer_steps() {
        let (graph, weights, mut quantiser) = network();
        // Inputs that are multiples of the input step, so that rounding the input changes nothing.
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
        quantiser.refine(0.05, |quantiser| Ok(error(quantiser, &weak).sqrt())).unwrap();
        let after = [&strong, &weak].map(|input| error(&quantiser, input));
        assert_eq!(after[0], before[0]);
        assert!(after[1] < 0.2 * before[1], "{} and {}", after[1], before[1]);
        // Each image of a batch has a class of its own.
        let both = error(&quantiser, &Tensor::cat(&[&strong, &weak], 0));
        assert!((both - 0.5 * (after[0] + after[1])).abs() < 1e-3 * both);
    }

    #[test]
    fn settled_weights_change_little() {
        let (graph, weights, quantiser) = network();
        let settled = rounding::settled(&graph, &weights, &quantiser).unwrap();
        let [maps, both] =
            [&weights, &settled].map(|used| error(&graph, [&weights, used], &quantiser));
        assert!(both < 2.0 * maps, "{both} and {maps}");
        // Rounding is idempotent.
        let again = rounding::settled(&graph, &settled, &quantiser).unwrap();
        for (first, second) in settled.iter().zip(&again).step_by(2) {
            let change = (first - second).abs().max().double_value(&[]);
            assert!(change < 1e-5, "{change}");
        }
    }
}
