//! Computes the Kalman gain of each cell of 2x2 pixels, and fuses the current picture with the
//! motion-compensated previous one by it.

use ndarray::{Array2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::{History, NoiseModel};
use crate::{
    frame::{Colour, Fixed, Sample},
    nn::Threads,
    simd::vectorise,
};

/// Least weight of the current picture. It limits the accumulation of motion errors, and the
/// effective length of the average to about 19 pictures.
const LEAST_GAIN: f32 = 0.1;
/// Side of the small window in which the energy of differences is compared, in cells of 2x2 pixels.
const NARROW: usize = 3;
/// Side of the large window, in cells.
const WIDE: usize = 11;
/// Relative excess over the expected energy that can occur by chance in the small window.
const NARROW_CHANCE: f32 = 0.3;
/// Relative excess over the expected energy that can occur by chance in the large window.
const WIDE_CHANCE: f32 = 0.03;
/// Side of the window in which a change of mean brightness is tested, in cells.
const MEAN: usize = 9;
/// Squared number of standard errors that the mean difference may have by chance.
const MEAN_CHANCE: f32 = 9.0;
/// Weight of a squared change of mean brightness beyond chance.
const MEAN_WEIGHT: f32 = 20.0;
/// Weight of the energy that noise does not explain. It is above 1 because that energy is
/// structure, and ghosting of structure is worse than noise of the same energy.
const WEIGHT: f32 = 2.5;
/// Least noise sigma of luma (or of R, G and B) that differences are divided by, in 8-bit units.
const LEAST_LEVEL: f32 = 0.5;
/// Least noise sigma of chroma that differences are divided by, in 8-bit units.
const LEAST_CHROMA: f32 = 1.0;
/// Subsampling, in rows and columns, of the map from which [`excess`] is computed.
const CALM_STEP: [usize; 2] = [5, 6];
/// Largest factor by which chroma energy may exceed the expected energy in unchanged areas.
const MOST_EXCESS: f32 = 50.0;
/// Energy beyond the expected one, in units of the noise variance, above which a cell counts as
/// changed.
const CHANGED: f32 = 1.5;

/// Maps with one value per cell of 2x2 pixels, reused from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Mean square of the differences, in units of the noise variance.
    energy: Array2<f32>,
    /// Mean of the differences, in units of sigma.
    mean: Array2<f32>,
    /// Mean square of the chroma differences, in units of the noise variance; zero if there is no
    /// chroma.
    chroma: Array2<f32>,
}

/// Fuses `present` with the motion-compensated previous picture `past`. Returns the share of the
/// picture that changed.
pub(super) fn fuse(
    present: &mut History,
    past: &[Array2<Fixed>],
    past_variance: &Array2<f32>,
    noise: &[NoiseModel; 2],
    scratch: &mut Scratch,
    threads: &Threads,
) -> f32 {
    let dim = past_variance.dim();
    for map in [&mut scratch.energy, &mut scratch.mean, &mut scratch.chroma] {
        if map.dim() != dim {
            *map = Array2::zeros(dim);
        }
    }
    differences(present, past, &noise[0], scratch, threads);
    let has_chroma = matches!(present.colour, Colour::Yuv { .. });
    if has_chroma {
        chroma_differences(present, past, &noise[1], scratch, threads);
    }
    let calm = if has_chroma {
        1.0 / excess(&scratch.chroma, past_variance, threads).clamp(1.0, MOST_EXCESS)
    } else {
        0.0
    };

    let samples = 4.0 * main_components(present.colour) as f32;
    let mean_chance = MEAN_CHANCE / (samples * (MEAN * MEAN) as f32);
    let changed = gains(&mut present.variance, past_variance, scratch, calm, mean_chance, threads);
    mix(present, past, threads);
    changed as f32 / past_variance.len() as f32
}

/// Fills `variance` with the Kalman gains, which are also the remaining variances. Returns the
/// number of changed cells. `calm` is the factor on the energy of chroma; `mean_chance` is the
/// squared mean difference that can occur by chance, for a difference of unit variance.
fn gains(
    variance: &mut Array2<f32>,
    past_variance: &Array2<f32>,
    scratch: &Scratch,
    calm: f32,
    mean_chance: f32,
    threads: &Threads,
) -> usize {
    let Scratch { energy, mean, chroma } = scratch;
    let width = variance.ncols();
    // Window means are needed only for a band of rows at a time.
    let memory = || (vec![0.0; width], std::array::from_fn(|_| Array2::zeros((BAND, width))));
    let band = |(columns, means): &mut (Vec<f32>, [Array2<f32>; 4]),
                (band, mut rows): (usize, ArrayViewMut2<'_, f32>)| {
        let first = band * BAND;
        let mut views = means.each_mut().map(|means| means.slice_mut(s![..rows.nrows(), ..]));
        let [in_narrow, in_wide, in_chroma, in_mean] = &mut views;
        boxed::<NARROW>(energy, first, in_narrow, columns);
        boxed::<WIDE>(energy, first, in_wide, columns);
        boxed::<WIDE>(chroma, first, in_chroma, columns);
        boxed::<MEAN>(mean, first, in_mean, columns);
        let mut changed = 0usize;
        for (y, variance) in rows.rows_mut().into_iter().enumerate() {
            let [narrow, wide, chroma, mean] =
                means.each_ref().map(|means| means.row(y).to_slice().unwrap_or_default());
            let past = past_variance.row(first + y).to_slice().unwrap_or_default();
            let Some(variance) = variance.into_slice() else { continue };
            vectorise(
                #[inline(always)]
                || {
                    let mut here = 0u32;
                    let energies = narrow.iter().zip(wide).zip(chroma).zip(mean);
                    for ((variance, past), (((narrow, wide), chroma), mean)) in
                        variance.iter_mut().zip(past).zip(energies)
                    {
                        let expected = 1.0 + past;
                        let energy = (narrow - expected * (1.0 + NARROW_CHANCE))
                            .max(wide.max(calm * chroma) - expected * (1.0 + WIDE_CHANCE))
                            .max(0.0);
                        let shift = (mean * mean - expected * mean_chance).max(0.0);
                        here += u32::from(energy > CHANGED);
                        let uncertain = past + WEIGHT * energy + MEAN_WEIGHT * shift;
                        *variance = (uncertain / (uncertain + 1.0)).max(LEAST_GAIN);
                    }
                    changed += here as usize;
                },
            );
        }
        changed
    };
    let bands = variance.axis_chunks_iter_mut(Axis(0), BAND).into_par_iter().enumerate();
    threads.enter(|| bands.map_init(memory, band).sum())
}

/// Returns a sample fused with weight `gain` for the current picture.
#[inline(always)]
fn mixed(now: Fixed, past: Fixed, gain: f32) -> Fixed {
    let past = past.level();
    Fixed::from_level(past + gain * (now.level() - past))
}

/// Fuses the planes with the previous picture by the gains in `present.variance`.
fn mix(present: &mut History, past: &[Array2<Fixed>], threads: &Threads) {
    let History { colour, planes, variance, .. } = present;
    for (i, (plane, past)) in planes.iter_mut().zip(past).enumerate() {
        let [shift_x, shift_y] = colour.shifts(i);
        let rows = plane
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(past.axis_iter(Axis(0)).into_par_iter());
        threads.enter(|| {
            rows.enumerate().for_each(|(y, (mut row, past))| {
                let (Some(row), Some(past)) = (row.as_slice_mut(), past.to_slice()) else { return };
                let gains = variance.row((y << shift_y) / 2);
                let gains = gains.to_slice().unwrap_or_default();
                vectorise(
                    #[inline(always)]
                    || {
                        if shift_x == 0 {
                            let ((pairs, last), (past, last_past)) =
                                (row.as_chunks_mut::<2>(), past.as_chunks::<2>());
                            for ((values, past), gain) in pairs.iter_mut().zip(past).zip(gains) {
                                *values = [
                                    mixed(values[0], past[0], *gain),
                                    mixed(values[1], past[1], *gain),
                                ];
                            }
                            if let ([value], [past], [.., gain]) = (last, last_past, gains) {
                                *value = mixed(*value, *past, *gain);
                            }
                        } else {
                            let all = row.iter_mut().zip(past).zip(gains);
                            all.for_each(|((value, past), gain)| {
                                *value = mixed(*value, *past, *gain)
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
fn excess(map: &Array2<f32>, past_variance: &Array2<f32>, threads: &Threads) -> f32 {
    let (height, width) = map.dim();
    let row = |(columns, mean): &mut (Vec<f32>, Array2<f32>), y: usize| {
        boxed::<WIDE>(map, y, &mut mean.view_mut(), columns);
        let pairs = mean.iter().zip(past_variance.row(y)).step_by(CALM_STEP[1]);
        pairs.map(|(energy, past)| energy / (1.0 + past)).collect::<Vec<_>>()
    };
    let memory = || (vec![0.0; width], Array2::zeros((1, width)));
    let rows = (0..height).into_par_iter().step_by(CALM_STEP[0]);
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
    present: &History,
    past: &[Array2<Fixed>],
    noise: &NoiseModel,
    scratch: &mut Scratch,
    threads: &Threads,
) {
    let main = main_components(present.colour);
    let height = present.planes[0].nrows();
    let rows = scratch.energy.axis_iter_mut(Axis(0)).into_par_iter();
    let rows = rows.zip(scratch.mean.axis_iter_mut(Axis(0)).into_par_iter()).enumerate();
    threads.enter(|| {
        rows.for_each(|(y, (energy, mean))| {
            let (Some(energy), Some(mean)) = (energy.into_slice(), mean.into_slice()) else {
                return;
            };
            energy.fill(0.0);
            mean.fill(0.0);
            for (plane, past) in present.planes[..main].iter().zip(past) {
                for y in [2 * y, (2 * y + 1).min(height - 1)] {
                    if let (Some(now), Some(then)) =
                        (plane.row(y).to_slice(), past.row(y).to_slice())
                    {
                        vectorise(
                            #[inline(always)]
                            || {
                                add_differences(
                                    [now, then],
                                    noise,
                                    0.25 / main as f32,
                                    energy,
                                    mean,
                                )
                            },
                        );
                    }
                }
            }
        });
    });
}

/// Adds the differences of two rows and their squares, each times `share`, in units of the noise.
#[inline(always)]
fn add_differences(
    [now, then]: [&[Fixed]; 2],
    noise: &NoiseModel,
    share: f32,
    energy: &mut [f32],
    mean: &mut [f32],
) {
    let add = |energy: &mut f32, mean: &mut f32, [a, b]: [f32; 2], brightness: f32| {
        let level = noise.level_at(brightness).max(LEAST_LEVEL);
        *energy += share * (a * a + b * b) / (level * level);
        *mean += share * (a + b) / level;
    };
    let ((now, last_now), (then, last_then)) = (now.as_chunks::<2>(), then.as_chunks::<2>());
    for ((energy, mean), (now, then)) in energy.iter_mut().zip(&mut *mean).zip(now.iter().zip(then))
    {
        let (now, then) = ([now[0].level(), now[1].level()], [then[0].level(), then[1].level()]);
        add(energy, mean, [now[0] - then[0], now[1] - then[1]], then[0]);
    }
    // The last column of an odd width has no partner and counts twice.
    if let ([now], [then], [.., energy], [.., mean]) = (last_now, last_then, energy, mean) {
        add(energy, mean, [now.level() - then.level(); 2], then.level());
    }
}

/// Fills `scratch.chroma` with the mean squares of the chroma differences.
fn chroma_differences(
    present: &History,
    past: &[Array2<Fixed>],
    noise: &NoiseModel,
    scratch: &mut Scratch,
    threads: &Threads,
) {
    let per_level = 1.0 / noise.level.max(LEAST_CHROMA);
    let [shift_x, shift_y] = present.colour.shifts(1);
    let rows = scratch.chroma.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
    threads.enter(|| {
        rows.for_each(|(y, energy)| {
            let Some(energy) = energy.into_slice() else { return };
            energy.fill(0.0);
            for (plane, past) in present.planes.iter().zip(past).skip(1) {
                let y = (2 * y) >> shift_y;
                let (Some(now), Some(then)) = (plane.row(y).to_slice(), past.row(y).to_slice())
                else {
                    continue;
                };
                let square = |now: &Fixed, then: &Fixed| {
                    let d = (now.level() - then.level()) * per_level;
                    0.5 * d * d
                };
                vectorise(
                    #[inline(always)]
                    || {
                        if shift_x == 0 {
                            let all = energy.iter_mut().zip(now.chunks(2).zip(then.chunks(2)));
                            all.for_each(|(energy, (now, then))| {
                                *energy += square(&now[0], &then[0])
                            });
                        } else {
                            let all = energy.iter_mut().zip(now.iter().zip(then));
                            all.for_each(|(energy, (now, then))| *energy += square(now, then));
                        }
                    },
                );
            }
        });
    });
}

/// Number of rows that a thread processes at a time.
const BAND: usize = 32;

/// Fills `to` with the means of `from` in windows of `WINDOW` by `WINDOW` cells, an odd side, for
/// the rows from `first` on. At the borders a window shrinks to its part inside the map. `columns`
/// is scratch memory for one row.
fn boxed<const WINDOW: usize>(
    from: &Array2<f32>,
    first: usize,
    to: &mut ArrayViewMut2<'_, f32>,
    columns: &mut [f32],
) {
    let reach = WINDOW / 2;
    let height = from.nrows();
    columns.fill(0.0);
    let add = |columns: &mut [f32], y: usize, sign: f32| {
        let row = from.row(y);
        let row = row.to_slice().unwrap_or_default();
        vectorise(
            #[inline(always)]
            || columns.iter_mut().zip(row).for_each(|(sum, v)| *sum += sign * v),
        );
    };
    (first.saturating_sub(reach)..(first + reach).min(height)).for_each(|y| add(columns, y, 1.0));
    for (y, row) in to.rows_mut().into_iter().enumerate().map(|(i, row)| (first + i, row)) {
        if y + reach < height {
            add(columns, y + reach, 1.0);
        }
        if y > first && y > reach {
            add(columns, y - reach - 1, -1.0);
        }
        let count = (y + reach).min(height - 1) - y.saturating_sub(reach) + 1;
        if let Some(to) = row.into_slice() {
            vectorise(
                #[inline(always)]
                || across::<WINDOW>(columns, count as f32, to),
            );
        }
    }
}

/// Computes the horizontal window means from `columns`, each of which is the sum of `count` values.
#[inline(always)]
fn across<const WINDOW: usize>(columns: &[f32], count: f32, to: &mut [f32]) {
    let (width, reach) = (columns.len(), WINDOW / 2);
    let inner = width.saturating_sub(WINDOW - 1);
    for x in (0..reach.min(width)).chain((reach + inner).min(width)..width) {
        let part = &columns[x.saturating_sub(reach)..(x + reach + 1).min(width)];
        to[x] = part.iter().sum::<f32>() / (part.len() as f32 * count);
    }
    if inner == 0 {
        return;
    }
    let share = 1.0 / (WINDOW as f32 * count);
    // One slice per neighbour, all of the same length, so that the sums stay in registers.
    let neighbours: [&[f32]; WINDOW] = std::array::from_fn(|i| &columns[i..i + inner]);
    for (x, to) in to[reach..][..inner].iter_mut().enumerate() {
        *to = neighbours.iter().map(|values| values[x]).sum::<f32>() * share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_windows() {
        means::<NARROW>();
        means::<WIDE>();
        means::<MEAN>();
    }

    fn means<const WINDOW: usize>() {
        let reach = WINDOW / 2;
        for (height, width) in [(1, 1), (3, 2), (9, 40), (70, 5), (67, 23)] {
            let map =
                Array2::from_shape_fn((height, width), |(y, x)| ((y * 37 + x * 11) % 29) as f32);
            let mut means = Array2::zeros(map.dim());
            let mut columns = vec![0.0; width];
            for (band, mut means) in means.axis_chunks_iter_mut(Axis(0), BAND).enumerate() {
                boxed::<WINDOW>(&map, band * BAND, &mut means, &mut columns);
            }
            for ((y, x), mean) in means.indexed_iter() {
                let rows = y.saturating_sub(reach)..(y + reach + 1).min(height);
                let window = map
                    .slice(ndarray::s![rows, x.saturating_sub(reach)..(x + reach + 1).min(width)]);
                assert!(
                    (mean - window.mean().unwrap()).abs() < 1e-3,
                    "{height}x{width} {WINDOW}: {y} {x}"
                );
            }
        }
    }
}
