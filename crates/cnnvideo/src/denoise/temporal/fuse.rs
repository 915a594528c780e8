// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fuses the current picture with the motion-compensated previous one.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::{
    CONTIGUOUS, Compensated, FusedBuffers, NoiseModels,
    energy::{DifferenceMaps, inverse_chroma_variances, inverse_variances, main_components},
    gain,
    statistics::MeasuredNoise,
};
use crate::{
    frame::{Colour, FixedSample, Sample},
    nn::Threads,
    simd::vectorise,
};

/// Fuses `current` with `previous`. Returns the share of the picture that changed.
pub(super) fn fuse(
    current: &mut FusedBuffers,
    previous: &Compensated<'_>,
    noise: &NoiseModels,
    measured: &mut MeasuredNoise,
    maps: &mut DifferenceMaps,
    threads: &Threads,
) -> f32 {
    let samples_per_cell = 4.0 * main_components(current.colour) as f32;
    let measure = |maps: &mut DifferenceMaps, measured: &MeasuredNoise, current: &FusedBuffers| {
        let inverse = inverse_variances(&noise.main, &measured.main);
        maps.measure(current, previous, &inverse, threads);
        if matches!(current.colour, Colour::Yuv { .. }) {
            let inverse = inverse_chroma_variances(&noise.chroma, &measured.chroma);
            maps.measure_chroma(current, previous, &inverse, threads);
        }
    };
    measure(maps, measured, current);
    if measured.update(maps, previous, samples_per_cell, threads) {
        measure(maps, measured, current);
        measured.update(maps, previous, samples_per_cell, threads);
    }
    measured.update_blocks(maps, previous, threads);
    let changed =
        gain::gains(&mut current.variance, previous, maps, measured, samples_per_cell, threads);
    keep_drift(current, maps, threads);
    blend_planes(current, previous.planes, threads);
    changed as f32 / previous.variance.len() as f32
}

/// Stores the drift that remains after fusion, where blocks are still.
fn keep_drift(current: &mut FusedBuffers, maps: &DifferenceMaps, threads: &Threads) {
    let FusedBuffers { variance, drift, .. } = current;
    let rows = drift.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
    threads.enter(|| {
        rows.for_each(|(y, row)| {
            let row = row.into_slice().expect(CONTIGUOUS);
            let [from, gains] =
                [&maps.drift, &*variance].map(|map| map.row(y).to_slice().expect(CONTIGUOUS));
            // A share of the difference, the gain, has been added to the picture.
            let all = row.iter_mut().zip(from).zip(gains);
            all.for_each(|((drift, from), gain)| *drift = from * (1.0 - gain));
        });
    });
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
