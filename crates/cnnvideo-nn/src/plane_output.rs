// SPDX-License-Identifier: MIT OR Apache-2.0

//! An [`Output`] that writes into one plane.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut1, ArrayViewMut2};

use super::{Output, RowSink, split_rows};

/// Output that converts each row of a network's result into rows of a plane.
///
/// `write` gets a row of the result, the index of the plane's row among those of that row (0 to
/// `rows - 1`), and the plane's row. Rows of the result beyond the plane, which exist because input
/// sizes are multiples of the granularity, are dropped.
pub struct PlaneOutput<'a, T, F> {
    plane: &'a mut Array2<T>,
    rows: usize,
    write: F,
}

impl<'a, T, F> PlaneOutput<'a, T, F>
where
    F: Fn(&[f32], usize, ArrayViewMut1<'_, T>) + Sync,
{
    /// Creates an output for a plane that has `rows` rows for each row of the network's result.
    pub fn new(plane: &'a mut Array2<T>, rows: usize, write: F) -> Self {
        Self { plane, rows, write }
    }
}

impl<T, F> Output for PlaneOutput<'_, T, F>
where
    T: Send,
    F: Fn(&[f32], usize, ArrayViewMut1<'_, T>) + Sync + Send,
{
    fn split<'b>(&'b mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'b>> {
        let Self { plane, rows, write } = self;
        let (rows, write) = (*rows, &*write);
        let parts = split_rows(plane, bands, rows).into_iter().zip(bands);
        let sink = |(plane, band): (_, &Range<usize>)| {
            Box::new(PlaneBand { first: band.start, rows, plane, write }) as Box<dyn RowSink>
        };
        parts.map(sink).collect()
    }
}

/// Rows of the plane that one thread writes.
struct PlaneBand<'a, T, F> {
    /// First row of the result in this band.
    first: usize,
    rows: usize,
    plane: ArrayViewMut2<'a, T>,
    write: &'a F,
}

impl<T, F> RowSink for PlaneBand<'_, T, F>
where
    T: Send,
    F: Fn(&[f32], usize, ArrayViewMut1<'_, T>) + Sync,
{
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let first = self.rows * (y - self.first);
        for i in 0..self.rows {
            if first + i < self.plane.nrows() {
                (self.write)(row, i, self.plane.row_mut(first + i));
            }
        }
    }
}
