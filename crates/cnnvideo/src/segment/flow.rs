//! Optical flow by Dense Inverse Search (DIS).
//!
//! Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016. Gradient descent estimates
//! the displacement of patches on a grid, from the coarsest pyramid level to the finest. The flow
//! of a pixel is the mean over the patches that cover it, weighted by their match error. The
//! variational refinement of the paper is left out.

use std::ops::Range;

use ndarray::{Array2, Axis, Zip};
use rayon::prelude::*;

use super::image::bilinear;
use crate::{nn::Threads, simd::vectorise};

/// Side of a patch, in pixels of its pyramid level.
const PATCH: usize = 8;
/// Distance between neighbouring patches, in pixels of their pyramid level.
const STRIDE: usize = 4;
/// Pixels of a patch.
const AREA: usize = PATCH * PATCH;
/// Largest number of gradient descent iterations per patch.
const STEPS: usize = 12;
/// Length of a descent step, in pixels of the pyramid level, below which the descent ends.
const SHORT: f32 = 0.03;
/// Finest pyramid level that is searched: 1 has half the width and height of the picture.
const FINEST: usize = 1;
/// Least width and height of the coarsest pyramid level, in pixels.
const COARSEST: usize = 20;
/// Distance, in pixels of the coarser pyramid level, to the four neighbours of a patch whose flow
/// also serves as a starting point.
const AROUND: isize = 5;
/// Starting points that differ by less than this along both axes, in pixels, count as one.
const SAME: f32 = 0.25;
/// Floor of the squared match error, in squared code values, that divides the weight of a patch.
const LEAST_MISFIT: f32 = 1.0;
/// Added to the diagonal of the structure tensor, in squared code values summed over a patch, so
/// that patches without texture keep the flow of the coarser pyramid level.
const DAMPING: f32 = 60.0;

/// Image pyramid of luma; each level has half the width and height of the one before.
#[derive(Debug, Clone, Default)]
pub struct Pyramid(Vec<Array2<f32>>);

impl Pyramid {
    /// Builds the pyramid of a luma plane, reusing the memory of the previous one.
    pub fn build(&mut self, luma: &Array2<f32>) {
        let (height, width) = luma.dim();
        let mut levels = FINEST + 1;
        while height.min(width) >> levels >= COARSEST {
            levels += 1;
        }
        self.0.resize_with(levels, || Array2::zeros((0, 0)));
        self.0[0].clone_from(luma);
        for level in 1..levels {
            let (finer, coarser) = self.0.split_at_mut(level);
            let finer = &finer[level - 1];
            let dim = ((finer.nrows() / 2).max(1), (finer.ncols() / 2).max(1));
            if coarser[0].dim() != dim {
                coarser[0] = Array2::zeros(dim);
            }
            let (last_y, last_x) = (finer.nrows() - 1, finer.ncols() - 1);
            for ((y, x), to) in coarser[0].indexed_iter_mut() {
                let at = |dy: usize, dx: usize| {
                    finer[[(2 * y + dy).min(last_y), (2 * x + dx).min(last_x)]]
                };
                *to = 0.25 * (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1));
            }
        }
    }

    /// Returns whether both pyramids have the same levels with the same sizes.
    fn fits(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(a, b)| a.dim() == b.dim())
    }
}

/// Rectangle of a picture: its range of rows and its range of columns.
pub type Window = (Range<usize>, Range<usize>);

/// Dense optical flow from one picture to another.
#[derive(Debug, Default)]
pub struct Flow {
    /// Displacement `[x, y]` of each block of 2x2 pixels, in pixels of the picture.
    blocks: Array2<[f32; 2]>,
}

impl Flow {
    /// Estimates the displacement of each pixel of `present` to its position in `past`.
    ///
    /// Outside of `window` (in pixels of the picture) the flow is less accurate: it is that of the
    /// pyramid level above the finest one. If the two pyramids differ in size, the flow is zero.
    pub fn search(
        &mut self,
        present: &Pyramid,
        past: &Pyramid,
        window: &Window,
        threads: &Threads,
    ) {
        let Some(finest) = present.0.get(FINEST) else { return };
        if !present.fits(past) {
            self.blocks = Array2::from_elem(finest.dim(), [0.0; 2]);
            return;
        }
        let mut flow: Option<Array2<[f32; 2]>> = None;
        for level in (FINEST..present.0.len()).rev() {
            let (height, width) = present.0[level].dim();
            let part = |range: &Range<usize>, n: usize| {
                (range.start >> level).min(n)..((range.end >> level) + 1).min(n)
            };
            // Coarser levels are searched over the whole picture: that takes a third of the time of
            // the finest level, and scene cuts and seeds need flow outside of the window too.
            let window = match &flow {
                Some(_) if level == FINEST => (part(&window.0, height), part(&window.1, width)),
                _ => (0..height, 0..width),
            };
            flow = Some(search_level(
                &present.0[level],
                &past.0[level],
                flow.as_ref(),
                &window,
                threads,
            ));
        }
        self.blocks = flow.unwrap_or_default();
        // One pixel of the finest level that is searched is two pixels of the picture.
        self.blocks.iter_mut().flatten().for_each(|d| *d *= 2.0);
    }

    /// Returns the displacement `[x, y]` of a pixel, in pixels.
    #[inline(always)]
    pub fn at(&self, y: usize, x: usize) -> [f32; 2] {
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
fn search_level(
    present: &Array2<f32>,
    past: &Array2<f32>,
    coarser: Option<&Array2<[f32; 2]>>,
    window: &Window,
    threads: &Threads,
) -> Array2<[f32; 2]> {
    let (height, width) = present.dim();
    let count = |n: usize| (n.saturating_sub(PATCH)).div_ceil(STRIDE) + 1;
    let (rows, columns) = (count(height), count(width));
    let place = |i: usize, n: usize| (i * STRIDE).min(n.saturating_sub(PATCH));
    let before = |y: usize, x: usize| {
        coarser.map(|coarser| {
            coarser[[(y / 2).min(coarser.nrows() - 1), (x / 2).min(coarser.ncols() - 1)]]
                .map(|d| 2.0 * d)
        })
    };
    let sought = |at: usize, range: &Range<usize>| at < range.end && at + PATCH > range.start;
    // Displacement and match error of each patch.
    let mut patches = Array2::from_elem((rows, columns), ([0.0f32; 2], 0.0f32));
    let mut flow = Array2::from_elem((height, width), [0.0; 2]);
    threads.enter(|| {
        patches.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut found)| {
            let y0 = place(row, height);
            if !sought(y0, &window.0) {
                return;
            }
            let mut left: Option<[f32; 2]> = None;
            for (column, found) in found.iter_mut().enumerate() {
                let x0 = place(column, width);
                if !sought(x0, &window.1) {
                    continue;
                }
                // Starting points: the coarser flow at the patch and around it, and the
                // displacement of the patch to the left.
                let (y, x) = (y0 + PATCH / 2, x0 + PATCH / 2);
                let around = [(0, 0), (0, AROUND), (AROUND, 0), (0, -AROUND), (-AROUND, 0)];
                let starts = around.map(|(dy, dx)| {
                    let at = |v: usize, d: isize| v.saturating_add_signed(2 * d);
                    before(at(y, dy), at(x, dx)).unwrap_or([0.0; 2])
                });
                *found = vectorise(
                    #[inline(always)]
                    || Patch::of(present, y0, x0).find(past, &starts, left),
                );
                left = Some(found.0);
            }
        });
        flow.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut flow)| {
            let cover = |at: usize, n: usize, count: usize| {
                let first = (at + 1).saturating_sub(PATCH).div_ceil(STRIDE);
                (first.min(count - 1)..count).take_while(move |i| place(*i, n) <= at)
            };
            for (x, to) in flow.iter_mut().enumerate() {
                if !window.0.contains(&y) || !window.1.contains(&x) {
                    *to = before(y, x).unwrap_or([0.0; 2]);
                    continue;
                }
                let (mut sum, mut total) = ([0.0; 2], 0.0);
                for row in cover(y, height, rows) {
                    for column in cover(x, width, columns) {
                        let (d, misfit) = patches[[row, column]];
                        let weight = 1.0 / (misfit * misfit).max(LEAST_MISFIT);
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

/// Patch of one pyramid level of the present picture, with the terms of the descent that do not
/// depend on the displacement.
struct Patch {
    /// Top row.
    y0: usize,
    /// Left column.
    x0: usize,
    /// Luma minus its mean over the patch.
    values: [f32; AREA],
    /// Horizontal and vertical derivative.
    gradients: [[f32; AREA]; 2],
    /// Inverse of the structure tensor, as its entries `[xx, xy, yy]`.
    inverse: [f32; 3],
}

impl Patch {
    /// Extracts the patch whose top left pixel is `(y0, x0)`; pixels beyond the border are
    /// replicated.
    #[inline(always)]
    fn of(picture: &Array2<f32>, y0: usize, x0: usize) -> Self {
        let (height, width) = picture.dim();
        let at = |y: usize, x: usize| picture[[y.min(height - 1), x.min(width - 1)]];
        let (mut values, mut gradients) = ([0.0; AREA], [[0.0; AREA]; 2]);
        let mut sums = [DAMPING, 0.0, DAMPING];
        let mut mean = 0.0;
        for i in 0..AREA {
            let (y, x) = (y0 + i / PATCH, x0 + i % PATCH);
            values[i] = at(y, x);
            mean += values[i] / AREA as f32;
            let gx = 0.5 * (at(y, x + 1) - at(y, x.saturating_sub(1)));
            let gy = 0.5 * (at(y + 1, x) - at(y.saturating_sub(1), x));
            (gradients[0][i], gradients[1][i]) = (gx, gy);
            sums = [sums[0] + gx * gx, sums[1] + gx * gy, sums[2] + gy * gy];
        }
        values.iter_mut().for_each(|v| *v -= mean);
        let determinant = sums[0] * sums[2] - sums[1] * sums[1];
        let inverse = [sums[2] / determinant, -sums[1] / determinant, sums[0] / determinant];
        Self { y0, x0, values, gradients, inverse }
    }

    /// Refines the starting point with the smallest match error. Returns the displacement and its
    /// match error.
    #[inline(always)]
    fn find(
        &self,
        past: &Array2<f32>,
        starts: &[[f32; 2]; 5],
        left: Option<[f32; 2]>,
    ) -> ([f32; 2], f32) {
        let (mut start, mut misfit) = ([0.0; 2], f32::INFINITY);
        let mut seen = [[f32::INFINITY; 2]; 6];
        for (i, d) in starts.iter().copied().chain(left).enumerate() {
            if seen[..i].iter().any(|s| (s[0] - d[0]).abs() < SAME && (s[1] - d[1]).abs() < SAME) {
                continue;
            }
            seen[i] = d;
            let own = self.misfit(past, d);
            if own < misfit {
                (start, misfit) = (d, own);
            }
        }
        self.descend(past, start, misfit)
    }

    /// Returns the pixel differences to the displaced patch of `past`, each patch minus its mean;
    /// `None` if half of the displaced patch or more lies outside of the picture.
    #[inline(always)]
    fn differences(&self, past: &Array2<f32>, d: [f32; 2]) -> Option<[f32; AREA]> {
        let (height, width) = past.dim();
        let (x, y) = (self.x0 as f32 + d[0], self.y0 as f32 + d[1]);
        let reach = PATCH as f32 / 2.0;
        if !(x > -reach && y > -reach && x + reach < width as f32 && y + reach < height as f32) {
            return None;
        }
        let (fx, fy) = (x - x.floor(), y - y.floor());
        let (x0, y0) = (x.floor() as isize, y.floor() as isize);
        let values = past.as_slice().unwrap_or_default();
        // Interpolates each row horizontally once, as two output rows share it.
        let mut rows = [[0.0; PATCH]; PATCH + 1];
        for (y, row) in (y0..).zip(&mut rows) {
            let y = y.clamp(0, height as isize - 1) as usize;
            let line = values.get(y * width..(y + 1) * width)?;
            let part: [f32; PATCH + 1] =
                match usize::try_from(x0).ok().and_then(|x0| line.get(x0..)?.first_chunk()) {
                    Some(part) => *part,
                    None => std::array::from_fn(|i| {
                        line[(x0 + i as isize).clamp(0, width as isize - 1) as usize]
                    }),
                };
            *row = std::array::from_fn(|i| part[i] + fx * (part[i + 1] - part[i]));
        }
        let mut result = [0.0; AREA];
        let mut means = [0.0; PATCH];
        for (dy, result) in result.chunks_exact_mut(PATCH).enumerate() {
            for dx in 0..PATCH {
                let value = rows[dy][dx] + fy * (rows[dy + 1][dx] - rows[dy][dx]);
                result[dx] = value - self.values[dy * PATCH + dx];
                means[dx] += value / AREA as f32;
            }
        }
        let mean = sum(&means);
        result.iter_mut().for_each(|v| *v -= mean);
        Some(result)
    }

    /// Returns the match error of a displacement: the mean absolute difference of the two patches,
    /// each minus its mean, in code values.
    #[inline(always)]
    fn misfit(&self, past: &Array2<f32>, d: [f32; 2]) -> f32 {
        let Some(differences) = self.differences(past, d) else { return f32::INFINITY };
        let mut sums = [0.0; PATCH];
        for row in differences.chunks_exact(PATCH) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v.abs());
        }
        sum(&sums) / AREA as f32
    }

    /// Refines the displacement `start`, whose match error is `before`, by gradient descent.
    /// Returns the displacement and its match error.
    #[inline(always)]
    fn descend(&self, past: &Array2<f32>, start: [f32; 2], before: f32) -> ([f32; 2], f32) {
        let mut d = start;
        for _ in 0..STEPS {
            let Some(differences) = self.differences(past, d) else { break };
            let [gx, gy] = self.gradients.each_ref().map(|gradients| {
                let mut sums = [0.0; PATCH];
                for (gradients, row) in
                    gradients.chunks_exact(PATCH).zip(differences.chunks_exact(PATCH))
                {
                    sums.iter_mut()
                        .zip(gradients.iter().zip(row))
                        .for_each(|(sum, (g, v))| *sum += g * v);
                }
                sum(&sums)
            });
            let step = [
                self.inverse[0] * gx + self.inverse[1] * gy,
                self.inverse[1] * gx + self.inverse[2] * gy,
            ];
            d = [d[0] - step[0], d[1] - step[1]];
            if step[0].hypot(step[1]) < SHORT {
                break;
            }
        }
        // A descent that moved farther than a patch has diverged.
        let far = (d[0] - start[0]).hypot(d[1] - start[1]) > PATCH as f32;
        let misfit = self.misfit(past, d);
        if far || misfit > before { (start, before.min(255.0)) } else { (d, misfit) }
    }
}

/// Adds the values of one vector in pairs, so that the additions do not depend on each other.
#[inline(always)]
fn sum(values: &[f32; PATCH]) -> f32 {
    let [a, b, c, d, e, f, g, h] = values;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// Motion-compensates a map of the previous picture.
///
/// `present` receives the part whose top left pixel is at `(y0, x0)` of the picture, by bilinear
/// interpolation of `past`; pixels that come from outside of the picture get 0. `flow` is the flow
/// from the present picture to the previous one.
pub fn warp(past: &Array2<f32>, flow: &Flow, (y0, x0): (usize, usize), present: &mut Array2<f32>) {
    let (height, width) = past.dim();
    Zip::indexed(present.rows_mut()).par_for_each(|y, mut row| {
        vectorise(
            #[inline(always)]
            || {
                for (x, to) in row.iter_mut().enumerate() {
                    let [dx, dy] = flow.at(y0 + y, x0 + x);
                    let (u, v) = ((x0 + x) as f32 + dx, (y0 + y) as f32 + dy);
                    let within = u >= -0.5
                        && v >= -0.5
                        && u <= width as f32 - 0.5
                        && v <= height as f32 - 0.5;
                    *to = if within { bilinear(past, u, v) } else { 0.0 };
                }
            },
        );
    });
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

    fn flow(past: &Array2<f32>, present: &Array2<f32>) -> Flow {
        let (mut a, mut b) = (Pyramid::default(), Pyramid::default());
        a.build(past);
        b.build(present);
        let mut flow = Flow::default();
        flow.search(&b, &a, &(0..present.nrows(), 0..present.ncols()), &Threads::new(1).unwrap());
        flow
    }

    #[test]
    fn outside_of_the_window_coarse_flow_is_left() {
        let (past, present) = (scene(|_, _| [0.0; 2]), scene(|_, _| [6.0, 4.0]));
        let (mut a, mut b) = (Pyramid::default(), Pyramid::default());
        a.build(&past);
        b.build(&present);
        let (whole, mut part) = (flow(&past, &present), Flow::default());
        part.search(&b, &a, &(40..100, 60..140), &Threads::new(1).unwrap());
        for y in 24..120 {
            for x in 24..168 {
                let ([ax, ay], [bx, by]) = (whole.at(y, x), part.at(y, x));
                let most = if (52..88).contains(&y) && (72..128).contains(&x) { 0.5 } else { 2.5 };
                assert!((ax - bx).hypot(ay - by) < most, "{y} {x}: {ax} {ay}, {bx} {by}");
            }
        }
    }

    #[test]
    fn finds_shifts_and_zooms() {
        let past = scene(|_, _| [0.0; 2]);
        for d in [[0.0, 0.0], [1.5, -0.7], [6.0, 4.0], [-11.0, 3.0]] {
            let flow = flow(&past, &scene(|_, _| d));
            let mut error = 0.0;
            for y in 24..120 {
                for x in 24..168 {
                    let found = flow.at(y, x);
                    error += (found[0] - d[0]).hypot(found[1] - d[1]) / (96.0 * 144.0);
                }
            }
            assert!(error < 0.35, "{d:?}: {error}");
        }
        let zoom = |x: f32, y: f32| [0.03 * (x - 96.0), 0.03 * (y - 72.0)];
        let flow = flow(&past, &scene(zoom));
        let [dx, dy] = flow.at(36, 150);
        let [ex, ey] = zoom(150.0, 36.0);
        assert!((dx - ex).hypot(dy - ey) < 0.5, "flow {dx} {dy}, expected {ex} {ey}");
    }

    #[test]
    fn a_map_follows() {
        let past = scene(|_, _| [0.0; 2]);
        let flow = flow(&past, &scene(|_, _| [5.0, 0.0]));
        let map =
            Array2::from_shape_fn(past.dim(), |(_, x)| f32::from(u8::from((80..120).contains(&x))));
        let mut moved = Array2::zeros(map.dim());
        warp(&map, &flow, (0, 0), &mut moved);
        assert!(
            moved[[70, 77]] > 0.9
                && moved[[70, 112]] > 0.9
                && moved[[70, 118]] < 0.1
                && moved[[70, 70]] < 0.1
        );
    }

    #[test]
    fn small_pictures_and_other_sizes_are_no_trouble() {
        for dim in [(1, 1), (3, 9), (8, 8), (50, 7)] {
            let picture = Array2::from_elem(dim, 7.0);
            assert_eq!(flow(&picture, &picture).at(dim.0 - 1, dim.1 - 1), [0.0; 2]);
        }
        assert_eq!(flow(&Array2::zeros((40, 40)), &Array2::zeros((60, 40))).at(3, 3), [0.0; 2]);
    }
}
