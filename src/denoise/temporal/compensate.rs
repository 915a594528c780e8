//! Shifts the past to where things are now.

use std::sync::LazyLock;

use ndarray::{Array2, ArrayViewMut1, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::motion::{BLOCK, Motion};
use crate::{
    frame::{Fixed, Sample},
    nn::Threads,
    simd::vectorise,
};

/// Neighbours in a row or column that a value between pixels is made from.
const TAPS: usize = 6;
/// Places between two pixels that values are made for: what comes to rest close to a pixel is not interpolated again and again.
const PLACES: usize = 32;
/// For each of these.
static WEIGHTS: LazyLock<[[f32; TAPS]; PLACES]> =
    LazyLock::new(|| std::array::from_fn(|i| lanczos(i as f32 / PLACES as f32)));

/// Shifts a plane block by block, with Lanczos's interpolation between pixels (Duchon, "Lanczos filtering in one and two
/// dimensions", Journal of Applied Meteorology 18, 1979): the past goes through this again with each picture, and a
/// shorter one would blur a little more each time. `shifts` tells by which powers of two the plane is smaller than the picture.
pub(super) fn shift(
    plane: &Array2<Fixed>,
    motion: &Motion,
    shifts: [u32; 2],
    to: &mut Array2<Fixed>,
    threads: &Threads,
) {
    if to.dim() != plane.dim() {
        *to = Array2::default(plane.dim());
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
    plane: &Array2<Fixed>,
    motion: &Motion,
    shifts: [u32; 2],
    to: &mut Array2<Fixed>,
    threads: &Threads,
) {
    let Some(values) = plane.as_slice() else { return };
    let side_y = BLOCK >> shifts[1];
    let scale = shifts.map(|shift| PLACES as f32 / (1 << shift) as f32);
    threads.enter(|| {
        to.axis_chunks_iter_mut(Axis(0), side_y).into_par_iter().enumerate().for_each(|(by, mut rows)| {
            for (bx, to) in rows.axis_chunks_iter_mut(Axis(1), SIDE).enumerate() {
                let motion = motion.blocks[[by, bx]];
                let [along, down] = [0, 1].map(|axis| (motion[axis] * scale[axis]).round() as isize);
                let whole = |at: usize, d: isize| (at as isize).saturating_add(d.div_euclid(PLACES as isize));
                let fraction = |d: isize| d.rem_euclid(PLACES as isize) as usize;
                let block = Block::<SIDE, LINE> {
                    values,
                    dim: plane.dim(),
                    place: [whole(bx * SIDE, along), whole(by * side_y, down)],
                    across: &WEIGHTS[fraction(along)],
                    down: &WEIGHTS[fraction(down)],
                    between: (fraction(along), fraction(down)) != (0, 0),
                };
                vectorise(
                    #[inline(always)]
                    || block.shift(to),
                );
            }
        });
    });
}

/// A block of a plane between its pixels: up to `SIDE` of them across, made from lines of `LINE`, which is at least
/// `SIDE + TAPS - 1`.
struct Block<'a, const SIDE: usize, const LINE: usize> {
    /// Of the plane, row by row, and its height and width.
    values: &'a [Fixed],
    dim: (usize, usize),
    /// Where it lies in the plane, `[x, y]`, and weights of the neighbours.
    place: [isize; 2],
    across: &'a [f32; TAPS],
    down: &'a [f32; TAPS],
    /// Whether it lies between pixels at all.
    between: bool,
}

impl<const SIDE: usize, const LINE: usize> Block<'_, SIDE, LINE> {
    const BEFORE: isize = TAPS as isize / 2 - 1;

    #[inline(always)]
    fn shift(&self, mut to: ArrayViewMut2<'_, Fixed>) {
        let Some(area) = self.inside(to.nrows()) else { return self.shift_at_edge(to) };
        let width = self.dim.1;
        let line =
            |y: usize| area.get(y * width..).and_then(|row| row.first_chunk::<LINE>()).unwrap_or(&[Fixed::ZERO; LINE]);
        if !self.between {
            for (i, to) in to.rows_mut().into_iter().enumerate() {
                let line = &line(i + Self::BEFORE as usize)[Self::BEFORE as usize..];
                to.into_iter().zip(line).for_each(|(to, v)| *to = *v);
            }
            return;
        }
        // All lines first: a line that was only just written cannot be read at other places without waiting for it.
        let mut levels = [[0.0; LINE]; BLOCK + TAPS - 1];
        for (i, levels) in levels.iter_mut().enumerate().take(to.nrows() + TAPS - 1) {
            levels.iter_mut().zip(line(i)).for_each(|(level, v)| *level = v.level());
        }
        let mut lines = [[0.0; LINE]; BLOCK];
        for (made, rows) in lines.iter_mut().zip(levels.windows(TAPS)).take(to.nrows()) {
            let [a, b, c, d, e, f] = rows else { continue };
            for (x, value) in made.iter_mut().enumerate() {
                let (low, high) =
                    (self.down[0] * a[x] + self.down[1] * b[x], self.down[4] * e[x] + self.down[5] * f[x]);
                *value = low + (self.down[2] * c[x] + self.down[3] * d[x]) + high;
            }
        }
        for (line, to) in lines.iter().zip(to.rows_mut()) {
            self.across(line, to);
        }
    }

    /// What a block of some rows is made from, where all of that lies inside of the plane.
    #[inline(always)]
    fn inside(&self, rows: usize) -> Option<&[Fixed]> {
        let [x, y] = self.place.map(|at| usize::try_from(at.checked_sub(Self::BEFORE)?).ok());
        let ((height, width), x, y) = (self.dim, x?, y?);
        let fits = x.checked_add(LINE)? <= width && y.checked_add(rows + TAPS)? <= height;
        if fits { self.values.get(y * width + x..) } else { None }
    }

    /// Where the plane ends, its last pixels go on.
    fn shift_at_edge(&self, mut to: ArrayViewMut2<'_, Fixed>) {
        let Self { values, dim: (height, width), place: [x, y], .. } = *self;
        let at = |at: isize, i: usize, count: usize| {
            at.saturating_add(i as isize - Self::BEFORE).clamp(0, count as isize - 1) as usize
        };
        for (i, to) in to.rows_mut().into_iter().enumerate() {
            let rows: [&[Fixed]; TAPS] = std::array::from_fn(|r| &values[at(y, i + r, height) * width..][..width]);
            let values =
                std::array::from_fn(|i| (0..TAPS).map(|r| self.down[r] * rows[r][at(x, i, width)].level()).sum());
            self.across(&values, to);
        }
    }

    /// Fills a row from a line of values beside it.
    #[inline(always)]
    fn across(&self, values: &[f32; LINE], to: ArrayViewMut1<'_, Fixed>) {
        let mut made = [0.0; SIDE];
        for (weight, values) in self.across.iter().zip(values.windows(SIDE)) {
            made.iter_mut().zip(values).for_each(|(sum, v)| *sum += weight * v);
        }
        to.into_iter().zip(made).for_each(|(to, v)| *to = Fixed::from_level(v));
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
    fn blocks_are_shifted_alike_inside_and_at_the_edges() {
        let (height, width) = (53, 75);
        let plane = Array2::from_shape_fn((height, width), |(y, x)| {
            Fixed::from_level(60.0 + ((31 * y + 17 * x + x * y) % 97) as f32)
        });
        let threads = Threads::new(2).unwrap();
        for (motion, fractions) in [([3.0, -2.0], [0.0; 2]), ([-5.25, 1.5], [0.75, 0.5]), ([40.0, 0.125], [0.0, 0.125])]
        {
            let mut blocks = Motion::default();
            blocks.blocks = Array2::from_elem((height.div_ceil(BLOCK), width.div_ceil(BLOCK)), motion);
            let mut shifted = Array2::default((0, 0));
            shift(&plane, &blocks, [0, 0], &mut shifted, &threads);
            let [across, down] = fractions.map(lanczos);
            let at = |i: usize, d: f32, tap: usize, count: usize| {
                (i as isize + d.floor() as isize + tap as isize - 2).clamp(0, count as isize - 1) as usize
            };
            for ((y, x), found) in shifted.indexed_iter() {
                let line =
                    |ty| (0..TAPS).map(|tx| across[tx] * plane[[ty, at(x, motion[0], tx, width)]].level()).sum::<f32>();
                let expected: f32 = (0..TAPS).map(|ty| down[ty] * line(at(y, motion[1], ty, height))).sum();
                let found = found.level();
                assert!((found - expected).abs() < 5e-3, "{motion:?} at {y} {x}: {found} for {expected}");
            }
        }
    }

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
