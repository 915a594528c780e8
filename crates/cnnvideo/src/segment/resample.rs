// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bilinear interpolation of maps, row by row.

use ndarray::Array2;

use crate::simd::vectorise;

/// Position along an axis: the index of a pixel and the fraction (0 to 1) of the way to the next.
pub(super) type Position = (usize, f32);

/// Returns the position of the coordinate `at` along an axis of `length` pixels, clamped to its
/// ends.
pub(super) fn position(at: f32, length: usize) -> Position {
    let at = at.clamp(0.0, length.saturating_sub(1) as f32);
    let first = at as usize;
    (first, at - first as f32)
}

/// Interpolates a map vertically at a position between its rows. Stores the resulting row in `line`
/// and repeats its last value, so that [`interpolate_at`] finds a right neighbour for every pixel.
pub(super) fn interpolate_row(map: &Array2<f32>, (y, fraction): Position, line: &mut Vec<f32>) {
    let (above, below) = (map.row(y), map.row((y + 1).min(map.nrows() - 1)));
    line.resize(map.ncols(), 0.0);
    match (above.as_slice(), below.as_slice()) {
        (Some(above), Some(below)) => vectorise(
            #[inline(always)]
            || {
                for (to, (a, b)) in line.iter_mut().zip(above.iter().zip(below)) {
                    *to = a + fraction * (b - a);
                }
            },
        ),
        _ => line
            .iter_mut()
            .zip(above.iter().zip(below))
            .for_each(|(to, (a, b))| *to = a + fraction * (b - a)),
    }
    line.extend(line.last().copied());
}

/// Interpolates a row made by [`interpolate_row`] horizontally.
pub(super) fn interpolate_at(line: &[f32], (x, fraction): Position) -> f32 {
    line[x] + fraction * (line[x + 1] - line[x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::image::bilinear;

    #[test]
    fn row_interpolation_matches_bilinear() {
        let map = Array2::from_shape_fn((5, 7), |(y, x)| (y * y + 3 * x) as f32);
        let mut row = Vec::new();
        for y in [-1.0, 0.0, 0.3, 2.75, 4.0, 9.0] {
            interpolate_row(&map, position(y, 5), &mut row);
            for x in [-2.0, 0.0, 1.5, 5.9, 6.0, 8.0] {
                assert!(
                    (interpolate_at(&row, position(x, 7)) - bilinear(&map, x, y)).abs() < 1e-4,
                    "{x} {y}"
                );
            }
        }
        interpolate_row(&Array2::from_elem((1, 1), 3.0), position(0.2, 1), &mut row);
        assert_eq!(interpolate_at(&row, position(5.0, 1)), 3.0);
    }
}
