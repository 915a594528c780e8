// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hierarchical block motion search between two pictures: coarse to fine on a pyramid, then
//! sub-pixel on the full picture.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis};
use rayon::prelude::*;

use super::{
    block_kinds::BlockKind,
    differences::{self, BlockPair},
    regularise::{BlockMotion, regularise},
    slow_motion::SlowMotion,
};
use crate::{
    frame::{FixedSample, OddSize, Picture, Pyramid, Sample},
    nn::Threads,
    simd::vectorise,
};

/// Side of a block in pixels of the picture. On the finest searched pyramid level, blocks have half
/// this side.
pub(super) const BLOCK: usize = 16;
/// Number of pyramid levels below the full picture.
const PYRAMID_LEVELS: usize = 3;
/// Side of a block in pixels of its pyramid level.
const LEVEL_BLOCK: isize = 8;
/// Distance that the matching window extends beyond the block on each side, in pixels of its level.
const WINDOW_MARGIN: isize = 4;
/// Side of the matching window on each pyramid level below the full picture.
pub(super) const LEVEL_WINDOW: usize = (LEVEL_BLOCK + 2 * WINDOW_MARGIN) as usize;
/// Side of the matching window in the full picture.
pub(super) const FULL_WINDOW: usize = BLOCK + 2 * WINDOW_MARGIN as usize;
/// Range of the exhaustive search on the coarsest level in each direction, in pixels of that level
/// (8 pixels of the picture each).
const SEARCH_RANGE: i32 = 5;
/// Cost per pixel of distance from the expected motion (in pixels of the level) and per unit of
/// noise sigma. It keeps blocks without texture from matching the noise.
const DISTANCE_COST: f32 = 0.02;
/// Largest number of steps of the descent to a better neighbouring displacement.
const MAX_DESCENT_STEPS: usize = 2;
/// The four neighbours of a displacement `[x, y]`; `i ^ 1` is the opposite neighbour of `i`.
const NEIGHBOURS: [[i32; 2]; 4] = [[-1, 0], [1, 0], [0, -1], [0, 1]];
/// Mean absolute value of normal noise with unit sigma.
const MEAN_ABSOLUTE: f32 = 0.798;
/// Least number of plane rows per parallel task.
const MIN_ROWS: usize = 16;
/// Least noise sigma assumed for the search, in 8-bit units. With less, repetitive patterns would
/// match at any of their repetitions.
const MIN_SEARCH_SIGMA: f32 = 2.0;

/// Luma in 8 bits at full, half, quarter and eighth size.
#[derive(Debug, Default)]
pub(super) struct SearchPyramid(Pyramid<u8>);

impl SearchPyramid {
    /// Fills the pyramid from a plane.
    pub(super) fn build(&mut self, luma: &Array2<FixedSample>, threads: &Threads) {
        self.build_with(
            luma.view(),
            threads,
            #[inline(always)]
            |sample| sample.to_u8(),
        );
    }

    /// Fills the pyramid from the first component of a picture.
    pub(super) fn build_of_picture<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        threads: &Threads,
    ) {
        self.build_with(
            picture.components[0],
            threads,
            // Rounds as if the picture had been loaded into fixed point.
            #[inline(always)]
            |sample| FixedSample::from_code_value(sample.code_value()).to_u8(),
        );
    }

    /// Fills the pyramid from a plane, whose samples `to_u8` converts to 8 bits.
    fn build_with<T: Sample>(
        &mut self,
        luma: ArrayView2<'_, T>,
        threads: &Threads,
        to_u8: impl Fn(T) -> u8 + Sync + Copy,
    ) {
        let row = |(to, from): (ArrayViewMut1<'_, u8>, ArrayView1<'_, T>)| {
            let to = to.into_slice().expect("rows of the pyramid are contiguous");
            match from.to_slice() {
                Some(from) => vectorise(
                    #[inline(always)]
                    || to.iter_mut().zip(from).for_each(|(to, v)| *to = to_u8(*v)),
                ),
                None => to.iter_mut().zip(from).for_each(|(to, v)| *to = to_u8(*v)),
            }
        };
        let full_size = self.0.full_size(luma.dim());
        let rows = full_size.axis_iter_mut(Axis(0)).into_par_iter().with_min_len(MIN_ROWS);
        threads.enter(|| rows.zip(luma.axis_iter(Axis(0))).for_each(row));
        self.0.reduce(
            PYRAMID_LEVELS,
            OddSize::RoundUp,
            threads,
            #[inline(always)]
            |four| ((four.map(u16::from).iter().sum::<u16>() + 2) / 4) as u8,
        );
    }
}

/// Motion field: where the blocks of the current picture lie in the previous picture.
#[derive(Debug, Default)]
pub(super) struct Motion {
    /// Displacement `[x, y]` of each block in pixels of the picture, indexed `[[row, column]]`.
    pub blocks: Array2<[f32; 2]>,
    /// Kind of each block.
    pub kinds: Array2<BlockKind>,
    /// Whether the camera stands still.
    pub is_camera_static: bool,
    /// Unregularised motion of each block.
    pub(super) found: Array2<BlockMotion>,
    /// Whether noise alone does not explain the motion found for each block.
    pub(super) moves: Array2<bool>,
    /// How much better the motion of another block explains each block without texture than no
    /// motion: the difference of the mean squares, divided by the noise variance. Noise alone
    /// causes none on average. Zero for blocks with texture.
    pub(super) excess: Array2<f32>,
    /// Areas that move by a fraction of a pixel.
    pub(super) slow: SlowMotion,
}

impl Motion {
    /// Finds the displacement of the blocks of `current` in `previous`. `sigma` is that of luma's
    /// noise, in 8-bit units.
    ///
    /// # Panics
    /// If a pyramid was never built.
    pub(super) fn search(
        &mut self,
        current: &SearchPyramid,
        previous: &SearchPyramid,
        sigma: f32,
        threads: &Threads,
    ) {
        let sigma = sigma.max(MIN_SEARCH_SIGMA);
        let pair = |level: usize, side| {
            // The mean of 4 pixels has half the noise sigma.
            let weight = DISTANCE_COST * sigma / (1 << level) as f32;
            LevelPair::new(&current.0.levels()[level], &previous.0.levels()[level], side, weight)
        };
        let coarsest = pair(PYRAMID_LEVELS, LEVEL_BLOCK).search(None, threads);
        let finest = (1..PYRAMID_LEVELS).rev().fold(coarsest, |coarser, level| {
            pair(level, LEVEL_BLOCK).search(Some(&coarser), threads)
        });
        let pair = pair(0, BLOCK as isize);
        if self.found.dim() != finest.dim() {
            self.found = Array2::default(finest.dim());
            self.moves = Array2::default(finest.dim());
            self.excess = Array2::default(finest.dim());
        }
        threads.enter(|| {
            let rows = self
                .found
                .axis_iter_mut(Axis(0))
                .into_par_iter()
                .zip(finest.axis_iter(Axis(0)).into_par_iter());
            rows.enumerate().for_each(|(by, (mut row, finest))| {
                for (bx, (block, coarse)) in row.iter_mut().zip(finest).enumerate() {
                    *block = pair.refine_subpixel((by, bx), coarse.map(|d| 2 * d), sigma);
                }
            });
        });
        self.measure_excess(&pair, sigma, threads);
        regularise(&self.found, &mut self.blocks);
        self.find_kinds();
    }

    /// Fills `excess`. The other block is so far away that its motion does not depend on the noise
    /// in the block itself.
    fn measure_excess(&mut self, pair: &LevelPair<'_>, sigma: f32, threads: &Threads) {
        let Self { found, excess, .. } = self;
        let columns = found.ncols();
        let rows = excess.axis_iter_mut(Axis(0)).into_par_iter().zip(found.axis_iter(Axis(0)));
        threads.enter(|| {
            rows.enumerate().for_each(|(y, (mut row, found))| {
                for (x, excess) in row.iter_mut().enumerate() {
                    let other = if x + 2 < columns { x + 2 } else { x.saturating_sub(2) };
                    let displacement = found[other].displacement.map(|d| d.round() as i32);
                    *excess = if found[x].has_texture || displacement == [0; 2] {
                        0.0
                    } else {
                        let square = |d| pair.difference((y, x), d, differences::ssd);
                        let [still, moved] = [[0; 2], displacement].map(square);
                        let noise = (DIFFERENCE_VARIANCE * sigma * sigma).max(still);
                        // Beyond the border of the picture, the difference is infinite.
                        if moved.is_finite() { (still - moved) / noise } else { 0.0 }
                    };
                }
            });
        });
    }

    /// Forgets which blocks are still.
    pub(super) fn reset(&mut self) {
        self.kinds.fill(BlockKind::Moving);
        self.is_camera_static = false;
        self.slow.reset();
    }
}

/// Least precision of the motion along an axis, as its inverse variance in squared pixels, that
/// texture gives.
const MIN_PRECISION: f32 = 150.0;
/// Squared displacement, in units of its variance, that noise alone may cause.
const STILL_TOLERANCE: f32 = 30.0;
/// Relative difference of the mean squared differences without motion and at the best whole
/// displacement that noise alone may cause.
const STILL_DIFFERENCE: f32 = 0.06;

/// Curvature of the mean squared difference that noise alone causes at a minimum, divided by the
/// noise variance.
const NOISE_CURVATURE: f32 = 0.1;
/// Variance of the difference of a picture and a fused picture, divided by the noise variance.
const DIFFERENCE_VARIANCE: f32 = 1.4;
/// Largest sub-pixel offset of the fitted parabola's minimum, in pixels.
const MAX_SUBPIXEL: f32 = 0.6;

/// One level of the pyramids of two pictures, with the search parameters of that level.
struct LevelPair<'a> {
    /// Current picture, row-major without padding.
    current: &'a [u8],
    /// Previous picture, likewise.
    previous: &'a [u8],
    /// Height and width.
    dim: (usize, usize),
    /// Side of a block in pixels of the level.
    side: isize,
    /// Cost per pixel of distance from the expected motion.
    weight: f32,
}

/// Best displacement of a block so far, by cost.
struct BestMatch<'a, 'b> {
    pair: &'a LevelPair<'b>,
    /// Row and column of the block.
    block: (usize, usize),
    /// Expected displacement, from which the distance is penalised.
    expected: [i32; 2],
    /// Displacement of the least cost.
    found: [i32; 2],
    /// Mean absolute difference plus the distance penalty.
    cost: f32,
}

impl<'a, 'b> BestMatch<'a, 'b> {
    fn new(pair: &'a LevelPair<'b>, block: (usize, usize), expected: [i32; 2]) -> Self {
        Self { pair, block, expected, found: [0; 2], cost: f32::INFINITY }
    }

    /// Evaluates a displacement and keeps it if it costs less.
    fn evaluate(&mut self, d: [i32; 2]) {
        if d == self.found && self.cost < f32::INFINITY {
            return;
        }
        let distance = (d[0] - self.expected[0]).abs() + (d[1] - self.expected[1]).abs();
        let cost = self.pair.weight * distance as f32;
        if cost < self.cost {
            let cost = cost + self.pair.difference(self.block, d, differences::sad);
            if cost < self.cost {
                (self.found, self.cost) = (d, cost);
            }
        }
    }

    /// Descends from the best displacement to better neighbours, for [`MAX_DESCENT_STEPS`] steps at
    /// most.
    fn descend(&mut self) {
        for _ in 0..MAX_DESCENT_STEPS {
            let [x, y] = self.found;
            for [dx, dy] in NEIGHBOURS {
                self.evaluate([x + dx, y + dy]);
            }
            if self.found == [x, y] {
                break;
            }
        }
    }
}

impl<'a> LevelPair<'a> {
    fn new(current: &'a Array2<u8>, previous: &'a Array2<u8>, side: isize, weight: f32) -> Self {
        let samples =
            |plane: &'a Array2<u8>| plane.as_slice().expect("pyramids are in standard layout");
        Self {
            current: samples(current),
            previous: samples(previous),
            dim: current.dim(),
            side,
            weight,
        }
    }

    /// Returns the displacement of each block in pixels of this level, starting from those of the
    /// next coarser level, or by exhaustive search if there is none.
    fn search(&self, coarser: Option<&Array2<[i32; 2]>>, threads: &Threads) -> Array2<[i32; 2]> {
        let (height, width) = self.dim;
        let dim = (height.div_ceil(self.side as usize), width.div_ceil(self.side as usize));
        let mut blocks = Array2::from_elem(dim, [0; 2]);
        threads.enter(|| {
            blocks.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(by, mut row)| {
                for bx in 0..dim.1 {
                    let left = bx.checked_sub(1).map(|bx| row[bx]);
                    row[bx] = match coarser {
                        Some(coarser) => self.refine((by, bx), coarser, left),
                        None => self.search_all((by, bx)),
                    };
                }
            });
        });
        blocks
    }

    /// Tests all displacements in the range of [`SEARCH_RANGE`].
    fn search_all(&self, block: (usize, usize)) -> [i32; 2] {
        let mut best = BestMatch::new(self, block, [0; 2]);
        best.evaluate([0; 2]);
        for dy in -SEARCH_RANGE..=SEARCH_RANGE {
            for dx in -SEARCH_RANGE..=SEARCH_RANGE {
                best.evaluate([dx, dy]);
            }
        }
        best.found
    }

    /// Tests the displacements of the coarser level, of the left neighbour and zero, then the
    /// neighbours of the best one.
    fn refine(
        &self,
        (by, bx): (usize, usize),
        coarser: &Array2<[i32; 2]>,
        left: Option<[i32; 2]>,
    ) -> [i32; 2] {
        let of_coarser = |by: usize, bx: usize| coarser[[by, bx]].map(|d| 2 * d);
        // The neighbouring coarser block on the side nearest to this block.
        let adjacent = |at: usize, count: usize| {
            if at % 2 == 1 { (at / 2 + 1).min(count - 1) } else { (at / 2).saturating_sub(1) }
        };
        let (rows, columns) = coarser.dim();
        let mut best = BestMatch::new(self, (by, bx), of_coarser(by / 2, bx / 2));
        best.evaluate(best.expected);
        best.evaluate([0; 2]);
        best.evaluate(of_coarser(by / 2, adjacent(bx, columns)));
        best.evaluate(of_coarser(adjacent(by, rows), bx / 2));
        left.into_iter().for_each(|left| best.evaluate(left));
        best.descend();
        best.found
    }

    /// Refines the displacement to fractions of a pixel, starting from `expected`.
    ///
    /// Fits a parabola through the mean squared differences around the best whole displacement. The
    /// curvature of the parabola determines how far noise moves its minimum, which gives the
    /// precision. `sigma` is the noise sigma of this level's pixels.
    fn refine_subpixel(
        &self,
        block: (usize, usize),
        expected: [i32; 2],
        sigma: f32,
    ) -> BlockMotion {
        let square = |d: [i32; 2]| self.difference(block, d, differences::ssd);
        let neighbours = |[x, y]: [i32; 2]| NEIGHBOURS.map(|[dx, dy]| [x + dx, y + dy]);
        // Convert the mean square to the scale of a mean absolute difference, as `BestMatch` uses.
        let cost = |d: [i32; 2], square: f32| {
            let distance = (d[0] - expected[0]).abs() + (d[1] - expected[1]).abs();
            MEAN_ABSOLUTE * square.sqrt() + self.weight * distance as f32
        };
        let (mut best, mut centre) = (expected, square(expected));
        if centre == f32::INFINITY {
            // The expected position lies outside of the picture.
            (best, centre) = ([0; 2], square([0; 2]));
        }
        let mut around = neighbours(best).map(square);
        for _ in 0..MAX_DESCENT_STEPS {
            let mut better = None;
            let mut least = cost(best, centre);
            for (i, (d, square)) in neighbours(best).into_iter().zip(around).enumerate() {
                let cost = cost(d, square);
                if cost < least {
                    (better, least) = (Some(i), cost);
                }
            }
            let Some(side) = better else { break };
            let before = centre;
            (best, centre) = (neighbours(best)[side], around[side]);
            // The previous centre becomes the neighbour on the opposite side.
            let back = side ^ 1;
            let positions = neighbours(best);
            around = std::array::from_fn(|i| if i == back { before } else { square(positions[i]) });
        }
        let mut found =
            BlockMotion { displacement: best.map(|d| d as f32), ..BlockMotion::default() };
        // The measured difference counts as noise where it exceeds the assumed noise.
        let noise = (DIFFERENCE_VARIANCE * sigma * sigma).max(centre);
        if best != [0; 2] {
            let excess = square([0; 2]) - centre;
            found.motion_evidence = (excess / (STILL_DIFFERENCE * noise)).max(0.0);
        }
        for (axis, &[before, after]) in around.as_chunks::<2>().0.iter().enumerate() {
            let curvature = before + after - 2.0 * centre;
            // At the border the curvature is NaN or infinite.
            if !(curvature > 0.0 && curvature < f32::INFINITY) {
                continue;
            }
            let offset = (0.5 * (before - after) / curvature).clamp(-MAX_SUBPIXEL, MAX_SUBPIXEL);
            found.displacement[axis] += offset;
            let pixels = (self.side + 2 * WINDOW_MARGIN).pow(2) as f32;
            let excess_curvature = (curvature - NOISE_CURVATURE * sigma * sigma).max(0.0);
            found.precision[axis] =
                pixels * excess_curvature / (2.0 * DIFFERENCE_VARIANCE * sigma * sigma);
            let precision = pixels * excess_curvature / (2.0 * noise);
            found.measured_precision[axis] = precision;
            found.motion_evidence += precision * offset * offset / STILL_TOLERANCE;
            let beyond_noise = curvature - NOISE_CURVATURE / DIFFERENCE_VARIANCE * noise;
            found.has_texture |= pixels * beyond_noise >= 2.0 * noise * MIN_PRECISION;
        }
        found
    }

    /// Returns the mean of a difference measure between a block's window in the current picture and
    /// the displaced window in the previous one. Returns infinity if too little of the window lies
    /// inside both pictures.
    fn difference(
        &self,
        (by, bx): (usize, usize),
        [dx, dy]: [i32; 2],
        measure: impl Fn(BlockPair<'_>) -> u32,
    ) -> f32 {
        let (height, width) = self.dim;
        let side = self.side;
        let range = |block: usize, d: i32, length: usize| {
            let (length, d) = (length as isize, d as isize);
            let start = (block as isize * side - WINDOW_MARGIN).max(0).max(-d);
            let end = ((block as isize + 1) * side + WINDOW_MARGIN).min(length).min(length - d);
            (start, end)
        };
        let ((x0, x1), (y0, y1)) = (range(bx, dx, width), range(by, dy, height));
        // At least half a block side must lie inside in each direction.
        if x1 - x0 < side / 2 || y1 - y0 < side / 2 {
            return f32::INFINITY;
        }
        let at = |y: isize, x: isize| y as usize * width + x as usize;
        let (block_width, block_height) = ((x1 - x0) as usize, (y1 - y0) as usize);
        let values =
            [&self.current[at(y0, x0)..], &self.previous[at(y0 + dy as isize, x0 + dx as isize)..]];
        let blocks = BlockPair { values, stride: width, width: block_width, height: block_height };
        let sum = measure(blocks);
        sum as f32 / (block_width * block_height) as f32
    }
}
