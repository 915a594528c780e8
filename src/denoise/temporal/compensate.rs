//! Shifts the past to where things are now.

use ndarray::{Array2, ArrayViewMut2, Axis};
use pulp::{Arch, WithSimd};
use rayon::prelude::*;

use super::motion::{BLOCK, Motion};
use crate::nn::Threads;

/// Neighbours in a row or column that a value between pixels is made from.
const TAPS: usize = 6;

/// Shifts a plane block by block, with Lanczos's interpolation between pixels (Duchon, "Lanczos filtering in one and two
/// dimensions", Journal of Applied Meteorology 18, 1979): the past goes through this again with each picture, and a
/// shorter one would blur a little more each time. `shifts` tells by which powers of two the plane is smaller than the picture.
pub(super) fn shift(plane: &Array2<f32>, motion: &Motion, shifts: [u32; 2], to: &mut Array2<f32>, threads: &Threads) {
    if to.dim() != plane.dim() {
        *to = Array2::zeros(plane.dim());
    }
    // Lengths that the compiler knows of, which fill whole vectors.
    if shifts[0] == 0 {
        blocks::<BLOCK, { BLOCK + 8 }>(plane, motion, shifts, to, threads);
    } else {
        blocks::<{ BLOCK / 2 }, BLOCK>(plane, motion, shifts, to, threads);
    }
}

/// Shifts blocks of `SIDE` pixels across; see [`Block`].
fn blocks<const SIDE: usize, const LINE: usize>(
    plane: &Array2<f32>,
    motion: &Motion,
    shifts: [u32; 2],
    to: &mut Array2<f32>,
    threads: &Threads,
) {
    let Some(values) = plane.as_slice() else { return };
    let side_y = BLOCK >> shifts[1];
    let scale = shifts.map(|shift| 1.0 / (1 << shift) as f32);
    let arch = Arch::new();
    threads.enter(|| {
        to.axis_chunks_iter_mut(Axis(0), side_y).into_par_iter().enumerate().for_each(|(by, mut rows)| {
            for (bx, to) in rows.axis_chunks_iter_mut(Axis(1), SIDE).enumerate() {
                let [dx, dy] = motion.blocks[[by, bx]];
                let along = |at: usize, d: f32| {
                    let whole = d.floor();
                    ((at as isize).saturating_add(whole as isize), lanczos(d - whole))
                };
                let (x, across) = along(bx * SIDE, dx * scale[0]);
                let (y, down) = along(by * side_y, dy * scale[1]);
                arch.dispatch(Block::<SIDE, LINE> { values, dim: plane.dim(), place: [x, y], across, down, to });
            }
        });
    });
}

/// A block of a plane between its pixels: up to `SIDE` of them across, made from lines of `LINE`, which is at least
/// `SIDE + TAPS - 1`.
struct Block<'a, const SIDE: usize, const LINE: usize> {
    /// Of the plane, row by row, and its height and width.
    values: &'a [f32],
    dim: (usize, usize),
    /// Where it lies in the plane, `[x, y]`, and weights of the neighbours.
    place: [isize; 2],
    across: [f32; TAPS],
    down: [f32; TAPS],
    to: ArrayViewMut2<'a, f32>,
}

impl<const SIDE: usize, const LINE: usize> WithSimd for Block<'_, SIDE, LINE> {
    type Output = ();

    // Plain Rust, compiled once for each instruction set.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        const BEFORE: isize = TAPS as isize / 2 - 1;
        let Block { values, dim: (height, width), place: [x, y], across, down, mut to } = self;
        let start = x.saturating_sub(BEFORE);
        let mut line = [0.0; LINE];
        let mut made = [0.0; SIDE];
        for (i, mut to) in to.rows_mut().into_iter().enumerate() {
            let rows: [&[f32]; TAPS] = std::array::from_fn(|r| {
                let row = y.saturating_add(i as isize + r as isize - BEFORE).clamp(0, height as isize - 1);
                &values[row as usize * width..][..width]
            });
            let inside = rows.map(|row| row.get(start.max(0) as usize..).and_then(|row| row.first_chunk::<LINE>()));
            if let ([Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)], true) = (inside, start >= 0) {
                for (x, value) in line.iter_mut().enumerate() {
                    let (low, high) = (down[0] * a[x] + down[1] * b[x], down[4] * e[x] + down[5] * f[x]);
                    *value = low + (down[2] * c[x] + down[3] * d[x]) + high;
                }
            } else {
                for (x, value) in line.iter_mut().enumerate() {
                    let at = start.saturating_add(x as isize).clamp(0, width as isize - 1) as usize;
                    *value = (0..TAPS).map(|r| down[r] * rows[r][at]).sum();
                }
            }
            made.fill(0.0);
            for (weight, values) in across.iter().zip(line.windows(SIDE)) {
                made.iter_mut().zip(values).for_each(|(sum, v)| *sum += weight * v);
            }
            to.iter_mut().zip(made).for_each(|(to, v)| *to = v);
        }
    }
}

/// Weights of the neighbours of a point `fraction` of the way from the third to the fourth.
fn lanczos(fraction: f32) -> [f32; TAPS] {
    const REACH: f32 = TAPS as f32 / 2.0;
    let distance = |i: usize| i as f32 - (REACH - 1.0) - fraction;
    if let Some(exact) = (0..TAPS).find(|i| distance(*i).abs() < 1e-4) {
        return std::array::from_fn(|i| if i == exact { 1.0 } else { 0.0 });
    }
    // Of one of the two sines only the sign changes from one to the next, and the sum is divided by.
    let weights: [f32; TAPS] = std::array::from_fn(|i| {
        let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
        sign * (std::f32::consts::PI / REACH * distance(i)).sin() / distance(i).powi(2)
    });
    let sum: f32 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// Shifts a map of half the picture's size by whole pixels.
pub(super) fn nearest(map: &Array2<f32>, motion: &Motion, to: &mut Array2<f32>, threads: &Threads) {
    let (height, width) = map.dim();
    if to.dim() != map.dim() {
        *to = Array2::zeros(map.dim());
    }
    let side = BLOCK / 2;
    threads.enter(|| {
        to.axis_chunks_iter_mut(Axis(0), side).into_par_iter().enumerate().for_each(|(by, mut rows)| {
            for (bx, mut block) in rows.axis_chunks_iter_mut(Axis(1), side).enumerate() {
                let [dx, dy] = motion.blocks[[by, bx]].map(|d| (d * 0.5).round() as isize);
                let place =
                    |at: usize, d: isize, length: usize| (at as isize + d).clamp(0, length as isize - 1) as usize;
                for ((y, x), value) in block.indexed_iter_mut() {
                    *value = map[[place(by * side + y, dy, height), place(bx * side + x, dx, width)]];
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_formula() {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
        for fraction in [0.0f32, 1e-5, 1e-3, 0.1, 0.25, 0.5, 0.77, 0.999] {
            let formula = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0].map(|n: f64| n - f64::from(fraction));
            let formula = formula.map(|d| if d.abs() < 3.0 { sinc(d) * sinc(d / 3.0) } else { 0.0 });
            let sum: f64 = formula.iter().sum();
            for (ours, formula) in lanczos(fraction).iter().zip(formula) {
                assert!((f64::from(*ours) - formula / sum).abs() < 1e-4, "{fraction}: {ours} {}", formula / sum);
            }
        }
    }
}
