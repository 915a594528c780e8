//! Motion of blocks between two pictures, from coarse to fine.

use ndarray::{Array2, Axis};
use pulp::{Arch, WithSimd};
use rayon::prelude::*;

use super::smoothness::{self, Found};
use crate::nn::Threads;

/// Side of a block in pixels of the picture; the finest level of the pyramid has half as many.
pub(super) const BLOCK: usize = 16;
const LEVELS: usize = 3;
/// Side of a block at each level of the pyramid, and how far its window reaches beyond.
const SIDE: isize = 8;
const MARGIN: isize = 4;
/// Reach of the search at the coarsest level, in its pixels: 8 of the picture's.
const REACH: i32 = 5;
/// Weight of the distance to the motion of a block's neighbours, per pixel of the level and level of noise: what keeps
/// blocks without texture from following the noise.
const SMOOTHNESS: f32 = 0.02;
/// Noise counts as at least this: patterns that repeat must not be found wherever they repeat.
const LEAST_LEVEL: f32 = 2.0;

/// Luma at a half, a quarter and an eighth of its size.
#[derive(Debug, Default)]
pub(super) struct Pyramid(Vec<Array2<f32>>);

impl Pyramid {
    pub fn build(&mut self, luma: &Array2<f32>, threads: &Threads) {
        self.0.resize_with(LEVELS, || Array2::zeros((0, 0)));
        for level in 0..LEVELS {
            let (finer, coarser) = self.0.split_at_mut(level);
            halve(finer.last().unwrap_or(luma), &mut coarser[0], threads);
        }
    }
}

/// Means of 2x2 pixels, those at odd edges of what is there.
fn halve(from: &Array2<f32>, to: &mut Array2<f32>, threads: &Threads) {
    let (height, width) = from.dim();
    let dim = (height.div_ceil(2), width.div_ceil(2));
    if to.dim() != dim {
        *to = Array2::zeros(dim);
    }
    threads.enter(|| {
        to.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut row)| {
            let (above, below) = (from.row(2 * y), from.row((2 * y + 1).min(height - 1)));
            let sum = |x: usize| above[x] + below[x];
            for (x, to) in row.iter_mut().enumerate() {
                *to = 0.25 * (sum(2 * x) + sum((2 * x + 1).min(width - 1)));
            }
        });
    });
}

/// Where blocks of the present picture lie in the past one.
#[derive(Debug, Default)]
pub(super) struct Motion {
    /// Displacement `[x, y]` in pixels of the picture, by block.
    pub blocks: Array2<[f32; 2]>,
    found: Array2<Found>,
}

impl Motion {
    /// Finds the motion from `past` to `present`, each luma and its pyramid. `level` is the noise of luma's pixels.
    pub fn search(
        &mut self,
        (present, present_pyramid): (&Array2<f32>, &Pyramid),
        (past, past_pyramid): (&Array2<f32>, &Pyramid),
        level: f32,
        threads: &Threads,
    ) {
        let level = level.max(LEAST_LEVEL);
        let mut coarser: Option<Array2<[i32; 2]>> = None;
        for number in (0..LEVELS).rev() {
            // Means of 4 pixels have half the noise.
            let weight = SMOOTHNESS * level / (2 << number) as f32;
            let Some(pair) = Pair::new(&present_pyramid.0[number], &past_pyramid.0[number], SIDE, weight) else {
                return;
            };
            coarser = Some(pair.search(coarser.as_ref(), threads));
        }
        let Some(finest) = coarser else { return };
        let Some(pair) = Pair::new(present, past, BLOCK as isize, SMOOTHNESS * level) else { return };
        if self.found.dim() != finest.dim() {
            self.found = Array2::default(finest.dim());
        }
        threads.enter(|| {
            let rows = self.found.axis_iter_mut(Axis(0)).into_par_iter().zip(finest.axis_iter(Axis(0)).into_par_iter());
            rows.enumerate().for_each(|(by, (mut row, finest))| {
                for (bx, (block, coarse)) in row.iter_mut().zip(finest).enumerate() {
                    let mut best = Best::new(&pair, (by, bx), coarse.map(|d| 2 * d));
                    best.consider(best.expected);
                    best.consider_around();
                    *block = pair.refine((by, bx), best.found, level);
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
    present: &'a [f32],
    past: &'a [f32],
    /// Height and width.
    dim: (usize, usize),
    /// Side of a block in pixels.
    side: isize,
    /// What a pixel of distance from the expected motion costs.
    weight: f32,
    arch: Arch,
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
        let distance = (d[0] - self.expected[0]).abs() + (d[1] - self.expected[1]).abs();
        let cost = self.pair.weight * distance as f32;
        if cost < self.cost {
            let cost = cost + self.pair.difference(self.block, d, f32::abs);
            if cost < self.cost {
                (self.found, self.cost) = (d, cost);
            }
        }
    }

    /// Considers the eight neighbours of what was found.
    fn consider_around(&mut self) {
        let [x, y] = self.found;
        for dy in -1..=1 {
            for dx in -1..=1 {
                if (dx, dy) != (0, 0) {
                    self.consider([x + dx, y + dy]);
                }
            }
        }
    }
}

impl<'a> Pair<'a> {
    fn new(present: &'a Array2<f32>, past: &'a Array2<f32>, side: isize, weight: f32) -> Option<Self> {
        let (dim, present, past) = (present.dim(), present.as_slice()?, past.as_slice()?);
        Some(Self { dim, present, past, side, weight, arch: Arch::new() })
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
    fn follow(&self, (by, bx): (usize, usize), coarser: &Array2<[i32; 2]>, left: Option<[i32; 2]>) -> [i32; 2] {
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

    /// Fractions of a pixel, from a parabola through the mean squares beside the best whole displacement, and how certain
    /// they are: noise moves the smallest by what its curvature allows. `level` is the noise of this level's pixels.
    fn refine(&self, block: (usize, usize), d: [i32; 2], level: f32) -> Found {
        let square = |d: [i32; 2]| self.difference(block, d, |v| v * v);
        let centre = square(d);
        let mut found = Found { motion: d.map(|d| d as f32), ..Found::default() };
        for axis in 0..2 {
            let [before, after] = [-1, 1].map(|offset| {
                let mut d = d;
                d[axis] += offset;
                square(d)
            });
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
    fn difference(&self, (by, bx): (usize, usize), [dx, dy]: [i32; 2], measure: impl Fn(f32) -> f32) -> f32 {
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
        let present = &self.present[at(y0, x0)..];
        let past = &self.past[at(y0 + dy as isize, x0 + dx as isize)..];
        let sum = self.arch.dispatch(Sum { present, past, width, length, rows, measure });
        sum / (length * rows) as f32
    }
}

/// Differences that are added up side by side.
const LANES: usize = 8;

/// Adds up a measure of the differences of two areas, which begin where the slices do.
struct Sum<'a, F> {
    present: &'a [f32],
    past: &'a [f32],
    /// Of a row of the pictures, and of one of the areas.
    width: usize,
    length: usize,
    rows: usize,
    measure: F,
}

impl<F: Fn(f32) -> f32> Sum<'_, F> {
    /// Adds a row to sums side by side, which the compiler can keep in a vector.
    #[inline(always)]
    fn add(&self, sums: &mut [f32; LANES], present: &[f32], past: &[f32]) {
        let ((present, more_present), (past, more_past)) = (present.as_chunks::<LANES>(), past.as_chunks::<LANES>());
        for (a, b) in present.iter().zip(past) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += (self.measure)(a - b);
            }
        }
        for ((sum, a), b) in sums.iter_mut().zip(more_present).zip(more_past) {
            *sum += (self.measure)(a - b);
        }
    }
}

impl<F: Fn(f32) -> f32> WithSimd for Sum<'_, F> {
    type Output = f32;

    // Plain Rust, compiled once for each instruction set.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f32 {
        // Two rows at a time: a sum has to wait for itself.
        let [mut even, mut odd] = [[0.0; LANES]; 2];
        let pairs = self.present.chunks(2 * self.width).zip(self.past.chunks(2 * self.width));
        for (i, (present, past)) in pairs.take(self.rows.div_ceil(2)).enumerate() {
            let line = |row: usize| {
                let columns = row * self.width..row * self.width + self.length;
                present.get(columns.clone()).zip(past.get(columns))
            };
            if let Some((present, past)) = line(0) {
                self.add(&mut even, present, past);
            }
            if let (Some((present, past)), true) = (line(1), 2 * i + 1 < self.rows) {
                self.add(&mut odd, present, past);
            }
        }
        even.iter().zip(odd).map(|(a, b)| a + b).sum()
    }
}
