// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Network`] of the CPU backend: a model with its weights packed for one arithmetic and one
//! kernel set.

use std::sync::Arc;

use super::{
    arithmetic::Arithmetic,
    float::FloatArithmetic,
    int8::Int8Arithmetic,
    kernels::{float::FloatKernels, int8::Int8Kernels},
    plan::Plan,
    session::CpuSession,
    threads::Threads,
};
use crate::{Error, IoSpec, Model, Network, Session, Size};

/// Upper limit of the width and height of an input; for video an input has half the frame size.
const MAX_SIDE: usize = 4096;

/// A model with weights packed for one arithmetic and one kernel set: [`FloatNetwork`] or
/// [`Int8Network`].
#[derive(Debug)]
pub struct CpuNetwork<A> {
    packed: Arc<PackedModel<A>>,
}

/// A model that runs in float32.
pub type FloatNetwork = CpuNetwork<FloatArithmetic>;
/// A model that runs in 8-bit integers.
pub type Int8Network = CpuNetwork<Int8Arithmetic>;

/// Packed weights that are valid for inputs with low control maps.
#[derive(Debug)]
pub(super) struct PackedSet<A> {
    /// Largest control value that the weights are valid for.
    pub max_control: f32,
    /// The packed weights.
    pub arithmetic: A,
}

/// A model with its packed weights, which a network shares with its sessions.
#[derive(Debug)]
pub(super) struct PackedModel<A> {
    /// The model.
    pub model: Model,
    /// Weights for inputs with low control maps, in ascending order of their limits.
    low_noise: Vec<PackedSet<A>>,
    /// Weights for all other inputs.
    general: A,
}

impl<A> PackedModel<A> {
    /// Returns the packed weights that are valid for all inputs.
    pub(super) fn general(&self) -> &A {
        &self.general
    }

    /// Returns the packed weights for an input whose control maps do not exceed `max_control`.
    pub(super) fn for_control(&self, max_control: f32) -> &A {
        let fits = |set: &&PackedSet<A>| max_control <= set.max_control;
        self.low_noise.iter().find(fits).map_or(&self.general, |set| &set.arithmetic)
    }
}

impl FloatNetwork {
    /// Packs a model for the fastest kernel set of this processor.
    ///
    /// # Errors
    /// Those of [`Self::with_kernels`].
    pub fn new(model: Model) -> Result<Self, Error> {
        Self::with_kernels(model, FloatKernels::best())
    }

    /// Packs a model for a given kernel set.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that the planner does not support.
    pub fn with_kernels(model: Model, kernels: FloatKernels) -> Result<Self, Error> {
        let general = FloatArithmetic::new(&model, kernels);
        Self::checked(PackedModel { model, low_noise: Vec::new(), general })
    }
}

impl Int8Network {
    /// Quantises a model for the fastest kernel set of this processor.
    ///
    /// # Errors
    /// Those of [`Self::with_kernels`].
    pub fn new(model: Model) -> Result<Self, Error> {
        Self::with_kernels(model, Int8Kernels::best())
    }

    /// Quantises a model for a given kernel set.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that the planner does not support, [`Error::Invalid`] for a
    /// model that has no [`Quantisation`](crate::model::Quantisation) or cannot run in int8.
    pub fn with_kernels(model: Model, kernels: Int8Kernels) -> Result<Self, Error> {
        let general = Int8Arithmetic::new(&model, kernels)?;
        let low_noise = general.low_noise_sets(&model)?;
        Self::checked(PackedModel { model, low_noise, general })
    }
}

// `Arithmetic` is private; only the two type aliases are part of the API.
#[allow(private_bounds)]
impl<A: Arithmetic> CpuNetwork<A> {
    /// Creates a network after a check that the planner supports its graph.
    fn checked(packed: PackedModel<A>) -> Result<Self, Error> {
        // Whether a plan exists does not depend on the size. Checking it here reports an
        // unsupported graph when the model is loaded, not at the first frame.
        let graph = packed.model.graph();
        let side = graph.granularity();
        Plan::new(graph, Size { width: side, height: side }, A::INPUT_ALIGNMENT)?;
        Ok(Self { packed: Arc::new(packed) })
    }
}

impl<A: Arithmetic> Network for CpuNetwork<A> {
    fn task(&self) -> &str {
        &self.packed.model.task
    }

    fn io(&self) -> IoSpec {
        self.packed.model.io
    }

    fn granularity(&self) -> usize {
        self.packed.model.graph().granularity()
    }

    fn backend(&self) -> String {
        format!("cpu/{}/{}", A::NAME, self.packed.general().kernel_set())
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
        Ok(Box::new(CpuSession::new(self.packed.clone(), size, Threads::new(threads)?)?))
    }
}
