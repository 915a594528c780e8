//! Values of maps between their pixels, line by line.

use ndarray::Array2;

use crate::simd::vectorise;

/// A pixel along an axis, and how far a place lies on the way to the next.
pub(super) type Place = (usize, f32);

/// Of a coordinate along an axis of `length` pixels; beyond its ends, the end.
pub(super) fn place(at: f32, length: usize) -> Place {
    let at = at.clamp(0.0, length.saturating_sub(1) as f32);
    let first = at as usize;
    (first, at - first as f32)
}

/// What of a map of rows lies at `(y, share)` of the way between rows, its last value twice, so that every pixel has a next.
pub(super) fn line(map: &Array2<f32>, (y, share): Place, line: &mut Vec<f32>) {
    let (above, below) = (map.row(y), map.row((y + 1).min(map.nrows() - 1)));
    line.resize(map.ncols(), 0.0);
    match (above.as_slice(), below.as_slice()) {
        (Some(above), Some(below)) => vectorise(
            #[inline(always)]
            || {
                for (to, (a, b)) in line.iter_mut().zip(above.iter().zip(below)) {
                    *to = a + share * (b - a);
                }
            },
        ),
        _ => line
            .iter_mut()
            .zip(above.iter().zip(below))
            .for_each(|(to, (a, b))| *to = a + share * (b - a)),
    }
    line.extend(line.last().copied());
}

/// Value of such a line.
pub(super) fn at(line: &[f32], (x, share): Place) -> f32 {
    line[x] + share * (line[x + 1] - line[x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::image::bilinear;

    #[test]
    fn lines_are_what_bilinear_interpolation_gives() {
        let map = Array2::from_shape_fn((5, 7), |(y, x)| (y * y + 3 * x) as f32);
        let mut row = Vec::new();
        for y in [-1.0, 0.0, 0.3, 2.75, 4.0, 9.0] {
            line(&map, place(y, 5), &mut row);
            for x in [-2.0, 0.0, 1.5, 5.9, 6.0, 8.0] {
                assert!((at(&row, place(x, 7)) - bilinear(&map, x, y)).abs() < 1e-4, "{x} {y}");
            }
        }
        line(&Array2::from_elem((1, 1), 3.0), place(0.2, 1), &mut row);
        assert_eq!(at(&row, place(5.0, 1)), 3.0);
    }
}
