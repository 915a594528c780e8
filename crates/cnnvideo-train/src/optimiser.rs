// SPDX-License-Identifier: MIT OR Apache-2.0

//! The optimiser: Muon for inner kernels, Adam for all other parameters, and the running average of
//! the weights.
//!
//! It is implemented here, because tch's own optimisers do not expose their state and checkpoints
//! need it. Muon (orthogonalised momentum) gave 0.9 dB more than Adam alone after the same number
//! of steps. The first and the last layer, depthwise kernels and biases use Adam; a pretrained
//! encoder uses Adam at a reduced rate.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::Error;
use cnnvideo::nn::arch::{ConvKind, ConvSpec, ENCODER_PREFIX, Graph};

/// Decay of the first moment.
const BETA1: f64 = 0.9;
/// Decay of the second moment.
const BETA2: f64 = 0.999;
/// Added to denominators to avoid divisions by 0.
const EPSILON: f64 = 1e-8;
/// Maximum norm of the gradient over all weights; longer gradients are scaled down.
const MAX_GRADIENT_NORM: f64 = 1.0;
/// Decay of the running average of the weights. The averaged weights are those that are deployed
/// (Polyak averaging).
const AVERAGE_DECAY: f64 = 0.999;

/// Root mean square of an orthogonalised update at learning rate 1. That of an Adam update is near
/// 1 too.
const ORTHOGONAL_STEP: f64 = 1.2;

/// Learning rate of the pretrained encoder, relative to that of the other layers.
const ENCODER_RATE: f64 = 0.1;

/// Update rule of a parameter tensor.
#[derive(Clone, Copy)]
enum UpdateRule {
    /// Nesterov momentum, orthogonalised.
    Muon,
    /// Adam, with the learning rate multiplied by this factor.
    Adam(f64),
}

/// Weights in training, the moments of Adam (Kingma and Ba 2015), and the running average. Each
/// vector holds kernel and bias of each convolution in turn.
pub(crate) struct Optimiser {
    /// Current weights, which require gradients.
    pub(crate) weights: Vec<Tensor>,
    /// Running average of the weights.
    pub(crate) average: Vec<Tensor>,
    /// First moments (momentum).
    first_moments: Vec<Tensor>,
    /// Second moments.
    second_moments: Vec<Tensor>,
    /// Update rules.
    update_rules: Vec<UpdateRule>,
    /// Number of steps done.
    pub(crate) step: u64,
}

impl Optimiser {
    /// Starts from random weights (He et al. 2015) that depend on `seed` only.
    pub(crate) fn new(graph: &Graph, seed: i64) -> Self {
        tch::manual_seed(seed);
        let mut weights = Vec::new();
        for spec in &graph.convs {
            let shape = spec.weight_shape();
            let fan_in = spec.macs_per_output() / spec.out_channels;
            let std = (2.0 / fan_in as f64).sqrt() * f64::from(spec.init_permille) / 1000.0;
            weights.push(
                Tensor::randn(shape.map(|n| n as i64), (Kind::Float, tch::Device::Cpu)) * std,
            );
            weights
                .push(Tensor::zeros([spec.out_channels as i64], (Kind::Float, tch::Device::Cpu)));
        }
        Self::from_weights(graph, weights)
    }

    /// Starts from the given weights.
    pub(crate) fn from_weights(graph: &Graph, weights: Vec<Tensor>) -> Self {
        let weights: Vec<Tensor> =
            weights.into_iter().map(|w| w.detach().copy().set_requires_grad(true)).collect();
        let zeros = || weights.iter().map(|w| w.detach().zeros_like()).collect::<Vec<_>>();
        let average = weights.iter().map(|w| w.detach().copy()).collect();
        Self {
            average,
            first_moments: zeros(),
            second_moments: zeros(),
            weights,
            update_rules: update_rules(graph),
            step: 0,
        }
    }

    /// Makes one step down the gradient of `loss`.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn step(&mut self, loss: &Tensor, rate: f64) -> Result<(), Error> {
        for weight in &mut self.weights {
            weight.zero_grad();
        }
        loss.f_backward()?;
        self.step += 1;
        let _no_grad = tch::no_grad_guard();
        // The norm stays on the device, so that the CPU does not wait for a GPU.
        let norms: Vec<Tensor> = self.weights.iter().map(|w| w.grad().norm()).collect();
        let scale = (Tensor::f_stack(&norms, 0)?.norm() + EPSILON)
            .f_reciprocal()?
            .f_mul_scalar(MAX_GRADIENT_NORM)?
            .f_clamp_max(1.0)?;
        let (t, step) = (self.step as f64, self.step as i32);
        let adam_rate = rate * (1.0 - BETA2.powi(step)).sqrt() / (1.0 - BETA1.powi(step));
        // In the first steps the average follows faster, so that it does not retain the random
        // initial weights.
        let average_rate = (1.0 - AVERAGE_DECAY).max(1.0 / t);
        let mut momentum_steps: HashMap<Vec<i64>, Vec<(usize, Tensor)>> = HashMap::new();
        for i in 0..self.weights.len() {
            let gradient = self.weights[i].grad() * &scale;
            let (first, second) = (&mut self.first_moments[i], &mut self.second_moments[i]);
            let _ = first.f_lerp_(&gradient, 1.0 - BETA1)?;
            let _ = second.f_lerp_(&(&gradient * &gradient), 1.0 - BETA2)?;
            match self.update_rules[i] {
                // Nesterov momentum: one more step of the running mean.
                UpdateRule::Muon => {
                    momentum_steps
                        .entry(gradient.size())
                        .or_default()
                        .push((i, first.f_lerp(&gradient, 1.0 - BETA1)?));
                }
                UpdateRule::Adam(share) => {
                    let change = &*first / (second.sqrt() + EPSILON) * (adam_rate * share);
                    let _ = self.weights[i].f_sub_(&change)?;
                }
            }
        }
        // Kernels of the same shape are processed as one batch, because many small matrix products
        // are slow on a GPU.
        for same_shape in momentum_steps.into_values() {
            let stacked = Tensor::f_stack(
                &same_shape.iter().map(|(_, kernel)| kernel).collect::<Vec<_>>(),
                0,
            )?;
            let changes = orthogonalise(&stacked)? * (rate * ORTHOGONAL_STEP);
            for (n, (i, _)) in same_shape.iter().enumerate() {
                let _ = self.weights[*i].f_sub_(&changes.get(n as i64))?;
            }
        }
        for (weight, average) in self.weights.iter().zip(&mut self.average) {
            let _ = average.f_lerp_(&weight.detach(), average_rate)?;
        }
        Ok(())
    }

    /// Returns all tensors with their names in a checkpoint.
    pub(crate) fn state(&self) -> Vec<(String, Tensor)> {
        let all = self.groups().into_iter().flat_map(|(name, list)| named(name, list));
        all.map(|(name, tensor)| (name, tensor.to_device(tch::Device::Cpu))).collect()
    }

    /// Restores the tensors of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if a tensor is missing or has another shape.
    pub(crate) fn restore(&mut self, step: u64, state: Vec<(String, Tensor)>) -> Result<(), Error> {
        let mut state: HashMap<String, Tensor> = state.into_iter().collect();
        let _no_grad = tch::no_grad_guard();
        for (group, list) in self.groups() {
            for (name, mut tensor) in named(group, list) {
                let saved = state
                    .remove(&name)
                    .ok_or_else(|| Error::Checkpoint(format!("tensor {name} is missing")))?;
                if saved.size() != tensor.size() {
                    return Err(Error::Checkpoint(format!("{name}: shape of another network")));
                }
                tensor.f_copy_(&saved)?;
            }
        }
        self.step = step;
        Ok(())
    }

    /// Returns the groups of tensors with their prefix in a checkpoint.
    fn groups(&self) -> [(&'static str, &[Tensor]); 4] {
        [
            ("weights", &self.weights),
            ("average", &self.average),
            ("first", &self.first_moments),
            ("second", &self.second_moments),
        ]
    }
}

/// Returns the update rules of kernel and bias of each convolution in turn.
fn update_rules(graph: &Graph) -> Vec<UpdateRule> {
    let last = graph.convs.len() - 1;
    let update_rule = |(i, spec): (usize, &ConvSpec)| {
        // The first and the last layer convert from and to pixels; they use Adam.
        if spec.name.starts_with(ENCODER_PREFIX) {
            [UpdateRule::Adam(ENCODER_RATE); 2]
        } else if i == 0 || i == last || matches!(spec.kind, ConvKind::Depthwise(_)) {
            [UpdateRule::Adam(1.0); 2]
        } else {
            [UpdateRule::Muon, UpdateRule::Adam(1.0)]
        }
    };
    graph.convs.iter().enumerate().flat_map(update_rule).collect()
}

/// Names the tensors of a group.
fn named<'a>(group: &'a str, list: &'a [Tensor]) -> impl Iterator<Item = (String, Tensor)> + 'a {
    list.iter().enumerate().map(move |(i, t)| (format!("{group}.{i}"), t.shallow_clone().detach()))
}

/// Replaces each kernel, taken as a matrix of outputs by taps, with the nearest orthogonal matrix,
/// scaled to a root mean square of 1. Kernels are stacked along the first axis.
///
/// Five Newton-Schulz iterations with the polynomial of Jordan et al., "Muon: An optimizer for
/// hidden layers in neural networks" (2024). Singular values end up between about 0.7 and 1.2,
/// which serves as well as 1.
fn orthogonalise(kernels: &Tensor) -> Result<Tensor, Error> {
    let shape = kernels.size();
    let flat = kernels.f_reshape([shape[0], shape[1], -1])?;
    let (rows, columns) = (flat.size()[1], flat.size()[2]);
    let tall = rows > columns;
    let transposed = |x: &Tensor| x.f_transpose(1, 2);
    let flat = if tall { transposed(&flat)? } else { flat };
    let norms = flat.f_square()?.f_sum_dim_intlist(&[1i64, 2][..], true, Kind::Float)?.f_sqrt()?;
    let mut x = &flat / (norms + 1e-12);
    for _ in 0..5 {
        let square = x.f_matmul(&transposed(&x)?)?;
        let polynomial = &square * -4.775 + square.f_matmul(&square)? * 2.0315;
        x = &x * 3.4445 + polynomial.f_matmul(&x)?;
    }
    let x = if tall { transposed(&x)? } else { x };
    Ok(x.f_reshape(shape)? * (rows.max(columns) as f64).sqrt())
}
