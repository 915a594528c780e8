// SPDX-License-Identifier: MIT OR Apache-2.0

//! Finds samples in runs of equal samples ([`FlatRuns`]).
//!
//! Noise is everywhere but in letterbox bars, graphics and clipped areas. There the network would
//! carry noise over from beside them, and push them away from their value.

use ndarray::{ArrayView1, ArrayView2, s};

use crate::{frame::Sample, simd::vectorise};

/// Number of equal samples, in a row or in a column, that noise does not cause by chance.
const RUN: usize = 9;

/// Marks of the samples of one row, reused from row to row.
#[derive(Debug, Default)]
pub(super) struct FlatRuns {
    /// Whether each sample is part of a run.
    marks: Vec<bool>,
    /// Whether each sample equals those after it, in a row or a column.
    equal: Vec<bool>,
}

impl FlatRuns {
    /// Returns for each sample of row `y` whether it is part of a horizontal or vertical run of at
    /// least [`RUN`] equal samples.
    pub(super) fn of_row<T: Sample>(&mut self, component: &ArrayView2<'_, T>, y: usize) -> &[bool] {
        self.marks.clear();
        self.marks.resize(component.ncols(), false);
        self.mark_horizontal(component, y);
        self.mark_vertical(component, y);
        &self.marks
    }

    /// Marks the samples of horizontal runs.
    fn mark_horizontal<T: Sample>(&mut self, component: &ArrayView2<'_, T>, y: usize) {
        let Self { marks, equal } = self;
        let row = component.row(y);
        let Some(last) = (row.len() + 1).checked_sub(RUN) else { return };
        equal.clear();
        equal.resize(last, true);
        for distance in 1..RUN {
            if !keep_equal(equal, row.slice(s![..last]), row.slice(s![distance..])) {
                return;
            }
        }
        let starts = equal.iter().enumerate().filter(|(_, equal)| **equal);
        starts.for_each(|(start, _)| marks[start..start + RUN].fill(true));
    }

    /// Marks the samples whose run in their column lies above, below or around them.
    fn mark_vertical<T: Sample>(&mut self, component: &ArrayView2<'_, T>, y: usize) {
        let height = component.nrows();
        let Self { marks, equal } = self;
        for first in [y.checked_sub(RUN - 1), y.checked_sub(RUN / 2), Some(y)] {
            let Some(first) = first.filter(|first| first + RUN <= height) else { continue };
            equal.clear();
            equal.resize(marks.len(), true);
            let mut others = first + 1..first + RUN;
            if others.all(|other| keep_equal(equal, component.row(first), component.row(other))) {
                marks.iter_mut().zip(&*equal).for_each(|(mark, equal)| *mark |= *equal);
            }
        }
    }
}

/// Clears the marks of samples that differ in two rows. Returns whether a mark is left.
fn keep_equal<T: Sample>(equal: &mut [bool], a: ArrayView1<'_, T>, b: ArrayView1<'_, T>) -> bool {
    match (a.to_slice(), b.to_slice()) {
        (Some(a), Some(b)) => vectorise(
            #[inline(always)]
            || {
                let mut any = false;
                for (equal, (a, b)) in equal.iter_mut().zip(a.iter().zip(b)) {
                    *equal &= a == b;
                    any |= *equal;
                }
                any
            },
        ),
        _ => {
            let pairs = a.iter().zip(b);
            equal.iter_mut().zip(pairs).for_each(|(equal, (a, b))| *equal &= a == b);
            equal.contains(&true)
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn bars_are_marked_up_to_their_border_and_noise_is_not() {
        // Bars above and to the left of a picture.
        let picture = Array2::from_shape_fn((40, 50), |(y, x)| {
            if y < 12 || x < 9 {
                16
            } else {
                60 + ((7 * y * y + 13 * x * x + 3 * x * y) % 11) as u8
            }
        });
        let mut runs = FlatRuns::default();
        for y in 0..40 {
            for (x, mark) in runs.of_row(&picture.view(), y).iter().enumerate() {
                assert_eq!(*mark, y < 12 || x < 9, "{x} {y}");
            }
        }
    }

    #[test]
    fn pictures_smaller_than_a_run_have_no_runs() {
        let mut runs = FlatRuns::default();
        for dim in [(1, 1), (8, 8), (3, 8)] {
            let picture = Array2::<u8>::zeros(dim);
            assert!(runs.of_row(&picture.view(), 0).iter().all(|mark| !mark), "{dim:?}");
        }
    }
}
