// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mean values of squares of a picture, from summed areas (Crow, "Summed-area Tables for Texture
//! Mapping", 1984).

use ndarray::Array2;

use crate::segment::WorkingImage;

/// Steps in a code value. The largest sum, of 512x512 pixels, fits 32 bits.
const STEPS: f32 = 16.0;

/// Summed areas of `N` maps of the same size.
pub(super) struct SummedAreas<const N: usize> {
    /// Sum of all values above and to the left of each corner of a pixel.
    sums: Array2<[u32; N]>,
}

impl SummedAreas<3> {
    /// Sums up the planes of a picture.
    pub(super) fn of_image(image: &WorkingImage) -> Self {
        let [y, u, v] = image.planes();
        Self::new(image.dim(), |at| [y[at], u[at], v[at]])
    }
}

impl SummedAreas<1> {
    /// Sums up a map whose values are multiplied by `factor` to lie between 0 and 255.
    pub(super) fn of_map(map: &Array2<f32>, factor: f32) -> Self {
        Self::new(map.dim(), |at| [factor * map[at]])
    }
}

impl<const N: usize> SummedAreas<N> {
    fn new((height, width): (usize, usize), at: impl Fn((usize, usize)) -> [f32; N]) -> Self {
        let mut sums = Array2::from_elem((height + 1, width + 1), [0u32; N]);
        for y in 0..height {
            let mut row = [0u32; N];
            for x in 0..width {
                let values = at((y, x));
                let above = sums[[y, x + 1]];
                for i in 0..N {
                    row[i] = row[i].wrapping_add((values[i] * STEPS + 0.5) as u32);
                    sums[[y + 1, x + 1]][i] = above[i].wrapping_add(row[i]);
                }
            }
        }
        Self { sums }
    }

    /// Returns the mean over the part of a square inside of the picture; `None` if there is none.
    /// `at` is the top left corner `[x, y]` and `side` the side, in pixels.
    pub(super) fn mean(&self, at: [f32; 2], side: f32) -> Option<[f32; N]> {
        let (rows, columns) = self.sums.dim();
        let end = |v: f32, length: usize| (v.round().max(0.0) as usize).min(length - 1);
        let (x0, x1) = (end(at[0], columns), end(at[0] + side, columns));
        let (y0, y1) = (end(at[1], rows), end(at[1] + side, rows));
        if x0 >= x1 || y0 >= y1 {
            return None;
        }
        let scale = 1.0 / (STEPS * ((x1 - x0) * (y1 - y0)) as f32);
        let [a, b, c, d] = [[y0, x0], [y0, x1], [y1, x0], [y1, x1]].map(|corner| self.sums[corner]);
        let sum = |i: usize| d[i].wrapping_sub(b[i]).wrapping_sub(c[i]).wrapping_add(a[i]);
        Some(std::array::from_fn(|i| sum(i) as f32 * scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_match_direct_ones() {
        let map = Array2::from_shape_fn((40, 60), |(y, x)| ((y * 7 + x * 3) % 11) as f32 / 10.0);
        let areas = SummedAreas::of_map(&map, 200.0);
        for (at, side) in [([3.2, 4.1], 7.4), ([-3.0, -2.0], 5.0), ([50.0, 30.0], 20.0)] {
            let range = |v: f32, n: usize| {
                let end = |v: f32| (v.round().max(0.0) as usize).min(n);
                end(v)..end(v + side)
            };
            let part = map.slice(ndarray::s![range(at[1], 40), range(at[0], 60)]);
            let mean = areas.mean(at, side).unwrap()[0];
            assert!((mean - 200.0 * part.mean().unwrap()).abs() < 0.1, "{mean}");
        }
        assert_eq!(areas.mean([-9.0, 3.0], 4.0), None);
        assert_eq!(areas.mean([60.0, 3.0], 4.0), None);
    }
}
