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
    pub input: Vec<f32>,
    /// Scales of the input activations of each convolution, in the order of [`Graph::convs`]. The
    /// entry of the first convolution is unused, because that one reads `input`.
    pub convs: Vec<f32>,
    /// Further sets of scales for inputs with low control maps, in ascending order of
    /// [`Finer::most`]. Activations that depend on weak noise are small, and the scales for strong
    /// noise would quantise them too coarsely.
    pub finer: Vec<Finer>,
}

/// Activation scales for inputs whose control maps stay below a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Finer {
    /// Largest control value that the scales are valid for.
    pub most: f32,
    /// Scales as in [`Quantisation::convs`].
    pub convs: Vec<f32>,
}

/// Accepted range of scales. A calibration never produces others, and they could overflow in
/// derived values.
const STEPS: std::ops::RangeInclusive<f32> = 1e-6..=1e3;
/// Upper limit of the number of low-noise sets; it bounds the memory for their packed weights.
const MAX_FINER: usize = 16;

impl Quantisation {
    /// Creates a quantisation with one set of scales for all inputs.
    pub fn new(input: Vec<f32>, convs: Vec<f32>) -> Self {
        Self { input, convs, finer: Vec::new() }
    }

    /// Returns the sets of activation scales, each with the largest control value that it is valid
    /// for, in ascending order. The limit of the last set is infinity.
    pub fn classes(&self) -> impl Iterator<Item = (f32, &[f32])> {
        let finer = self.finer.iter().map(|finer| (finer.most, finer.convs.as_slice()));
        finer.chain([(f32::INFINITY, self.convs.as_slice())])
    }

    /// Validates the scales against a graph.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a wrong number of scales, a scale out of range, too many sets or
    /// limits that do not ascend.
    pub(super) fn check(&self, graph: &Graph) -> Result<(), Error> {
        let finer =
            self.finer.iter().map(|finer| ("quantisation.finer", &finer.convs, graph.convs.len()));
        let all = [
            ("quantisation.input", &self.input, graph.input_channels()),
            ("quantisation.steps", &self.convs, graph.convs.len()),
        ];
        for (field, steps, count) in all.into_iter().chain(finer) {
            if steps.len() != count {
                return Err(Error::invalid(
                    field,
                    format!("{} scales, expected {count}", steps.len()),
                ));
            }
            if let Some(bad) = steps.iter().find(|step: &&f32| !STEPS.contains(*step)) {
                return Err(Error::invalid(field, format!("scale {bad} is not within {STEPS:?}")));
            }
        }
        if self.finer.len() > MAX_FINER {
            return Err(Error::invalid(
                "quantisation.most",
                format!("more than {MAX_FINER} sets of scales"),
            ));
        }
        let rise = self.finer.is_sorted_by(|a, b| a.most < b.most);
        if !rise || self.finer.iter().any(|finer| !finer.most.is_finite()) {
            return Err(Error::invalid("quantisation.most", "limits must be finite and ascending"));
        }
        Ok(())
    }
}
