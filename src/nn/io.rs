use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2, Axis};

/// Size of a network's input in its own pixels (for pixel-unshuffled video: half the frame's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

/// Gives a network its input. Called from several threads at once.
pub trait Source: Sync {
    /// Writes row `y` as interleaved pixels, `width * input_channels` values.
    fn read_row(&self, y: usize, row: &mut [f32]);

    /// A value that nothing in the control maps exceeds. Models that run in 8-bit integers may have finer steps where it is low.
    fn most(&self) -> f32 {
        f32::INFINITY
    }
}

/// Takes rows of a network's output for one band of the picture.
pub trait RowSink: Send {
    /// Takes row `y`, interleaved pixels, `width * output_channels` values. Rows of a band come in order.
    fn write_row(&mut self, y: usize, row: &[f32]);
}

/// Takes a network's output, divided into bands of rows so that threads can write at the same time.
pub trait Output: Send {
    /// One sink for each of `bands`, which follow each other from row 0 to the last.
    fn split<'a>(&'a mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'a>>;
}

/// Divides `rows` rows into `count` bands of nearly equal height, each a multiple of `step` but the last.
pub(crate) fn bands(rows: usize, count: usize, step: usize) -> Vec<Range<usize>> {
    let steps = rows.div_ceil(step);
    let count = count.clamp(1, steps.max(1));
    let edge = |i: usize| (steps * i / count * step).min(rows);
    (0..count).map(|i| edge(i)..edge(i + 1)).collect()
}

/// Divides a plane among bands of a network's output: `rows` rows for each of a band's, as far as there are any.
pub(crate) fn parts<'a, T>(
    plane: &'a mut Array2<T>,
    bands: &[Range<usize>],
    rows: usize,
) -> Vec<ArrayViewMut2<'a, T>> {
    let mut rest = plane.view_mut();
    let mut parts = Vec::with_capacity(bands.len());
    for band in bands {
        let own = (rows * band.len()).min(rest.nrows());
        let (part, after) = rest.split_at(Axis(0), own);
        rest = after;
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::bands;

    #[test]
    fn bands_cover_all_rows_once() {
        for rows in 1..40 {
            for count in 1..9 {
                for step in [1, 2, 4] {
                    let bands = bands(rows, count, step);
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
