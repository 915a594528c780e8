// SPDX-License-Identifier: MIT OR Apache-2.0

//! Smoother for the pictures of one stream: runs the network, then the solver.
//!
//! Also loads the models, built-in or from a file. Main types: [`Smoother`], [`Parameters`],
//! [`Error`].

use std::{path::PathBuf, sync::Arc};

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use super::{
    PeriodMeter, SIGNATURE,
    density::DensityMap,
    io::{CellMaps, GuideInput, GuideOutput},
    scale_control,
    strength::{fill_strength_map, scale_by_regions},
    temporal::TemporalState,
    wls::{EdgeGuides, EdgeWeights, Guide, Smoothness, Wls},
};
use crate::{
    frame::{Field, Picture, PictureMut, Regions, Sample, reduce_2x2},
    nn::{self, Device, ModelSource, Network, Precision, SessionCache, Threads, network_cache},
};

/// Factor of the squared scale in [`lambda`]. The smoothing radius of the solver is proportional to
/// the square root of `lambda`, so it is proportional to the scale.
const LAMBDA_PER_SCALE_SQUARED: f32 = 0.7;
/// Constant term of [`lambda`].
const LAMBDA_OFFSET: f32 = 8.0;
/// `sigma` of the solver at a `structure` of 0.5, in 8-bit code values: guide steps above it act as
/// edges.
pub const DEFAULT_EDGE_SIGMA: f32 = 3.0;
/// Factor on [`DEFAULT_EDGE_SIGMA`] at a `structure` of 0; divisor at 1.
const EDGE_SIGMA_RANGE: f32 = 4.0;

/// Errors of [`Smoother::new`] and [`Smoother::process`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend failed, or the thread pool could not be created.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// Input and output do not fit each other.
    #[error("input and output differ in size or colour model; they must be the same")]
    Mismatch,
    /// The chroma subsampling is not supported.
    #[error(
        "chroma must be 4:2:0, 4:2:2 or 4:4:4, not subsampled by {} x {}",
        1 << .shift_x, 1 << .shift_y
    )]
    Subsampling {
        /// Horizontal chroma subsampling as a power of two.
        shift_x: u32,
        /// Vertical chroma subsampling as a power of two.
        shift_y: u32,
    },
    /// The size of a component is not that of the colour model.
    #[error("component {component} has {rows} rows and {columns} columns, expected {expected:?}")]
    ComponentSize {
        /// Index of the component.
        component: usize,
        /// Number of rows.
        rows: usize,
        /// Number of columns.
        columns: usize,
        /// Expected number of rows and columns.
        expected: (usize, usize),
    },
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
    /// Whether the strength depends on the density of texture: full in dense texture and noise,
    /// little at isolated detail such as eyes and letters.
    pub adaptive: bool,
}

impl Default for Parameters {
    /// Removes texture up to 8 pixels.
    fn default() -> Self {
        Self { scale: 8.0, strength: 1.0, structure: 0.5, temporal: true, adaptive: false }
    }
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
    let source = if network_cache::prefers_int8(device, precision) { int8 } else { float };
    network_cache::load(source, device, precision, &[SIGNATURE])
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

/// Smooths the pictures of one stream.
pub struct Smoother {
    network: Arc<dyn Network>,
    threads: Threads,
    sessions: SessionCache,
    /// Temporal state of each field; progressive pictures use the first.
    temporal: [TemporalState; Field::COUNT],
    /// One for the luma size and one for subsampled chroma, so that their buffers keep their sizes.
    solvers: [PlaneSolver; 2],
    buffers: Buffers,
    texture: TextureScan,
}

/// Number of pictures of which one window is measured.
const PICTURES_PER_WINDOW: usize = 8;

/// Measures the textures of a stream, a window now and then: all windows of a picture would take
/// longer than to smooth it.
#[derive(Default)]
struct TextureScan {
    meter: PeriodMeter,
    /// Number of pictures so far.
    pictures: usize,
}

impl TextureScan {
    fn add<T: Sample>(&mut self, picture: &Picture<'_, T>) {
        let count = PeriodMeter::windows(picture);
        if count > 0 && self.pictures.is_multiple_of(PICTURES_PER_WINDOW) {
            // A step without common divisors, so that successive windows are far apart.
            let number = self.pictures / PICTURES_PER_WINDOW;
            self.meter.add_window(picture, number.wrapping_mul(7919) % count);
        }
        self.pictures = self.pictures.wrapping_add(1);
    }
}

/// Solver and its edge weights, for planes of one size.
#[derive(Default)]
struct PlaneSolver {
    weights: EdgeWeights,
    wls: Wls,
}

/// Maps of the current picture, kept to reuse their memory.
#[derive(Default)]
struct Buffers {
    cells: CellMaps,
    /// Strength map at luma size, see [`fill_strength_map`].
    strength: Array2<u8>,
    /// Density of the texture, for [`Parameters::adaptive`].
    density: DensityMap,
    /// Guide at the size of 4:2:2 chroma.
    chroma_guide: Array2<f32>,
    /// Strength map at the size of subsampled chroma.
    chroma_strength: Array2<u8>,
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
            sessions: SessionCache::default(),
            temporal: Default::default(),
            solvers: Default::default(),
            buffers: Buffers::default(),
            texture: TextureScan::default(),
        })
    }

    /// Returns the dominant period of the textures in the latest pictures, in pixels; `None` if
    /// they have little texture or are smaller than 128x128 pixels.
    pub fn texture_period(&self) -> Option<f32> {
        self.texture.meter.dominant()
    }

    /// Returns the backend and device that the network runs on.
    pub fn backend(&self) -> String {
        self.network.backend()
    }

    /// Discards the temporal state: the next picture belongs to another scene.
    pub fn reset(&mut self) {
        self.temporal.iter_mut().for_each(TemporalState::invalidate);
    }

    /// Allocates the session for pictures of `width` by `height`, so that the first picture takes
    /// no longer than the others.
    ///
    /// # Errors
    /// If the network does not support this size.
    pub fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.sessions.for_frame_size(&*self.network, self.threads.count(), width, height)?;
        Ok(())
    }

    /// Smooths `input` into `output`.
    ///
    /// `regions` scale the strength per pixel. `field` selects the temporal state; progressive
    /// pictures are first fields.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the pictures differ in size or colour model; [`Error::Subsampling`]
    /// if their chroma is not 4:2:0, 4:2:2 or 4:4:4; [`Error::ComponentSize`] if the sizes of their
    /// components do not fit each other; [`Error::Network`] if the backend fails.
    pub fn process<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: Field,
    ) -> Result<(), Error> {
        let same = input.components.iter().zip(&output.components).all(|(a, b)| a.dim() == b.dim());
        if input.colour != output.colour || !same {
            return Err(Error::Mismatch);
        }
        check_components(input)?;
        self.texture.add(input);
        // Enters the thread pool once: entering it for each small loop would wake workers each
        // time.
        self.threads.clone().enter(|| {
            self.predict_guide(input, parameters, field)?;
            if let Some(regions) = regions {
                scale_by_regions(&mut self.buffers.strength, &regions, &self.threads);
            }
            self.solve(input, output, parameters, field);
            Ok(())
        })
    }

    /// Runs the network and fills the guide, the per-cell maps and the strength map.
    fn predict_guide<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        parameters: &Parameters,
        field: Field,
    ) -> Result<(), Error> {
        let (width, height) = input.size();
        let Buffers { cells, strength, density, .. } = &mut self.buffers;
        cells.resize((height, width));
        if strength.dim() != (height, width) {
            *strength = Array2::zeros((height, width));
        }
        let temporal = &mut self.temporal[field.index()];
        if !parameters.temporal {
            temporal.invalidate();
        }
        temporal.resize((height, width));
        let max_temporal_weight = temporal.max_weight();
        // Stays invalid if the network fails halfway.
        temporal.invalidate();
        let session =
            self.sessions.for_frame_size(&*self.network, self.threads.count(), width, height)?;
        let source = GuideInput { picture: input, control: scale_control(parameters.scale) };
        let mut output = GuideOutput { picture: input, temporal, max_temporal_weight, cells };
        session.run(&source, &mut output)?;
        self.temporal[field.index()].mark_valid();
        let lambda = lambda(parameters.scale);
        fill_strength_map(
            &cells.texture.view(),
            parameters.strength,
            lambda,
            strength,
            &self.threads,
        );
        if parameters.adaptive {
            density.update(&cells.texture, parameters.scale, &self.threads);
            density.scale(strength, &self.threads);
        }
        Ok(())
    }

    /// Runs the solver on all components.
    fn solve<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
        field: Field,
    ) {
        let Self { threads, solvers: [luma_solver, chroma_solver], buffers, temporal, .. } = self;
        let Buffers { cells, strength, chroma_guide, chroma_strength, .. } = buffers;
        let guide = &temporal[field.index()].guide;
        let lambda = lambda(parameters.scale);
        let sigma = DEFAULT_EDGE_SIGMA * EDGE_SIGMA_RANGE.powf(1.0 - 2.0 * parameters.structure);
        let (from, to) = (&input.components[..], &mut output.components[..]);
        let [shift_x, shift_y] = input.colour.subsampling(1);
        let subsampled = shift_x == 1;
        // Without subsampling, all components have the size of luma.
        let count = if subsampled { 1 } else { from.len() };
        luma_solver.fill_weights(guide, cells, [1, 1], sigma, threads);
        luma_solver.solve(&from[..count], &mut to[..count], strength, lambda, threads);
        if !subsampled {
            return;
        }
        let chroma_guide = if shift_y == 1 {
            // The minimum: a chroma pixel stays unchanged if any of its luma pixels does.
            reduce_2x2(
                &strength.view(),
                chroma_strength,
                threads,
                #[inline(always)]
                |[a, b, c, d]| a.min(b).min(c.min(d)),
            );
            &cells.guide
        } else {
            subsample_horizontally(guide, chroma_guide);
            subsample_horizontally(strength, chroma_strength);
            &*chroma_guide
        };
        chroma_solver.fill_weights(chroma_guide, cells, [0, 1 - shift_y], sigma, threads);
        // A chroma pixel is two luma pixels wide, and `lambda` grows with the square of the radius.
        chroma_solver.solve(&from[1..], &mut to[1..], chroma_strength, lambda / 4.0, threads);
    }
}

impl PlaneSolver {
    /// Computes the edge weights from `guide`, which has the size of the planes, and from the
    /// cells' chroma and edge confidence, which are `cell_subsampling` times smaller.
    fn fill_weights(
        &mut self,
        guide: &Array2<f32>,
        cells: &CellMaps,
        cell_subsampling: [u32; 2],
        sigma: f32,
        threads: &Threads,
    ) {
        let cell_map = |plane| Guide { plane, subsampling: cell_subsampling };
        let [u, v] = cells.chroma.each_ref().map(|plane| cell_map(plane.view()));
        let guides = EdgeGuides {
            guides: &[Guide { plane: guide.view(), subsampling: [0; 2] }, u, v],
            confidence: Some(cell_map(cells.edge_confidence.view())),
            sigma,
        };
        self.weights.fill(guide.dim(), guides, threads);
    }

    /// Smooths components of the size of the weights.
    fn solve<T: Sample, U: Sample>(
        &mut self,
        from: &[ArrayView2<'_, T>],
        to: &mut [ArrayViewMut2<'_, U>],
        strength: &Array2<u8>,
        lambda: f32,
        threads: &Threads,
    ) {
        let Self { weights, wls } = self;
        wls.smooth(from, to, &Smoothness { weights, strength: strength.view(), lambda }, threads);
    }
}

/// Checks the subsampling and the sizes of the components.
fn check_components<T: Sample>(picture: &Picture<'_, T>) -> Result<(), Error> {
    let [shift_x, shift_y] = picture.colour.subsampling(1);
    if ![[0, 0], [1, 0], [1, 1]].contains(&[shift_x, shift_y]) {
        return Err(Error::Subsampling { shift_x, shift_y });
    }
    let (width, height) = picture.size();
    for (component, plane) in picture.components.iter().enumerate() {
        let [shift_x, shift_y] = picture.colour.subsampling(component);
        let expected = (height.div_ceil(1 << shift_y), width.div_ceil(1 << shift_x));
        let (rows, columns) = plane.dim();
        if (rows, columns) != expected {
            return Err(Error::ComponentSize { component, rows, columns, expected });
        }
    }
    Ok(())
}

/// Returns the weight of smoothness of the solver for a texture scale in pixels.
pub fn lambda(scale: f32) -> f32 {
    LAMBDA_PER_SCALE_SQUARED * scale * scale + LAMBDA_OFFSET
}

/// Subsamples `from` to 4:2:2: keeps the left one of every two columns.
fn subsample_horizontally<T: Copy + Default>(from: &Array2<T>, to: &mut Array2<T>) {
    let dim = (from.nrows(), from.ncols().div_ceil(2));
    if to.dim() != dim {
        *to = Array2::default(dim);
    }
    to.assign(&from.slice(ndarray::s![.., ..;2]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Colour, Format, Plane};

    #[test]
    fn components_that_do_not_fit_are_rejected() {
        let data = [128u8; 80];
        let planes = [Plane::new(&data, 8), Plane::new(&data, 4), Plane::new(&data, 4)];
        let mut picture = Picture::new(Format::I420, 8, 10, &planes).unwrap();
        assert!(check_components(&picture).is_ok());
        assert!(check_components(&picture.field(Field::First)).is_ok());
        // Of five rows of chroma, the second field has two.
        assert!(matches!(
            check_components(&picture.field(Field::Second)),
            Err(Error::ComponentSize { component: 1, rows: 2, columns: 4, expected: (3, 4) })
        ));
        picture.colour = Colour::Yuv { shift_x: 0, shift_y: 1 };
        assert!(matches!(
            check_components(&picture),
            Err(Error::Subsampling { shift_x: 0, shift_y: 1 })
        ));
    }
}
