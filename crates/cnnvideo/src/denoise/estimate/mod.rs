// SPDX-License-Identifier: MIT OR Apache-2.0

//! Estimates the noise sigma of a picture component with a small CNN.
//!
//! The network processes 64x64 pixel squares sampled from the component. For each cell of 2x2
//! pixels it predicts the logarithm of sigma and the uncertainty of that prediction, so that flat
//! areas count more than textured ones. It was trained on white noise and on camera noise, raw and
//! compressed (crate `cnnvideo-train`). Estimates from single frequencies of the spectrum fail for
//! noise that is not white.

mod areas;

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut1};

use self::areas::Area;
use super::NoiseModel;
use crate::{
    frame::Sample,
    nn::{
        self, Device, IoSpec, ModelSource, Network, PlaneOutput, Precision, Session, Signature,
        Size, Source, network_cache,
    },
};

/// Signature of the estimator's network.
///
/// The picture is one colour component in cells of 2x2 pixels. Five channels are differences: the
/// horizontal, vertical and diagonal Haar coefficients of the cell, and the differences of its mean
/// to those of the left and upper neighbour cells. They are normalised so that white noise has the
/// same standard deviation in all of them, then compressed to signed square roots. The sixth
/// channel is the mean. The network predicts the logarithm of the noise sigma and the logarithm of
/// the scale of its error.
pub const SIGNATURE: Signature =
    Signature::new("estimate-plane", IoSpec { picture: 6, control: 0, output: 2 });

/// The built-in network.
const BUILT_IN: ModelSource = ModelSource::Embedded {
    name: "noise-level",
    bytes: include_bytes!("../../../models/noise-level.safetensors"),
};
/// Offset of sigma before the logarithm, in 8-bit units: the network predicts
/// `ln(sigma + LOG_OFFSET)`.
pub const LOG_OFFSET: f32 = 0.5;
/// Limit of the absolute value of the predicted log uncertainty.
pub const MAX_LOG_UNCERTAINTY: f32 = 2.5;
/// Factor on the signed square roots of the differences that are the network's input.
pub const ROOT_SCALE: f32 = 0.25;

/// Side of a square in cells of 2x2 pixels.
const SQUARE_SIDE: usize = 32;
/// Number of squares side by side in the network's input.
const SQUARES_ACROSS: usize = 4;
/// Largest number of rows of squares in the network's input.
const MAX_SQUARE_ROWS: usize = 4;
/// Least side of a component in pixels for which an estimate is possible.
const MIN_COMPONENT_SIDE: usize = 16;
/// Cells whose mean lies closer than this to 0 or 255, in code values, are ignored: their noise may
/// be clipped.
const CLIPPING_MARGIN: f32 = 4.0;
/// Side, in cells, of the areas over which predictions are averaged.
const AREA_SIDE: usize = 4;

/// Noise estimator: runs the built-in network on squares sampled from a component.
pub struct NoiseEstimator {
    network: Arc<dyn Network>,
    threads: usize,
    /// Session and output buffer for each number of rows of squares, created on first use.
    sessions: [Option<SquaresSession>; MAX_SQUARE_ROWS],
    /// Number of squares sampled so far; each estimate takes the next squares of the sequence.
    sampled_squares: usize,
}

/// Session and output buffer for one size of the network's input.
struct SquaresSession {
    session: Box<dyn Session>,
    /// Predicted log sigma and log uncertainty by cell.
    predictions: Array2<[f32; 2]>,
}

impl SquaresSession {
    fn new(network: &dyn Network, rows: usize, threads: usize) -> Result<Self, nn::Error> {
        let size = Size { width: SQUARES_ACROSS * SQUARE_SIDE, height: rows * SQUARE_SIDE };
        Ok(Self {
            session: network.session(size, threads)?,
            predictions: Array2::default((size.height, size.width)),
        })
    }
}

impl NoiseEstimator {
    /// Creates an estimator with the built-in network on `threads` threads, 0 for the number of
    /// cores.
    ///
    /// # Errors
    /// A network that fails to load.
    pub fn built_in(threads: usize) -> Result<Self, nn::Error> {
        let network = network_cache::load(&BUILT_IN, Device::Cpu, Precision::Fp32, &[SIGNATURE])?;
        Ok(Self { network, threads, sessions: Default::default(), sampled_squares: 0 })
    }

    /// Restarts the sequence of squares, so that equal pictures get equal estimates.
    pub fn reset(&mut self) {
        self.sampled_squares = 0;
    }

    /// Estimates the noise of a component.
    ///
    /// A round samples sixteen squares of 64x64 pixels, fewer if the component is smaller than
    /// their total area. Returns `None` if the component is too small for an estimate.
    ///
    /// # Errors
    /// A failing backend.
    pub fn estimate(
        &mut self,
        component: &impl CodeValues,
        rounds: usize,
    ) -> Result<Option<NoiseModel>, nn::Error> {
        let size = component.size();
        if size.into_iter().min() < Some(MIN_COMPONENT_SIDE) {
            return Ok(None);
        }
        let row_of_squares = SQUARES_ACROSS * (2 * SQUARE_SIDE).pow(2);
        let rows = (size[0] * size[1]).div_ceil(row_of_squares).clamp(1, MAX_SQUARE_ROWS);
        let SquaresSession { session, predictions } = match &mut self.sessions[rows - 1] {
            Some(session) => session,
            none => none.insert(SquaresSession::new(&*self.network, rows, self.threads)?),
        };
        let mut areas = Vec::with_capacity(rounds * predictions.len() / (AREA_SIDE * AREA_SIDE));
        for _ in 0..rounds {
            let squares = Squares::new(component, self.sampled_squares, SQUARES_ACROSS * rows);
            self.sampled_squares += SQUARES_ACROSS * rows;
            session.run(&squares, &mut PlaneOutput::new(predictions, 1, write_predictions))?;
            squares.collect_areas(predictions, &mut areas);
        }
        Ok(Some(areas::combine(areas)))
    }
}

/// Returns the `number`th position `[y, x]` of a low-discrepancy sequence over `rows` by `columns`
/// (Roberts' R2 sequence), which is not correlated with any regular texture.
pub(super) fn r2_position(number: usize, [rows, columns]: [usize; 2]) -> [usize; 2] {
    let at =
        |step: f64, length: usize| ((0.5 + step * number as f64).fract() * length as f64) as usize;
    [at(0.569_840_290_998_053_3, rows), at(0.754_877_666_246_692_8, columns)]
}

/// Two-dimensional array of code values whose noise can be estimated.
pub trait CodeValues: Sync {
    /// Returns the numbers of rows and columns.
    fn size(&self) -> [usize; 2];
    /// Returns the code value at a position, 0 to 255; deeper samples have fractions.
    fn code_value(&self, y: usize, x: usize) -> f32;
}

impl<T: Sample> CodeValues for ArrayView2<'_, T> {
    fn size(&self) -> [usize; 2] {
        self.dim().into()
    }

    #[inline(always)]
    fn code_value(&self, y: usize, x: usize) -> f32 {
        self[[y, x]].code_value()
    }
}

/// Squares of a component, arranged side by side as the network's input.
struct Squares<'a, C> {
    component: &'a C,
    /// Row and column of each square's first pixel.
    origins: Vec<[usize; 2]>,
}

/// Input features of a cell of 2x2 pixels.
struct CellFeatures {
    /// Three differences within the cell, and those of its mean to the cells to the left and above.
    /// All are scaled so that white noise gives each the sigma of the pixels.
    differences: [f32; 5],
    /// Mean of the four pixels.
    mean: f32,
}

impl<'a, C: CodeValues> Squares<'a, C> {
    /// Samples `count` squares, beginning with number `first` of the sequence.
    fn new(component: &'a C, first: usize, count: usize) -> Self {
        let room = component.size().map(|n| n.saturating_sub(2 * SQUARE_SIDE) + 1);
        Self {
            component,
            origins: (first..first + count).map(|number| r2_position(number, room)).collect(),
        }
    }

    /// Returns the four pixels of a cell; beyond the component it is mirrored.
    #[inline(always)]
    fn pixels(&self, [top, left]: [usize; 2], y: usize, x: usize) -> [f32; 4] {
        let [height, width] = self.component.size();
        let inside = |at: usize, length: usize| {
            let at = at % (2 * length);
            if at < length { at } else { 2 * length - 1 - at }
        };
        let at = |dy: usize, dx: usize| {
            self.component
                .code_value(inside(top + 2 * y + dy, height), inside(left + 2 * x + dx, width))
        };
        [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]
    }

    /// Returns a cell by its position in the network's input.
    fn cell(&self, y: usize, x: usize) -> CellFeatures {
        let origin = self.origins[y / SQUARE_SIDE * SQUARES_ACROSS + x / SQUARE_SIDE];
        let (y, x) = (y % SQUARE_SIDE, x % SQUARE_SIDE);
        let mean = |[a, b, c, d]: [f32; 4]| 0.25 * (a + b + c + d);
        let [a, b, c, d] = self.pixels(origin, y, x);
        let here = mean([a, b, c, d]);
        let left = if x > 0 { mean(self.pixels(origin, y, x - 1)) } else { here };
        let above = if y > 0 { mean(self.pixels(origin, y - 1, x)) } else { here };
        let scale = std::f32::consts::SQRT_2;
        let differences = [
            0.5 * (a - b + c - d),
            0.5 * (a + b - c - d),
            0.5 * (a - b - c + d),
            scale * (here - left),
            scale * (here - above),
        ];
        CellFeatures { differences, mean: here }
    }

    /// Averages the predictions over areas, weighted by the inverse squared uncertainty, and
    /// appends the areas to `areas`.
    fn collect_areas(&self, predictions: &Array2<[f32; 2]>, areas: &mut Vec<Area>) {
        for (number, cells) in
            predictions.exact_chunks((AREA_SIDE, AREA_SIDE)).into_iter().enumerate()
        {
            let (y, x) = (
                number / (SQUARES_ACROSS * SQUARE_SIDE / AREA_SIDE),
                number % (SQUARES_ACROSS * SQUARE_SIDE / AREA_SIDE),
            );
            let [mut weights, mut sigmas, mut uncertainties, mut brightness] = [0.0; 4];
            for ((dy, dx), &[log_sigma, log_uncertainty]) in cells.indexed_iter() {
                let CellFeatures { differences, mean } =
                    self.cell(AREA_SIDE * y + dy, AREA_SIDE * x + dx);
                brightness += mean / (AREA_SIDE * AREA_SIDE) as f32;
                // Perfectly flat cells (black bars, drawings) have no noise and allow no conclusion
                // about the other cells.
                if differences.iter().all(|d| *d == 0.0)
                    || !(CLIPPING_MARGIN..255.0 - CLIPPING_MARGIN).contains(&mean)
                {
                    continue;
                }
                let uncertainty =
                    log_uncertainty.clamp(-MAX_LOG_UNCERTAINTY, MAX_LOG_UNCERTAINTY).exp();
                let weight = 1.0 / (uncertainty * uncertainty);
                weights += weight;
                sigmas += weight * (log_sigma.exp() - LOG_OFFSET).max(0.0);
                uncertainties += weight * uncertainty;
            }
            if weights > 0.0 {
                areas.push(Area {
                    weight: weights,
                    sigma: sigmas / weights,
                    uncertainty: uncertainties / weights,
                    brightness,
                });
            }
        }
    }
}

impl<C: CodeValues> Source for Squares<'_, C> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        for (x, values) in
            row.as_chunks_mut::<{ SIGNATURE.io.input_channels() }>().0.iter_mut().enumerate()
        {
            let CellFeatures { differences, mean } = self.cell(y, x);
            let [a, b, c, d, e] = differences.map(|d| (ROOT_SCALE * d.abs().sqrt()).copysign(d));
            *values = [a, b, c, d, e, (mean - 128.0) / 255.0];
        }
    }
}

/// Stores the two predictions of each cell.
fn write_predictions(row: &[f32], _: usize, predictions: ArrayViewMut1<'_, [f32; 2]>) {
    predictions.into_iter().zip(row.as_chunks::<2>().0).for_each(|(to, cell)| *to = *cell);
}

#[cfg(test)]
mod tests {
    use ndarray::s;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// White noise, close to normal, with unit sigma.
    fn white(size: (usize, usize), seed: u64) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        Array2::from_shape_simple_fn(size, || {
            (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
        })
    }

    fn estimated(component: &Array2<f32>) -> NoiseModel {
        let eight_bits = component.mapv(|v| v.round() as u8);
        NoiseEstimator::built_in(2).unwrap().estimate(&eight_bits.view(), 3).unwrap().unwrap()
    }

    #[test]
    fn white_noise_is_estimated_within_fifteen_percent() {
        for sigma in [2.0, 5.0, 20.0] {
            let noise = white((240, 320), 1);
            let picture = Array2::from_shape_fn(noise.dim(), |(y, x)| {
                80.0 + 0.3 * x as f32 + 0.1 * y as f32 + sigma * noise[[y, x]]
            });
            let found = estimated(&picture).sigma;
            assert!((found - sigma).abs() < 0.15 * sigma, "{sigma}: {found}");
        }
    }

    #[test]
    fn brightness_dependent_noise_is_estimated() {
        let sigma = |brightness: f32| (20.0 + 1.2 * brightness).sqrt();
        let noise = white((240, 320), 2);
        let picture = Array2::from_shape_fn(noise.dim(), |(y, x)| {
            let brightness = 40.0 + 0.5 * x as f32;
            brightness + sigma(brightness) * noise[[y, x]]
        });
        let model = estimated(&picture);
        for brightness in [60.0, 120.0, 180.0] {
            let (found, truth) = (model.sigma_at(brightness), sigma(brightness));
            assert!((found - truth).abs() < 0.2 * truth, "{brightness}: {found} for {truth}");
        }
    }

    #[test]
    fn coloured_noise_is_estimated_beside_texture_and_bars() {
        let noise = white((362, 482), 3);
        let soft = Array2::from_shape_fn((360, 480), |(y, x)| {
            let mean = noise.slice(s![y..y + 3, x..x + 3]).mean().unwrap();
            // Half of the picture is textured, a sixth of it is black.
            let texture = if x < 240 { 40.0 * (x as f32 * 0.7).sin() } else { 0.0 };
            if y < 60 { 16.0 } else { 90.0 + 0.1 * y as f32 + 18.0 * mean + texture }
        });
        let found = estimated(&soft).sigma;
        assert!((4.5..7.5).contains(&found), "{found} for 6");
    }

    #[test]
    fn estimates_repeat_for_any_number_of_threads() {
        let picture = white((100, 90), 4).mapv(|v| 100.0 + 9.0 * v);
        let [one, two] = [1, 2].map(|threads| {
            let mut estimator = NoiseEstimator::built_in(threads).unwrap();
            let first = estimator.estimate(&picture.view(), 1).unwrap();
            assert_ne!(estimator.estimate(&picture.view(), 1).unwrap(), first, "other squares");
            estimator.reset();
            assert_eq!(estimator.estimate(&picture.view(), 1).unwrap(), first);
            first
        });
        assert_eq!(one, two);
    }

    #[test]
    fn small_pictures_have_no_estimate_and_flat_ones_no_noise() {
        let mut estimator = NoiseEstimator::built_in(1).unwrap();
        assert_eq!(estimator.estimate(&Array2::<u8>::zeros((15, 100)).view(), 1).unwrap(), None);
        for (height, width) in [(16, 16), (17, 200), (63, 64)] {
            let noisy = white((height, width), 5).mapv(|v| 128.0 + 12.0 * v);
            let sigma = estimator.estimate(&noisy.view(), 2).unwrap().unwrap().sigma;
            assert!((7.0..18.0).contains(&sigma), "{height}x{width}: {sigma}");
        }
        for value in [0, 100, 255] {
            let flat = Array2::<u8>::from_elem((100, 100), value);
            assert_eq!(estimator.estimate(&flat.view(), 1).unwrap().unwrap().sigma, 0.0);
        }
    }
}
