//! Bilinear interpolation of maps, row by row.

use ndarray::Array2;

use crate::simd::vectorise;

/// Position along an axis: the index of a pixel and the fraction (0 to 1) of the way to the next.
pub(super) type Place = (usize, f32);

/// Returns the position of the coordinate `at` along an axis of `length` pixels, clamped to its
/// ends.
pub(super) fn place(at: f32, length: usize) -> Place {
    let at = at.clamp(0.0, length.saturating_sub(1) as f32);
    let first = at as usize;
    (first, at - first as f32)
}

/// Interpolates a map vertically at a position between its rows. Stores the resulting row in `line`
/// and repeats its last value, so that [`at`] finds a right neighbour for every pixel.
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

/// Interpolates a row made by [`line`] horizontally.
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
