// SPDX-License-Identifier: MIT OR Apache-2.0

//! Search for transforms that are less likely than those of [`Search`](super::Search): any
//! rotation, mirroring, and stretching along an axis.
//!
//! The search for stretches goes from coarse to fine. The coarse search uses spectra at a lower
//! resolution, in which a value is the maximum over many bins. Weak waves are lost there.

use std::sync::OnceLock;

use super::{
    geometry::Geometry,
    pattern::Wave,
    polar::{PolarMap, Range, Similarity},
    power::{POOLED_HEIGHT, POOLED_WIDTH},
    search::{CoarseWave, Linear, PowerMaps, SCALE_STEP, distinct, similarity},
    sync::Synchroniser,
};

/// Lowest and highest enlargement of rotated and mirrored pictures.
const SCALES: (f64, f64) = (0.4, 2.9);
/// Lowest and highest enlargement of stretched pictures.
const STRETCHED_SCALES: (f64, f64) = (0.5, 2.0);
/// Largest ratio of the enlargements along the two axes.
const MAX_STRETCH: f64 = 1.5;
/// Ratio of successive enlargements and stretches of the coarse search.
const COARSE_STEP: f64 = 1.022;
/// Number of rotated and mirrored pictures that are refined.
const ROTATIONS: usize = 16;
/// Number of stretches that are refined.
const STRETCHES: usize = 8;
/// Step of the rotation of the fine search in degrees.
const ANGLE_STEP: f64 = 0.35;
/// Steps of the fine search to each side.
const FINE_STEPS: i32 = 4;

/// A stretch of the coarse search.
struct Stretch {
    matrix: Linear,
    /// Whether it mirrors the picture or turns it by 90 degrees.
    changes_orientation: bool,
}

impl Synchroniser {
    /// Returns the geometries of rotated, mirrored and stretched pictures, without shift, at which
    /// the pilot waves stand out most, with the power of their peaks, the best first.
    ///
    /// The power does not tell a picture from one turned by 180 degrees: each geometry stands for
    /// both. Without `orientations`, pictures are not mirrored, and rotated by up to 45 degrees.
    pub(super) fn transformed_candidates(
        &self,
        waves: &[Wave],
        polar: &PolarMap,
        orientations: bool,
    ) -> Vec<(f32, Geometry)> {
        let coarse: Vec<_> = waves.iter().map(CoarseWave::new).collect();
        let degrees = if orientations { 90.0 } else { 45.0 };
        let upright = Range { scales: SCALES, degrees, mirrored: false };
        let mirrored = Range { scales: SCALES, degrees, mirrored: true };
        let ranges = if orientations { vec![upright, mirrored] } else { vec![upright] };
        let rotations = polar.search(&coarse, &ranges, ROTATIONS);
        let stretches = self.stretches(&coarse, orientations);
        self.refined(waves, rotations.iter().map(Similarity::matrix).chain(stretches))
    }

    /// Returns the stretches at which the pilot waves stand out most.
    fn stretches(&self, waves: &[CoarseWave], orientations: bool) -> Vec<Linear> {
        let maps = self.pooled_maps();
        let stretches = stretches().iter().filter(|s| orientations || !s.changes_orientation);
        let mut scores: Vec<_> = stretches.map(|s| (maps.score(waves, &s.matrix), s)).collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let matrices = scores.into_iter().map(|(_, stretch)| &stretch.matrix);
        let candidates = distinct(matrices, STRETCHES, |a, b| are_near(a, b));
        candidates.into_iter().map(|matrix| self.fine(waves, matrix)).collect()
    }

    /// Returns the power maps at a low resolution.
    fn pooled_maps(&self) -> PowerMaps<'_> {
        let maps = [self.sum_of_power(), &self.power_of_sum]
            .map(|power| power.pooled.as_slice().expect("own planes are contiguous"));
        let count = (maps[0].len() + maps[1].len()) as f32;
        let mean = maps.iter().copied().flatten().sum::<f32>() / count;
        PowerMaps { maps, width: POOLED_WIDTH, height: POOLED_HEIGHT, mean }
    }

    /// Returns the best transform near a stretch of the coarse search.
    fn fine(&self, waves: &[CoarseWave], matrix: &Linear) -> Linear {
        let maps = self.fine_maps();
        let steps = || -FINE_STEPS..=FINE_STEPS;
        let near = steps().flat_map(|scale| {
            steps().flat_map(move |angle| steps().map(move |stretch| (scale, angle, stretch)))
        });
        let near = near.map(|(scale, angle, stretch)| {
            let change = similarity(SCALE_STEP.powi(scale), f64::from(angle) * ANGLE_STEP);
            let half = SCALE_STEP.powi(stretch).sqrt();
            product(&product(&[[half, 0.0], [0.0, 1.0 / half]], &change), matrix)
        });
        let scored = near.map(|matrix| (maps.score(waves, &matrix), matrix));
        scored.max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are steps").1
    }
}

/// Returns the stretches of upright, mirrored and turned pictures, created once.
fn stretches() -> &'static [Stretch] {
    static STRETCHES: OnceLock<Vec<Stretch>> = OnceLock::new();
    STRETCHES.get_or_init(|| {
        let scales = steps(STRETCHED_SCALES);
        scales.flat_map(stretches_at).collect()
    })
}

/// Returns the stretches at an enlargement.
fn stretches_at(scale: f64) -> impl Iterator<Item = Stretch> {
    let stretches = steps((1.0 / MAX_STRETCH, MAX_STRETCH)).filter(|s| s.ln().abs() > 0.012);
    stretches.flat_map(move |stretch| {
        let half = stretch.sqrt();
        let matrix = [[half / scale, 0.0], [0.0, 1.0 / (half * scale)]];
        TURNS.iter().enumerate().map(move |(i, turn)| Stretch {
            matrix: product(&matrix, turn),
            changes_orientation: i > 0,
        })
    })
}

/// Returns the values of a range at the steps of the coarse search.
fn steps((low, high): (f64, f64)) -> impl Iterator<Item = f64> {
    let count = ((high / low).ln() / COARSE_STEP.ln()) as i32;
    (0..=count).map(move |i| low * COARSE_STEP.powi(i))
}

/// Mirrors a picture across.
pub(super) const MIRROR: Linear = [[-1.0, 0.0], [0.0, 1.0]];
/// Turns and mirrorings, one of each pair that differs by a turn of 180 degrees; upright first.
const TURNS: [Linear; 4] =
    [[[1.0, 0.0], [0.0, 1.0]], MIRROR, [[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [-1.0, 0.0]]];

/// Returns the product of two linear maps.
pub(super) fn product(a: &Linear, b: &Linear) -> Linear {
    std::array::from_fn(|i| std::array::from_fn(|k| a[i][0] * b[0][k] + a[i][1] * b[1][k]))
}

/// Returns whether two maps, or one and the other turned by 180 degrees, are about the same.
fn are_near(a: &Linear, b: &Linear) -> bool {
    let values = || a.iter().flatten().zip(b.iter().flatten());
    let norm = values().map(|(a, _)| a * a).sum::<f64>();
    [1.0, -1.0].iter().any(|sign| {
        values().map(|(a, b)| (a - sign * b) * (a - sign * b)).sum::<f64>() < 0.0009 * norm
    })
}
