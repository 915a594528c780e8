// SPDX-License-Identifier: MIT OR Apache-2.0

//! Noise statistics measured from differences between pictures in still blocks
//! ([`MeasuredNoise`]).
//!
//! Spatial estimates mistake texture for noise, and correlated noise for texture. Where nothing
//! moves, differences between pictures are noise whatever the texture and the correlation.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::{
    CONTIGUOUS, Compensated,
    block_kinds::BlockKind,
    energy::{DifferenceMaps, expected_drift},
    gain::{LARGE_WINDOW, MEAN_WINDOW, SMALL_WINDOW},
    motion::BLOCK,
};
use crate::{frame::box_mean::box_mean_rows, nn::Threads};

/// Distance of the sampled cells, in rows and columns of cells.
const SAMPLE_STEP: [usize; 2] = [5, 6];
/// Number of brightness classes.
const CLASSES: usize = 16;
/// Least number of samples for which a class has a correction of its own.
const MIN_CLASS_SAMPLES: usize = 24;
/// Least number of samples for any measurement.
const MIN_SAMPLES: usize = 64;
/// Share of the sampled cells that must be still for the correction to apply wholly.
const STILL_SHARE: [f32; 2] = [0.25, 0.5];
/// Range of the correction of the noise variance.
const CORRECTION_RANGE: [f32; 2] = [0.3, 60.0];
/// Weight of the newest measurement in the moving average of the correction.
const SMOOTHING: f32 = 0.15;
/// Relative change of the first correction beyond which the differences are measured again.
const LARGE_CHANGE: f32 = 1.15;
/// Quantiles that the distribution of still cells is described by. They lie below the median,
/// because cells that changed have higher values.
const QUANTILES: [f32; 2] = [0.15, 0.45];
/// Distance between [`QUANTILES`] of a normal distribution, in standard deviations.
const QUANTILE_DISTANCE: f32 = 0.911;
/// The upper of [`QUANTILES`] of the chi-squared distribution with one degree of freedom.
const CHI_SQUARED_QUANTILE: f32 = 0.357;
/// Limit of [`MeasuredNoise::blocks`].
const MAX_BLOCK_FACTOR: f32 = 4.0;
/// Weight of the newest measurement in the moving average of [`MeasuredNoise::blocks`].
const BLOCK_SMOOTHING: f32 = 0.3;
/// Limit of [`Spread::mean`].
const MAX_MEAN_FACTOR: f32 = 12.0;

/// Corrections of the noise model, and how much window means of the differences vary by chance.
#[derive(Debug)]
pub(super) struct MeasuredNoise {
    /// Corrections of the main noise (luma, or R, G and B).
    pub main: Corrections,
    /// Corrections of the noise of chroma.
    pub chroma: Corrections,
    /// Share of the sampled cells that are still.
    still_share: f32,
    /// Number of measurements since the last reset.
    count: u32,
    /// Variation by chance.
    pub spread: Spread,
    /// Noise variance of still blocks, relative to that of their brightness: 1 to
    /// [`MAX_BLOCK_FACTOR`]. It differs where noise depends on colour, as after gamma correction.
    pub blocks: Array2<f32>,
}

/// Variation of window means of still cells that noise alone causes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    /// Standard deviation of the mean energy in the small window, relative to the expected one.
    pub small: f32,
    /// The same in the large window.
    pub large: f32,
    /// The same of chroma in the large window.
    pub chroma: f32,
    /// Variance of the mean difference in a window, relative to that of white noise.
    pub mean: f32,
    /// Energy of the drift in the small window, relative to that of white noise.
    pub drift: f32,
    /// Standard deviation of that energy, relative to it.
    pub drift_deviation: f32,
}

impl Default for MeasuredNoise {
    fn default() -> Self {
        let spread = Spread {
            small: 0.24,
            large: 0.065,
            chroma: 0.1,
            mean: 1.0,
            drift: 1.0,
            drift_deviation: 0.5,
        };
        let (main, chroma) = Default::default();
        Self { main, chroma, still_share: 0.0, count: 0, spread, blocks: Array2::default((0, 0)) }
    }
}

/// Values of one still cell, relative to the expected ones.
struct StillCell {
    /// Brightness class.
    class: usize,
    /// Energy in the large window, without that of the mean.
    inner_energy: f32,
    small: f32,
    chroma: f32,
    mean: f32,
    drift: f32,
}

/// Factors on the noise variance by brightness class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corrections([f32; CLASSES]);

impl Default for Corrections {
    fn default() -> Self {
        Self([1.0; CLASSES])
    }
}

impl Corrections {
    /// Returns the factor on the noise variance at a brightness.
    pub(super) fn at(&self, brightness: f32) -> f32 {
        let at = (brightness * (CLASSES as f32 / 256.0) - 0.5).clamp(0.0, (CLASSES - 1) as f32);
        let class = (at as usize).min(CLASSES - 2);
        let [low, high] = [self.0[class], self.0[class + 1]];
        low + (at - class as f32) * (high - low)
    }

    /// Moves the factors towards 1.
    fn fade(&mut self) {
        self.0.iter_mut().for_each(|factor| *factor += SMOOTHING * (1.0 - *factor));
    }

    /// Moves the factors by the share `rate` towards those for which the energies of the cells of a
    /// class centre at the expected ones. Returns the largest change.
    fn update(
        &mut self,
        cells: &[StillCell],
        energy: fn(&StillCell) -> f32,
        trust: f32,
        rate: f32,
    ) -> f32 {
        let centre = |class: Option<usize>| {
            let of_class = cells.iter().filter(|cell| class.is_none_or(|c| cell.class == c));
            let energies: Vec<f32> = of_class.map(energy).collect();
            let enough = energies.len() >= if class.is_some() { MIN_CLASS_SAMPLES } else { 1 };
            enough.then(|| quantiles(energies)[1])
        };
        let overall = centre(None).unwrap_or(1.0);
        let mut largest = 1.0f32;
        for (class, factor) in self.0.iter_mut().enumerate() {
            let [min, max] = CORRECTION_RANGE;
            let measured = *factor * centre(Some(class)).unwrap_or(overall);
            let target = 1.0 + trust * (measured.clamp(min, max) - 1.0);
            let before = *factor;
            *factor += rate * (target - *factor);
            largest = largest.max(*factor / before).max(before / *factor);
        }
        largest
    }
}

impl MeasuredNoise {
    /// Updates the statistics from the differences of a picture; `luma` is the brightness of the
    /// previous one. Returns whether the correction changed so much that the differences must be
    /// measured again.
    pub(super) fn update(
        &mut self,
        maps: &DifferenceMaps,
        previous: &Compensated<'_>,
        samples_per_cell: f32,
        threads: &Threads,
    ) -> bool {
        let (cells, sampled) = still_cells(maps, previous, samples_per_cell, threads);
        self.still_share = cells.len() as f32 / sampled.max(1) as f32;
        let [low, high] = STILL_SHARE;
        let trust = ((self.still_share - low) / (high - low)).clamp(0.0, 1.0);
        if cells.len() < MIN_SAMPLES || trust == 0.0 {
            self.main.fade();
            self.chroma.fade();
            return false;
        }
        let is_first = self.count == 0;
        self.count += 1;
        let rate = if is_first { 1.0 } else { SMOOTHING };
        let change = self.main.update(&cells, |cell| cell.inner_energy, trust, rate);
        let chroma_change = self.chroma.update(&cells, |cell| cell.chroma, trust, rate);
        if is_first && change.max(chroma_change) > LARGE_CHANGE {
            return true;
        }
        self.update_spread(&cells, rate);
        false
    }

    /// Updates the noise variances of blocks.
    pub(super) fn update_blocks(
        &mut self,
        maps: &DifferenceMaps,
        previous: &Compensated<'_>,
        threads: &Threads,
    ) {
        if self.blocks.dim() != previous.kinds.dim() {
            self.blocks = Array2::ones(previous.kinds.dim());
        }
        let update = |by: usize, bx: usize, factor: &mut f32| {
            if previous.kinds[[by, bx]] != BlockKind::Still {
                *factor = 1.0;
                return;
            }
            let measured = block_energy(maps, previous, by, bx).clamp(1.0, MAX_BLOCK_FACTOR);
            *factor += BLOCK_SMOOTHING * (measured - *factor);
        };
        let rows = self.blocks.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
        threads.enter(|| {
            rows.for_each(|(by, mut row)| {
                row.iter_mut().enumerate().for_each(|(bx, factor)| update(by, bx, factor));
            });
        });
    }

    fn update_spread(&mut self, cells: &[StillCell], rate: f32) {
        let values = |value: fn(&StillCell) -> f32| quantiles(cells.iter().map(value).collect());
        let deviation = |[low, high]: [f32; 2]| (high - low) / QUANTILE_DISTANCE / high.max(1e-3);
        let drift = values(|cell| cell.drift);
        let measured = Spread {
            small: deviation(values(|cell| cell.small)),
            large: deviation(values(|cell| cell.inner_energy)),
            chroma: deviation(values(|cell| cell.chroma)),
            mean: (values(|cell| cell.mean)[1] / CHI_SQUARED_QUANTILE).clamp(1.0, MAX_MEAN_FACTOR),
            drift: drift[1].clamp(0.1, MAX_MEAN_FACTOR),
            drift_deviation: deviation(drift),
        };
        let Spread { small, large, chroma, mean, drift, drift_deviation } = &mut self.spread;
        for (value, new) in [
            (small, measured.small),
            (large, measured.large),
            (chroma, measured.chroma),
            (mean, measured.mean),
            (drift, measured.drift),
            (drift_deviation, measured.drift_deviation),
        ] {
            *value += rate * (new - *value);
        }
    }
}

/// Returns the energy of the differences of a block, without that of their mean, relative to the
/// expected energy.
fn block_energy(maps: &DifferenceMaps, previous: &Compensated<'_>, by: usize, bx: usize) -> f32 {
    let side = BLOCK / 2;
    let (height, width) = maps.energy.dim();
    let rows = by * side..((by + 1) * side).min(height);
    let columns = bx * side..((bx + 1) * side).min(width);
    let [mut energy, mut expected, mut mean, mut count] = [0.0; 4];
    for y in rows {
        let row = |map: &Array2<f32>, sum: &mut f32| {
            *sum += map.row(y).to_slice().expect(CONTIGUOUS)[columns.clone()].iter().sum::<f32>();
        };
        row(&maps.energy, &mut energy);
        row(&maps.mean, &mut mean);
        row(previous.variance, &mut expected);
        count += columns.len() as f32;
    }
    (energy - mean * mean / count) / (expected + count)
}

/// Returns the two [`QUANTILES`] of values.
fn quantiles(mut values: Vec<f32>) -> [f32; 2] {
    QUANTILES.map(|share| {
        let at = (share * (values.len() - 1) as f32) as usize;
        *values.select_nth_unstable_by(at, f32::total_cmp).1
    })
}

/// Samples the cells of the picture. Returns those that are still, and the number of all.
fn still_cells(
    maps: &DifferenceMaps,
    previous: &Compensated<'_>,
    samples_per_cell: f32,
    threads: &Threads,
) -> (Vec<StillCell>, usize) {
    let (height, width) = maps.energy.dim();
    let cells_per_block = BLOCK / 2;
    let memory = || (vec![0.0; width], std::array::from_fn(|_| Array2::zeros((1, width))));
    let row = |(columns, means): &mut (Vec<f32>, [Array2<f32>; 5]), y: usize| {
        let [small, large, chroma, mean, drift] = means;
        box_mean_rows::<SMALL_WINDOW>(&maps.energy, y, &mut small.view_mut(), columns);
        box_mean_rows::<LARGE_WINDOW>(&maps.energy, y, &mut large.view_mut(), columns);
        box_mean_rows::<MEAN_WINDOW>(&maps.mean, y, &mut mean.view_mut(), columns);
        box_mean_rows::<SMALL_WINDOW>(&maps.drift_energy, y, &mut drift.view_mut(), columns);
        box_mean_rows::<LARGE_WINDOW>(&maps.chroma, y, &mut chroma.view_mut(), columns);
        let [small, large, chroma, mean, drift] =
            [small, large, chroma, mean, drift].map(|map| map.row(0));
        let luma = previous.planes[0].row((2 * y).min(previous.planes[0].nrows() - 1));
        let luma = luma.to_slice().expect(CONTIGUOUS);
        let kinds = previous.kinds.row(y / cells_per_block);
        (0..width)
            .step_by(SAMPLE_STEP[1])
            .filter(|x| kinds[x / cells_per_block] == BlockKind::Still)
            .map(|x| {
                let expected = 1.0 + previous.variance[[y, x]];
                let mean_square = mean[x] * mean[x];
                let window = (MEAN_WINDOW * MEAN_WINDOW) as f32 * samples_per_cell;
                StillCell {
                    class: usize::from(luma[2 * x].to_u8()) * CLASSES / 256,
                    inner_energy: (large[x] - mean_square).max(0.0) / expected,
                    small: small[x] / expected,
                    chroma: chroma[x] / expected,
                    mean: mean_square * window / expected,
                    drift: drift[x] / expected_drift(expected, samples_per_cell),
                }
            })
            .collect::<Vec<_>>()
    };
    let rows = (0..height).into_par_iter().step_by(SAMPLE_STEP[0]);
    let cells = threads.enter(|| rows.map_init(memory, row).flatten_iter().collect());
    (cells, height.div_ceil(SAMPLE_STEP[0]) * width.div_ceil(SAMPLE_STEP[1]))
}
