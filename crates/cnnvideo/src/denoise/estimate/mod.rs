//! Estimates the noise sigma of a picture component with a small CNN.
//!
//! The network processes 64x64 pixel squares sampled from the component. For each cell of 2x2
//! pixels it predicts the logarithm of sigma and the uncertainty of that prediction, so that flat
//! areas count more than textured ones. It was trained on white noise and on camera noise, raw and
//! compressed (`src/train/level.rs`). Estimates from single frequencies of the spectrum fail for
//! noise that is not white.

mod areas;

use std::{ops::Range, sync::Arc};

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use self::areas::Area;
use super::noise::NoiseModel;
use crate::{
    frame::Sample,
    nn::{
        self, Device, IoSpec, ModelSource, Network, Output, Precision, RowSink, Session, Signature,
        Size, Source, cache, parts,
    },
};

/// The built-in network.
/// Signature of the estimator's network.
///
/// The picture is one colour component in cells of 2x2 pixels. Five channels are differences: the
/// horizontal, vertical and diagonal Haar coefficients of the cell, and the differences of its mean
/// to those of the left and upper neighbour cells. They are normalised so that white noise has the
/// same standard deviation in all of them, then compressed to signed square roots. The sixth channel
/// is the mean. The network predicts the logarithm of the noise sigma and the logarithm of the scale
/// of its error.
pub const SIGNATURE: Signature =
    Signature::new("estimate-plane", IoSpec { picture: 6, control: 0, output: 2 });

const BUILT_IN: ModelSource = ModelSource::Embedded {
    name: "noise-level",
    bytes: include_bytes!("../../../models/noise-level.safetensors"),
};
/// Offset of sigma before the logarithm: the network predicts `ln(sigma + LEAST)`. In 8-bit units.
pub const LEAST: f32 = 0.5;
/// Limit of the absolute value of the predicted log uncertainty.
pub const MOST_LOG_SCALE: f32 = 2.5;
/// Factor on the signed square roots of the differences that are the network's input.
pub const ROOT_SCALE: f32 = 0.25;

/// Side of a square in cells of 2x2 pixels.
const SIDE: usize = 32;
/// Number of squares side by side in the network's input.
const ACROSS: usize = 4;
/// Largest number of rows of squares in the network's input.
const MOST_ROWS: usize = 4;
/// Least side of a component in pixels for which an estimate is possible.
const MIN_SIDE: usize = 16;
/// Cells whose mean lies closer than this to 0 or 255, in code values, are ignored: their noise may
/// be clipped.
const MARGIN: f32 = 4.0;
/// Side, in cells, of the areas over which predictions are averaged.
const AREA: usize = 4;

/// Noise estimator: runs the built-in network on squares sampled from a component.
pub struct Estimator {
    network: Arc<dyn Network>,
    threads: usize,
    /// Session and output buffer for each number of rows of squares, created on first use.
    looks: [Option<Look>; MOST_ROWS],
    /// Number of squares sampled so far; each estimate takes the next squares of the sequence.
    looked: usize,
}

/// Session and output buffer for one size of the network's input.
struct Look {
    session: Box<dyn Session>,
    /// Predicted log sigma and log uncertainty by cell.
    told: Array2<[f32; 2]>,
}

impl Look {
    fn new(network: &dyn Network, rows: usize, threads: usize) -> Result<Self, nn::Error> {
        let size = Size { width: ACROSS * SIDE, height: rows * SIDE };
        Ok(Self {
            session: network.session(size, threads)?,
            told: Array2::default((size.height, size.width)),
        })
    }
}

impl Estimator {
    /// Creates an estimator with the built-in network on `threads` threads, 0 for the number of
    /// cores.
    ///
    /// # Errors
    /// A network that fails to load.
    pub fn built_in(threads: usize) -> Result<Self, nn::Error> {
        let network = cache::load(&BUILT_IN, Device::Cpu, Precision::Fp32, &[SIGNATURE])?;
        Ok(Self { network, threads, looks: Default::default(), looked: 0 })
    }

    /// Restarts the sequence of squares, so that equal pictures get equal estimates.
    pub fn reset(&mut self) {
        self.looked = 0;
    }

    /// Estimates the noise of a component.
    ///
    /// A round samples sixteen squares of 64x64 pixels, fewer if the component is smaller than
    /// their total area. Returns `None` if the component is too small for an estimate.
    ///
    /// # Errors
    /// A failing backend.
    pub fn noise(
        &mut self,
        component: &impl Levels,
        rounds: usize,
    ) -> Result<Option<NoiseModel>, nn::Error> {
        let size = component.size();
        if size.into_iter().min() < Some(MIN_SIDE) {
            return Ok(None);
        }
        let row_of_squares = ACROSS * (2 * SIDE).pow(2);
        let rows = (size[0] * size[1]).div_ceil(row_of_squares).clamp(1, MOST_ROWS);
        let Look { session, told } = match &mut self.looks[rows - 1] {
            Some(look) => look,
            none => none.insert(Look::new(&*self.network, rows, self.threads)?),
        };
        let mut areas = Vec::with_capacity(rounds * told.len() / (AREA * AREA));
        for _ in 0..rounds {
            let squares = Squares::new(component, self.looked, ACROSS * rows);
            self.looked += ACROSS * rows;
            session.run(&squares, &mut Told(told))?;
            squares.add(told, &mut areas);
        }
        Ok(Some(areas::model(areas)))
    }
}

/// Returns the `number`th position `[y, x]` of a low-discrepancy sequence over `rows` by `columns`
/// (Roberts' R2 sequence), which is not correlated with any regular texture.
pub(super) fn spread(number: usize, [rows, columns]: [usize; 2]) -> [usize; 2] {
    let at =
        |step: f64, length: usize| ((0.5 + step * number as f64).fract() * length as f64) as usize;
    [at(0.569_840_290_998_053_3, rows), at(0.754_877_666_246_692_8, columns)]
}

/// Two-dimensional array of code values whose noise can be estimated.
pub trait Levels: Sync {
    /// Returns the numbers of rows and columns.
    fn size(&self) -> [usize; 2];
    /// Returns the code value at a position, 0 to 255; deeper samples have fractions.
    fn level(&self, y: usize, x: usize) -> f32;
}

impl<T: Sample> Levels for ArrayView2<'_, T> {
    fn size(&self) -> [usize; 2] {
        self.dim().into()
    }

    #[inline(always)]
    fn level(&self, y: usize, x: usize) -> f32 {
        self[[y, x]].level()
    }
}

/// Squares of a component, arranged side by side as the network's input.
struct Squares<'a, L> {
    component: &'a L,
    /// Row and column of each square's first pixel.
    origins: Vec<[usize; 2]>,
}

/// Input features of a cell of 2x2 pixels.
struct Cell {
    /// Three differences within the cell, and those of its mean to the cells to the left and above.
    /// All are scaled so that white noise gives each the sigma of the pixels.
    differences: [f32; 5],
    /// Mean of the four pixels.
    mean: f32,
}

impl<'a, L: Levels> Squares<'a, L> {
    /// Samples `count` squares, beginning with number `first` of the sequence.
    fn new(component: &'a L, first: usize, count: usize) -> Self {
        let room = component.size().map(|n| n.saturating_sub(2 * SIDE) + 1);
        Self {
            component,
            origins: (first..first + count).map(|number| spread(number, room)).collect(),
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
            self.component.level(inside(top + 2 * y + dy, height), inside(left + 2 * x + dx, width))
        };
        [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]
    }

    /// Returns a cell by its position in the network's input.
    fn cell(&self, y: usize, x: usize) -> Cell {
        let origin = self.origins[y / SIDE * ACROSS + x / SIDE];
        let (y, x) = (y % SIDE, x % SIDE);
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
        Cell { differences, mean: here }
    }

    /// Averages the predictions over areas, weighted by the inverse squared uncertainty, and
    /// appends the areas to `areas`.
    fn add(&self, told: &Array2<[f32; 2]>, areas: &mut Vec<Area>) {
        for (number, told) in told.exact_chunks((AREA, AREA)).into_iter().enumerate() {
            let (y, x) = (number / (ACROSS * SIDE / AREA), number % (ACROSS * SIDE / AREA));
            let [mut weights, mut levels, mut doubts, mut brightness] = [0.0; 4];
            for ((dy, dx), &[log, doubt]) in told.indexed_iter() {
                let Cell { differences, mean } = self.cell(AREA * y + dy, AREA * x + dx);
                brightness += mean / (AREA * AREA) as f32;
                // Perfectly flat cells (black bars, drawings) have no noise and allow no conclusion
                // about the other cells.
                if differences.iter().all(|d| *d == 0.0)
                    || !(MARGIN..255.0 - MARGIN).contains(&mean)
                {
                    continue;
                }
                let doubt = doubt.clamp(-MOST_LOG_SCALE, MOST_LOG_SCALE).exp();
                let weight = 1.0 / (doubt * doubt);
                weights += weight;
                levels += weight * (log.exp() - LEAST).max(0.0);
                doubts += weight * doubt;
            }
            if weights > 0.0 {
                areas.push(Area {
                    weight: weights,
                    level: levels / weights,
                    doubt: doubts / weights,
                    brightness,
                });
            }
        }
    }
}

impl<L: Levels> Source for Squares<'_, L> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        for (x, values) in row.as_chunks_mut::<{ SIGNATURE.io.inputs() }>().0.iter_mut().enumerate()
        {
            let Cell { differences, mean } = self.cell(y, x);
            let [a, b, c, d, e] = differences.map(|d| (ROOT_SCALE * d.abs().sqrt()).copysign(d));
            *values = [a, b, c, d, e, (mean - 128.0) / 255.0];
        }
    }
}

/// Receives the network's output.
struct Told<'a>(&'a mut Array2<[f32; 2]>);

impl Output for Told<'_> {
    fn split<'b>(&'b mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'b>> {
        let parts = parts(self.0, bands, 1).into_iter().zip(bands);
        parts
            .map(|(told, band)| Box::new(Band { first: band.start, told }) as Box<dyn RowSink>)
            .collect()
    }
}

/// Receives one band of the network's output.
struct Band<'a> {
    /// First row of the band.
    first: usize,
    told: ArrayViewMut2<'a, [f32; 2]>,
}

impl RowSink for Band<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let to = self.told.row_mut(y - self.first);
        to.into_iter().zip(row.as_chunks::<2>().0).for_each(|(to, told)| *to = *told);
    }
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

    fn found(component: &Array2<f32>) -> NoiseModel {
        let eight_bits = component.mapv(|v| v.round() as u8);
        Estimator::built_in(2).unwrap().noise(&eight_bits.view(), 3).unwrap().unwrap()
    }

    #[test]
    fn known_noise_on_a_ramp_is_found() {
        for level in [2.0, 5.0, 20.0] {
            let noise = white((240, 320), 1);
            let picture = Array2::from_shape_fn(noise.dim(), |(y, x)| {
                80.0 + 0.3 * x as f32 + 0.1 * y as f32 + level * noise[[y, x]]
            });
            let found = found(&picture).level;
            assert!((found - level).abs() < 0.15 * level, "{level}: {found}");
        }
    }

    #[test]
    fn noise_that_grows_with_the_light_is_found() {
        let level = |brightness: f32| (20.0 + 1.2 * brightness).sqrt();
        let noise = white((240, 320), 2);
        let picture = Array2::from_shape_fn(noise.dim(), |(y, x)| {
            let brightness = 40.0 + 0.5 * x as f32;
            brightness + level(brightness) * noise[[y, x]]
        });
        let model = found(&picture);
        for brightness in [60.0, 120.0, 180.0] {
            let (found, truth) = (model.level_at(brightness), level(brightness));
            assert!((found - truth).abs() < 0.2 * truth, "{brightness}: {found} for {truth}");
        }
    }

    #[test]
    fn soft_noise_is_found_and_texture_and_bars_do_not_count() {
        let noise = white((362, 482), 3);
        let soft = Array2::from_shape_fn((360, 480), |(y, x)| {
            let mean = noise.slice(s![y..y + 3, x..x + 3]).mean().unwrap();
            // Half of the picture is textured, a sixth of it is black.
            let texture = if x < 240 { 40.0 * (x as f32 * 0.7).sin() } else { 0.0 };
            if y < 60 { 16.0 } else { 90.0 + 0.1 * y as f32 + 18.0 * mean + texture }
        });
        let found = found(&soft).level;
        assert!((4.5..7.5).contains(&found), "{found} for 6");
    }

    #[test]
    fn estimates_repeat_and_hardly_depend_on_threads() {
        let picture = white((100, 90), 4).mapv(|v| 100.0 + 9.0 * v);
        let [one, two] = [1, 2].map(|threads| {
            let mut estimator = Estimator::built_in(threads).unwrap();
            let first = estimator.noise(&picture.view(), 1).unwrap();
            assert_ne!(estimator.noise(&picture.view(), 1).unwrap(), first, "other squares");
            estimator.reset();
            assert_eq!(estimator.noise(&picture.view(), 1).unwrap(), first);
            first.unwrap().level
        });
        // Which rows the float32 kernels compute together depends on the number of bands.
        assert!((one - two).abs() < 1e-4 * one, "{one} and {two}");
    }

    #[test]
    fn little_or_nothing_to_see_is_no_trouble() {
        let mut estimator = Estimator::built_in(1).unwrap();
        assert_eq!(estimator.noise(&Array2::<u8>::zeros((15, 100)).view(), 1).unwrap(), None);
        for (height, width) in [(16, 16), (17, 200), (63, 64)] {
            let noisy = white((height, width), 5).mapv(|v| 128.0 + 12.0 * v);
            let level = estimator.noise(&noisy.view(), 2).unwrap().unwrap().level;
            assert!((7.0..18.0).contains(&level), "{height}x{width}: {level}");
        }
        for value in [0, 100, 255] {
            let flat = Array2::<u8>::from_elem((100, 100), value);
            assert_eq!(estimator.noise(&flat.view(), 1).unwrap().unwrap().level, 0.0);
        }
    }
}
