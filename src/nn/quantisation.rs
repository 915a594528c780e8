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
    /// Others where control maps stay low: what is made of weak noise is small, and coarse beside steps that strong noise needs. The lowest first.
    pub finer: Vec<Finer>,
}

/// Steps for pictures whose control maps hold nothing beyond some value.
#[derive(Debug, Clone, PartialEq)]
pub struct Finer {
    /// That value.
    pub most: f32,
    /// As [`Quantisation::convs`].
    pub convs: Vec<f32>,
}

/// Steps beyond these are no result of a calibration, and could overflow what is computed from them.
const STEPS: std::ops::RangeInclusive<f32> = 1e-6..=1e3;
/// More would only take memory.
const MAX_FINER: usize = 16;

impl Quantisation {
    /// With the same steps for all pictures.
    pub fn new(input: Vec<f32>, convs: Vec<f32>) -> Self {
        Self { input, convs, finer: Vec::new() }
    }

    /// Steps of what convolutions read, and up to which value of the control maps they hold; the lowest first, the last ones for all.
    pub fn classes(&self) -> impl Iterator<Item = (f32, &[f32])> {
        let finer = self.finer.iter().map(|finer| (finer.most, finer.convs.as_slice()));
        finer.chain([(f32::INFINITY, self.convs.as_slice())])
    }

    /// Checks that the numbers fit a network.
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
                    format!("{} steps where {count} are needed", steps.len()),
                ));
            }
            if let Some(bad) = steps.iter().find(|step: &&f32| !STEPS.contains(*step)) {
                return Err(Error::invalid(field, format!("step {bad} is not between {STEPS:?}")));
            }
        }
        if self.finer.len() > MAX_FINER {
            return Err(Error::invalid(
                "quantisation.most",
                format!("more than {MAX_FINER} sets of steps"),
            ));
        }
        let rise = self.finer.is_sorted_by(|a, b| a.most < b.most);
        if !rise || self.finer.iter().any(|finer| !finer.most.is_finite()) {
            return Err(Error::invalid("quantisation.most", "not numbers that rise"));
        }
        Ok(())
    }
}
