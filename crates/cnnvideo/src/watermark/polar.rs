// SPDX-License-Identifier: MIT OR Apache-2.0

//! Search for enlargement and rotation on a log-polar grid of the spectrum, as in the
//! Fourier-Mellin transform.
//!
//! Enlarging or rotating a picture shifts its spectrum on such a grid. The power at a wave under
//! successive rotations is therefore a contiguous run of samples.

use std::f64::consts::PI;

use rayon::prelude::*;

use super::{
    search::{CoarseWave, Linear, PowerMaps, SCALE_STEP, distinct, similarity},
    sync::RECEIVED_BAND,
    transforms::{MIRROR, product},
};
use crate::simd::vectorise;

/// Number of rotations in half a turn, after which the power spectrum of a real picture repeats.
const ROTATIONS: usize = 512;
/// Samples of the grid per step of the search, along both axes.
const FINER: usize = 2;
/// Steps per unit of the stored power: the limit of a bin's relative power, 8, fits in a byte.
const POWER_STEPS: f32 = 31.0;

/// Power on a log-polar grid, of the waves that depend on the hop and of the steady ones.
pub(super) struct PolarMap {
    /// Samples by radius, in the order of [`column`].
    samples: [Vec<u8>; 2],
    /// Number of radii.
    radii: usize,
    /// Mean power, in stored steps.
    mean: f32,
}

/// Enlargements and rotations to search.
pub(super) struct Range {
    /// Lowest and highest enlargement.
    pub scales: (f64, f64),
    /// Largest rotation to each side in degrees, 90 at most.
    pub degrees: f64,
    /// Whether pictures are mirrored across before they are enlarged and rotated.
    pub mirrored: bool,
}

/// Result of the search.
#[derive(Clone, Copy)]
pub(super) struct Similarity {
    /// Power at the waves above the mean, normalised by the number of waves.
    pub score: f32,
    scale: f64,
    degrees: f64,
    mirrored: bool,
}

impl Similarity {
    /// Returns the linear map from the received picture to the plane.
    pub(super) fn matrix(&self) -> Linear {
        let upright = similarity(self.scale, self.degrees);
        if self.mirrored { product(&upright, &MIRROR) } else { upright }
    }

    /// Returns whether another result is about the same.
    fn is_near(&self, other: &Self) -> bool {
        let turn = (self.degrees - other.degrees).rem_euclid(180.0);
        self.mirrored == other.mirrored
            && (self.scale / other.scale).ln().abs() < 0.015
            && turn.min(180.0 - turn) < 1.0
    }
}

/// Place of a wave on the grid.
struct PolarWave {
    map: usize,
    /// Radius without enlargement, in samples from the inner border.
    radius: f64,
    /// Direction in samples.
    direction: usize,
}

impl PolarWave {
    fn new(wave: &CoarseWave, mirrored: bool) -> Self {
        let x = if mirrored { -wave.x } else { wave.x };
        let radius = f64::from(x.hypot(wave.y));
        let direction = f64::from(wave.y.atan2(x)).rem_euclid(PI);
        Self {
            map: usize::from(wave.is_steady),
            radius: (radius / RECEIVED_BAND.0).ln() / radius_step(),
            direction: (direction / direction_step()).round() as usize % (FINER * ROTATIONS),
        }
    }
}

impl PolarMap {
    /// Samples power maps.
    pub(super) fn new(maps: &PowerMaps<'_>) -> Self {
        let radii = ((RECEIVED_BAND.1 / RECEIVED_BAND.0).ln() / radius_step()) as usize + 1;
        let directions: Vec<_> = (0..FINER * ROTATIONS)
            .map(|i| (i as f64 * direction_step()).sin_cos())
            .map(|(sin, cos)| (cos as f32, sin as f32))
            .collect();
        let samples = [0, 1].map(|map| {
            let mut samples = vec![0; radii * FINER * ROTATIONS];
            samples.par_chunks_exact_mut(FINER * ROTATIONS).enumerate().for_each(|(i, row)| {
                let radius = (RECEIVED_BAND.0 * (i as f64 * radius_step()).exp()) as f32;
                for (i, (cos, sin)) in directions.iter().enumerate() {
                    let power = maps.at(map, radius * cos, radius * sin);
                    row[column(i)] = (power * POWER_STEPS + 0.5) as u8;
                }
            });
            samples
        });
        Self { samples, radii, mean: maps.mean * POWER_STEPS }
    }

    /// Returns up to `count` enlargements and rotations, each unlike the others, at which the waves
    /// stand out most; the best first.
    pub(super) fn search(
        &self,
        waves: &[CoarseWave],
        ranges: &[Range],
        count: usize,
    ) -> Vec<Similarity> {
        let mut all = Vec::new();
        ranges.iter().for_each(|range| self.search_range(waves, range, &mut all));
        let by_score = |a: &Similarity, b: &Similarity| b.score.total_cmp(&a.score);
        // Each result has a few others near it.
        let kept = 32 * count;
        if all.len() > kept {
            all.select_nth_unstable_by(kept, by_score);
            all.truncate(kept);
        }
        all.sort_by(by_score);
        distinct(all, count, Similarity::is_near)
    }

    /// Adds those of a range whose score is not below that of the next rotations.
    fn search_range(&self, waves: &[CoarseWave], range: &Range, to: &mut Vec<Similarity>) {
        let waves: Vec<_> = waves.iter().map(|wave| PolarWave::new(wave, range.mirrored)).collect();
        let step = FINER as f64 * direction_step().to_degrees();
        let reach = ((range.degrees / step) as usize).min(ROTATIONS / 2);
        let scales = ((range.scales.1 / range.scales.0).ln() / SCALE_STEP.ln()) as i32;
        let mut sums = vec![0; 2 * reach + 1];
        for i in 0..=scales {
            let scale = range.scales.0 * SCALE_STEP.powi(i);
            let in_band = self.sum(&waves, scale, reach, &mut sums);
            if in_band == 0 {
                continue;
            }
            let score = |sum: u16| {
                (f32::from(sum) - in_band as f32 * self.mean)
                    / (POWER_STEPS * (in_band as f32).sqrt())
            };
            for (i, sum) in sums.iter().enumerate() {
                let near = &sums[i.saturating_sub(1)..(i + 2).min(sums.len())];
                if near.iter().all(|other| other <= sum) {
                    let degrees = (i as f64 - reach as f64) * step;
                    // Mirroring reverses the sense of a rotation.
                    let degrees = if range.mirrored { -degrees } else { degrees };
                    let (score, mirrored) = (score(*sum), range.mirrored);
                    to.push(Similarity { score, scale, degrees, mirrored });
                }
            }
        }
    }

    /// Fills `sums` with the power at the waves for successive rotations, from -`reach` steps on.
    /// Returns the number of waves in the band.
    fn sum(&self, waves: &[PolarWave], scale: f64, reach: usize, sums: &mut [u16]) -> usize {
        sums.fill(0);
        let shift = scale.ln() / radius_step();
        let mut count = 0;
        for wave in waves {
            let radius = (wave.radius - shift).round();
            if radius < 0.0 || radius >= self.radii as f64 {
                continue;
            }
            let at = (radius as usize * FINER + wave.direction % FINER) * ROTATIONS;
            let row = &self.samples[wave.map][at..at + ROTATIONS];
            let first = (wave.direction / FINER + ROTATIONS - reach) % ROTATIONS;
            add_periodic(sums, row, first);
            count += 1;
        }
        count
    }
}

/// Adds the values of a periodic row from index `first` on.
fn add_periodic(sums: &mut [u16], row: &[u8], first: usize) {
    let (before, after) = sums.split_at_mut((row.len() - first).min(sums.len()));
    vectorise(
        #[inline(always)]
        || {
            before.iter_mut().zip(&row[first..]).for_each(|(to, v)| *to += u16::from(*v));
            after.iter_mut().zip(row).for_each(|(to, v)| *to += u16::from(*v));
        },
    );
}

/// Returns the place in a row of a direction: those that successive rotations need are contiguous.
fn column(direction: usize) -> usize {
    direction % FINER * ROTATIONS + direction / FINER
}

/// Returns the difference of the logarithms of successive radii.
fn radius_step() -> f64 {
    SCALE_STEP.ln() / FINER as f64
}

/// Returns the angle between successive directions in radians.
fn direction_step() -> f64 {
    PI / (FINER * ROTATIONS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::plane::{PLANE_HEIGHT, PLANE_WIDTH};

    /// Waves at scattered frequencies, half of them steady.
    fn waves() -> Vec<CoarseWave> {
        let wave = |i: usize| {
            let (sin, cos) = (i as f32 * 2.4).sin_cos();
            let radius = 0.06 + 0.004 * i as f32;
            CoarseWave { x: radius * cos, y: radius * sin, is_steady: i.is_multiple_of(2) }
        };
        (0..40).map(wave).collect()
    }

    /// Returns maps of power 1 with peaks at the waves under a linear map.
    fn maps(waves: &[CoarseWave], [[a, b], [c, d]]: Linear) -> [Vec<f32>; 2] {
        let mut maps = [(); 2].map(|()| vec![1.0; PLANE_WIDTH * PLANE_HEIGHT]);
        for CoarseWave { x, y, is_steady } in waves {
            let (x, y) = (f64::from(*x), f64::from(*y));
            let (x, y) = (a * x + c * y, b * x + d * y);
            for sign in [1.0, -1.0] {
                let cycles = |v: f64, period: usize| (sign * v * period as f64).round() as i32;
                for (dx, dy) in (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (dx, dy))) {
                    let x = (cycles(x, PLANE_WIDTH) + dx).rem_euclid(PLANE_WIDTH as i32);
                    let y = (cycles(y, PLANE_HEIGHT) + dy).rem_euclid(PLANE_HEIGHT as i32);
                    maps[usize::from(*is_steady)][y as usize * PLANE_WIDTH + x as usize] = 6.0;
                }
            }
        }
        maps
    }

    #[test]
    fn finds_enlarged_rotated_and_mirrored_waves() {
        let waves = waves();
        let ranges =
            [false, true].map(|mirrored| Range { scales: (0.4, 2.9), degrees: 90.0, mirrored });
        for (scale, degrees, mirrored) in
            [(1.0, 0.0, false), (0.73, 31.3, false), (1.61, -77.0, true), (0.9, 89.9, true)]
        {
            let truth = Similarity { score: 0.0, scale, degrees, mirrored };
            let maps = maps(&waves, truth.matrix());
            let maps = PowerMaps {
                maps: [&maps[0], &maps[1]],
                width: PLANE_WIDTH,
                height: PLANE_HEIGHT,
                mean: 1.0,
            };
            let found = PolarMap::new(&maps).search(&waves, &ranges, 4);
            assert!(found[0].is_near(&truth), "{scale} {degrees} {mirrored}");
            assert!(found[0].score > 0.7 * maps.score(&waves, &truth.matrix()));
        }
    }

    #[test]
    fn results_differ_from_each_other() {
        let waves = waves();
        let maps = maps(&waves, similarity(1.0, 0.0));
        let maps = PowerMaps {
            maps: [&maps[0], &maps[1]],
            width: PLANE_WIDTH,
            height: PLANE_HEIGHT,
            mean: 1.0,
        };
        let range = Range { scales: (0.5, 2.0), degrees: 16.0, mirrored: false };
        let found = PolarMap::new(&maps).search(&waves, &[range], 48);
        assert_eq!(found.len(), 48);
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        for (i, a) in found.iter().enumerate() {
            assert!(found[i + 1..].iter().all(|b| !a.is_near(b)));
        }
    }
}
