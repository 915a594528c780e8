//! Motion of blocks between two pictures, from coarse to fine.

use ndarray::{Array2, ArrayView1, ArrayViewMut1, Axis};
use rayon::prelude::*;

use super::{
    differences::{self, Areas},
    smoothness::{self, Found},
};
use crate::{
    frame::{Fixed, halve},
    nn::Threads,
    simd::vectorise,
};

/// Side of a block in pixels of the picture; the finest level of the pyramid has half as many.
pub(super) const BLOCK: usize = 16;
const LEVELS: usize = 3;
/// Side of a block at each level of the pyramid, and how far its window reaches beyond.
const SIDE: isize = 8;
const MARGIN: isize = 4;
/// Sides of windows, at each level and in the picture itself.
pub(super) const WINDOW: usize = (SIDE + 2 * MARGIN) as usize;
pub(super) const WHOLE_WINDOW: usize = BLOCK + 2 * MARGIN as usize;
/// Reach of the search at the coarsest level, in its pixels: 8 of the picture's.
const REACH: i32 = 5;
/// Weight of the distance to the motion of a block's neighbours, per pixel of the level and level of noise: what keeps
/// blocks without texture from following the noise.
const SMOOTHNESS: f32 = 0.02;
/// How often a search goes on from a better neighbour.
const STEPS: usize = 2;
/// Neighbours of a displacement.
const BESIDE: [[i32; 2]; 4] = [[-1, 0], [1, 0], [0, -1], [0, 1]];
/// Mean absolute value of normal noise of unit deviation.
const MEAN_ABSOLUTE: f32 = 0.798;
/// Rows of a plane that are worth another thread.
const MIN_ROWS: usize = 16;
/// Noise counts as at least this: patterns that repeat must not be found wherever they repeat.
const LEAST_LEVEL: f32 = 2.0;

/// Luma in 8 bits, at its own size, a half, a quarter and an eighth of it.
#[derive(Debug, Default)]
pub(super) struct Pyramid(Vec<Array2<u8>>);

impl Pyramid {
    pub fn build(&mut self, luma: &Array2<Fixed>, threads: &Threads) {
        self.0.resize_with(1 + LEVELS, || Array2::zeros((0, 0)));
        let whole = &mut self.0[0];
        if whole.dim() != luma.dim() {
            *whole = Array2::zeros(luma.dim());
        }
        let row = |(mut to, from): (ArrayViewMut1<'_, u8>, ArrayView1<'_, Fixed>)| {
            if let (Some(to), Some(from)) = (to.as_slice_mut(), from.to_slice()) {
                vectorise(
                    #[inline(always)]
                    || to.iter_mut().zip(from).for_each(|(to, v)| *to = v.byte()),
                );
            }
        };
        let rows = whole.axis_iter_mut(Axis(0)).into_par_iter().with_min_len(MIN_ROWS);
        threads.enter(|| rows.zip(luma.axis_iter(Axis(0))).for_each(row));
        for level in 0..LEVELS {
            let (finer, coarser) = self.0.split_at_mut(level + 1);
            halve(
                &finer[level].view(),
                &mut coarser[0],
                threads,
                #[inline(always)]
                |four| ((four.map(u16::from).iter().sum::<u16>() + 2) / 4) as u8,
            );
        }
    }
}

/// Where blocks of the present picture lie in the past one.
#[derive(Debug, Default)]
pub(super) struct Motion {
    /// Displacement `[x, y]` in pixels of the picture, by block.
    pub blocks: Array2<[f32; 2]>,
    found: Array2<Found>,
}

impl Motion {
    /// Finds the motion from `past` to `present`. `level` is the noise of luma's pixels.
    pub fn search(&mut self, present: &Pyramid, past: &Pyramid, level: f32, threads: &Threads) {
        let level = level.max(LEAST_LEVEL);
        let pair = |number: usize, side| {
            // Means of 4 pixels have half the noise.
            let weight = SMOOTHNESS * level / (1 << number) as f32;
            Pair::new(present.0.get(number)?, past.0.get(number)?, side, weight)
        };
        let mut coarser: Option<Array2<[i32; 2]>> = None;
        for number in (1..=LEVELS).rev() {
            let Some(pair) = pair(number, SIDE) else { return };
            coarser = Some(pair.search(coarser.as_ref(), threads));
        }
        let Some(finest) = coarser else { return };
        let Some(pair) = pair(0, BLOCK as isize) else { return };
        if self.found.dim() != finest.dim() {
            self.found = Array2::default(finest.dim());
        }
        threads.enter(|| {
            let rows = self
                .found
                .axis_iter_mut(Axis(0))
                .into_par_iter()
                .zip(finest.axis_iter(Axis(0)).into_par_iter());
            rows.enumerate().for_each(|(by, (mut row, finest))| {
                for (bx, (block, coarse)) in row.iter_mut().zip(finest).enumerate() {
                    *block = pair.settle((by, bx), coarse.map(|d| 2 * d), level);
                }
            });
        });
        smoothness::smooth(&self.found, &mut self.blocks);
    }
}

/// Curvature of the mean squares that noise alone makes where it is smallest, over the variance of the noise.
const DOUBT: f32 = 0.1;
/// Variance of the difference of two pictures, of which one was fused, over that of the noise.
const DIFFERENCE: f32 = 1.4;
/// Beyond this, in pixels, a parabola through the neighbours of the smallest is not to be believed.
const FARTHEST: f32 = 0.6;

/// Two pictures, or one level of their pyramids.
struct Pair<'a> {
    /// Rows without gaps.
    present: &'a [u8],
    past: &'a [u8],
    /// Height and width.
    dim: (usize, usize),
    /// Side of a block in pixels.
    side: isize,
    /// What a pixel of distance from the expected motion costs.
    weight: f32,
}

/// The best motion of a block so far.
struct Best<'a, 'b> {
    pair: &'a Pair<'b>,
    block: (usize, usize),
    expected: [i32; 2],
    found: [i32; 2],
    cost: f32,
}

impl<'a, 'b> Best<'a, 'b> {
    fn new(pair: &'a Pair<'b>, block: (usize, usize), expected: [i32; 2]) -> Self {
        Self { pair, block, expected, found: [0; 2], cost: f32::INFINITY }
    }

    fn consider(&mut self, d: [i32; 2]) {
        if d == self.found && self.cost < f32::INFINITY {
            return;
        }
        let distance = (d[0] - self.expected[0]).abs() + (d[1] - self.expected[1]).abs();
        let cost = self.pair.weight * distance as f32;
        if cost < self.cost {
            let cost = cost + self.pair.difference(self.block, d, differences::absolute);
            if cost < self.cost {
                (self.found, self.cost) = (d, cost);
            }
        }
    }

    /// Considers the four neighbours of what was found, and if one of them is better, its neighbours.
    fn consider_around(&mut self) {
        for _ in 0..STEPS {
            let [x, y] = self.found;
            for [dx, dy] in BESIDE {
                self.consider([x + dx, y + dy]);
            }
            if self.found == [x, y] {
                break;
            }
        }
    }
}

impl<'a> Pair<'a> {
    fn new(
        present: &'a Array2<u8>,
        past: &'a Array2<u8>,
        side: isize,
        weight: f32,
    ) -> Option<Self> {
        let (dim, present, past) = (present.dim(), present.as_slice()?, past.as_slice()?);
        Some(Self { dim, present, past, side, weight })
    }

    /// The motion of each block in pixels of this level, from that of the next coarser one.
    fn search(&self, coarser: Option<&Array2<[i32; 2]>>, threads: &Threads) -> Array2<[i32; 2]> {
        let (height, width) = self.dim;
        let dim = (height.div_ceil(self.side as usize), width.div_ceil(self.side as usize));
        let mut blocks = Array2::from_elem(dim, [0; 2]);
        threads.enter(|| {
            blocks.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(by, mut row)| {
                for bx in 0..dim.1 {
                    let left = bx.checked_sub(1).map(|bx| row[bx]);
                    row[bx] = match coarser {
                        Some(coarser) => self.follow((by, bx), coarser, left),
                        None => self.search_all((by, bx)),
                    };
                }
            });
        });
        blocks
    }

    /// Tries all motions within reach.
    fn search_all(&self, block: (usize, usize)) -> [i32; 2] {
        let mut best = Best::new(self, block, [0; 2]);
        best.consider([0; 2]);
        for dy in -REACH..=REACH {
            for dx in -REACH..=REACH {
                best.consider([dx, dy]);
            }
        }
        best.found
    }

    /// Tries what the coarser level and the block to the left found, and what lies around the best of these.
    fn follow(
        &self,
        (by, bx): (usize, usize),
        coarser: &Array2<[i32; 2]>,
        left: Option<[i32; 2]>,
    ) -> [i32; 2] {
        let of_coarser = |by: usize, bx: usize| coarser[[by, bx]].map(|d| 2 * d);
        // The coarser blocks around, on the side where this block lies in its own.
        let beside = |at: usize, count: usize| {
            if at % 2 == 1 { (at / 2 + 1).min(count - 1) } else { (at / 2).saturating_sub(1) }
        };
        let (rows, columns) = coarser.dim();
        let mut best = Best::new(self, (by, bx), of_coarser(by / 2, bx / 2));
        best.consider(best.expected);
        best.consider([0; 2]);
        best.consider(of_coarser(by / 2, beside(bx, columns)));
        best.consider(of_coarser(beside(by, rows), bx / 2));
        left.into_iter().for_each(|left| best.consider(left));
        best.consider_around();
        best.found
    }

    /// The motion to fractions of a pixel, near the `expected` one: from a parabola through the mean squares beside the best whole displacement; and
    /// how certain it is: noise moves the smallest by what its curvature allows. `level` is the noise of this level's pixels.
    fn settle(&self, block: (usize, usize), expected: [i32; 2], level: f32) -> Found {
        let square = |d: [i32; 2]| self.difference(block, d, differences::squared);
        let beside = |[x, y]: [i32; 2]| BESIDE.map(|[dx, dy]| [x + dx, y + dy]);
        // As absolute differences cost elsewhere.
        let cost = |d: [i32; 2], square: f32| {
            let distance = (d[0] - expected[0]).abs() + (d[1] - expected[1]).abs();
            MEAN_ABSOLUTE * square.sqrt() + self.weight * distance as f32
        };
        let (mut best, mut centre) = (expected, square(expected));
        if centre == f32::INFINITY {
            // It lies outside.
            (best, centre) = ([0; 2], square([0; 2]));
        }
        let mut around = beside(best).map(square);
        for _ in 0..STEPS {
            let mut better = None;
            let mut least = cost(best, centre);
            for (i, (d, square)) in beside(best).into_iter().zip(around).enumerate() {
                let cost = cost(d, square);
                if cost < least {
                    (better, least) = (Some(i), cost);
                }
            }
            let Some(side) = better else { break };
            let before = centre;
            (best, centre) = (beside(best)[side], around[side]);
            // Opposite sides follow each other.
            let back = side ^ 1;
            let places = beside(best);
            around = std::array::from_fn(|i| if i == back { before } else { square(places[i]) });
        }
        let mut found = Found { motion: best.map(|d| d as f32), ..Found::default() };
        for (axis, &[before, after]) in around.as_chunks::<2>().0.iter().enumerate() {
            let curvature = before + after - 2.0 * centre;
            // Not a number, or infinite, beside the edge.
            if !(curvature > 0.0 && curvature < f32::INFINITY) {
                continue;
            }
            found.motion[axis] += (0.5 * (before - after) / curvature).clamp(-FARTHEST, FARTHEST);
            let pixels = (self.side + 2 * MARGIN).pow(2) as f32;
            let certain = (curvature - DOUBT * level * level).max(0.0);
            found.precision[axis] = pixels * certain / (2.0 * DIFFERENCE * level * level);
        }
        found
    }

    /// Mean of a measure of the differences between a block and what lies displaced from it in the past, in a window
    /// somewhat larger.
    fn difference(
        &self,
        (by, bx): (usize, usize),
        [dx, dy]: [i32; 2],
        measure: impl Fn(Areas<'_>) -> u32,
    ) -> f32 {
        let (height, width) = self.dim;
        let side = self.side;
        let range = |block: usize, d: i32, length: usize| {
            let (length, d) = (length as isize, d as isize);
            let start = (block as isize * side - MARGIN).max(0).max(-d);
            let end = ((block as isize + 1) * side + MARGIN).min(length).min(length - d);
            (start, end)
        };
        let ((x0, x1), (y0, y1)) = (range(bx, dx, width), range(by, dy, height));
        // Most of the window must lie inside.
        if x1 - x0 < side / 2 || y1 - y0 < side / 2 {
            return f32::INFINITY;
        }
        let at = |y: isize, x: isize| y as usize * width + x as usize;
        let (length, rows) = ((x1 - x0) as usize, (y1 - y0) as usize);
        let values =
            [&self.present[at(y0, x0)..], &self.past[at(y0 + dy as isize, x0 + dx as isize)..]];
        let sum = measure(Areas { values, width, rows, length });
        sum as f32 / (length * rows) as f32
    }
}
