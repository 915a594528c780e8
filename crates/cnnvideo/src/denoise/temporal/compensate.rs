//! Motion compensation: shifts the previous fused picture by the motion field.

use std::sync::LazyLock;

use ndarray::{Array2, ArrayViewMut1, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::motion::{BLOCK, Motion};
use crate::{frame::Fixed, nn::Threads, simd::vectorise};

/// Number of taps of the interpolation filter in each direction.
const TAPS: usize = 6;
/// Number of sub-pixel positions per pixel. Rounding to them means that content that rests near a
/// whole pixel is not interpolated again with each picture.
const PLACES: usize = 32;
/// Interpolation weights for each sub-pixel position.
static WEIGHTS: LazyLock<[Weights; PLACES]> =
    LazyLock::new(|| std::array::from_fn(|i| Weights::new(lanczos(i as f32 / PLACES as f32))));

/// Shifts a plane block by block, with Lanczos interpolation between pixels (Duchon, "Lanczos
/// filtering in one and two dimensions", Journal of Applied Meteorology 18, 1979). The previous
/// picture passes through this filter once per picture, and a shorter filter would blur a little
/// more each time. `shifts` is the subsampling of the plane as powers of two, horizontal and
/// vertical.
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
    // Block sizes known at compile time that fill whole vectors.
    if shifts[0] == 0 {
        blocks::<BLOCK, { BLOCK + 8 }>(plane, motion, shifts, to, threads);
    } else {
        blocks::<{ BLOCK / 2 }, BLOCK>(plane, motion, shifts, to, threads);
    }
}

/// Shifts blocks that are `SIDE` pixels wide; see [`Block`].
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

/// Interpolation weights in fixed point. Sums take 16 bits, so that each vector instruction
/// processes as many values as possible.
struct Weights {
    /// Fractional part of each weight in units of 2^-16. With the whole parts they sum to exactly
    /// 1.
    fractions: [i16; TAPS],
    /// All bits set for each of the two middle taps that has a whole part of 1.
    whole: [i16; 2],
    /// Mean total loss of rounding the products down, added to the sum to avoid a bias.
    lost: i16,
}

impl Weights {
    /// Index of the first of the two middle taps.
    const MIDDLE: usize = TAPS / 2 - 1;

    /// Converts weights with a sum of 1, each between -1/2 and 1/2, or up to 3/2 in the middle.
    fn new(weights: [f32; TAPS]) -> Self {
        let middle = Self::MIDDLE..Self::MIDDLE + 2;
        let whole: [bool; TAPS] = std::array::from_fn(|i| middle.contains(&i) && weights[i] >= 0.5);
        let fraction =
            |i: usize| ((weights[i] - f32::from(u8::from(whole[i]))) * 65536.0).round() as i32;
        let mut fractions: [i32; TAPS] = std::array::from_fn(fraction);
        let sum = fractions.iter().sum::<i32>()
            + (whole.iter().filter(|whole| **whole).count() as i32) * 65536;
        // The rounding remainder goes to a tap with a whole part, whose fraction is far from the
        // limits of i16.
        fractions[Self::MIDDLE + usize::from(!whole[Self::MIDDLE])] -= sum - 65536;
        Self {
            fractions: fractions
                .map(|fraction| fraction.clamp(i16::MIN.into(), i16::MAX.into()) as i16),
            whole: [0, 1].map(|i| if whole[Self::MIDDLE + i] { -1 } else { 0 }),
            lost: (fractions.iter().filter(|fraction| **fraction != 0).count() / 2) as i16,
        }
    }

    /// Returns the weighted sum of neighbouring values.
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

/// A block of a plane at a sub-pixel position, up to `SIDE` pixels wide. It is computed from rows
/// of `LINE` pixels, which must be at least `SIDE + TAPS - 1`.
struct Block<'a, const SIDE: usize, const LINE: usize> {
    /// Values of the plane, row-major.
    values: &'a [Fixed],
    /// Height and width of the plane.
    dim: (usize, usize),
    /// Position of the block in the plane, `[x, y]`, in whole pixels.
    place: [isize; 2],
    /// Horizontal weights; `None` at a whole pixel.
    across: Option<&'a Weights>,
    /// Vertical weights; `None` at a whole pixel.
    down: Option<&'a Weights>,
}

impl<const SIDE: usize, const LINE: usize> Block<'_, SIDE, LINE> {
    /// Number of taps before the interpolated position's left neighbour.
    const BEFORE: usize = TAPS / 2 - 1;

    #[inline(always)]
    /// Computes the block and stores it in `to`.
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
        // All rows are filtered vertically first: loading a row at other offsets right after
        // storing it would stall on store forwarding.
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

    /// Returns the source values of a block of `rows` rows if all of them lie inside the plane. The
    /// rows of the slice are as far apart as those of the plane.
    #[inline(always)]
    fn inside(&self, rows: usize) -> Option<&[Fixed]> {
        let [x, y] =
            self.place.map(|at| usize::try_from(at.checked_sub_unsigned(Self::BEFORE)?).ok());
        let ((height, width), x, y) = (self.dim, x?, y?);
        let fits = x.checked_add(LINE)? <= width && y.checked_add(rows + TAPS)? <= height;
        if fits { self.values.get(y * width + x..) } else { None }
    }

    /// Returns the source values of a block that extends beyond the plane; the border pixels are
    /// replicated.
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

    /// Filters a row horizontally from `line` and stores it in `to`.
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

/// Returns the Lanczos weights for a position `fraction` of the way from the third tap to the
/// fourth.
fn lanczos(fraction: f32) -> [f32; TAPS] {
    const REACH: f32 = TAPS as f32 / 2.0;
    let distance = |i: usize| i as f32 - (REACH - 1.0) - fraction;
    if let Some(exact) = (0..TAPS).find(|i| distance(*i).abs() < 1e-4) {
        return std::array::from_fn(|i| if i == exact { 1.0 } else { 0.0 });
    }
    // One of the two sines only changes its sign from tap to tap; its magnitude cancels in the
    // normalisation.
    let weights: [f32; TAPS] = std::array::from_fn(|i| {
        let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
        sign * (std::f32::consts::PI / REACH * distance(i)).sin() / distance(i).powi(2)
    });
    let sum: f32 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// Shifts a map of half the picture's size by the motion, rounded to whole cells.
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

/// Returns the index `d` from `at`, clamped to the valid range of `length` elements.
fn beside(at: usize, d: isize, length: usize) -> usize {
    at.saturating_add_signed(d).min(length - 1)
}

/// Fills `to` from a row, starting `d` from index `first`. The border values are replicated.
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
            // The largest sums that can occur.
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
