// SPDX-License-Identifier: MIT OR Apache-2.0

//! Input and output of a network: rows of interleaved pixels (NHWC order), in bands that threads
//! process in parallel.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2, Axis};

/// Size of the input of a network in pixels of that input. For pixel-unshuffled video this is half
/// the frame size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels per row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
}

impl Size {
    /// Returns the size with width and height rounded up to multiples of `granularity`, see
    /// [`Network::granularity`](super::Network::granularity).
    #[must_use]
    pub fn next_multiple_of(self, granularity: usize) -> Self {
        Self {
            width: self.width.next_multiple_of(granularity),
            height: self.height.next_multiple_of(granularity),
        }
    }
}

/// Supplies the input of a network. Several threads call it at the same time.
pub trait Source: Sync {
    /// Writes row `y` into `row` as `width` interleaved pixels of `input_channels` values each.
    fn read_row(&self, y: usize, row: &mut [f32]);

    /// Returns an upper bound of all values in the control maps. int8 models may have scales for
    /// low-noise input, which sessions use where this bound is low.
    fn max_control(&self) -> f32 {
        f32::INFINITY
    }
}

/// Receives the output rows of one band.
pub trait RowSink: Send {
    /// Receives row `y` as `width` interleaved pixels of `output_channels` values each. The rows of
    /// a band arrive in ascending order.
    fn write_row(&mut self, y: usize, row: &[f32]);
}

/// Receives the output of a network. It is divided into bands of rows so that threads can write in
/// parallel.
pub trait Output: Send {
    /// Returns one sink for each of `bands`. The bands are contiguous and cover all rows from 0 to
    /// the last one.
    fn split<'a>(&'a mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'a>>;
}

/// Divides `rows` rows into at most `count` bands of nearly equal height. The height of every band
/// but the last is a multiple of `step`.
pub(crate) fn split_bands(rows: usize, count: usize, step: usize) -> Vec<Range<usize>> {
    let steps = rows.div_ceil(step);
    let count = count.clamp(1, steps.max(1));
    let edge = |i: usize| (steps * i / count * step).min(rows);
    (0..count).map(|i| edge(i)..edge(i + 1)).collect()
}

/// Divides the rows of `plane` among the bands of a network's output. Each output row corresponds
/// to `rows_per_row` rows of the plane; the last parts are shorter where the plane has fewer rows
/// than the bands cover.
pub fn split_rows<'a, T>(
    plane: &'a mut Array2<T>,
    bands: &[Range<usize>],
    rows_per_row: usize,
) -> Vec<ArrayViewMut2<'a, T>> {
    let mut rest = plane.view_mut();
    let mut parts = Vec::with_capacity(bands.len());
    for band in bands {
        let own = (rows_per_row * band.len()).min(rest.nrows());
        let (part, after) = rest.split_at(Axis(0), own);
        rest = after;
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::split_bands;

    #[test]
    fn bands_cover_all_rows_once() {
        for rows in 1..40 {
            for count in 1..9 {
                for step in [1, 2, 4] {
                    let bands = split_bands(rows, count, step);
                    let mut next = 0;
                    for band in &bands {
                        assert_eq!(band.start, next);
                        assert!(band.end > band.start && band.start % step == 0);
                        next = band.end;
                    }
                    assert_eq!(next, rows);
                }
            }
        }
    }
}
