// SPDX-License-Identifier: MIT OR Apache-2.0

//! Demosaicker for the frames of one stream ([`Demosaicer`]), and its models.

use std::{path::PathBuf, sync::Arc};

use super::{
    SIGNATURE,
    io::{Cells, Corrections, RgbPlanes},
    noise::RawNoise,
    output::{self, YuvEncoding},
    raw::{BayerPattern, Grid, RawFrame},
};
use crate::{
    denoise::NoiseModel,
    frame::{PictureMut, Sample},
    nn::{
        self, Device, ModelSource, Network, Precision, SessionCache, Size, Threads, network_cache,
    },
};

/// The built-in model.
const BUILT_IN: ModelSource = ModelSource::Embedded {
    name: "demosaic-fast",
    bytes: include_bytes!("../../models/demosaic-fast.safetensors"),
};

/// Errors of [`Demosaicer::new`] and [`Demosaicer::process`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A backend failed, or the thread pool could not be created.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// Input and output differ in size.
    #[error("the output must have the size of the raw frame")]
    Mismatch,
}

/// Parameters of [`Demosaicer::process`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Noise sigma of the samples in 8-bit units, 0 to 75; `None` estimates the noise.
    pub sigma: Option<f32>,
    /// Factor on the noise sigma, 0 to 2. 0 keeps the noise.
    pub strength: f32,
    /// Conversion to luma and chroma.
    pub encoding: YuvEncoding,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { sigma: None, strength: 1.0, encoding: YuvEncoding::default() }
    }
}

/// Loads the built-in model.
///
/// # Errors
/// If `device` is not available, or the model has no weights for `precision`.
pub fn built_in(device: Device, precision: Precision) -> Result<Arc<dyn Network>, nn::Error> {
    network_cache::load(&BUILT_IN, device, precision, &[SIGNATURE])
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
    network_cache::load(&ModelSource::File(path), device, precision, &[SIGNATURE])
}

/// Demosaicks the frames of one stream and removes their noise. Only the noise estimate depends on
/// earlier frames.
pub struct Demosaicer {
    network: Arc<dyn Network>,
    threads: Threads,
    sessions: SessionCache,
    planes: RgbPlanes,
    noise: RawNoise,
}

impl Demosaicer {
    /// Creates a demosaicker that runs `network` on `threads` threads, 0 = one per core.
    ///
    /// # Errors
    /// [`Error::Network`] if `network` is for another task or the threads cannot be created.
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Result<Self, Error> {
        SIGNATURE.check(&*network)?;
        Ok(Self {
            network,
            threads: Threads::new(threads)?,
            sessions: SessionCache::default(),
            planes: RgbPlanes::default(),
            noise: RawNoise::new(threads),
        })
    }

    /// Returns the backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.network.backend()
    }

    /// Allocates the session for frames of `width` by `height` pixels, so that the first frame
    /// takes no longer than the others.
    ///
    /// # Errors
    /// If the network does not support this size.
    pub fn prepare(
        &mut self,
        [width, height]: [usize; 2],
        pattern: BayerPattern,
    ) -> Result<(), Error> {
        let grid = Grid::new([width, height], pattern);
        self.planes.resize(&grid);
        let Self { network, threads, sessions, .. } = self;
        sessions.for_input_size(&**network, threads.count(), size_of_grid(&grid))?;
        Ok(())
    }

    /// Discards the noise estimate.
    pub fn reset(&mut self) {
        self.noise.reset();
    }

    /// Demosaicks `frame` into `output`, and returns the noise that the network assumes, without
    /// the factor of `parameters`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the picture does not have the size of the frame; [`Error::Network`]
    /// if a backend fails.
    pub fn process<T: Sample>(
        &mut self,
        frame: &RawFrame<'_>,
        output: &mut PictureMut<'_, T>,
        parameters: &Parameters,
    ) -> Result<NoiseModel, Error> {
        if output.view().size() != frame.size() {
            return Err(Error::Mismatch);
        }
        let noise = self.noise.update(frame, parameters.sigma)?;
        let grid = frame.grid();
        self.planes.resize(&grid);
        let Self { network, threads, sessions, planes, .. } = self;
        let session = sessions.for_input_size(&**network, threads.count(), size_of_grid(&grid))?;
        let source = Cells { frame: *frame, noise: noise.scaled(parameters.strength) };
        session.run(&source, &mut Corrections { frame: *frame, planes })?;
        output::write(planes, &grid, &parameters.encoding, output, threads);
        Ok(noise)
    }
}

/// Returns the number of cells of a grid.
fn size_of_grid(grid: &Grid) -> Size {
    Size { width: grid.columns, height: grid.rows }
}
