// SPDX-License-Identifier: MIT OR Apache-2.0

//! Synthetic textures: regular, nearly regular and irregular arrangements of elements, with
//! geometric distortion ([`Generator`]).

use std::f32::consts::TAU;

use ndarray::Array2;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    drawings::Half,
    textures::{CUTS, high_pass_of_period},
};

/// Number of waves in band-pass noise.
const WAVES: usize = 24;

/// A kind of synthetic texture. Positions are in units of the period, the largest distance from one
/// element to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generator {
    /// Band-pass noise, of all directions or of similar ones.
    Noise,
    /// Distance to the nearest of scattered points (Worley, "A cellular texture basis function",
    /// 1996).
    Cells,
    /// Round elements of random size and brightness.
    Bumps,
    /// Threads that pass over and under each other.
    Weave,
    /// Two sets of lines with random distances and brightness.
    Hatching,
    /// Checks of random brightness.
    Checks,
    /// Lines between the cells of scattered points.
    Cracks,
    /// Rows of bricks with joints.
    Bricks,
    /// Overlapping round scales in rows.
    Scales,
}

impl Generator {
    /// Kinds to train on.
    const TRAINING: [Self; 6] =
        [Self::Noise, Self::Cells, Self::Bumps, Self::Weave, Self::Hatching, Self::Checks];
    /// Kinds that networks are never trained on.
    const EVALUATION: [Self; 3] = [Self::Cracks, Self::Bricks, Self::Scales];

    /// Returns the kinds of a half.
    pub(super) fn of(half: Half) -> &'static [Self] {
        match half {
            Half::Training => &Self::TRAINING,
            Half::Evaluation => &Self::EVALUATION,
        }
    }

    /// Returns a random texture of a half, of `side` x `side` pixels, with elements of at most
    /// `period` and differences between them up to [`CUTS`] times the period; mean 0 and standard
    /// deviation 1.
    pub(super) fn draw(half: Half, side: usize, period: f32, rng: &mut StdRng) -> Vec<f32> {
        let kind = Self::of(half).choose(rng).expect("each half has kinds");
        let cut = CUTS.choose(rng).expect("there are cuts") * period;
        kind.texture(side, period, cut, rng)
    }

    /// Returns a texture of this kind without periods above `cut`.
    fn texture(self, side: usize, period: f32, cut: f32, rng: &mut StdRng) -> Vec<f32> {
        let distortion = Distortion::draw(side, period, rng);
        let elements = Elements::draw(rng);
        let plane = Array2::from_shape_fn((side, side), |(y, x)| {
            let [u, v] = distortion.map(x as f32, y as f32);
            self.value(&elements, u, v)
        });
        high_pass_of_period(&plane, cut).into_raw_vec_and_offset().0
    }

    /// Returns the value at a position in periods.
    fn value(self, elements: &Elements, u: f32, v: f32) -> f32 {
        match self {
            Self::Noise => elements.noise(u, v),
            Self::Cells => elements.distances(u, v)[0],
            Self::Bumps => elements.bump(u, v),
            Self::Weave => weave(2.0 * u, 2.0 * v),
            Self::Hatching => elements.line(u, 0) + elements.line(v, 1),
            Self::Checks => {
                let [i, j] = [2.0 * u, 2.0 * v].map(f32::floor);
                let sign = if (i + j).rem_euclid(2.0) < 1.0 { 1.0 } else { -1.0 };
                sign + elements.jitter * elements.random(i as i32, j as i32, 0)
            }
            Self::Cracks => {
                let [first, second] = elements.distances(u, v);
                ((second - first) * elements.hardness).min(1.0)
            }
            Self::Bricks => elements.brick(u, v),
            Self::Scales => elements.scale(u, v),
        }
    }
}

/// Geometric distortion of a texture: rotation, stretching, perspective and waves. No part is
/// stretched beyond the period.
struct Distortion {
    axes: [[f32; 2]; 2],
    /// Increase of the spatial frequency from one side of the patch to the other, by pixel.
    perspective: [f32; 2],
    /// Amplitude in periods, spatial frequency in waves by pixel and phase of the waves.
    waves: [[f32; 3]; 2],
    offset: [f32; 2],
}

impl Distortion {
    fn draw(side: usize, period: f32, rng: &mut StdRng) -> Self {
        let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
        let frequency = 1.0 / period;
        let stretch = frequency * rng.random_range(1.0..1.6f32);
        let depth = if rng.random_bool(0.4) { rng.random_range(0.0..0.8f32) } else { 0.0 };
        let (down, along) = rng.random_range(0.0..TAU).sin_cos();
        let mut wave = || {
            let length = period * rng.random_range(4.0..12.0f32);
            [rng.random_range(0.0..0.5f32), 1.0 / length, rng.random_range(0.0..TAU)]
        };
        let waves = [wave(), wave()];
        Self {
            axes: [[cos * frequency, sin * frequency], [-sin * stretch, cos * stretch]],
            perspective: [along, down].map(|direction| direction * depth / side as f32),
            waves,
            offset: [0; 2].map(|_| rng.random_range(0.0..1000.0f32)),
        }
    }

    /// Returns the position of a pixel in periods.
    fn map(&self, x: f32, y: f32) -> [f32; 2] {
        let [across, down] = self.perspective;
        let nearness = 1.0 + (across * x + down * y).abs();
        let plane = self.axes.map(|[a, b]| (a * x + b * y) * nearness);
        let wave = |[amplitude, frequency, phase]: [f32; 3], at: f32| {
            amplitude * (TAU * frequency * at + phase).sin()
        };
        [
            plane[0] + wave(self.waves[0], y) + self.offset[0],
            plane[1] + wave(self.waves[1], x) + self.offset[1],
        ]
    }
}

/// Random properties of the elements of a texture.
struct Elements {
    seed: u32,
    /// Displacement of the elements from a regular grid, 0 to 1.
    jitter: f32,
    /// Steepness of edges.
    hardness: f32,
    /// Share of an element that its core takes.
    width: f32,
    /// Spatial frequencies across and down in waves by period, and phase.
    waves: [[f32; 3]; WAVES],
}

impl Elements {
    fn draw(rng: &mut StdRng) -> Self {
        let direction = rng.random_range(0.0..TAU);
        let spread = if rng.random_bool(0.5) { TAU } else { rng.random_range(0.1..1.2f32) };
        Self {
            seed: rng.random(),
            jitter: rng.random_range(0.0..1.0f32),
            hardness: rng.random_range(1.5..12.0f32),
            width: rng.random_range(0.15..0.6f32),
            waves: std::array::from_fn(|_| {
                let (sin, cos) = (direction + spread * rng.random_range(-0.5..0.5f32)).sin_cos();
                let frequency = rng.random_range(1.0..2.0f32);
                [cos * frequency, sin * frequency, rng.random_range(0.0..TAU)]
            }),
        }
    }

    /// Returns a random value from -1 to 1 of an element.
    fn random(&self, i: i32, j: i32, number: u32) -> f32 {
        let mut hash = self.seed ^ number.wrapping_mul(0x9e37_79b9);
        for value in [i, j] {
            hash = (hash ^ value.cast_unsigned()).wrapping_mul(0x85eb_ca6b);
            hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
            hash ^= hash >> 16;
        }
        hash as f32 / u32::MAX as f32 * 2.0 - 1.0
    }

    fn noise(&self, u: f32, v: f32) -> f32 {
        self.waves.iter().map(|[a, b, phase]| (TAU * (a * u + b * v) + phase).sin()).sum()
    }

    /// Calls `visit` with the cells around a position and the distance to the point of each.
    fn visit_points(&self, u: f32, v: f32, mut visit: impl FnMut(i32, i32, f32)) {
        let (i, j) = (u.floor() as i32, v.floor() as i32);
        for (i, j) in (-1..=1).flat_map(|di| (-1..=1).map(move |dj| (i + di, j + dj))) {
            let place =
                |n: i32, number| n as f32 + 0.5 + 0.45 * self.jitter * self.random(i, j, number);
            visit(i, j, (u - place(i, 1)).hypot(v - place(j, 2)));
        }
    }

    /// Returns the distances to the two nearest points.
    fn distances(&self, u: f32, v: f32) -> [f32; 2] {
        let mut nearest = [f32::INFINITY; 2];
        self.visit_points(u, v, |_, _, distance| {
            if distance < nearest[0] {
                nearest = [distance, nearest[0]];
            } else if distance < nearest[1] {
                nearest[1] = distance;
            }
        });
        nearest
    }

    fn bump(&self, u: f32, v: f32) -> f32 {
        let mut sum = 0.0;
        self.visit_points(u, v, |i, j, distance| {
            let radius = 0.6 * self.width * (1.0 + 0.5 * self.random(i, j, 3)) + 0.1;
            let height = 1.0 + 0.5 * self.random(i, j, 4);
            sum += height * (self.hardness * (radius - distance)).clamp(0.0, 1.0);
        });
        sum
    }

    /// Returns the value of parallel lines at a distance from the first one.
    fn line(&self, at: f32, set: u32) -> f32 {
        let number = at.floor() as i32;
        let centre = 0.5 + 0.3 * self.jitter * self.random(number, 0, 5 + set);
        let inside = 0.5 * self.width - (at - at.floor() - centre).abs();
        let brightness = 1.0 + 0.6 * self.jitter * self.random(number, 1, 7 + set);
        brightness * (self.hardness * inside + 0.5).clamp(0.0, 1.0)
    }

    fn brick(&self, u: f32, v: f32) -> f32 {
        let row = (2.0 * v).floor();
        let along = u + 0.5 * row.rem_euclid(2.0);
        let (x, y) = (along - along.floor(), 2.0 * v - row);
        let edge = (x.min(1.0 - x) * 2.0).min(y.min(1.0 - y));
        let joint = (self.hardness * (edge - 0.15 * self.width)).clamp(0.0, 1.0);
        let brightness = 1.0 + 0.6 * self.jitter * self.random(along.floor() as i32, row as i32, 9);
        joint * brightness
    }

    fn scale(&self, u: f32, v: f32) -> f32 {
        // The disc of the upper rows lies over that of the lower ones.
        let row = (2.0 * v).floor() as i32;
        for row in [row - 1, row] {
            let shift = 0.5 * row.rem_euclid(2) as f32;
            let column = (u + shift).round();
            let (dx, dy) = (u + shift - column, v - 0.5 * row as f32);
            let distance = dx.hypot(dy);
            if distance < 0.56 {
                return distance + 0.3 * self.jitter * self.random(column as i32, row, 10);
            }
        }
        0.6
    }
}

/// Returns the height of threads of a width of 1 that pass over and under each other.
fn weave(u: f32, v: f32) -> f32 {
    let over = (u.floor() + v.floor()).rem_euclid(2.0) < 1.0;
    let (across, along) = if over { (u, v) } else { (v, u) };
    let profile = (0.5 * TAU * across).sin().abs();
    let bow = 0.7 + 0.3 * (0.5 * TAU * along).sin().abs();
    profile * bow
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::smooth::textures::gaussian_blur;

    #[test]
    fn textures_have_no_energy_far_above_their_period() {
        let mut rng = StdRng::seed_from_u64(1);
        for kind in [Generator::TRAINING.as_slice(), &Generator::EVALUATION].concat() {
            for period in [4.0, 12.0] {
                let texture = kind.texture(96, period, period, &mut rng);
                let plane = Array2::from_shape_vec((96, 96), texture).unwrap();
                assert!(plane.mean().unwrap().abs() < 1e-3, "{kind:?}");
                assert!((plane.std(0.0) - 1.0).abs() < 1e-3, "{kind:?}");
                let coarse = gaussian_blur(&plane, period).std(0.0);
                assert!(coarse < 0.15, "{kind:?} of {period}: {coarse}");
            }
        }
    }
}
