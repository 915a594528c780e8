//! Smoother for the pictures of one stream: runs the network, then the solver.
//!
//! Also loads the models, built-in or from a file. Main types: [`Smoother`], [`Parameters`],
//! [`Error`].

use std::{path::PathBuf, sync::Arc};

use ndarray::Array2;

use super::{
    SIGNATURE,
    adapt::{self, Memory},
    control,
    io::{Cells, Maps, Planes},
    wls::{Guide, Weights, Wls},
};
use crate::{
    frame::{Picture, PictureMut, Regions, Sample, halve},
    nn::{self, Device, ModelSource, Network, Precision, Sessions, Threads, cache},
};

/// Factor of the squared scale in [`lambda`]. The smoothing radius of the solver is proportional to
/// the square root of `lambda`, so it is proportional to the scale.
const LAMBDA: f32 = 0.7;
/// Constant term of [`lambda`].
const LEAST_LAMBDA: f32 = 8.0;
/// `sigma` of the solver at a `structure` of 0.5, in 8-bit code values: guide steps above it act as
/// edges.
pub const SIGMA: f32 = 3.0;
/// Factor on [`SIGMA`] at a `structure` of 0; divisor at 1.
const SIGMA_RANGE: f32 = 4.0;

/// Errors of [`Smoother::new`] and [`Smoother::process`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend failed, or the thread pool could not be created.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// Input and output do not fit each other.
    #[error("input and output differ in size or colour model; they must be the same")]
    Mismatch,
}

/// Parameters of [`Smoother::process`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Size in pixels up to which texture is removed, 1 to 64.
    pub scale: f32,
    /// Strength of the smoothing, 0 (none) to 1 (full): the solver's `lambda` is proportional to
    /// its square.
    pub strength: f32,
    /// Sensitivity to weak edges, from 0 (strong edges only) to 1.
    pub structure: f32,
    /// Whether to average the guide with that of previous pictures where luma is unchanged. Reduces
    /// flicker.
    pub temporal: bool,
}

/// Built-in models: weights trained for int8 inference, which rely on the saturation of 8-bit
/// activations, and weights trained for float32.
const BUILT_IN: [ModelSource; 2] = [
    ModelSource::Embedded {
        name: "smooth-fast",
        bytes: include_bytes!("../../models/smooth-fast.safetensors"),
    },
    ModelSource::Embedded {
        name: "smooth-fast-fp32",
        bytes: include_bytes!("../../models/smooth-fast-fp32.safetensors"),
    },
];

/// Loads the built-in model, in the variant for `device` and `precision`.
///
/// # Errors
/// If `device` is not available.
pub fn built_in(device: Device, precision: Precision) -> Result<Arc<dyn Network>, nn::Error> {
    let [int8, float] = &BUILT_IN;
    let source = if cache::takes_int8(device, precision) { int8 } else { float };
    cache::load(source, device, precision, &[SIGNATURE])
}

/// Loads the model file at `path`.
///
/// # Errors
/// If the file cannot be read or is not a valid model, or `device` is not available.
pub fn from_file(
    path: PathBuf,
    device: Device,
    precision: Precision,
) -> Result<Arc<dyn Network>, nn::Error> {
    cache::load(&ModelSource::File(path), device, precision, &[SIGNATURE])
}

/// Smooths the pictures of one stream.
pub struct Smoother {
    network: Arc<dyn Network>,
    threads: Threads,
    sessions: Sessions,
    /// Temporal state of each field; progressive pictures use the first.
    memory: [Memory; 2],
    /// One for the luma size and one for subsampled chroma, so that their buffers keep their sizes.
    solvers: [Solver; 2],
    maps: Buffers,
}

/// Solver and its edge weights, for planes of one size.
#[derive(Default)]
struct Solver {
    weights: Weights,
    wls: Wls,
}

/// Maps of the current picture, kept to reuse their memory.
#[derive(Default)]
struct Buffers {
    cells: Cells,
    /// Strength map at luma size, see [`adapt::share`].
    share: Array2<u8>,
    /// Guide at the size of 4:2:2 chroma.
    coarse_guide: Array2<f32>,
    /// Strength map at the size of subsampled chroma.
    coarse_share: Array2<u8>,
}

impl Smoother {
    /// Creates a smoother that runs `network` on `threads` threads, 0 = one per core.
    ///
    /// # Errors
    /// [`Error::Network`] if `network` is for another task or the threads cannot be created.
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Result<Self, Error> {
        SIGNATURE.check(&*network)?;
        Ok(Self {
            network,
            threads: Threads::new(threads)?,
            sessions: Sessions::default(),
            memory: Default::default(),
            solvers: Default::default(),
            maps: Buffers::default(),
        })
    }

    /// Returns the backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.network.backend()
    }

    /// Discards the temporal state: the next picture belongs to another scene.
    pub fn reset(&mut self) {
        self.memory.iter_mut().for_each(Memory::forget);
    }

    /// Allocates the session for pictures of `width` by `height`, so that the first picture takes
    /// no longer than the others.
    ///
    /// # Errors
    /// If the network does not support this size.
    pub fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.sessions.for_frame(&*self.network, self.threads.count(), width, height)?;
        Ok(())
    }

    /// Smooths `input` into `output`.
    ///
    /// `regions` scale the strength per pixel. `field` is 1 for the second field of an interlaced
    /// picture, else 0.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the pictures differ in size or colour model; [`Error::Network`] if
    /// the backend fails.
    pub fn process<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: usize,
    ) -> Result<(), Error> {
        let same = input.components.iter().zip(&output.components).all(|(a, b)| a.dim() == b.dim());
        if input.colour != output.colour || !same {
            return Err(Error::Mismatch);
        }
        let field = field.min(1);
        // Enters the thread pool once: entering it for each small loop would wake workers each
        // time.
        self.threads.clone().enter(|| {
            self.see(input, parameters, field)?;
            if let Some(regions) = regions {
                adapt::weigh(&mut self.maps.share, &regions, &self.threads);
            }
            self.solve(input, output, parameters, field);
            Ok(())
        })
    }

    /// Runs the network and fills the guide, the per-cell maps and the strength map.
    fn see<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        parameters: &Parameters,
        field: usize,
    ) -> Result<(), Error> {
        let (width, height) = input.size();
        let Buffers { cells, share, .. } = &mut self.maps;
        cells.prepare((height, width));
        if share.dim() != (height, width) {
            *share = Array2::zeros((height, width));
        }
        let memory = &mut self.memory[field];
        if !parameters.temporal {
            memory.forget();
        }
        let past = memory.prepare((height, width));
        // Stays invalid if the network fails halfway.
        memory.forget();
        let session =
            self.sessions.for_frame(&*self.network, self.threads.count(), width, height)?;
        let source = Planes { picture: input, control: control(parameters.scale) };
        session.run(&source, &mut Maps { picture: input, memory, past, cells })?;
        memory.keep();
        let lambda = lambda(parameters.scale);
        adapt::share(&cells.texture.view(), parameters.strength, lambda, share, &self.threads);
        Ok(())
    }

    /// Runs the solver on all components.
    fn solve<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Parameters,
        field: usize,
    ) {
        let Self { threads, solvers: [solver, coarse_solver], maps, memory, .. } = self;
        let Solver { weights, wls } = solver;
        let Buffers { cells, share, coarse_guide, coarse_share } = maps;
        let guide = &memory[field].guide;
        let lambda = lambda(parameters.scale);
        let sigma = SIGMA * SIGMA_RANGE.powf(1.0 - 2.0 * parameters.structure);
        let guides = |luma, shift| {
            let chroma = cells.chroma.each_ref().map(|plane| Guide { plane: plane.view(), shift });
            [Guide { plane: luma, shift: [0; 2] }, chroma[0], chroma[1]]
        };
        let belief = |shift| Some(Guide { plane: cells.edges.view(), shift });
        weights.fill(guide.dim(), &guides(guide.view(), [1, 1]), belief([1, 1]), sigma, threads);
        let (from, to) = (&input.components[..], &mut output.components[..]);
        let shifts = input.colour.shifts(1);
        if shifts == [0, 0] {
            wls.smooth(from, to, weights, &share.view(), lambda, threads);
            return;
        }
        wls.smooth(&from[..1], &mut to[..1], weights, &share.view(), lambda, threads);
        let coarse_guide = if shifts == [1, 1] {
            // The minimum: a chroma pixel stays unchanged if any of its luma pixels does.
            halve(
                &share.view(),
                coarse_share,
                threads,
                #[inline(always)]
                |[a, b, c, d]| a.min(b).min(c.min(d)),
            );
            &cells.guide
        } else {
            every_other(guide, coarse_guide);
            every_other(share, coarse_share);
            &*coarse_guide
        };
        let shift = [0, 1 - shifts[1]];
        let Solver { weights, wls } = coarse_solver;
        weights.fill(
            coarse_guide.dim(),
            &guides(coarse_guide.view(), shift),
            belief(shift),
            sigma,
            threads,
        );
        // A chroma pixel is two luma pixels wide, and `lambda` grows with the square of the radius.
        wls.smooth(&from[1..], &mut to[1..], weights, &coarse_share.view(), lambda / 4.0, threads);
    }
}

/// Returns the weight of smoothness of the solver for a texture scale in pixels.
pub fn lambda(scale: f32) -> f32 {
    LAMBDA * scale * scale + LEAST_LAMBDA
}

/// Subsamples `from` to 4:2:2: keeps the left one of every two columns.
fn every_other<T: Copy + Default>(from: &Array2<T>, to: &mut Array2<T>) {
    let dim = (from.nrows(), from.ncols().div_ceil(2));
    if to.dim() != dim {
        *to = Array2::default(dim);
    }
    to.assign(&from.slice(ndarray::s![.., ..;2]));
}
