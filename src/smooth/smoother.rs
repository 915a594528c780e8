use std::{path::PathBuf, sync::Arc};

use ndarray::{Array2, Axis, Zip};
use rayon::prelude::*;

use super::{
    adapt::{self, Memory, Texture, halve},
    control,
    io::{Maps, Planes},
    wls::{Guide, Weights, Wls},
};
use crate::{
    frame::{
        Picture, PictureMut, Regions, Sample,
        levels::{levels, samples},
    },
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
    ModelSource::Embedded { name: "smooth-fast", bytes: include_bytes!("../../models/smooth-fast.safetensors") },
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
pub fn from_file(path: PathBuf, device: Device, precision: Precision) -> Result<Arc<dyn Network>, nn::Error> {
    cache::load(&ModelSource::File(path), device, precision)
}

/// Smooths the pictures of one stream.
pub struct Smoother {
    network: Arc<dyn Network>,
    threads: Threads,
    sessions: Sessions,
    /// By field for interlaced pictures.
    memory: [Memory; 2],
    texture: Texture,
    wls: Wls,
    weights: Weights,
    maps: Buffers,
}

/// Planes that are made for each picture.
#[derive(Default)]
struct Buffers {
    guide: Array2<f32>,
    chroma: [Array2<f32>; 2],
    edges: Array2<f32>,
    share: Array2<u8>,
    half_guide: Array2<f32>,
    half_share: Array2<u8>,
    planes: [Array2<f32>; 3],
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
            texture: Texture::default(),
            wls: Wls::default(),
            weights: Weights::default(),
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
        self.see(input, parameters, field)?;
        if let Some(regions) = regions {
            adapt::weigh(&mut self.maps.share, &regions, &self.threads);
        }
        self.solve(input, output, parameters);
        Ok(())
    }

    /// Fills the guide, and how much each pixel is smoothed.
    fn see<T: Sample>(&mut self, input: &Picture<'_, T>, parameters: &Parameters, field: usize) -> Result<(), Error> {
        let (width, height) = input.size();
        let maps = &mut self.maps;
        if maps.guide.dim() != (height, width) {
            maps.guide = Array2::zeros((height, width));
            let half = (height.div_ceil(2), width.div_ceil(2));
            maps.chroma = [Array2::zeros(half), Array2::zeros(half)];
            maps.edges = Array2::zeros(half);
            maps.share = Array2::zeros((height, width));
        }
        let session = self.sessions.for_frame(&*self.network, self.threads.count(), width, height)?;
        let source = Planes { picture: input, control: control(parameters.scale) };
        let (guide, chroma, edges) = (&mut maps.guide, &mut maps.chroma, &mut maps.edges);
        session.run(&source, &mut Maps { picture: input, guide, chroma, edges })?;
        let memory = &mut self.memory[field.min(1)];
        if parameters.temporal {
            memory.follow(input, &mut maps.guide, &self.threads);
        } else {
            memory.forget();
        }
        self.texture.share(
            input,
            &maps.guide,
            parameters.strength,
            lambda(parameters.scale),
            &mut maps.share,
            &self.threads,
        );
        Ok(())
    }

    fn solve<T: Sample>(&mut self, input: &Picture<'_, T>, output: &mut PictureMut<'_, T>, parameters: &Parameters) {
        let Self { threads, wls, weights, maps, .. } = self;
        let Buffers { guide, chroma, edges, share, half_guide, half_share, planes, .. } = maps;
        let lambda = lambda(parameters.scale);
        let sigma = SIGMA * SIGMA_RANGE.powf(1.0 - 2.0 * parameters.structure);
        let planes = &mut planes[..input.components.len()];
        for (plane, component) in planes.iter_mut().zip(&input.components) {
            load(component, plane, threads);
        }
        let guides = |luma, shift| {
            let chroma = chroma.each_ref().map(|plane| Guide { plane: plane.view(), shift });
            [Guide { plane: luma, shift: [0; 2] }, chroma[0], chroma[1]]
        };
        let belief = |shift| Some(Guide { plane: edges.view(), shift });
        weights.fill(guide.dim(), &guides(guide.view(), [1, 1]), belief([1, 1]), sigma, threads);
        let [luma, others @ ..] = planes else { return };
        match (input.colour.shifts(1), others) {
            ([0, 0], others) => {
                let mut channels: Vec<_> = std::iter::once(luma).chain(others).collect();
                wls.smooth(&mut channels, weights, &share.view(), lambda, threads);
            }
            (shifts, others) => {
                wls.smooth(&mut [luma], weights, &share.view(), lambda, threads);
                if shifts == [1, 1] {
                    halve(&guide.view(), half_guide, |v| 0.25 * (v[0] + v[1] + v[2] + v[3]), threads);
                    // Where any pixel is to stay as it is, so is chroma.
                    halve(&share.view(), half_share, |v| v.into_iter().min().unwrap_or(0), threads);
                } else {
                    every_other(guide, half_guide);
                    every_other(share, half_share);
                }
                let shift = [0, 1 - shifts[1]];
                weights.fill(half_guide.dim(), &guides(half_guide.view(), shift), belief(shift), sigma, threads);
                // A pixel of chroma is two of luma wide.
                let mut others: Vec<_> = others.iter_mut().collect();
                wls.smooth(&mut others, weights, &half_share.view(), lambda / 4.0, threads);
            }
        }
        threads.enter(|| {
            for (plane, component) in maps.planes.iter().zip(&mut output.components) {
                Zip::from(component.rows_mut()).and(plane.rows()).par_for_each(|to, from| {
                    if let Some(from) = from.to_slice() {
                        samples(from, to);
                    }
                });
            }
        });
    }
}

/// Weight of smoothness for a scale.
pub(crate) fn lambda(scale: f32) -> f32 {
    LAMBDA * scale * scale + LEAST_LAMBDA
}

/// Copies a component.
fn load<T: Sample>(component: &ndarray::ArrayView2<'_, T>, plane: &mut Array2<f32>, threads: &Threads) {
    if plane.dim() != component.dim() {
        *plane = Array2::zeros(component.dim());
    }
    threads.enter(|| {
        let rows = plane.axis_iter_mut(Axis(0)).into_par_iter().zip(component.axis_iter(Axis(0)).into_par_iter());
        rows.for_each(|(to, from)| {
            if let Some(to) = to.into_slice() {
                levels(from, to);
            }
        });
    });
}

/// Left of two neighbours each, for 4:2:2.
fn every_other<T: Copy + Default>(from: &Array2<T>, to: &mut Array2<T>) {
    let dim = (from.nrows(), from.ncols().div_ceil(2));
    if to.dim() != dim {
        *to = Array2::default(dim);
    }
    to.assign(&from.slice(ndarray::s![.., ..;2]));
}
