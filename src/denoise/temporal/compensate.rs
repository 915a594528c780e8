//! Shifts the past to where things are now.

use std::sync::LazyLock;

use ndarray::{Array2, ArrayViewMut1, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::motion::{BLOCK, Motion};
use crate::{frame::Fixed, nn::Threads, simd::vectorise};

/// Neighbours in a row or column that a value between pixels is made from.
const TAPS: usize = 6;
/// Places between two pixels that values are made for: what comes to rest close to a pixel is not interpolated again and again.
const PLACES: usize = 32;
/// For each of these.
static WEIGHTS: LazyLock<[Weights; PLACES]> =
    LazyLock::new(|| std::array::from_fn(|i| Weights::new(lanczos(i as f32 / PLACES as f32))));

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
        to.axis_chunks_iter_mut(Axis(0), side_y).into_par_iter().enumerate().for_each(
            |(by, mut rows)| {
                for (bx, to) in rows.axis_chunks_iter_mut(Axis(1), SIDE).enumerate() {
                    let motion = motion.blocks[[by, bx]];
                    let [along, down] =
                        [0, 1].map(|axis| (motion[axis] * scale[axis]).round() as isize);
                    let whole = |at: usize, d: isize| {
                        (at as isize).saturating_add(d.div_euclid(PLACES as isize))
                    };
                    let between = |d: isize| match d.rem_euclid(PLACES as isize) as usize {
                        0 => None,
                        place => Some(&WEIGHTS[place]),
                    };
                    let block = Block::<SIDE, LINE> {
                        values,
                        dim: plane.dim(),
                        place: [whole(bx * SIDE, along), whole(by * side_y, down)],
                        across: between(along),
                        down: between(down),
                    };
                    vectorise(
                        #[inline(always)]
                        || block.shift(to),
                    );
                }
            },
        );
    });
}

/// Weights of neighbours in fixed point: sums take 16 bits, so that as many values as fit a vector are made at once.
struct Weights {
    /// What each has beyond a whole part, in units of 2^-16; together exactly what the whole parts lack of 1.
    fractions: [i16; TAPS],
    /// All bits where the two in the middle have a whole part.
    whole: [i16; 2],
    /// What is lost on average as products are rounded down.
    lost: i16,
}

impl Weights {
    const MIDDLE: usize = TAPS / 2 - 1;

    /// Of weights between -1/2 and 1/2, and in the middle up to 3/2, with a sum of 1.
    fn new(weights: [f32; TAPS]) -> Self {
        let middle = Self::MIDDLE..Self::MIDDLE + 2;
        let whole: [bool; TAPS] = std::array::from_fn(|i| middle.contains(&i) && weights[i] >= 0.5);
        let fraction =
            |i: usize| ((weights[i] - f32::from(u8::from(whole[i]))) * 65536.0).round() as i32;
        let mut fractions: [i32; TAPS] = std::array::from_fn(fraction);
        let sum = fractions.iter().sum::<i32>()
            + (whole.iter().filter(|whole| **whole).count() as i32) * 65536;
        // What rounding left over goes to one of those that have a whole part, as its fraction is far from the limits.
        fractions[Self::MIDDLE + usize::from(!whole[Self::MIDDLE])] -= sum - 65536;
        Self {
            fractions: fractions
                .map(|fraction| fraction.clamp(i16::MIN.into(), i16::MAX.into()) as i16),
            whole: [0, 1].map(|i| if whole[Self::MIDDLE + i] { -1 } else { 0 }),
            lost: (fractions.iter().filter(|fraction| **fraction != 0).count() / 2) as i16,
        }
    }

    /// The sum of neighbours with these weights.
    #[inline(always)]
    fn sum(&self, neighbours: [i16; TAPS]) -> i16 {
        let mut sum = self.lost;
        for (weight, value) in self.fractions.iter().zip(neighbours) {
            sum = sum.saturating_add(((i32::from(value) * i32::from(*weight)) >> 16) as i16);
        }
        let [a, b] = [0, 1].map(|i| neighbours[Self::MIDDLE + i] & self.whole[i]);
        sum.saturating_add(a).saturating_add(b)
    }
}

/// A block of a plane between its pixels: up to `SIDE` of them across, made from lines of `LINE`, which is at least
/// `SIDE + TAPS - 1`.
struct Block<'a, const SIDE: usize, const LINE: usize> {
    /// Of the plane, row by row, and its height and width.
    values: &'a [Fixed],
    dim: (usize, usize),
    /// Where it lies in the plane, `[x, y]`, and weights of the neighbours where it lies between pixels.
    place: [isize; 2],
    across: Option<&'a Weights>,
    down: Option<&'a Weights>,
}

impl<const SIDE: usize, const LINE: usize> Block<'_, SIDE, LINE> {
    const BEFORE: usize = TAPS / 2 - 1;

    #[inline(always)]
    fn shift(&self, mut to: ArrayViewMut2<'_, Fixed>) {
        let edge;
        let (area, width) = match self.inside(to.nrows()) {
            Some(area) => (area, self.dim.1),
            None => {
                edge = self.at_edge();
                (edge.as_flattened(), LINE)
            }
        };
        let line = |y: usize| {
            area.get(y * width..)
                .and_then(|row| row.first_chunk::<LINE>())
                .unwrap_or(const { &[Fixed(0); LINE] })
        };
        // All lines first: a line that was only just written cannot be read at other places without waiting for it.
        let mut lines = [[0; LINE]; BLOCK];
        match self.down {
            Some(down) => {
                for (y, made) in lines.iter_mut().enumerate().take(to.nrows()) {
                    let rows: [_; TAPS] = std::array::from_fn(|i| line(y + i));
                    for (x, value) in made.iter_mut().enumerate() {
                        *value = down.sum(rows.map(|row| row[x].0));
                    }
                }
            }
            None => {
                for (y, made) in lines.iter_mut().enumerate().take(to.nrows()) {
                    made.iter_mut().zip(line(y + Self::BEFORE)).for_each(|(to, v)| *to = v.0);
                }
            }
        }
        for (line, to) in lines.iter().zip(to.rows_mut()) {
            self.across(line, to);
        }
    }

    /// What a block of some rows is made from, where all of that lies inside of the plane.
    #[inline(always)]
    fn inside(&self, rows: usize) -> Option<&[Fixed]> {
        let [x, y] =
            self.place.map(|at| usize::try_from(at.checked_sub_unsigned(Self::BEFORE)?).ok());
        let ((height, width), x, y) = (self.dim, x?, y?);
        let fits = x.checked_add(LINE)? <= width && y.checked_add(rows + TAPS)? <= height;
        if fits { self.values.get(y * width + x..) } else { None }
    }

    /// The same where it does not: where the plane ends, its last pixels go on.
    #[inline(always)]
    fn at_edge(&self) -> [[Fixed; LINE]; BLOCK + TAPS] {
        let Self { values, dim: (height, width), place: [x, y], .. } = *self;
        let at = |at: isize, i: usize, count: usize| {
            at.saturating_add(i as isize - Self::BEFORE as isize).clamp(0, count as isize - 1)
                as usize
        };
        let mut area = [[Fixed(0); LINE]; BLOCK + TAPS];
        for (i, line) in area.iter_mut().enumerate() {
            let row = &values[at(y, i, height) * width..][..width];
            line.iter_mut().enumerate().for_each(|(i, value)| *value = row[at(x, i, width)]);
        }
        area
    }

    /// Fills a row from a line of values beside it.
    #[inline(always)]
    fn across(&self, line: &[i16; LINE], to: ArrayViewMut1<'_, Fixed>) {
        let mut made = [0; SIDE];
        match self.across {
            Some(across) => {
                for (x, value) in made.iter_mut().enumerate() {
                    *value = across.sum(std::array::from_fn(|i| line[x + i]));
                }
            }
            None => made.copy_from_slice(&line[Self::BEFORE..][..SIDE]),
        }
        let Some(to) = to.into_slice() else { return };
        match to.first_chunk_mut() {
            Some(to) => *to = made.map(Fixed),
            None => to.iter_mut().zip(made).for_each(|(to, v)| *to = Fixed(v)),
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
    let height = map.nrows();
    if to.dim() != map.dim() {
        *to = Array2::zeros(map.dim());
    }
    let side = BLOCK / 2;
    threads.enter(|| {
        to.axis_chunks_iter_mut(Axis(0), side).into_par_iter().enumerate().for_each(
            |(by, mut rows)| {
                for (bx, mut block) in rows.axis_chunks_iter_mut(Axis(1), side).enumerate() {
                    let [dx, dy] = motion.blocks[[by, bx]].map(|d| (d * 0.5).round() as isize);
                    for (y, to) in block.rows_mut().into_iter().enumerate() {
                        let from = map.row(beside(by * side + y, dy, height));
                        if let (Some(to), Some(from)) = (to.into_slice(), from.to_slice()) {
                            copy(from, bx * side, dx, to);
                        }
                    }
                }
            },
        );
    });
}

/// The place `d` from another, or the nearest one in a `length`.
fn beside(at: usize, d: isize, length: usize) -> usize {
    at.saturating_add_signed(d).min(length - 1)
}

/// Fills `to` from what lies `d` from place `first` on in a row. Where that ends, its last value goes on.
fn copy(row: &[f32], first: usize, d: isize, to: &mut [f32]) {
    let inside = first.checked_add_signed(d).and_then(|first| row.get(first..)?.get(..to.len()));
    match inside {
        Some(inside) => to.copy_from_slice(inside),
        None => {
            to.iter_mut().enumerate().for_each(|(x, to)| *to = row[beside(first + x, d, row.len())])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Sample;

    #[test]
    fn blocks_are_shifted_alike_inside_and_at_the_edges() {
        let (height, width) = (53, 75);
        let plane = Array2::from_shape_fn((height, width), |(y, x)| {
            Fixed::from_level(60.0 + ((31 * y + 17 * x + x * y) % 97) as f32)
        });
        let threads = Threads::new(2).unwrap();
        for (motion, fractions) in
            [([3.0, -2.0], [0.0; 2]), ([-5.25, 1.5], [0.75, 0.5]), ([40.0, 0.125], [0.0, 0.125])]
        {
            let mut blocks = Motion::default();
            blocks.blocks =
                Array2::from_elem((height.div_ceil(BLOCK), width.div_ceil(BLOCK)), motion);
            let mut shifted = Array2::default((0, 0));
            shift(&plane, &blocks, [0, 0], &mut shifted, &threads);
            let [across, down] = fractions.map(lanczos);
            let at = |i: usize, d: f32, tap: usize, count: usize| {
                (i as isize + d.floor() as isize + tap as isize - 2).clamp(0, count as isize - 1)
                    as usize
            };
            for ((y, x), found) in shifted.indexed_iter() {
                let line = |ty| {
                    (0..TAPS)
                        .map(|tx| across[tx] * plane[[ty, at(x, motion[0], tx, width)]].level())
                        .sum::<f32>()
                };
                let expected: f32 =
                    (0..TAPS).map(|ty| down[ty] * line(at(y, motion[1], ty, height))).sum();
                let found = found.level();
                assert!(
                    (found - expected).abs() < 0.04,
                    "{motion:?} at {y} {x}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn maps_are_shifted_by_whole_places() {
        let (height, width) = (27, 41);
        let map = Array2::from_shape_fn((height, width), |(y, x)| (100 * y + x) as f32);
        for motion in [[0.0, 0.0], [6.9, -3.2], [-11.0, 2.0], [900.0, -900.0]] {
            let mut blocks = Motion::default();
            blocks.blocks = Array2::from_elem(
                ((2 * height).div_ceil(BLOCK), (2 * width).div_ceil(BLOCK)),
                motion,
            );
            let mut shifted = Array2::default((0, 0));
            nearest(&map, &blocks, &mut shifted, &Threads::new(2).unwrap());
            let at = |i: usize, d: f32, count: usize| {
                (i as f32 + (0.5 * d).round()).clamp(0.0, count as f32 - 1.0) as usize
            };
            for ((y, x), found) in shifted.indexed_iter() {
                assert_eq!(
                    *found,
                    map[[at(y, motion[1], height), at(x, motion[0], width)]],
                    "{motion:?} at {y} {x}"
                );
            }
        }
    }

    #[test]
    fn weights_in_fixed_point_add_up_and_sums_saturate() {
        for weights in WEIGHTS.iter().skip(1) {
            let whole = weights.whole.iter().filter(|whole| **whole != 0).count() as i32;
            assert_eq!(
                weights.fractions.iter().map(|fraction| i32::from(*fraction)).sum::<i32>()
                    + 65536 * whole,
                65536
            );
            for value in [-16384, -77, 0, 5000, 16384] {
                assert!(
                    (weights.sum([value; TAPS]) - value).abs() <= 3,
                    "{value}: {}",
                    weights.sum([value; TAPS])
                );
            }
            const SIGNS: [i16; TAPS] = [i16::MAX, i16::MIN, i16::MAX, i16::MAX, i16::MIN, i16::MAX];
            // The largest sums that there can be.
            assert!(weights.sum(SIGNS) == i16::MAX && weights.sum(SIGNS.map(|v| !v)) == i16::MIN);
        }
    }

    #[test]
    fn weights_are_those_of_the_formula() {
        let sinc = |x: f64| {
            if x == 0.0 {
                1.0
            } else {
                (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x)
            }
        };
        for fraction in [0.0f32, 1e-5, 1e-3, 0.1, 0.25, 0.5, 0.77, 0.999] {
            let formula = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0].map(|n: f64| n - f64::from(fraction));
            let formula =
                formula.map(|d| if d.abs() < 3.0 { sinc(d) * sinc(d / 3.0) } else { 0.0 });
            let sum: f64 = formula.iter().sum();
            for (ours, formula) in lanczos(fraction).iter().zip(formula) {
                assert!(
                    (f64::from(*ours) - formula / sum).abs() < 1e-4,
                    "{fraction}: {ours} {}",
                    formula / sum
                );
            }
        }
    }
}
