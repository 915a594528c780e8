// SPDX-License-Identifier: MIT OR Apache-2.0

//! Optical flow by Dense Inverse Search (DIS).
//!
//! Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016. Gradient descent estimates
//! the displacement of patches on a grid, from the coarsest pyramid level to the finest. The flow
//! of a pixel is the mean over the patches that cover it, weighted by their match error. The
//! variational refinement of the paper is left out.

mod patch;

use std::ops::Range;

use ndarray::{Array2, Axis, Zip};
use rayon::prelude::*;

use self::patch::{PATCH_SIDE, Patch, PatchMatch};
use super::image::bilinear_inside;
use crate::{
    frame::{OddSize, Pyramid},
    nn::Threads,
    simd::vectorise,
};

/// Distance between neighbouring patches, in pixels of their pyramid level.
const PATCH_STRIDE: usize = 4;
/// Finest pyramid level that is searched: 1 has half the width and height of the picture.
const FINEST_LEVEL: usize = 1;
/// Least width and height of the coarsest pyramid level, in pixels.
const MIN_LEVEL_SIDE: usize = 20;
/// Distance, in pixels of the coarser pyramid level, to the four neighbours of a patch whose flow
/// also serves as a starting point.
const NEIGHBOUR_OFFSET: isize = 5;
/// Floor of the squared match error, in squared code values, that divides the weight of a patch.
const MIN_SQUARED_ERROR: f32 = 1.0;

/// Image pyramid of luma; each level has half the width and height of the one before.
#[derive(Debug, Clone, Default)]
pub struct LumaPyramid(Pyramid<f32>);

impl LumaPyramid {
    /// Builds the pyramid of a luma plane, reusing the memory of the previous one.
    pub fn build(&mut self, luma: &Array2<f32>, threads: &Threads) {
        let (height, width) = luma.dim();
        let mut levels = FINEST_LEVEL + 1;
        while height.min(width) >> levels >= MIN_LEVEL_SIDE {
            levels += 1;
        }
        self.0.full_size(luma.dim()).assign(luma);
        self.0.reduce(
            levels - 1,
            OddSize::RoundDown,
            threads,
            #[inline(always)]
            |[a, b, c, d]| 0.25 * (a + b + c + d),
        );
    }

    /// Returns all levels, the finest (the picture itself) first.
    fn levels(&self) -> &[Array2<f32>] {
        self.0.levels()
    }

    /// Returns whether both pyramids have the same levels with the same sizes.
    fn same_size(&self, other: &Self) -> bool {
        self.levels().len() == other.levels().len()
            && self.levels().iter().zip(other.levels()).all(|(a, b)| a.dim() == b.dim())
    }
}

/// Rectangle of a picture, in pixels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowWindow {
    /// Range of rows.
    pub rows: Range<usize>,
    /// Range of columns.
    pub columns: Range<usize>,
}

impl FlowWindow {
    /// Returns the window that covers a whole picture of size `(height, width)`.
    pub fn whole((height, width): (usize, usize)) -> Self {
        Self { rows: 0..height, columns: 0..width }
    }
}

/// Dense optical flow from one picture to another.
#[derive(Debug, Default)]
pub struct Flow {
    /// Displacement `[x, y]` of each block of 2x2 pixels, in pixels of the picture.
    blocks: Array2<[f32; 2]>,
}

impl Flow {
    /// Estimates the displacement of each pixel of `current` to its position in `previous`.
    ///
    /// Outside of `window` (in pixels of the picture) the flow is less accurate: it is that of the
    /// pyramid level above the finest one. If the two pyramids differ in size, the flow is zero.
    ///
    /// # Panics
    /// Panics if `current` has not been built.
    pub fn estimate(
        &mut self,
        current: &LumaPyramid,
        previous: &LumaPyramid,
        window: &FlowWindow,
        threads: &Threads,
    ) {
        let finest =
            current.levels().get(FINEST_LEVEL).expect("the current pyramid has been built");
        if !current.same_size(previous) {
            self.blocks = Array2::from_elem(finest.dim(), [0.0; 2]);
            return;
        }
        let mut flow: Option<Array2<[f32; 2]>> = None;
        for level in (FINEST_LEVEL..current.levels().len()).rev() {
            let (height, width) = current.levels()[level].dim();
            let scaled = |range: &Range<usize>, n: usize| {
                (range.start >> level).min(n)..((range.end >> level) + 1).min(n)
            };
            // Coarser levels are searched over the whole picture: that takes a third of the time of
            // the finest level, and scene cuts and seeds need flow outside of the window too.
            let window = match &flow {
                Some(_) if level == FINEST_LEVEL => FlowWindow {
                    rows: scaled(&window.rows, height),
                    columns: scaled(&window.columns, width),
                },
                _ => FlowWindow::whole((height, width)),
            };
            flow = Some(estimate_level(
                &current.levels()[level],
                &previous.levels()[level],
                flow.as_ref(),
                &window,
                threads,
            ));
        }
        self.blocks = flow.expect("a built pyramid has at least the finest level");
        // One pixel of the finest level that is searched is two pixels of the picture.
        self.blocks.iter_mut().flatten().for_each(|d| *d *= 2.0);
    }

    /// Creates the flow of a picture of size `(height, width)` from the displacement of each pixel
    /// `[x, y]`.
    #[cfg(test)]
    pub(super) fn from_fn(
        (height, width): (usize, usize),
        displacement: impl Fn([f32; 2]) -> [f32; 2],
    ) -> Self {
        let block = |(y, x)| displacement([2.0 * x as f32 + 0.5, 2.0 * y as f32 + 0.5]);
        Self { blocks: Array2::from_shape_fn((height / 2, width / 2), block) }
    }

    /// Returns the displacement `[x, y]` of a pixel, in pixels.
    #[inline(always)]
    pub fn displacement(&self, y: usize, x: usize) -> [f32; 2] {
        let (height, width) = self.blocks.dim();
        if height == 0 {
            [0.0; 2]
        } else {
            self.blocks[[(y / 2).min(height - 1), (x / 2).min(width - 1)]]
        }
    }
}

/// Estimates the flow of one pyramid level inside of `window` (in pixels of that level); pixels
/// outside of it take the flow of the coarser level.
fn estimate_level(
    current: &Array2<f32>,
    previous: &Array2<f32>,
    coarser: Option<&Array2<[f32; 2]>>,
    window: &FlowWindow,
    threads: &Threads,
) -> Array2<[f32; 2]> {
    let (height, width) = current.dim();
    let count = |n: usize| (n.saturating_sub(PATCH_SIDE)).div_ceil(PATCH_STRIDE) + 1;
    let (rows, columns) = (count(height), count(width));
    let origin = |i: usize, n: usize| (i * PATCH_STRIDE).min(n.saturating_sub(PATCH_SIDE));
    let coarser_flow = |y: usize, x: usize| {
        coarser.map_or([0.0; 2], |coarser| {
            coarser[[(y / 2).min(coarser.nrows() - 1), (x / 2).min(coarser.ncols() - 1)]]
                .map(|d| 2.0 * d)
        })
    };
    let overlaps =
        |at: usize, range: &Range<usize>| at < range.end && at + PATCH_SIDE > range.start;
    let no_match = PatchMatch { displacement: [0.0; 2], error: 0.0 };
    let mut matches = Array2::from_elem((rows, columns), no_match);
    let mut flow = Array2::from_elem((height, width), [0.0; 2]);
    threads.enter(|| {
        matches.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(
            |(row, mut matches)| {
                let y0 = origin(row, height);
                if !overlaps(y0, &window.rows) {
                    return;
                }
                let mut left: Option<[f32; 2]> = None;
                for (column, found) in matches.iter_mut().enumerate() {
                    let x0 = origin(column, width);
                    if !overlaps(x0, &window.columns) {
                        continue;
                    }
                    // Starting points: the coarser flow at the patch and around it, and the
                    // displacement of the patch to the left.
                    let (y, x) = (y0 + PATCH_SIDE / 2, x0 + PATCH_SIDE / 2);
                    let offsets = [
                        (0, 0),
                        (0, NEIGHBOUR_OFFSET),
                        (NEIGHBOUR_OFFSET, 0),
                        (0, -NEIGHBOUR_OFFSET),
                        (-NEIGHBOUR_OFFSET, 0),
                    ];
                    let starts = offsets.map(|(dy, dx)| {
                        let at = |v: usize, d: isize| v.saturating_add_signed(2 * d);
                        coarser_flow(at(y, dy), at(x, dx))
                    });
                    *found = vectorise(
                        #[inline(always)]
                        || {
                            Patch::extract(current, y0, x0)
                                .best_displacement(previous, &starts, left)
                        },
                    );
                    left = Some(found.displacement);
                }
            },
        );
        flow.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut flow)| {
            // Indices along an axis of the patches that cover a pixel.
            let covering = |at: usize, n: usize, count: usize| {
                let first = (at + 1).saturating_sub(PATCH_SIDE).div_ceil(PATCH_STRIDE);
                (first.min(count - 1)..count).take_while(move |i| origin(*i, n) <= at)
            };
            for (x, to) in flow.iter_mut().enumerate() {
                if !window.rows.contains(&y) || !window.columns.contains(&x) {
                    *to = coarser_flow(y, x);
                    continue;
                }
                let (mut sum, mut total) = ([0.0; 2], 0.0);
                for row in covering(y, height, rows) {
                    for column in covering(x, width, columns) {
                        let PatchMatch { displacement: d, error } = matches[[row, column]];
                        let weight = 1.0 / (error * error).max(MIN_SQUARED_ERROR);
                        sum[0] += weight * d[0];
                        sum[1] += weight * d[1];
                        total += weight;
                    }
                }
                if total > 0.0 {
                    *to = sum.map(|v| v / total);
                }
            }
        });
    });
    flow
}

/// Motion-compensates a map of the previous picture.
///
/// Returns the part of the current picture inside of `window`, by bilinear interpolation of
/// `previous`; pixels that come from outside of the picture get 0. `flow` is the flow from the
/// current picture to the previous one.
pub fn motion_compensate(previous: &Array2<f32>, flow: &Flow, window: &FlowWindow) -> Array2<f32> {
    let (y0, x0) = (window.rows.start, window.columns.start);
    let mut current = Array2::zeros((window.rows.len(), window.columns.len()));
    Zip::indexed(current.rows_mut()).par_for_each(|y, mut row| {
        vectorise(
            #[inline(always)]
            || {
                for (x, to) in row.iter_mut().enumerate() {
                    *to = compensated_value(previous, flow, y0 + y, x0 + x);
                }
            },
        );
    });
    current
}

/// Returns the motion-compensated value of a map of the previous picture at a pixel of the current
/// one, 0 if the pixel comes from outside of the picture.
#[inline(always)]
pub(super) fn compensated_value(previous: &Array2<f32>, flow: &Flow, y: usize, x: usize) -> f32 {
    let [dx, dy] = flow.displacement(y, x);
    bilinear_inside(previous, x as f32 + dx, y as f32 + dy).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(shift: impl Fn(f32, f32) -> [f32; 2]) -> Array2<f32> {
        Array2::from_shape_fn((144, 192), |(y, x)| {
            let [dx, dy] = shift(x as f32, y as f32);
            let (x, y) = (x as f32 + dx, y as f32 + dy);
            128.0
                + 40.0 * (0.21 * x + 0.05 * y).sin()
                + 35.0 * (0.13 * y - 0.08 * x).cos()
                + 20.0 * (0.31 * (x + y)).sin()
        })
    }

    fn flow(previous: &Array2<f32>, current: &Array2<f32>) -> Flow {
        let (mut a, mut b) = (LumaPyramid::default(), LumaPyramid::default());
        let threads = Threads::new(1).unwrap();
        a.build(previous, &threads);
        b.build(current, &threads);
        let mut flow = Flow::default();
        flow.estimate(&b, &a, &FlowWindow::whole(current.dim()), &threads);
        flow
    }

    #[test]
    fn window_limits_only_the_finest_level() {
        let (previous, current) = (scene(|_, _| [0.0; 2]), scene(|_, _| [6.0, 4.0]));
        let (mut a, mut b) = (LumaPyramid::default(), LumaPyramid::default());
        let threads = Threads::new(1).unwrap();
        a.build(&previous, &threads);
        b.build(&current, &threads);
        let (whole, mut part) = (flow(&previous, &current), Flow::default());
        let window = FlowWindow { rows: 40..100, columns: 60..140 };
        part.estimate(&b, &a, &window, &threads);
        for y in 24..120 {
            for x in 24..168 {
                let ([ax, ay], [bx, by]) = (whole.displacement(y, x), part.displacement(y, x));
                let max_difference =
                    if (52..88).contains(&y) && (72..128).contains(&x) { 0.5 } else { 2.5 };
                assert!((ax - bx).hypot(ay - by) < max_difference, "{y} {x}: {ax} {ay}, {bx} {by}");
            }
        }
    }

    #[test]
    fn finds_shifts_and_zooms() {
        let previous = scene(|_, _| [0.0; 2]);
        for d in [[0.0, 0.0], [1.5, -0.7], [6.0, 4.0], [-11.0, 3.0]] {
            let flow = flow(&previous, &scene(|_, _| d));
            let mut error = 0.0;
            for y in 24..120 {
                for x in 24..168 {
                    let found = flow.displacement(y, x);
                    error += (found[0] - d[0]).hypot(found[1] - d[1]) / (96.0 * 144.0);
                }
            }
            assert!(error < 0.35, "{d:?}: {error}");
        }
        let zoom = |x: f32, y: f32| [0.03 * (x - 96.0), 0.03 * (y - 72.0)];
        let flow = flow(&previous, &scene(zoom));
        let [dx, dy] = flow.displacement(36, 150);
        let [ex, ey] = zoom(150.0, 36.0);
        assert!((dx - ex).hypot(dy - ey) < 0.5, "flow {dx} {dy}, expected {ex} {ey}");
    }

    #[test]
    fn motion_compensation_moves_a_map() {
        let previous = scene(|_, _| [0.0; 2]);
        let flow = flow(&previous, &scene(|_, _| [5.0, 0.0]));
        let map = Array2::from_shape_fn(previous.dim(), |(_, x)| {
            f32::from(u8::from((80..120).contains(&x)))
        });
        let moved = motion_compensate(&map, &flow, &FlowWindow::whole(map.dim()));
        assert!(
            moved[[70, 77]] > 0.9
                && moved[[70, 112]] > 0.9
                && moved[[70, 118]] < 0.1
                && moved[[70, 70]] < 0.1
        );
    }

    #[test]
    fn tiny_or_mismatched_pictures_give_zero_flow() {
        for dim in [(1, 1), (3, 9), (8, 8), (50, 7)] {
            let picture = Array2::from_elem(dim, 7.0);
            assert_eq!(flow(&picture, &picture).displacement(dim.0 - 1, dim.1 - 1), [0.0; 2]);
        }
        assert_eq!(
            flow(&Array2::zeros((40, 40)), &Array2::zeros((60, 40))).displacement(3, 3),
            [0.0; 2]
        );
    }
}
