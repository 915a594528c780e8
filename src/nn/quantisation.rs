use super::{Error, arch::Graph};

/// How a model's feature maps are rounded to 8 bits: the width of one step for each of them.
///
/// A map that can be negative is kept as `128 + round(value / step)`, one that comes out of a ReLU as
/// `round(value / step)`. The weights need no steps here: each output of a convolution has its own, the largest weight's
/// magnitude over 127.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantisation {
    /// Of the network's input, by channel.
    pub input: Vec<f32>,
    /// Of what each convolution reads, in the order of [`Graph::convs`]. That of the first is not used: it reads `input`.
    pub convs: Vec<f32>,
}

/// Steps beyond these are no result of a calibration, and could overflow what is computed from them.
const STEPS: std::ops::RangeInclusive<f32> = 1e-6..=1e3;

impl Quantisation {
    /// Checks that the numbers fit a network.
    pub(super) fn check(&self, graph: &Graph) -> Result<(), Error> {
        for (field, steps, count) in [
            ("quantisation.input", &self.input, graph.input_channels()),
            ("quantisation.steps", &self.convs, graph.convs.len()),
        ] {
            if steps.len() != count {
                return Err(Error::invalid(field, format!("{} steps where {count} are needed", steps.len())));
            }
            if let Some(bad) = steps.iter().find(|step: &&f32| !STEPS.contains(*step)) {
                return Err(Error::invalid(field, format!("step {bad} is not between {STEPS:?}")));
            }
        }
        Ok(())
    }
}
