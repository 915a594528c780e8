// SPDX-License-Identifier: MIT OR Apache-2.0

//! Maps of the differences between the current picture and the motion-compensated previous one, in
//! units of the noise ([`DifferenceMaps`]).

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::{CONTIGUOUS, Compensated, FusedBuffers, NoiseModel, statistics::Corrections};
use crate::{
    frame::{Colour, FixedSample, Sample},
    nn::Threads,
    simd::{round_clamped, vectorise},
};

/// Least noise sigma of luma (or of R, G and B) that differences are divided by, in 8-bit units.
const MIN_MAIN_SIGMA: f32 = 0.5;
/// Least noise sigma of chroma that differences are divided by, in 8-bit units.
const MIN_CHROMA_SIGMA: f32 = 1.0;
/// Weight of the newest difference in the moving average of [`DifferenceMaps::drift`].
pub(super) const DRIFT_SMOOTHING: f32 = 0.25;

/// Maps with one value per cell of 2x2 pixels, reused from picture to picture.
#[derive(Debug, Default)]
pub(super) struct DifferenceMaps {
    /// Mean square of the differences of luma (or of R, G and B), in units of the noise variance.
    pub energy: Array2<f32>,
    /// Mean of the differences, in units of sigma.
    pub mean: Array2<f32>,
    /// Moving average over time of [`Self::mean`] in still blocks, where noise averages out but the
    /// remains of a change do not. Elsewhere the newest difference times [`DRIFT_SMOOTHING`].
    pub drift: Array2<f32>,
    /// Square of [`Self::drift`].
    pub drift_energy: Array2<f32>,
    /// Mean square of the chroma differences, in units of the noise variance; zero if there is no
    /// chroma.
    pub chroma: Array2<f32>,
}

/// Inverse noise variance at each brightness, of luma or of R, G and B.
pub(super) type InverseVariances = [f32; 256];

/// Returns the inverse noise variances of luma (or of R, G and B).
pub(super) fn inverse_variances(noise: &NoiseModel, corrections: &Corrections) -> InverseVariances {
    std::array::from_fn(|brightness| {
        let brightness = brightness as f32;
        let variance = noise.sigma_at(brightness).powi(2) * corrections.at(brightness);
        1.0 / variance.max(MIN_MAIN_SIGMA * MIN_MAIN_SIGMA)
    })
}

/// Returns the inverse noise variances of chroma, by the brightness of luma.
pub(super) fn inverse_chroma_variances(
    noise: &NoiseModel,
    corrections: &Corrections,
) -> InverseVariances {
    let variance = noise.sigma.max(MIN_CHROMA_SIGMA).powi(2);
    std::array::from_fn(|brightness| 1.0 / (variance * corrections.at(brightness as f32)))
}

/// Returns the energy of the drift that white noise causes, if the energy of differences is
/// `expected`.
pub(super) fn expected_drift(expected: f32, samples_per_cell: f32) -> f32 {
    DRIFT_SMOOTHING / (2.0 - DRIFT_SMOOTHING) * expected / samples_per_cell
}

/// Returns the number of components that the main noise sigma applies to.
pub(super) fn main_components(colour: Colour) -> usize {
    if colour == Colour::Rgb { 3 } else { 1 }
}

impl DifferenceMaps {
    /// Fills the maps of luma (or of R, G and B).
    pub(super) fn measure(
        &mut self,
        current: &FusedBuffers,
        previous: &Compensated<'_>,
        inverse: &InverseVariances,
        threads: &Threads,
    ) {
        let dim = previous.variance.dim();
        let Self { energy, mean, drift, drift_energy, chroma } = &mut *self;
        for map in [energy, mean, drift, drift_energy, chroma] {
            if map.dim() != dim {
                *map = Array2::zeros(dim);
            }
        }
        let main = main_components(current.colour);
        let height = current.planes[0].nrows();
        let rows = self.energy.axis_iter_mut(Axis(0)).into_par_iter();
        let rows = rows.zip(self.mean.axis_iter_mut(Axis(0)).into_par_iter());
        let rows = rows.zip(self.drift.axis_iter_mut(Axis(0)).into_par_iter());
        let rows = rows.zip(self.drift_energy.axis_iter_mut(Axis(0)).into_par_iter()).enumerate();
        threads.enter(|| {
            rows.for_each_init(
                || vec![0.0; dim.1],
                |brightness, (y, (((energy, mean), drift), drift_energy))| {
                    let [energy, mean, drift, drift_energy] = [energy, mean, drift, drift_energy]
                        .map(|row| row.into_slice().expect(CONTIGUOUS));
                    energy.fill(0.0);
                    mean.fill(0.0);
                    brightness.fill(0.0);
                    for (plane, before) in current.planes[..main].iter().zip(previous.planes) {
                        for y in [2 * y, (2 * y + 1).min(height - 1)] {
                            let rows =
                                [plane, before].map(|p| p.row(y).to_slice().expect(CONTIGUOUS));
                            let share = 0.25 / main as f32;
                            vectorise(
                                #[inline(always)]
                                || add_differences(rows, share, energy, mean, brightness),
                            );
                        }
                    }
                    let drift_before = previous.drift.row(y).to_slice().expect(CONTIGUOUS);
                    vectorise(
                        #[inline(always)]
                        || {
                            normalise(inverse, brightness, energy, mean);
                            let all = drift.iter_mut().zip(drift_energy).zip(drift_before);
                            for (((drift, energy), before), mean) in all.zip(&*mean) {
                                *drift = before + DRIFT_SMOOTHING * (mean - before);
                                *energy = *drift * *drift;
                            }
                        },
                    );
                },
            );
        });
    }

    /// Fills the map of chroma.
    pub(super) fn measure_chroma(
        &mut self,
        current: &FusedBuffers,
        previous: &Compensated<'_>,
        inverse: &InverseVariances,
        threads: &Threads,
    ) {
        let [shift_x, shift_y] = current.colour.subsampling(1);
        let rows = self.chroma.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
        threads.enter(|| {
            rows.for_each(|(y, energy)| {
                let energy = energy.into_slice().expect(CONTIGUOUS);
                energy.fill(0.0);
                let luma = previous.planes[0].row(2 * y).to_slice().expect(CONTIGUOUS);
                for (plane, before) in current.planes.iter().zip(previous.planes).skip(1) {
                    let y = (2 * y) >> shift_y;
                    let rows = [plane, before].map(|p| p.row(y).to_slice().expect(CONTIGUOUS));
                    vectorise(
                        #[inline(always)]
                        || add_chroma_differences(rows, shift_x, energy),
                    );
                }
                for (energy, luma) in energy.iter_mut().zip(luma.iter().step_by(2)) {
                    *energy *= inverse[usize::from(luma.to_u8())];
                }
            });
        });
    }
}

/// Adds the differences of two rows and their squares, and the brightness of the second row, each
/// times `share`.
#[inline(always)]
fn add_differences(
    [current_row, previous_row]: [&[FixedSample]; 2],
    share: f32,
    energy: &mut [f32],
    mean: &mut [f32],
    brightness: &mut [f32],
) {
    let add = |[energy, mean, brightness]: [&mut f32; 3], [a, b]: [f32; 2], sum: f32| {
        *energy += share * (a * a + b * b);
        *mean += share * (a + b);
        *brightness += share * sum;
    };
    let ((current_pairs, last_current), (previous_pairs, last_previous)) =
        (current_row.as_chunks::<2>(), previous_row.as_chunks::<2>());
    let pairs = current_pairs.iter().zip(previous_pairs);
    let cells = energy.iter_mut().zip(&mut *mean).zip(&mut *brightness);
    for (((energy, mean), brightness), (current, previous)) in cells.zip(pairs) {
        let current = [current[0].code_value(), current[1].code_value()];
        let previous = [previous[0].code_value(), previous[1].code_value()];
        let differences = [current[0] - previous[0], current[1] - previous[1]];
        add([energy, mean, brightness], differences, previous[0] + previous[1]);
    }
    // The last column of an odd width has no partner and counts twice.
    if let ([current], [previous], [.., energy], [.., mean], [.., brightness]) =
        (last_current, last_previous, energy, mean, brightness)
    {
        let (current, previous) = (current.code_value(), previous.code_value());
        add([energy, mean, brightness], [current - previous; 2], 2.0 * previous);
    }
}

/// Divides energies by the noise variance and means by sigma.
#[inline(always)]
fn normalise(inverse: &InverseVariances, brightness: &[f32], energy: &mut [f32], mean: &mut [f32]) {
    for ((energy, mean), brightness) in energy.iter_mut().zip(mean).zip(brightness) {
        let inverse = inverse[round_clamped(*brightness, 255.0) as usize & 255];
        *energy *= inverse;
        *mean *= inverse.sqrt();
    }
}

/// Adds half the squared differences of two rows of one chroma component.
#[inline(always)]
fn add_chroma_differences(
    [current_row, previous_row]: [&[FixedSample]; 2],
    shift_x: u32,
    energy: &mut [f32],
) {
    let square = |current: &FixedSample, previous: &FixedSample| {
        let d = current.code_value() - previous.code_value();
        0.5 * d * d
    };
    if shift_x == 0 {
        let all = energy.iter_mut().zip(current_row.chunks(2).zip(previous_row.chunks(2)));
        all.for_each(|(energy, (current, previous))| *energy += square(&current[0], &previous[0]));
    } else {
        let all = energy.iter_mut().zip(current_row.iter().zip(previous_row));
        all.for_each(|(energy, (current, previous))| *energy += square(current, previous));
    }
}
