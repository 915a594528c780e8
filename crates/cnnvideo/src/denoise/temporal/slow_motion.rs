// SPDX-License-Identifier: MIT OR Apache-2.0

//! Finds areas that move so slowly that no single block shows it ([`SlowMotion`]).
//!
//! A hand-held camera drifts by a fraction of a pixel per picture, and averages without motion
//! compensation would blur. Noise displaces blocks in all directions, and a drift displaces the
//! blocks of an area in the same one, so their weighted mean shows it.

use ndarray::{Array2, Axis};

use super::regularise::BlockMotion;
use crate::frame::box_mean::box_mean_rows;

/// Side of the area whose blocks are averaged, in blocks.
const AREA: usize = 9;
/// Largest displacement of a block along an axis that counts, in pixels. Blocks that are displaced
/// further move visibly, and their neighbours may be still.
const MAX_DISPLACEMENT: f32 = 0.6;
/// Squared mean displacement, in units of its variance, that noise alone may cause.
const TOLERANCE: f32 = 60.0;
/// Least mean displacement of a drift, in pixels. Interpolation errors displace blocks by less.
const MIN_DISPLACEMENT: f32 = 0.04;
/// Share of the sums that is kept from picture to picture. A drift keeps its direction.
const PERSISTENCE: f32 = 0.8;

/// Areas that move slowly. The memory is reused from picture to picture.
#[derive(Debug, Default)]
pub(super) struct SlowMotion {
    /// Sum of the inverse variances of the displacements of each block, horizontal and vertical.
    weights: [Array2<f32>; 2],
    /// Sum of the displacements, weighted by them.
    displacements: [Array2<f32>; 2],
    /// Whether the area around each block moves slowly.
    pub areas: Array2<bool>,
}

impl SlowMotion {
    /// Forgets the previous pictures.
    pub(super) fn reset(&mut self) {
        self.weights.iter_mut().chain(&mut self.displacements).for_each(|map| map.fill(0.0));
    }

    /// Finds the areas that move slowly.
    pub(super) fn find(&mut self, blocks: &Array2<BlockMotion>) {
        let dim = blocks.dim();
        if self.areas.dim() != dim {
            *self = Self { areas: Array2::default(dim), ..Self::default() };
            self.weights = std::array::from_fn(|_| Array2::zeros(dim));
            self.displacements = std::array::from_fn(|_| Array2::zeros(dim));
        }
        for axis in 0..2 {
            self.add(blocks, axis);
        }
        let mut columns = vec![0.0; dim.1];
        let mut means: [_; 4] = std::array::from_fn(|_| Array2::zeros((1, dim.1)));
        for (y, mut areas) in self.areas.axis_iter_mut(Axis(0)).enumerate() {
            for (map, mean) in self.weights.iter().chain(&self.displacements).zip(&mut means) {
                box_mean_rows::<AREA>(map, y, &mut mean.view_mut(), &mut columns);
            }
            for (x, moves) in areas.iter_mut().enumerate() {
                let [weights, sums] =
                    [[0, 1], [2, 3]].map(|maps| maps.map(|map| means[map][[0, x]]));
                *moves = moves_slowly(weights, sums);
            }
        }
    }

    /// Adds the displacements of the blocks along an axis to the sums.
    fn add(&mut self, blocks: &Array2<BlockMotion>, axis: usize) {
        let sums = self.weights[axis].iter_mut().zip(&mut self.displacements[axis]);
        for ((weights, displacements), block) in sums.zip(blocks) {
            let counts = block.displacement.iter().all(|d| d.abs() <= MAX_DISPLACEMENT);
            let weight = if counts { block.measured_precision[axis] } else { 0.0 };
            *weights = PERSISTENCE * *weights + weight;
            *displacements = PERSISTENCE * *displacements + weight * block.displacement[axis];
        }
    }
}

/// Returns whether an area moves slowly, from the means of its blocks.
fn moves_slowly(weights: [f32; 2], sums: [f32; 2]) -> bool {
    let (mut evidence, mut square) = (0.0, 0.0);
    for (weight, sum) in weights.into_iter().zip(sums).filter(|(weight, _)| *weight > 0.0) {
        evidence += (AREA * AREA) as f32 * sum * sum / weight;
        square += (sum / weight).powi(2);
    }
    evidence > TOLERANCE && square > MIN_DISPLACEMENT * MIN_DISPLACEMENT
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Returns how many of 12 by 20 blocks move slowly after 10 pictures. Each block is displaced
    /// by `motion` of its column, and by noise of its precision.
    fn count(motion: impl Fn(usize) -> [f32; 2]) -> usize {
        let mut rng = StdRng::seed_from_u64(1);
        let mut slow = SlowMotion::default();
        for _ in 0..10 {
            slow.find(&Array2::from_shape_fn((12, 20), |(_, x)| {
                let mut noise = || (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum::<f32>();
                let precision = 400.0f32;
                BlockMotion {
                    displacement: motion(x).map(|d| d + noise() / precision.sqrt()),
                    measured_precision: [precision; 2],
                    ..BlockMotion::default()
                }
            }));
        }
        slow.areas.iter().filter(|moves| **moves).count()
    }

    #[test]
    fn drift_below_the_noise_of_a_block_is_found() {
        assert_eq!(count(|_| [0.0; 2]), 0);
        assert_eq!(count(|_| [0.06, -0.04]), 240);
    }

    #[test]
    fn fast_objects_do_not_move_the_blocks_around_them() {
        assert_eq!(count(|x| [if (8..12).contains(&x) { 5.0 } else { 0.0 }, 0.0]), 0);
    }

    #[test]
    fn areas_far_from_the_drift_are_still() {
        let found = count(|x| [if x < 5 { 0.3 } else { 0.0 }, 0.0]);
        assert!((60..130).contains(&found), "{found}");
    }

    #[test]
    fn blocks_without_texture_are_still() {
        let mut slow = SlowMotion::default();
        let block = BlockMotion { displacement: [0.4; 2], ..BlockMotion::default() };
        slow.find(&Array2::from_elem((3, 5), block));
        assert!(!slow.areas.iter().any(|moves| *moves));
    }
}
