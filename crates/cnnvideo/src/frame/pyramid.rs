// SPDX-License-Identifier: MIT OR Apache-2.0

//! Image pyramids.

use ndarray::{Array2, ArrayView2, s};

use super::reduce_2x2;
use crate::nn::Threads;

/// Size of a level relative to the one before, where that has an odd size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OddSize {
    /// Half the size, rounded up: the last row or column counts twice.
    RoundUp,
    /// Half the size, rounded down: the last row or column is left out.
    RoundDown,
}

/// A plane and reductions of it, each of half the width and height of the one before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pyramid<T>(Vec<Array2<T>>);

impl<T: Copy + Default + Send + Sync> Pyramid<T> {
    /// Returns the plane at full size, resized to `dim` (rows, columns), to be filled before
    /// [`Self::reduce`].
    pub(crate) fn full_size(&mut self, dim: (usize, usize)) -> &mut Array2<T> {
        if self.0.is_empty() {
            self.0.push(Array2::default(dim));
        } else if self.0[0].dim() != dim {
            self.0[0] = Array2::default(dim);
        }
        &mut self.0[0]
    }

    /// Computes `count` levels below the full size; `mean` reduces 2x2 values, in row-major order,
    /// to one. Mark it `#[inline(always)]`.
    pub(crate) fn reduce(
        &mut self,
        count: usize,
        odd: OddSize,
        threads: &Threads,
        mean: impl Fn([T; 4]) -> T + Sync + Copy,
    ) {
        self.0.resize_with(count + 1, || Array2::default((0, 0)));
        for level in 0..count {
            let (finer, coarser) = self.0.split_at_mut(level + 1);
            let finer = finer[level].view();
            let finer = if odd == OddSize::RoundDown { even_part(finer) } else { finer };
            reduce_2x2(&finer, &mut coarser[0], threads, mean);
        }
    }

    /// Returns all levels, full size first.
    pub(crate) fn levels(&self) -> &[Array2<T>] {
        &self.0
    }
}

/// Leaves out the last row and column of a plane of odd size, unless there is only one.
fn even_part<T>(plane: ArrayView2<'_, T>) -> ArrayView2<'_, T> {
    let even = |n: usize| if n < 2 { n } else { n - n % 2 };
    let (height, width) = plane.dim();
    plane.slice_move(s![..even(height), ..even(width)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_half_the_size() {
        let threads = Threads::new(1).expect("one thread is always available");
        for (odd, expected) in [(OddSize::RoundUp, (3, 4)), (OddSize::RoundDown, (2, 3))] {
            let mut pyramid = Pyramid::default();
            pyramid
                .full_size((5, 7))
                .indexed_iter_mut()
                .for_each(|((y, x), v)| *v = (y + x) as f32);
            pyramid.reduce(2, odd, &threads, |four| four.iter().sum::<f32>() / 4.0);
            assert_eq!(pyramid.levels().len(), 3);
            assert_eq!(pyramid.levels()[1].dim(), expected);
            assert_eq!(pyramid.levels()[1][[1, 1]], 5.0);
        }
    }
}
