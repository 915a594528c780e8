// SPDX-License-Identifier: MIT OR Apache-2.0

//! Debander for the pictures of one stream ([`Debander`]), and its models.

use std::{path::PathBuf, sync::Arc};

use ndarray::{ArrayView2, ArrayViewMut2};

use super::{
    SIGNATURE,
    cells::{CELL, CellMaps},
    io::{Features, Prediction},
    output::{self, RangeLimit},
    threshold_control,
};
use crate::{
    frame::{Colour, Picture, PictureMut, Sample},
    nn::{
        self, Device, ModelSource, Network, Precision, SessionCache, Size, Threads, network_cache,
    },
};

/// The built-in model.
const BUILT_IN: ModelSource = ModelSource::Embedded {
    name: "deband-fast",
    bytes: include_bytes!("../../models/deband-fast.safetensors"),
};

/// Errors of [`Debander::new`] and [`Debander::process`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend failed, or the thread pool could not be created.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// Input and output do not fit each other.
    #[error("input and output must have the same size and the colour model of the debander")]
    Mismatch,
}

/// Parameters of [`Debander::process`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Distance of contours in samples, 4 to 64, up to which they are removed. Contours that are
    /// farther apart are reduced.
    pub range: f32,
    /// Largest change of a sample in code values, 0 to 4. Contours of twice this height disappear.
    pub threshold: f32,
    /// Sigma of the dither of 8-bit output where a sample changes, 0 to 2.
    pub grain: f32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { range: 24.0, threshold: 1.5, grain: 0.3 }
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

/// Removes false contours from the pictures of one stream. Pictures do not depend on each other, so
/// a still gradient stays still.
pub struct Debander {
    network: Arc<dyn Network>,
    colour: Colour,
    threads: Threads,
    /// For components of luma's size, and for subsampled chroma, so that their buffers keep their
    /// sizes.
    components: [ComponentDebander; 2],
}

/// Buffers for components of one size.
#[derive(Default)]
struct ComponentDebander {
    sessions: SessionCache,
    maps: CellMaps,
    prediction: Prediction,
    range_limit: RangeLimit,
}

impl Debander {
    /// Creates a debander for pictures of a colour model that runs `network` on `threads` threads,
    /// 0 = one per core.
    ///
    /// # Errors
    /// [`Error::Network`] if `network` is for another task or the threads cannot be created.
    pub fn new(network: Arc<dyn Network>, colour: Colour, threads: usize) -> Result<Self, Error> {
        SIGNATURE.check(&*network)?;
        let threads = Threads::new(threads)?;
        Ok(Self { network, colour, threads, components: Default::default() })
    }

    /// Returns the backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.network.backend()
    }

    /// Allocates the sessions for pictures of `width` by `height`, so that the first picture takes
    /// no longer than the others.
    ///
    /// # Errors
    /// If the network does not support this size.
    pub fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        let Self { network, colour, threads, components } = self;
        let is_subsampled = colour.subsampling(1) != [0; 2];
        let sizes = if is_subsampled { 2 } else { 1 };
        for (i, component) in components.iter_mut().enumerate().take(sizes) {
            let [shift_x, shift_y] = colour.subsampling(i);
            let dim = (height.div_ceil(1 << shift_y), width.div_ceil(1 << shift_x));
            let size = cell_count(dim);
            component.sessions.for_input_size(&**network, threads.count(), size)?;
        }
        Ok(())
    }

    /// Removes false contours from `input` and writes the result to `output`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the pictures differ in size or from the colour model;
    /// [`Error::Network`] if the backend fails.
    pub fn process<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
    ) -> Result<(), Error> {
        let same = input.components.iter().zip(&output.components).all(|(a, b)| a.dim() == b.dim());
        if input.colour != self.colour || output.colour != self.colour || !same {
            return Err(Error::Mismatch);
        }
        let Self { network, threads, components, .. } = self;
        // Enters the thread pool once: entering it for each small loop would wake workers each
        // time.
        threads.clone().enter(|| {
            let all = input.components.iter().zip(&mut output.components).enumerate();
            for (i, (from, to)) in all {
                let is_subsampled = input.colour.subsampling(i) != [0; 2];
                let component = &mut components[usize::from(is_subsampled)];
                component.process(&**network, from, to, parameters, threads)?;
            }
            Ok(())
        })
    }
}

impl ComponentDebander {
    /// Processes one component.
    fn process<T: Sample, U: Sample>(
        &mut self,
        network: &dyn Network,
        from: &ArrayView2<'_, T>,
        to: &mut ArrayViewMut2<'_, U>,
        parameters: &Parameters,
        threads: &Threads,
    ) -> Result<(), Error> {
        let Self { sessions, maps, prediction, range_limit } = self;
        maps.fill(from, threads);
        prediction.resize(maps.blocks.dim());
        let session = sessions.for_input_size(network, threads.count(), cell_count(from.dim()))?;
        let source = Features { maps, control: threshold_control(parameters.threshold) };
        session.run(&source, prediction)?;
        range_limit.apply(prediction, parameters.range);
        output::apply(from, to, maps, prediction, parameters, threads);
        Ok(())
    }
}

/// Returns the number of cells of a component of `dim` (rows, columns).
fn cell_count((height, width): (usize, usize)) -> Size {
    Size { width: width.div_ceil(CELL), height: height.div_ceil(CELL) }
}
