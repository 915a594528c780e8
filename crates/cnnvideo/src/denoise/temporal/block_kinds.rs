// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decides which blocks of a motion field are still, and which lie at motion boundaries
//! ([`BlockKind`]).

use ndarray::Array2;

use super::motion::Motion;

/// Difference of the displacements of neighbouring blocks, in pixels along an axis, at a motion
/// boundary.
const BOUNDARY_DIFFERENCE: f32 = 0.5;
/// Largest regularised displacement of a still block along each axis, in pixels.
const MAX_STILL_DISPLACEMENT: f32 = 0.35;
/// Reach, in blocks, of the window over which the excess is averaged.
const EXCESS_REACH: usize = 2;
/// Largest mean excess around a block that noise alone causes.
const MAX_EXCESS: f32 = 0.06;
/// Share of the blocks of a flat picture that may seem to move because of noise.
const MAX_FALSE_SHARE: f32 = 0.05;
/// Evidence of motion that noise alone does not cause in flat blocks, where the best of many
/// displacements is compared with none.
const FLAT_EVIDENCE: f32 = 6.0;
/// Factor on the evidence of motion that a still block needs to count as moving.
const HYSTERESIS: f32 = 3.0;

/// Kind of a block of the motion field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum BlockKind {
    /// The block moves like its neighbours, or its motion is not known yet.
    #[default]
    Moving,
    /// The block lies at the same place in the previous picture.
    Still,
    /// A neighbour moves differently, so parts of the block may have been uncovered.
    Boundary,
}

impl Motion {
    /// Finds the kind of each block, and removes the displacement of still blocks.
    pub(super) fn find_kinds(&mut self) {
        self.slow.find(&self.found);
        self.find_moving_blocks();
        self.is_camera_static = self.find_whether_camera_is_static();
        self.find_still_blocks();
        self.find_boundary_blocks();
    }

    /// Returns the mean excess of the blocks without texture around a block.
    fn excess_around(&self, (y, x): (usize, usize)) -> f32 {
        let (rows, columns) = self.excess.dim();
        let around = |at: usize, length: usize| {
            at.saturating_sub(EXCESS_REACH)..(at + EXCESS_REACH + 1).min(length)
        };
        let (mut sum, mut count) = (0.0, 0.0f32);
        for v in around(y, rows) {
            for u in around(x, columns).filter(|u| !self.found[[v, *u]].has_texture) {
                sum += self.excess[[v, u]];
                count += 1.0;
            }
        }
        sum / count.max(1.0)
    }

    /// Finds the blocks that move by more than noise explains.
    fn find_moving_blocks(&mut self) {
        self.moves.zip_mut_with(&self.found, |moves, found| {
            let limit = if found.has_texture { 1.0 } else { FLAT_EVIDENCE };
            *moves = found.motion_evidence > limit;
        });
    }

    /// Finds the blocks that are still, and removes the displacement that noise causes in them.
    /// Blocks that were still before need more evidence to move.
    fn find_still_blocks(&mut self) {
        if self.kinds.dim() != self.blocks.dim() {
            self.kinds = Array2::default(self.blocks.dim());
        }
        for y in 0..self.kinds.nrows() {
            for x in 0..self.kinds.ncols() {
                let is_still = self.is_still((y, x));
                if is_still {
                    self.blocks[[y, x]] = [0.0; 2];
                }
                self.kinds[[y, x]] = if is_still { BlockKind::Still } else { BlockKind::Moving };
            }
        }
    }

    /// Returns whether a block is still.
    fn is_still(&self, at: (usize, usize)) -> bool {
        let found = &self.found[at];
        if self.slow.areas[at] {
            return false;
        }
        let limit = if self.kinds[at] == BlockKind::Still { HYSTERESIS } else { 1.0 };
        if is_small(&self.blocks[at]) && found.motion_evidence <= limit {
            return true;
        }
        self.is_camera_static
            && !found.has_texture
            && !is_moving_nearby(&self.moves, at)
            && self.excess_around(at) <= MAX_EXCESS
    }

    /// Returns whether no more blocks move than are still with texture, apart from a few. Flat
    /// blocks then count as still too: noise alone determines the motion found for them.
    fn find_whether_camera_is_static(&self) -> bool {
        let mut counts = [0, 0];
        let blocks = self.found.iter().zip(&self.moves).zip(&self.slow.areas).zip(&self.blocks);
        for (((found, moves), drifts), displacement) in blocks {
            let is_still = !moves && !drifts && is_small(displacement) && found.has_texture;
            counts[0] += u32::from(is_still);
            counts[1] += u32::from(*moves || (*drifts && found.has_texture));
        }
        counts[1] <= counts[0] + (MAX_FALSE_SHARE * self.found.len() as f32) as u32
    }

    /// Finds the blocks beside which the motion changes. With a static camera, blocks that move are
    /// on one side of a boundary.
    fn find_boundary_blocks(&mut self) {
        let (rows, columns) = self.blocks.dim();
        for y in 0..rows {
            for x in 0..columns {
                let [left, above] = [[y, x.saturating_sub(1)], [y.saturating_sub(1), x]];
                for other in [left, above] {
                    let (a, b) = (self.blocks[[y, x]], self.blocks[other]);
                    let may_differ =
                        !self.is_camera_static || self.moves[[y, x]] || self.moves[other];
                    if may_differ
                        && (0..2).any(|axis| (a[axis] - b[axis]).abs() > BOUNDARY_DIFFERENCE)
                    {
                        self.kinds[[y, x]] = BlockKind::Boundary;
                        self.kinds[other] = BlockKind::Boundary;
                    }
                }
            }
        }
    }
}

/// Returns whether a block, or one beside or diagonally beside it, moves.
fn is_moving_nearby(moves: &Array2<bool>, (y, x): (usize, usize)) -> bool {
    let around = |at: usize, length: usize| at.saturating_sub(1)..(at + 2).min(length);
    let (rows, columns) = moves.dim();
    around(y, rows).any(|v| around(x, columns).any(|u| moves[[v, u]]))
}

/// Returns whether a displacement is so small that the block may be still.
fn is_small(displacement: &[f32; 2]) -> bool {
    displacement.iter().all(|d| d.abs() <= MAX_STILL_DISPLACEMENT)
}
