// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reduction of planes to half their width and height.

use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis};
use rayon::prelude::*;

use crate::{nn::Threads, simd::vectorise};

/// Smallest number of output rows per parallel task.
const MIN_ROWS: usize = 16;

/// Reduces `from` to half its width and height, rounded up, and resizes `to` accordingly.
///
/// `reduce` reduces 2x2 values, in row-major order, to one. An odd last row or column counts twice.
/// Mark `reduce` `#[inline(always)]`, else it is not compiled for the instruction set at hand.
///
/// # Panics
/// If the rows of `from` are not contiguous in memory.
pub(crate) fn reduce_2x2<T: Copy + Default + Send + Sync>(
    from: &ArrayView2<'_, T>,
    to: &mut Array2<T>,
    threads: &Threads,
    reduce: impl Fn([T; 4]) -> T + Sync,
) {
    let (height, width) = from.dim();
    let dim = (height.div_ceil(2), width.div_ceil(2));
    if to.dim() != dim {
        *to = Array2::default(dim);
    }
    let row = |(y, to): (usize, ArrayViewMut1<'_, T>)| {
        let [(above, last_above), (below, last_below)] =
            [2 * y, (2 * y + 1).min(height - 1)].map(|y| {
                from.row(y).to_slice().expect("callers pass contiguous rows").as_chunks::<2>()
            });
        let to = to.into_slice().expect("rows of an owned array are contiguous");
        let (to, last) = to.split_at_mut(above.len());
        vectorise(
            #[inline(always)]
            || {
                to.iter_mut()
                    .zip(above)
                    .zip(below)
                    .for_each(|((to, [a, b]), [c, d])| *to = reduce([*a, *b, *c, *d]))
            },
        );
        if let ([to], [a], [b]) = (last, last_above, last_below) {
            *to = reduce([*a, *a, *b, *b]);
        }
    };
    let rows = to.axis_iter_mut(Axis(0)).into_par_iter().with_min_len(MIN_ROWS).enumerate();
    threads.enter(|| rows.for_each(row));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_borders_are_replicated() {
        let threads = Threads::new(2).unwrap();
        for (height, width) in [(1, 1), (2, 3), (5, 4), (37, 71)] {
            let plane =
                Array2::from_shape_fn((height, width), |(y, x)| ((31 * y + 17 * x) % 251) as u16);
            let mut halved = Array2::default((0, 0));
            reduce_2x2(&plane.view(), &mut halved, &threads, |four| four.iter().sum());
            assert_eq!(halved.dim(), (height.div_ceil(2), width.div_ceil(2)));
            for ((y, x), sum) in halved.indexed_iter() {
                let at = |dy: usize, dx: usize| {
                    plane[[(2 * y + dy).min(height - 1), (2 * x + dx).min(width - 1)]]
                };
                assert_eq!(
                    *sum,
                    at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1),
                    "{height}x{width}: {y} {x}"
                );
            }
        }
    }
}
