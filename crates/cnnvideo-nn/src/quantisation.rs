// SPDX-License-Identifier: MIT OR Apache-2.0

//! Activation scales of models that run in int8.

use super::{Error, arch::Graph};

/// Scales with which a model quantises its feature maps to 8 bits.
///
/// A map that can be negative is stored as `128 + round(value / scale)`, the output of a ReLU as
/// `round(value / scale)`. Weight scales are not part of the file: each output channel of a
/// convolution has its own, the largest weight magnitude divided by 127.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantisation {
    /// Scales of the network's input, one per channel.
    pub input_scales: Vec<f32>,
    /// Scales of the input activations of each convolution, in the order of [`Graph::convs`]. The
    /// entry of the first convolution is unused, because that one reads the network's input.
    pub activation_scales: Vec<f32>,
    /// Further sets of activation scales for inputs with low control maps, in ascending order of
    /// [`LowNoiseScales::max_control`]. Activations that depend on weak noise are small, and the
    /// scales for strong noise would quantise them too coarsely.
    pub low_noise: Vec<LowNoiseScales>,
}

/// Activation scales for inputs whose control maps stay below a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct LowNoiseScales {
    /// Largest control value that the scales are valid for.
    pub max_control: f32,
    /// Scales as in [`Quantisation::activation_scales`].
    pub activation_scales: Vec<f32>,
}

/// One of the sets of activation scales of a [`Quantisation`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleSet<'a> {
    /// Largest control value that the scales are valid for; infinity for the general set.
    pub max_control: f32,
    /// Scales as in [`Quantisation::activation_scales`].
    pub activation_scales: &'a [f32],
}

/// Accepted range of scales. A calibration never produces others, and they could overflow in
/// derived values.
const SCALE_RANGE: std::ops::RangeInclusive<f32> = 1e-6..=1e3;
/// Upper limit of the number of low-noise sets; it bounds the memory for their packed weights.
const MAX_LOW_NOISE_SETS: usize = 16;

impl Quantisation {
    /// Creates a quantisation with one set of activation scales for all inputs.
    pub fn new(input_scales: Vec<f32>, activation_scales: Vec<f32>) -> Self {
        Self { input_scales, activation_scales, low_noise: Vec::new() }
    }

    /// Returns the sets of activation scales in ascending order of their limits. The last one is
    /// the general set.
    pub fn scale_sets(&self) -> impl Iterator<Item = ScaleSet<'_>> {
        let low_noise = self.low_noise.iter().map(|set| ScaleSet {
            max_control: set.max_control,
            activation_scales: &set.activation_scales,
        });
        let activation_scales = self.activation_scales.as_slice();
        low_noise.chain([ScaleSet { max_control: f32::INFINITY, activation_scales }])
    }

    /// Validates the scales against a graph.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a wrong number of scales, a scale out of range, too many sets or
    /// limits that do not ascend.
    pub(super) fn check(&self, graph: &Graph) -> Result<(), Error> {
        let convs = graph.convs.len();
        let low_noise =
            self.low_noise.iter().map(|set| ("quantisation.finer", &set.activation_scales, convs));
        let all = [
            ("quantisation.input", &self.input_scales, graph.input_channels()),
            ("quantisation.steps", &self.activation_scales, convs),
        ];
        for (field, scales, count) in all.into_iter().chain(low_noise) {
            if scales.len() != count {
                return Err(Error::invalid(
                    field,
                    format!("{} scales, expected {count}", scales.len()),
                ));
            }
            if let Some(bad) = scales.iter().find(|scale| !SCALE_RANGE.contains(*scale)) {
                return Err(Error::invalid(
                    field,
                    format!("scale {bad} is not within {SCALE_RANGE:?}"),
                ));
            }
        }
        if self.low_noise.len() > MAX_LOW_NOISE_SETS {
            return Err(Error::invalid(
                "quantisation.most",
                format!("more than {MAX_LOW_NOISE_SETS} sets of scales"),
            ));
        }
        let ascending = self.low_noise.is_sorted_by(|a, b| a.max_control < b.max_control);
        if !ascending || self.low_noise.iter().any(|set| !set.max_control.is_finite()) {
            return Err(Error::invalid("quantisation.most", "limits must be finite and ascending"));
        }
        Ok(())
    }
}
