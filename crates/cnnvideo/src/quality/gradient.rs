// SPDX-License-Identifier: MIT OR Apache-2.0

//! Gradient magnitudes (Sobel, Laplacian) of a plane, and their mean difference between two planes.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::simd::vectorise;

/// Gradient operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradient {
    /// Magnitude of the Sobel-Feldman 3x3 gradient, in code values per pixel.
    Sobel,
    /// Absolute value of the sum of the differences to the four neighbours.
    Laplacian,
}

/// Returns the gradient magnitudes of a plane, `[row, column]`. Replicates the border.
pub fn gradient(plane: &ArrayView2<'_, f32>, kind: Gradient) -> Array2<f32> {
    let mut result = Array2::zeros(plane.dim());
    let rows = result.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
    rows.for_each_init(
        || RowWindow::new(plane.ncols()),
        |window, (y, mut to)| {
            window.load(plane, y);
            let to = to.as_slice_mut().expect("rows of an owned array are contiguous");
            window.fill(kind, to);
        },
    );
    result
}

/// Returns the mean absolute difference of the gradient magnitudes of two planes, in code values;
/// NaN if they are empty or differ in size.
pub fn gradient_difference(
    a: &ArrayView2<'_, f32>,
    b: &ArrayView2<'_, f32>,
    kind: Gradient,
) -> f64 {
    if a.dim() != b.dim() || a.is_empty() {
        return f64::NAN;
    }
    let width = a.ncols();
    let rows = (0..a.nrows()).into_par_iter().map_init(
        || (RowWindow::new(width), vec![0.0; width], vec![0.0; width]),
        |(window, p, q), y| {
            window.load(a, y);
            window.fill(kind, p);
            window.load(b, y);
            window.fill(kind, q);
            let (p, q) = (&*p, &*q);
            vectorise(
                #[inline(always)]
                || f64::from(sum_in_lanes(p.iter().zip(q).map(|(a, b)| (a - b).abs()))),
            )
        },
    );
    rows.sum::<f64>() / a.len() as f64
}

/// Returns the sum of `values`. Sums in several lanes: the compiler may not reorder a sequential
/// sum of floats to vectorise it.
#[inline(always)]
pub(super) fn sum_in_lanes(values: impl Iterator<Item = f32>) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    let mut values = values;
    'all: loop {
        for lane in &mut lanes {
            match values.next() {
                Some(value) => *lane += value,
                None => break 'all,
            }
        }
    }
    lanes.iter().sum()
}

/// A row and the rows above and below it, each padded by a pixel on both sides (replicate border).
struct RowWindow([Vec<f32>; 3]);

impl RowWindow {
    fn new(width: usize) -> Self {
        Self([0; 3].map(|_| vec![0.0; width + 2]))
    }

    /// Loads row `y` of a plane and its neighbours.
    fn load(&mut self, plane: &ArrayView2<'_, f32>, y: usize) {
        let (height, width) = plane.dim();
        for (line, y) in self.0.iter_mut().zip([y.saturating_sub(1), y, (y + 1).min(height - 1)]) {
            // Contiguous rows are copied as a block.
            match plane.row(y).to_slice() {
                Some(row) => line[1..=width].copy_from_slice(row),
                None => line[1..=width].iter_mut().zip(plane.row(y)).for_each(|(to, v)| *to = *v),
            }
            (line[0], line[width + 1]) = (line[1], line[width]);
        }
    }

    /// Fills `to` with the gradient magnitudes of the loaded row.
    fn fill(&self, kind: Gradient, to: &mut [f32]) {
        let [above, row, below] = &self.0;
        let n = to.len();
        vectorise(
            #[inline(always)]
            || {
                let (above, row, below) = (&above[..n + 2], &row[..n + 2], &below[..n + 2]);
                match kind {
                    Gradient::Sobel => to.iter_mut().enumerate().for_each(|(i, to)| {
                        let x = (above[i + 2] - above[i])
                            + 2.0 * (row[i + 2] - row[i])
                            + (below[i + 2] - below[i]);
                        let y = (below[i] - above[i])
                            + 2.0 * (below[i + 1] - above[i + 1])
                            + (below[i + 2] - above[i + 2]);
                        *to = 0.125 * (x * x + y * y).sqrt();
                    }),
                    Gradient::Laplacian => to.iter_mut().enumerate().for_each(|(i, to)| {
                        *to = (above[i + 1] + below[i + 1] + row[i] + row[i + 2]
                            - 4.0 * row[i + 1])
                            .abs();
                    }),
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramp_has_constant_sobel_and_zero_laplacian() {
        let ramp = Array2::from_shape_fn((9, 12), |(y, x)| 3.0 * x as f32 + 4.0 * y as f32);
        let sobel = gradient(&ramp.view(), Gradient::Sobel);
        let laplacian = gradient(&ramp.view(), Gradient::Laplacian);
        for (i, v) in
            sobel.indexed_iter().filter(|((y, x), _)| (1..8).contains(y) && (1..11).contains(x))
        {
            assert!((v - 5.0).abs() < 1e-4, "{v}");
            assert!(laplacian[i] < 1e-4);
        }
        assert_eq!(gradient_difference(&ramp.view(), &ramp.view(), Gradient::Sobel), 0.0);
    }
}
