use std::{path::PathBuf, sync::Arc};

use ndarray::Array2;

use super::{
    adapt::{self, Memory},
    control,
    io::{Cells, Maps, Planes},
    wls::{Guide, Weights, Wls},
};
use crate::{
    frame::{Picture, PictureMut, Regions, Sample, halve},
    nn::{self, Device, Domain, ModelSource, Network, Precision, Sessions, Threads, cache},
};

/// `lambda` grows with the square of the scale, as reach does with its root.
const LAMBDA: f32 = 0.7;
const LEAST_LAMBDA: f32 = 8.0;
/// Step of the guide that is kept, in levels, at a `structure` of one half; it changes by this factor to each side.
pub(crate) const SIGMA: f32 = 3.0;
const SIGMA_RANGE: f32 = 4.0;

/// What can go wrong with a picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Network(#[from] nn::Error),
    #[error("the network works on {0} planes, smoothing needs {guide}", guide = Domain::Guide)]
    Domain(Domain),
    #[error("input and output differ in size or colour")]
    Mismatch,
}

/// What a picture is to be smoothed with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Texture up to this many pixels goes, 1 to 64.
    pub scale: f32,
    /// How much of it goes, 0 to 1.
    pub strength: f32,
    /// How faint an edge still counts, from 0 (strong ones only) to 1.
    pub structure: f32,
    /// Whether to look at the picture before, against flicker.
    pub temporal: bool,
}

/// Weights for 8-bit integers, which lean on the clipping that comes with them, and weights for float32.
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

/// The network that is part of the plugin.
///
/// # Errors
/// A device that is not there.
pub fn built_in(device: Device, precision: Precision) -> Result<Arc<dyn Network>, nn::Error> {
    let [int8, float] = &BUILT_IN;
    let source = if cache::takes_int8(device, precision) { int8 } else { float };
    cache::load(source, device, precision)
}

/// Loads a model file.
///
/// # Errors
/// A file or a device that is not there, or a file that is no model.
pub fn from_file(
    path: PathBuf,
    device: Device,
    precision: Precision,
) -> Result<Arc<dyn Network>, nn::Error> {
    cache::load(&ModelSource::File(path), device, precision)
}

/// Smooths the pictures of one stream.
pub struct Smoother {
    network: Arc<dyn Network>,
    threads: Threads,
    sessions: Sessions,
    /// By field for interlaced pictures.
    memory: [Memory; 2],
    /// For luma, and for chroma with fewer pixels: what changes its size is made anew.
    solvers: [Solver; 2],
    maps: Buffers,
}

#[derive(Default)]
struct Solver {
    weights: Weights,
    wls: Wls,
}

/// Maps that are made for each picture.
#[derive(Default)]
struct Buffers {
    cells: Cells,
    share: Array2<u8>,
    /// For chroma with fewer pixels than luma.
    coarse_guide: Array2<f32>,
    coarse_share: Array2<u8>,
}

impl Smoother {
    /// Smooths with `network` on `threads` threads, 0 for all that the machine has.
    ///
    /// # Errors
    /// A network that is for something else, or a system that gives no threads.
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Result<Self, Error> {
        if network.domain() != Domain::Guide {
            return Err(Error::Domain(network.domain()));
        }
        Ok(Self {
            network,
            threads: Threads::new(threads)?,
            sessions: Sessions::default(),
            memory: Default::default(),
            solvers: Default::default(),
            maps: Buffers::default(),
        })
    }

    /// Backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.network.backend()
    }

    /// Forgets earlier pictures: the next one belongs to another scene.
    pub fn reset(&mut self) {
        self.memory.iter_mut().for_each(Memory::forget);
    }

    /// Makes room for pictures of a size, so that the first one does not take longer than others.
    ///
    /// # Errors
    /// A size that the network cannot run on.
    pub fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.sessions.for_frame(&*self.network, self.threads.count(), width, height)?;
        Ok(())
    }

    /// Smooths `input` into `output`. `regions` weigh the strength. `field` is 0, or 1 for the second field of an interlaced picture.
    ///
    /// # Errors
    /// Pictures that do not fit each other, or a backend that fails.
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
        // Entered once, so that nobody is woken for each of the many small pieces of work.
        self.threads.clone().enter(|| {
            self.see(input, parameters, field)?;
            if let Some(regions) = regions {
                adapt::weigh(&mut self.maps.share, &regions, &self.threads);
            }
            self.solve(input, output, parameters, field);
            Ok(())
        })
    }

    /// Fills the guide, and how much each pixel is smoothed.
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
            // Where any pixel is to stay as it is, so is chroma.
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
        // A pixel of chroma is two of luma wide.
        wls.smooth(&from[1..], &mut to[1..], weights, &coarse_share.view(), lambda / 4.0, threads);
    }
}

/// Weight of smoothness for a scale.
pub(crate) fn lambda(scale: f32) -> f32 {
    LAMBDA * scale * scale + LEAST_LAMBDA
}

/// Left of two neighbours each, for 4:2:2.
fn every_other<T: Copy + Default>(from: &Array2<T>, to: &mut Array2<T>) {
    let dim = (from.nrows(), from.ncols().div_ceil(2));
    if to.dim() != dim {
        *to = Array2::default(dim);
    }
    to.assign(&from.slice(ndarray::s![.., ..;2]));
}
