//! Training for 8-bit integers: the forward pass rounds feature maps as the int8 engine does, the gradient passes as if it did not
//! (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018).
//! Weights are trained as they are and rounded at the end ([`super::rounding`]).

use tch::{Kind, Tensor};

use super::{Error, run::Options};
use crate::nn::{
    Model,
    arch::{ConvId, ConvKind, Graph, Layer, MapId},
    model::{Domain, Finer, Quantisation},
    torch,
};

/// Share of a feature map's values, by channel, that a calibrated step has room for. Finer steps for all gain more than clipping the rest loses:
/// from 0.999 to 0.997 it is 0.07 dB more at sigma 5 and 0.02 at 25 than with 0.9999, before training on; with 0.99 less.
const WITHIN: f64 = 0.998;
/// A channel's range counts as at least this share of the widest's.
const NARROWEST: f64 = 1.0 / 64.0;
/// A channel whose range is a smaller share is dead, and stays as it is.
const DEAD: f64 = 1e-3;

/// Factor between the steps of a map that are tried.
const STEP_RATIO: f32 = 0.85;
/// Times that the steps of all maps are gone through.
const ROUNDS: usize = 2;
/// What a loss must fall by, for another step.
const GAIN: f64 = 1e-6;

/// Rounds feature maps.
pub struct Quantiser {
    pub quantisation: Quantisation,
    positive: Vec<bool>,
    input: Tensor,
    /// Channels of the input that are pictures.
    pictures: i64,
    /// Batches of what the network will see.
    examples: Vec<Tensor>,
}

impl Quantiser {
    fn new(
        graph: &Graph,
        domain: Domain,
        quantisation: Quantisation,
        examples: Vec<Tensor>,
    ) -> Self {
        let mut positive = vec![false; graph.convs.len()];
        for layer in &graph.layers {
            if let Layer::Block { second, .. } = *layer {
                positive[second] = true;
            }
        }
        let device = examples.first().map_or(tch::Device::Cpu, Tensor::device);
        let input = Tensor::from_slice(&quantisation.input).view([1, -1, 1, 1]).to_device(device);
        Self { quantisation, positive, input, pictures: domain.channels() as i64, examples }
    }

    /// With the steps of the model that a run goes on with or begins with, or else calibrated ones. `examples` are batches of what the
    /// network will see, `input_steps` the steps of its channels.
    ///
    /// # Errors
    /// A model file that cannot be read, or what libtorch reports.
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
                model.domain == options.domain && model.architecture == options.architecture;
            if let Some(quantisation) = model.quantisation().filter(|_| alike) {
                return Ok(Self::new(graph, options.domain, quantisation.clone(), examples));
            }
        }
        Self::calibrate(graph, options.domain, weights, examples, input_steps)
    }

    /// Rescales the channels of each feature map to about the same range, which leaves what the network computes as it
    /// is (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019), and finds
    /// the steps.
    ///
    /// # Errors
    /// What libtorch reports.
    fn calibrate(
        graph: &Graph,
        domain: Domain,
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

        // Maps that are added to each other share their scales; every tie has a list of the convolutions that read it.
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
        Ok(Self::new(graph, domain, Quantisation::new(input_steps, convs), examples))
    }

    /// Looks for steps, map by map, with which `loss` is smaller; for all pictures but those that have finer ones.
    ///
    /// # Errors
    /// What `loss` reports.
    pub fn tune(&mut self, loss: impl Fn(&Self) -> Result<f64, Error>) -> Result<(), Error> {
        self.tune_class(self.quantisation.finer.len(), loss)
    }

    /// Looks for finer steps, with which `loss` is smaller, for pictures of which the control maps hold no more than `most`, which is less than
    /// others before had.
    ///
    /// # Errors
    /// What `loss` reports.
    pub fn refine(
        &mut self,
        most: f32,
        loss: impl Fn(&Self) -> Result<f64, Error>,
    ) -> Result<(), Error> {
        let convs = self.steps(0).clone();
        self.quantisation.finer.insert(0, Finer { most, convs });
        self.tune_class(0, loss)
    }

    /// The steps of a class, in the order of [`Quantisation::classes`].
    fn steps(&mut self, class: usize) -> &mut Vec<f32> {
        match self.quantisation.finer.get_mut(class) {
            Some(finer) => &mut finer.convs,
            None => &mut self.quantisation.convs,
        }
    }

    fn tune_class(
        &mut self,
        class: usize,
        loss: impl Fn(&Self) -> Result<f64, Error>,
    ) -> Result<(), Error> {
        let _no_grad = tch::no_grad_guard();
        let mut least = loss(self)?;
        // The input's steps are given, those of the last one's are too fine to matter.
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

    /// Runs the network as the int8 engine does, but for the weights.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn forward(
        &self,
        graph: &Graph,
        weights: &[Tensor],
        x: &Tensor,
    ) -> Result<Tensor, tch::TchError> {
        let classes = self.classes(x)?;
        torch::forward_with(graph, weights, x, |conv, x| self.round_map(graph, conv, x, &classes))
    }

    /// Which steps each picture has, as the engine finds it.
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

    /// What a convolution reads of each example.
    ///
    /// # Errors
    /// What libtorch reports.
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

    /// Steps of the values that a convolution's weights are multiplied with, where they are not alike.
    pub(super) fn input_steps(&self, conv: ConvId) -> Option<&Tensor> {
        (conv == 0).then_some(&self.input)
    }

    fn round_map(
        &self,
        graph: &Graph,
        conv: ConvId,
        x: Tensor,
        classes: &Tensor,
    ) -> Result<Tensor, tch::TchError> {
        match conv {
            // Control maps are dithered, which is as if they were not rounded.
            0 => {
                let levels = (&x / &self.input).f_clamp(-128.0, 127.0)?;
                let controls = levels.size()[1] - self.pictures;
                let pictures = levels.f_narrow(1, 0, self.pictures)?.f_round()?;
                let levels =
                    Tensor::f_cat(&[pictures, levels.f_narrow(1, self.pictures, controls)?], 1)?;
                through(&x, &(levels * &self.input))
            }
            // The last one reads the fine form, whose steps are too small to matter.
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

/// `rounded`, with the gradient of `x`.
fn through(x: &Tensor, rounded: &Tensor) -> Result<Tensor, tch::TchError> {
    x.f_add(&(rounded - x).f_detach()?)
}

/// For each map, the first of those that it is added to.
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

/// Scales by channel that bring `ranges`, of several maps, near each other. They are 1 on (geometric) average: the optimiser's steps are
/// as long for small weights as for large ones, so a block that says little must not get larger ones.
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

/// A step of which `count` cover the widest range, after channels were divided by `scales`.
fn step(ranges: &[f64], scales: &[f64], count: f64) -> f32 {
    let widest = ranges.iter().zip(scales).map(|(range, scale)| range / scale).fold(1e-3, f64::max);
    (widest / count) as f32
}

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
    use crate::{nn::arch::ResidualUnet, train::optimiser::Optimiser, train::rounding};

    /// A small network, its weights and its calibrated steps.
    fn network() -> (Graph, Vec<Tensor>, Quantiser) {
        let unet = ResidualUnet {
            inputs: Domain::Yuv420.inputs(),
            outputs: Domain::Yuv420.outputs(),
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
            Quantiser::calibrate(&graph, Domain::Yuv420, &mut weights, examples, steps).unwrap();
        (graph, weights, quantiser)
    }

    /// By how much rounding changes what comes out.
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
        // Pictures of 8 bits, which lose nothing on their way in.
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
        // Each picture of a batch has its own.
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
        // They stay as they are.
        let again = rounding::settled(&graph, &settled, &quantiser).unwrap();
        for (first, second) in settled.iter().zip(&again).step_by(2) {
            let change = (first - second).abs().max().double_value(&[]);
            assert!(change < 1e-5, "{change}");
        }
    }
}
