// SPDX-License-Identifier: MIT OR Apache-2.0

//! Computes the Kalman gain of each cell of 2x2 pixels from the differences of the current picture
//! and the motion-compensated previous one.

use ndarray::{Array2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::{
    CONTIGUOUS, Compensated,
    energy::{DifferenceMaps, expected_drift},
    motion::BLOCK,
    statistics::{MeasuredNoise, Spread},
};
use crate::{
    frame::{Colour, box_mean::box_mean_rows},
    nn::Threads,
    simd::vectorise,
};

/// Least weight of the current picture in moving blocks. It limits the accumulation of motion
/// errors, and the effective length of the average to about 19 pictures.
const MIN_MOVING_GAIN: f32 = 0.1;
/// Least weight of the current picture in still blocks, where nothing is interpolated: the average
/// of 100 pictures.
const MIN_STILL_GAIN: f32 = 0.01;
/// Least weight of the current picture at motion boundaries.
const MIN_BOUNDARY_GAIN: f32 = 0.6;
/// Relative excess over the expected energy that can occur by chance in the small window at motion
/// boundaries.
const BOUNDARY_TOLERANCE: f32 = 0.0;
/// Weight of the energy that noise does not explain at motion boundaries.
const BOUNDARY_ENERGY_WEIGHT: f32 = 12.0;
/// Side of the small window in which the energy of differences is compared, in cells of 2x2 pixels.
pub(super) const SMALL_WINDOW: usize = 3;
/// Side of the large window, in cells.
pub(super) const LARGE_WINDOW: usize = 11;
/// Side of the window in which a change of mean brightness is tested, in cells.
pub(super) const MEAN_WINDOW: usize = 9;
/// Relative excess over the expected energy that can occur by chance in the small window of moving
/// blocks.
const SMALL_TOLERANCE: f32 = 0.3;
/// The same in the large window.
const LARGE_TOLERANCE: f32 = 0.03;
/// Number of standard deviations by which energies of still blocks may exceed the expected ones.
const STILL_DEVIATIONS: f32 = 8.0;
/// Squared number of standard errors that the mean difference may have by chance.
const MEAN_TOLERANCE: f32 = 9.0;
/// Weight of a squared change of mean brightness beyond chance.
const MEAN_SHIFT_WEIGHT: f32 = 20.0;
/// Weight of the energy that noise does not explain. It is above 1 because that energy is
/// structure, and ghosting of structure is worse than noise of the same energy.
const ENERGY_WEIGHT: f32 = 2.5;
/// The same with a static camera and in still blocks: what differs there is mostly uncovered
/// background.
const STATIC_ENERGY_WEIGHT: f32 = 6.0;
/// Weight of the energy of the drift beyond chance.
const DRIFT_WEIGHT: f32 = 10.0;
/// Subsampling, in rows and columns, of the map from which [`chroma_excess`] is computed.
const EXCESS_STEP: [usize; 2] = [5, 6];
/// Largest factor by which chroma energy may exceed the expected energy in unchanged areas.
const MAX_CHROMA_EXCESS: f32 = 50.0;
/// Energy beyond the expected one, in units of the noise variance, above which a cell counts as
/// changed.
const CHANGED_ENERGY: f32 = 1.5;

/// Number of rows of cells that a thread processes at a time, a multiple of the cells of a block.
const BAND_ROWS: usize = 32;

/// Limits of what noise alone causes in the blocks of one kind, and weights of what exceeds them.
struct Limits {
    /// Largest energy in the small window, for an expected energy of 1.
    small: f32,
    /// Largest energy in the large window.
    large: f32,
    /// Factor on the energy of chroma.
    chroma_scale: f32,
    /// Largest scaled energy of chroma in the large window.
    chroma: f32,
    /// Largest squared mean difference.
    mean: f32,
    /// Largest energy of the drift.
    drift: f32,
    /// Weight of the energy of the drift beyond [`Self::drift`].
    drift_weight: f32,
    /// Weight of the energy beyond the limits.
    energy_weight: f32,
    /// Least gain.
    min_gain: f32,
}

impl Limits {
    /// Returns the limits of moving blocks. `chroma_scale` is the factor on the energy of chroma.
    fn moving(spread: &Spread, samples_per_cell: f32, chroma_scale: f32) -> Self {
        let window = (MEAN_WINDOW * MEAN_WINDOW) as f32 * samples_per_cell;
        Self {
            small: 1.0 + SMALL_TOLERANCE,
            large: 1.0 + LARGE_TOLERANCE,
            chroma_scale,
            chroma: 1.0 + LARGE_TOLERANCE,
            mean: spread.mean * MEAN_TOLERANCE / window,
            drift: 0.0,
            drift_weight: 0.0,
            energy_weight: ENERGY_WEIGHT,
            min_gain: MIN_MOVING_GAIN,
        }
    }

    /// Returns the limits of blocks at motion boundaries.
    fn boundary(spread: &Spread, samples_per_cell: f32, chroma_scale: f32) -> Self {
        Self {
            small: 1.0 + BOUNDARY_TOLERANCE,
            energy_weight: BOUNDARY_ENERGY_WEIGHT,
            min_gain: MIN_BOUNDARY_GAIN,
            ..Self::moving(spread, samples_per_cell, chroma_scale)
        }
    }

    /// Returns the limits of still blocks.
    fn still(spread: &Spread, samples_per_cell: f32, has_chroma: bool) -> Self {
        let within = |deviation: f32| 1.0 + STILL_DEVIATIONS * deviation;
        let drift = spread.drift * within(spread.drift_deviation);
        Self {
            small: within(spread.small),
            large: within(spread.large),
            chroma_scale: f32::from(u8::from(has_chroma)),
            chroma: within(spread.chroma),
            drift: drift * expected_drift(1.0, samples_per_cell),
            drift_weight: DRIFT_WEIGHT,
            energy_weight: STATIC_ENERGY_WEIGHT,
            min_gain: MIN_STILL_GAIN,
            ..Self::moving(spread, samples_per_cell, 0.0)
        }
    }
}

/// Fills `gains` with the Kalman gains, which are also the remaining variances. Returns the number
/// of changed cells.
pub(super) fn gains(
    gains: &mut Array2<f32>,
    previous: &Compensated<'_>,
    maps: &DifferenceMaps,
    measured: &MeasuredNoise,
    samples_per_cell: f32,
    threads: &Threads,
) -> usize {
    let spread = &measured.spread;
    let has_chroma = has_chroma(previous);
    let chroma_scale = if has_chroma {
        1.0 / chroma_excess(&maps.chroma, previous.variance, threads).clamp(1.0, MAX_CHROMA_EXCESS)
    } else {
        0.0
    };
    let moving = Limits::moving(spread, samples_per_cell, chroma_scale);
    let energy_weight =
        if previous.is_camera_static { STATIC_ENERGY_WEIGHT } else { moving.energy_weight };
    let limits = [
        Limits { energy_weight, ..moving },
        Limits::still(spread, samples_per_cell, has_chroma),
        Limits::boundary(spread, samples_per_cell, chroma_scale),
    ];
    let width = gains.ncols();
    // Window means are needed only for a band of rows at a time.
    let memory = || (vec![0.0; width], std::array::from_fn(|_| Array2::zeros((BAND_ROWS, width))));
    let band = |(columns, means): &mut (Vec<f32>, [Array2<f32>; 5]),
                (band, mut rows): (usize, ArrayViewMut2<'_, f32>)| {
        let first = band * BAND_ROWS;
        let mut views = means.each_mut().map(|means| means.slice_mut(s![..rows.nrows(), ..]));
        let [in_small, in_large, in_chroma, in_mean, in_drift] = &mut views;
        box_mean_rows::<SMALL_WINDOW>(&maps.energy, first, in_small, columns);
        box_mean_rows::<LARGE_WINDOW>(&maps.energy, first, in_large, columns);
        box_mean_rows::<LARGE_WINDOW>(&maps.chroma, first, in_chroma, columns);
        box_mean_rows::<MEAN_WINDOW>(&maps.mean, first, in_mean, columns);
        box_mean_rows::<SMALL_WINDOW>(&maps.drift_energy, first, in_drift, columns);
        let mut changed = 0;
        for (y, gains) in rows.rows_mut().into_iter().enumerate() {
            let windows = means.each_ref().map(|means| means.row(y).to_slice().expect(CONTIGUOUS));
            let row = first + y;
            let kinds = previous.kinds.row(row / (BLOCK / 2));
            let factors = measured.blocks.row(row / (BLOCK / 2));
            let variance = previous.variance.row(row).to_slice().expect(CONTIGUOUS);
            let gains = gains.into_slice().expect(CONTIGUOUS);
            for (block, (kind, factor)) in kinds.iter().zip(factors).enumerate() {
                let start = block * (BLOCK / 2);
                let range = start..(start + BLOCK / 2).min(width);
                let windows = windows.map(|window| &window[range.clone()]);
                let (gains, variance) = (&mut gains[range.clone()], &variance[range]);
                vectorise(
                    #[inline(always)]
                    || {
                        changed += block_row_gains(
                            gains,
                            variance,
                            windows,
                            &limits[*kind as usize],
                            *factor,
                        )
                    },
                );
            }
        }
        changed as usize
    };
    let bands = gains.axis_chunks_iter_mut(Axis(0), BAND_ROWS).into_par_iter().enumerate();
    threads.enter(|| bands.map_init(memory, band).sum())
}

/// Fills `gains` with those of a row of cells of one block, whose noise variance is `noise_factor`
/// times that of the maps. Returns the number of changed cells.
#[inline(always)]
fn block_row_gains(
    gains: &mut [f32],
    variance: &[f32],
    [small, large, chroma, mean, drift]: [&[f32]; 5],
    limits: &Limits,
    noise_factor: f32,
) -> u32 {
    let mut changed = 0;
    let per_noise = 1.0 / noise_factor;
    let windows = small.iter().zip(large).zip(chroma).zip(mean).zip(drift);
    for ((gain, previous), ((((small, large), chroma), mean), drift)) in
        gains.iter_mut().zip(variance).zip(windows)
    {
        let expected = 1.0 + previous;
        let energy = (per_noise * small - expected * limits.small)
            .max(per_noise * large - expected * limits.large)
            .max(limits.chroma_scale * chroma - expected * limits.chroma)
            .max(0.0);
        let shift = (per_noise * mean * mean - expected * limits.mean).max(0.0);
        let drift = (per_noise * drift - expected * limits.drift).max(0.0);
        changed += u32::from(energy > CHANGED_ENERGY);
        let uncertain = previous
            + limits.energy_weight * energy
            + MEAN_SHIFT_WEIGHT * shift
            + limits.drift_weight * drift;
        *gain = (uncertain / (uncertain + 1.0)).max(limits.min_gain);
    }
    changed
}

/// Returns whether the components after the first are chroma.
fn has_chroma(previous: &Compensated<'_>) -> bool {
    matches!(previous.colour, Colour::Yuv { .. })
}

/// Returns the lower quartile, over the picture, of the ratio of chroma energy to the expected
/// energy.
///
/// Chroma noise is mostly low-frequency, and camera chroma noise is coloured by demosaicking and
/// compression, so the estimated sigma is too low. This ratio corrects for it.
fn chroma_excess(map: &Array2<f32>, previous_variance: &Array2<f32>, threads: &Threads) -> f32 {
    let (height, width) = map.dim();
    let row = |(columns, mean): &mut (Vec<f32>, Array2<f32>), y: usize| {
        box_mean_rows::<LARGE_WINDOW>(map, y, &mut mean.view_mut(), columns);
        let pairs = mean.iter().zip(previous_variance.row(y)).step_by(EXCESS_STEP[1]);
        pairs.map(|(energy, previous)| energy / (1.0 + previous)).collect::<Vec<_>>()
    };
    let memory = || (vec![0.0; width], Array2::zeros((1, width)));
    let rows = (0..height).into_par_iter().step_by(EXCESS_STEP[0]);
    let mut ratios: Vec<f32> =
        threads.enter(|| rows.map_init(memory, row).flatten_iter().collect());
    let quarter = ratios.len() / 4;
    *ratios.select_nth_unstable_by(quarter, f32::total_cmp).1
}
