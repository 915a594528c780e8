// SPDX-License-Identifier: MIT OR Apache-2.0

//! Computes the Kalman gain of each cell of 2x2 pixels, and fuses the current picture with the
//! motion-compensated previous one by it.

use ndarray::{Array2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::{FusedBuffers, NoiseModel, NoiseModels, box_mean::box_mean_rows};
use crate::{
    frame::{Colour, FixedSample, Sample},
    nn::Threads,
    simd::vectorise,
};

/// Least weight of the current picture. It limits the accumulation of motion errors, and the
/// effective length of the average to about 19 pictures.
const MIN_GAIN: f32 = 0.1;
/// Side of the small window in which the energy of differences is compared, in cells of 2x2 pixels.
const SMALL_WINDOW: usize = 3;
/// Side of the large window, in cells.
const LARGE_WINDOW: usize = 11;
/// Relative excess over the expected energy that can occur by chance in the small window.
const SMALL_TOLERANCE: f32 = 0.3;
/// Relative excess over the expected energy that can occur by chance in the large window.
const LARGE_TOLERANCE: f32 = 0.03;
/// Side of the window in which a change of mean brightness is tested, in cells.
const MEAN_WINDOW: usize = 9;
/// Squared number of standard errors that the mean difference may have by chance.
const MEAN_TOLERANCE: f32 = 9.0;
/// Weight of a squared change of mean brightness beyond chance.
const MEAN_SHIFT_WEIGHT: f32 = 20.0;
/// Weight of the energy that noise does not explain. It is above 1 because that energy is
/// structure, and ghosting of structure is worse than noise of the same energy.
const ENERGY_WEIGHT: f32 = 2.5;
/// Least noise sigma of luma (or of R, G and B) that differences are divided by, in 8-bit units.
const MIN_MAIN_SIGMA: f32 = 0.5;
/// Least noise sigma of chroma that differences are divided by, in 8-bit units.
const MIN_CHROMA_SIGMA: f32 = 1.0;
/// Subsampling, in rows and columns, of the map from which [`chroma_excess`] is computed.
const EXCESS_STEP: [usize; 2] = [5, 6];
/// Largest factor by which chroma energy may exceed the expected energy in unchanged areas.
const MAX_CHROMA_EXCESS: f32 = 50.0;
/// Energy beyond the expected one, in units of the noise variance, above which a cell counts as
/// changed.
const CHANGED_ENERGY: f32 = 1.5;

/// Number of rows of cells that a thread processes at a time.
const BAND_ROWS: usize = 32;
/// Reason why rows of planes and maps can be viewed as slices.
const CONTIGUOUS: &str = "rows of own planes and maps are contiguous";

/// Maps with one value per cell of 2x2 pixels, reused from picture to picture.
#[derive(Debug, Default)]
pub(super) struct FusionScratch {
    /// Mean square of the differences, in units of the noise variance.
    energy: Array2<f32>,
    /// Mean of the differences, in units of sigma.
    mean: Array2<f32>,
    /// Mean square of the chroma differences, in units of the noise variance; zero if there is no
    /// chroma.
    chroma: Array2<f32>,
}

/// Fuses `current` with the motion-compensated previous picture `previous`. Returns the share of
/// the picture that changed.
pub(super) fn fuse(
    current: &mut FusedBuffers,
    previous: &[Array2<FixedSample>],
    previous_variance: &Array2<f32>,
    noise: &NoiseModels,
    scratch: &mut FusionScratch,
    threads: &Threads,
) -> f32 {
    let dim = previous_variance.dim();
    for map in [&mut scratch.energy, &mut scratch.mean, &mut scratch.chroma] {
        if map.dim() != dim {
            *map = Array2::zeros(dim);
        }
    }
    differences(current, previous, &noise.main, scratch, threads);
    let has_chroma = matches!(current.colour, Colour::Yuv { .. });
    if has_chroma {
        chroma_differences(current, previous, &noise.chroma, scratch, threads);
    }
    let chroma_scale = if has_chroma {
        1.0 / chroma_excess(&scratch.chroma, previous_variance, threads)
            .clamp(1.0, MAX_CHROMA_EXCESS)
    } else {
        0.0
    };

    let samples = 4.0 * main_components(current.colour) as f32;
    let mean_tolerance = MEAN_TOLERANCE / (samples * (MEAN_WINDOW * MEAN_WINDOW) as f32);
    let changed = gains(
        &mut current.variance,
        previous_variance,
        scratch,
        chroma_scale,
        mean_tolerance,
        threads,
    );
    blend_planes(current, previous, threads);
    changed as f32 / previous_variance.len() as f32
}

/// Fills `variance` with the Kalman gains, which are also the remaining variances. Returns the
/// number of changed cells. `chroma_scale` is the factor on the energy of chroma; `mean_tolerance`
/// is the squared mean difference that can occur by chance, for a difference of unit variance.
fn gains(
    variance: &mut Array2<f32>,
    previous_variance: &Array2<f32>,
    scratch: &FusionScratch,
    chroma_scale: f32,
    mean_tolerance: f32,
    threads: &Threads,
) -> usize {
    let FusionScratch { energy, mean, chroma } = scratch;
    let width = variance.ncols();
    // Window means are needed only for a band of rows at a time.
    let memory = || (vec![0.0; width], std::array::from_fn(|_| Array2::zeros((BAND_ROWS, width))));
    let band = |(columns, means): &mut (Vec<f32>, [Array2<f32>; 4]),
                (band, mut rows): (usize, ArrayViewMut2<'_, f32>)| {
        let first = band * BAND_ROWS;
        let mut views = means.each_mut().map(|means| means.slice_mut(s![..rows.nrows(), ..]));
        let [in_small, in_large, in_chroma, in_mean] = &mut views;
        box_mean_rows::<SMALL_WINDOW>(energy, first, in_small, columns);
        box_mean_rows::<LARGE_WINDOW>(energy, first, in_large, columns);
        box_mean_rows::<LARGE_WINDOW>(chroma, first, in_chroma, columns);
        box_mean_rows::<MEAN_WINDOW>(mean, first, in_mean, columns);
        let mut changed = 0usize;
        for (y, variance) in rows.rows_mut().into_iter().enumerate() {
            let [small, large, chroma, mean] =
                means.each_ref().map(|means| means.row(y).to_slice().expect(CONTIGUOUS));
            let previous = previous_variance.row(first + y).to_slice().expect(CONTIGUOUS);
            let variance = variance.into_slice().expect(CONTIGUOUS);
            vectorise(
                #[inline(always)]
                || {
                    let mut here = 0u32;
                    let energies = small.iter().zip(large).zip(chroma).zip(mean);
                    for ((variance, previous), (((small, large), chroma), mean)) in
                        variance.iter_mut().zip(previous).zip(energies)
                    {
                        let expected = 1.0 + previous;
                        let energy = (small - expected * (1.0 + SMALL_TOLERANCE))
                            .max(
                                large.max(chroma_scale * chroma)
                                    - expected * (1.0 + LARGE_TOLERANCE),
                            )
                            .max(0.0);
                        let shift = (mean * mean - expected * mean_tolerance).max(0.0);
                        here += u32::from(energy > CHANGED_ENERGY);
                        let uncertain =
                            previous + ENERGY_WEIGHT * energy + MEAN_SHIFT_WEIGHT * shift;
                        *variance = (uncertain / (uncertain + 1.0)).max(MIN_GAIN);
                    }
                    changed += here as usize;
                },
            );
        }
        changed
    };
    let bands = variance.axis_chunks_iter_mut(Axis(0), BAND_ROWS).into_par_iter().enumerate();
    threads.enter(|| bands.map_init(memory, band).sum())
}

/// Returns a sample fused with weight `gain` for the current picture.
#[inline(always)]
fn blend(current: FixedSample, previous: FixedSample, gain: f32) -> FixedSample {
    let previous = previous.code_value();
    FixedSample::from_code_value(previous + gain * (current.code_value() - previous))
}

/// Fuses the planes with the previous picture by the gains in `current.variance`.
fn blend_planes(current: &mut FusedBuffers, previous: &[Array2<FixedSample>], threads: &Threads) {
    let FusedBuffers { colour, planes, variance, .. } = current;
    for (i, (plane, previous)) in planes.iter_mut().zip(previous).enumerate() {
        let [shift_x, shift_y] = colour.subsampling(i);
        let rows = plane
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(previous.axis_iter(Axis(0)).into_par_iter());
        threads.enter(|| {
            rows.enumerate().for_each(|(y, (row, previous))| {
                let row = row.into_slice().expect(CONTIGUOUS);
                let previous = previous.to_slice().expect(CONTIGUOUS);
                let gains = variance.row((y << shift_y) / 2);
                let gains = gains.to_slice().expect(CONTIGUOUS);
                vectorise(
                    #[inline(always)]
                    || {
                        if shift_x == 0 {
                            let ((pairs, last), (previous, last_previous)) =
                                (row.as_chunks_mut::<2>(), previous.as_chunks::<2>());
                            for ((values, previous), gain) in
                                pairs.iter_mut().zip(previous).zip(gains)
                            {
                                *values = [
                                    blend(values[0], previous[0], *gain),
                                    blend(values[1], previous[1], *gain),
                                ];
                            }
                            if let ([value], [previous], [.., gain]) = (last, last_previous, gains)
                            {
                                *value = blend(*value, *previous, *gain);
                            }
                        } else {
                            let all = row.iter_mut().zip(previous).zip(gains);
                            all.for_each(|((value, previous), gain)| {
                                *value = blend(*value, *previous, *gain)
                            });
                        }
                    },
                );
            });
        });
    }
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

/// Returns the number of components that the main noise sigma applies to.
fn main_components(colour: Colour) -> usize {
    if colour == Colour::Rgb { 3 } else { 1 }
}

/// Fills `scratch.energy` and `scratch.mean` from luma (or R, G and B).
fn differences(
    current: &FusedBuffers,
    previous: &[Array2<FixedSample>],
    noise: &NoiseModel,
    scratch: &mut FusionScratch,
    threads: &Threads,
) {
    let main = main_components(current.colour);
    let height = current.planes[0].nrows();
    let rows = scratch.energy.axis_iter_mut(Axis(0)).into_par_iter();
    let rows = rows.zip(scratch.mean.axis_iter_mut(Axis(0)).into_par_iter()).enumerate();
    threads.enter(|| {
        rows.for_each(|(y, (energy, mean))| {
            let energy = energy.into_slice().expect(CONTIGUOUS);
            let mean = mean.into_slice().expect(CONTIGUOUS);
            energy.fill(0.0);
            mean.fill(0.0);
            for (plane, previous) in current.planes[..main].iter().zip(previous) {
                for y in [2 * y, (2 * y + 1).min(height - 1)] {
                    let rows = [plane, previous].map(|p| p.row(y).to_slice().expect(CONTIGUOUS));
                    vectorise(
                        #[inline(always)]
                        || add_differences(rows, noise, 0.25 / main as f32, energy, mean),
                    );
                }
            }
        });
    });
}

/// Adds the differences of two rows and their squares, each times `share`, in units of the noise.
#[inline(always)]
fn add_differences(
    [current_row, previous_row]: [&[FixedSample]; 2],
    noise: &NoiseModel,
    share: f32,
    energy: &mut [f32],
    mean: &mut [f32],
) {
    let add = |energy: &mut f32, mean: &mut f32, [a, b]: [f32; 2], brightness: f32| {
        let sigma = noise.sigma_at(brightness).max(MIN_MAIN_SIGMA);
        *energy += share * (a * a + b * b) / (sigma * sigma);
        *mean += share * (a + b) / sigma;
    };
    let ((current_pairs, last_current), (previous_pairs, last_previous)) =
        (current_row.as_chunks::<2>(), previous_row.as_chunks::<2>());
    let pairs = current_pairs.iter().zip(previous_pairs);
    for ((energy, mean), (current, previous)) in energy.iter_mut().zip(&mut *mean).zip(pairs) {
        let current = [current[0].code_value(), current[1].code_value()];
        let previous = [previous[0].code_value(), previous[1].code_value()];
        add(energy, mean, [current[0] - previous[0], current[1] - previous[1]], previous[0]);
    }
    // The last column of an odd width has no partner and counts twice.
    if let ([current], [previous], [.., energy], [.., mean]) =
        (last_current, last_previous, energy, mean)
    {
        add(energy, mean, [current.code_value() - previous.code_value(); 2], previous.code_value());
    }
}

/// Fills `scratch.chroma` with the mean squares of the chroma differences.
fn chroma_differences(
    current: &FusedBuffers,
    previous: &[Array2<FixedSample>],
    noise: &NoiseModel,
    scratch: &mut FusionScratch,
    threads: &Threads,
) {
    let per_sigma = 1.0 / noise.sigma.max(MIN_CHROMA_SIGMA);
    let [shift_x, shift_y] = current.colour.subsampling(1);
    let rows = scratch.chroma.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
    threads.enter(|| {
        rows.for_each(|(y, energy)| {
            let energy = energy.into_slice().expect(CONTIGUOUS);
            energy.fill(0.0);
            for (plane, previous) in current.planes.iter().zip(previous).skip(1) {
                let y = (2 * y) >> shift_y;
                let [current_row, previous_row] =
                    [plane, previous].map(|p| p.row(y).to_slice().expect(CONTIGUOUS));
                let square = |current: &FixedSample, previous: &FixedSample| {
                    let d = (current.code_value() - previous.code_value()) * per_sigma;
                    0.5 * d * d
                };
                vectorise(
                    #[inline(always)]
                    || {
                        if shift_x == 0 {
                            let all = energy
                                .iter_mut()
                                .zip(current_row.chunks(2).zip(previous_row.chunks(2)));
                            all.for_each(|(energy, (current, previous))| {
                                *energy += square(&current[0], &previous[0])
                            });
                        } else {
                            let all = energy.iter_mut().zip(current_row.iter().zip(previous_row));
                            all.for_each(|(energy, (current, previous))| {
                                *energy += square(current, previous)
                            });
                        }
                    },
                );
            }
        });
    });
}
