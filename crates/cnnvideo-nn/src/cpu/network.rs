//! [`Network`] of the CPU backend: a model with its weights packed for one arithmetic and one
//! kernel set.

use std::sync::Arc;

use super::{
    arithmetic::Arithmetic, float::Float, int8::Int8, kernels, plan::Plan, session::CpuSession,
    threads::Threads,
};
use crate::{Error, IoSpec, Model, Network, Session, Size};

/// Upper limit of the width and height of an input; for video an input has half the frame size.
const MAX_SIDE: usize = 4096;

/// A model with weights packed for one arithmetic and one kernel set.
#[derive(Debug)]
pub struct CpuNetwork<A> {
    shared: Arc<Shared<A>>,
}

/// A model that runs in float32.
pub type FloatNetwork = CpuNetwork<Float>;
/// A model that runs in 8-bit integers.
pub type Int8Network = CpuNetwork<Int8>;

/// Data that a network shares with its sessions.
#[derive(Debug)]
pub(super) struct Shared<A> {
    /// The model.
    pub model: Model,
    /// Packed weights with the largest control value that they are valid for, in ascending order.
    /// The limit of the last entry is infinity.
    classes: Vec<(f32, A)>,
}

impl<A> Shared<A> {
    /// Returns the packed weights for an input whose control maps do not exceed `most`.
    pub fn arithmetic(&self, most: f32) -> &A {
        let fits = self.classes.iter().position(|(limit, _)| most <= *limit);
        &self.classes[fits.unwrap_or(self.classes.len() - 1)].1
    }
}

impl FloatNetwork {
    /// Packs a model for the fastest kernel set of this processor.
    ///
    /// # Errors
    /// Those of [`Self::with_kernels`].
    pub fn new(model: Model) -> Result<Self, Error> {
        Self::with_kernels(model, kernels::float::Kernels::best())
    }

    /// Packs a model for a given kernel set.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that the planner does not support.
    pub fn with_kernels(model: Model, kernels: kernels::float::Kernels) -> Result<Self, Error> {
        let arithmetic = Float::new(&model, kernels);
        Self::checked(model, vec![(f32::INFINITY, arithmetic)])
    }
}

impl Int8Network {
    /// Quantises a model for the fastest kernel set of this processor.
    ///
    /// # Errors
    /// Those of [`Self::with_kernels`].
    pub fn new(model: Model) -> Result<Self, Error> {
        Self::with_kernels(model, kernels::int8::Kernels::best())
    }

    /// Quantises a model for a given kernel set.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that the planner does not support, [`Error::Invalid`] for a
    /// model that has no [`Quantisation`](crate::model::Quantisation) or cannot run in int8.
    pub fn with_kernels(model: Model, kernels: kernels::int8::Kernels) -> Result<Self, Error> {
        let classes = Int8::classes(&model, kernels)?;
        Self::checked(model, classes)
    }
}

// `Arithmetic` is this module's own matter.
#[allow(private_bounds)]
// `Arithmetic` is private to this module; only the two type aliases are part of the API.
impl<A: Arithmetic> CpuNetwork<A> {
    /// Creates a network after a check that the planner supports its graph.
    fn checked(model: Model, classes: Vec<(f32, A)>) -> Result<Self, Error> {
        // Whether a plan exists does not depend on the size. Checking it here reports an
        // unsupported graph when the model is loaded, not at the first frame.
        let side = model.graph().granularity();
        Plan::new(model.graph(), Size { width: side, height: side }, A::INPUT_ALIGNMENT)?;
        Ok(Self { shared: Arc::new(Shared { model, classes }) })
    }
}

impl<A: Arithmetic> Network for CpuNetwork<A> {
    fn task(&self) -> &str {
        &self.shared.model.task
    }

    fn io(&self) -> IoSpec {
        self.shared.model.io
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
                "cannot run on an input of {}x{}: width and height must be multiples of \
                 {granularity} up to {MAX_SIDE}",
                size.width, size.height
            );
            return Err(Error::Backend { backend: "cpu", reason });
        }
        Ok(Box::new(CpuSession::new(self.shared.clone(), size, Threads::new(threads)?)?))
    }
}
