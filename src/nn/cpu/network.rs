use std::sync::Arc;

use super::{
    arithmetic::Arithmetic, float::Float, int8::Int8, kernels, plan::Plan, session::CpuSession,
    threads::Threads,
};
use crate::nn::{Domain, Error, Model, Network, Session, Size};

/// Largest width or height of an input, which for video has half the size of the frame.
const MAX_SIDE: usize = 4096;

/// A model made ready for one arithmetic and one set of kernels.
#[derive(Debug)]
pub struct CpuNetwork<A> {
    shared: Arc<Shared<A>>,
}

/// In float32.
pub type FloatNetwork = CpuNetwork<Float>;
/// In 8-bit integers.
pub type Int8Network = CpuNetwork<Int8>;

/// What sessions need of the network that they belong to.
#[derive(Debug)]
pub(super) struct Shared<A> {
    pub model: Model,
    /// For pictures of which the control maps hold no more than a value; the lowest first, the last for all.
    classes: Vec<(f32, A)>,
}

impl<A> Shared<A> {
    /// For pictures of which the control maps hold no more than `most`.
    pub fn arithmetic(&self, most: f32) -> &A {
        let fits = self.classes.iter().position(|(limit, _)| most <= *limit);
        &self.classes[fits.unwrap_or(self.classes.len() - 1)].1
    }
}

impl FloatNetwork {
    /// Packs a model for the best kernels of this processor.
    ///
    /// # Errors
    /// As [`Self::with_kernels`].
    pub fn new(model: Model) -> Result<Self, Error> {
        Self::with_kernels(model, kernels::float::Kernels::best())
    }

    /// Packs a model for given kernels.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that this engine has no schedule for.
    pub fn with_kernels(model: Model, kernels: kernels::float::Kernels) -> Result<Self, Error> {
        let arithmetic = Float::new(&model, kernels);
        Self::checked(model, vec![(f32::INFINITY, arithmetic)])
    }
}

impl Int8Network {
    /// Quantises a model for the best kernels of this processor.
    ///
    /// # Errors
    /// As [`Self::with_kernels`].
    pub fn new(model: Model) -> Result<Self, Error> {
        Self::with_kernels(model, kernels::int8::Kernels::best())
    }

    /// Quantises a model for given kernels.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that this engine has no schedule for, [`Error::Invalid`] for a model that has no
    /// [`Quantisation`](crate::nn::model::Quantisation) or cannot be quantised.
    pub fn with_kernels(model: Model, kernels: kernels::int8::Kernels) -> Result<Self, Error> {
        let classes = Int8::classes(&model, kernels)?;
        Self::checked(model, classes)
    }
}

// `Arithmetic` is this module's own matter.
#[allow(private_bounds)]
impl<A: Arithmetic> CpuNetwork<A> {
    fn checked(model: Model, classes: Vec<(f32, A)>) -> Result<Self, Error> {
        // Sizes do not matter to what can be planned; better to fail here than when the first frame comes.
        let side = model.graph().granularity();
        Plan::new(model.graph(), Size { width: side, height: side }, A::INPUT_ALIGNMENT)?;
        Ok(Self { shared: Arc::new(Shared { model, classes }) })
    }
}

impl<A: Arithmetic> Network for CpuNetwork<A> {
    fn domain(&self) -> Domain {
        self.shared.model.domain
    }

    fn granularity(&self) -> usize {
        self.shared.model.graph().granularity()
    }

    fn backend(&self) -> String {
        format!("cpu/{}/{}", A::NAME, self.shared.arithmetic(f32::INFINITY).kernels())
    }

    fn session(&self, size: Size, threads: usize) -> Result<Box<dyn Session>, Error> {
        let granularity = self.granularity();
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
