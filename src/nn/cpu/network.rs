use std::sync::Arc;

use super::{kernels::Kernels, pack::Packed, plan::Plan, session::CpuSession, threads::Threads};
use crate::nn::{
    Domain, Error, Model, Network, Session, Size,
    arch::{ConvKind, ConvSpec},
    model::ConvWeights,
};

/// Largest width or height of an input, which for video has half the size of the frame.
const MAX_SIDE: usize = 4096;

/// A model with its weights packed for one kernel set.
#[derive(Debug)]
pub struct CpuNetwork {
    shared: Arc<Shared>,
}

/// What sessions need of the network that they belong to.
#[derive(Debug)]
pub(super) struct Shared {
    pub model: Model,
    pub kernels: Kernels,
    /// In the order of the graph's convolutions: one matrix, or for `Up2x2` one for each of the two output rows.
    pub weights: Vec<Vec<Packed>>,
}

impl CpuNetwork {
    /// Packs a model for the best kernels of this processor.
    ///
    /// # Errors
    /// As [`Self::with_kernels`].
    pub fn new(model: Model) -> Result<Self, Error> {
        Self::with_kernels(model, Kernels::best())
    }

    /// Packs a model for given kernels.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that this engine has no schedule for.
    pub fn with_kernels(model: Model, kernels: Kernels) -> Result<Self, Error> {
        // Sizes do not matter to what can be planned; better to fail here than when the first frame comes.
        let side = model.graph().granularity();
        Plan::new(model.graph(), Size { width: side, height: side })?;
        let pairs = model.graph().convs.iter().zip(model.weights());
        let weights = pairs.map(|(spec, conv)| pack(kernels, spec, conv)).collect();
        Ok(Self { shared: Arc::new(Shared { model, kernels, weights }) })
    }
}

impl Network for CpuNetwork {
    fn domain(&self) -> Domain {
        self.shared.model.domain
    }

    fn granularity(&self) -> usize {
        self.shared.model.graph().granularity()
    }

    fn backend(&self) -> String {
        format!("cpu/{}", self.shared.kernels.name())
    }

    fn session(&self, size: Size, threads: usize) -> Result<Box<dyn Session>, Error> {
        let granularity = self.shared.model.graph().granularity();
        let fits = |n: usize| (1..=MAX_SIDE).contains(&n) && n.is_multiple_of(granularity);
        if !fits(size.width) || !fits(size.height) {
            let reason = format!(
                "an input of {}x{} is not a multiple of {granularity} up to {MAX_SIDE} both ways",
                size.width, size.height
            );
            return Err(Error::Backend { backend: "cpu", reason });
        }
        Ok(Box::new(CpuSession::new(self.shared.clone(), size, Threads::new(threads)?)?))
    }
}

fn pack(kernels: Kernels, spec: &ConvSpec, conv: &ConvWeights) -> Vec<Packed> {
    let (inputs, outputs) = (spec.inputs, spec.outputs);
    // Within a segment, the inputs of one kernel column follow those of the column before.
    let square = |side: usize| {
        let weight = |row: usize, input: usize, output: usize| {
            let (column, input) = (input / inputs, input % inputs);
            conv.weight[((output * inputs + input) * side + row) * side + column]
        };
        Packed::new(kernels, side, side * inputs, outputs, weight, &conv.bias)
    };
    match spec.kind {
        ConvKind::Same3x3 => vec![square(3)],
        ConvKind::Down2x2 => vec![square(2)],
        ConvKind::Up2x2 => {
            // An input pixel becomes two neighbouring pixels in each of two rows.
            let bias = [conv.bias.as_slice(), conv.bias.as_slice()].concat();
            let row = |row: usize| {
                let weight = |_: usize, input: usize, output: usize| {
                    let (column, output) = (output / outputs, output % outputs);
                    conv.weight[((input * outputs + output) * 2 + row) * 2 + column]
                };
                Packed::new(kernels, 1, inputs, 2 * outputs, weight, &bias)
            };
            vec![row(0), row(1)]
        }
    }
}
