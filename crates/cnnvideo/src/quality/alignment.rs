// SPDX-License-Identifier: MIT OR Apache-2.0

//! Alignment of two streams: which frame offset between them fits best.

use std::collections::VecDeque;

use ndarray::{Array2, ArrayView2, s};

/// Largest width and height of the thumbnails that are compared.
const THUMBNAIL: (usize, usize) = (64, 36);
/// Pairs at an offset before it counts.
const LEAST_PAIRS: u64 = 8;
/// An offset other than 0 must have less than this share of the error at offset 0, so that noise
/// and still scenes give no offset.
const LARGEST_SHARE: f64 = 0.5;

/// Compares thumbnails of the frames of both streams at offsets up to a range.
#[derive(Debug, Clone)]
pub struct Alignment {
    range: usize,
    /// Thumbnails of the last pairs, the newest first: reference and tested frame.
    recent: VecDeque<[Array2<f32>; 2]>,
    /// Sum of the errors and number of pairs by offset, from `-range` on.
    errors: Vec<(f64, u64)>,
}

impl Alignment {
    /// Creates the comparison for offsets of up to `range` frames in both directions. 0 compares
    /// nothing.
    pub fn new(range: usize) -> Self {
        Self { range, recent: VecDeque::new(), errors: vec![(0.0, 0); 2 * range + 1] }
    }

    /// Adds the luma of the next pair.
    pub fn add(&mut self, reference: &ArrayView2<'_, f32>, test: &ArrayView2<'_, f32>) {
        if self.range == 0 {
            return;
        }
        let pair = [thumbnail(reference), thumbnail(test)];
        if self.recent.front().is_some_and(|last| last[0].dim() != pair[0].dim()) {
            self.recent.clear();
        }
        self.recent.push_front(pair);
        self.recent.truncate(self.range + 1);
        let [newest_reference, newest_test] = &self.recent[0];
        for (distance, [reference, test]) in self.recent.iter().enumerate() {
            // The tested stream is late: its newest frame shows an older one of the reference.
            let late = &mut self.errors[self.range + distance];
            *late = (late.0 + error(reference, newest_test), late.1 + 1);
            if distance > 0 {
                let early = &mut self.errors[self.range - distance];
                *early = (early.0 + error(newest_reference, test), early.1 + 1);
            }
        }
    }

    /// Returns the number of frames by which the tested stream is late (above 0) or early (below 0)
    /// according to the content of the frames. 0 if the streams are aligned, or if no other offset
    /// fits clearly better; `None` before the first pair and with range 0.
    pub fn offset(&self) -> Option<i64> {
        let mean = |(sum, count): &(f64, u64)| sum / *count as f64;
        let aligned = self.errors.get(self.range).filter(|(_, count)| *count > 0).map(mean)?;
        let others = self.errors.iter().enumerate();
        let best = others
            .filter(|(_, (_, count))| *count >= LEAST_PAIRS)
            .map(|(i, error)| (mean(error), (i as i64 - self.range as i64).abs(), i))
            .filter(|(error, _, _)| *error < LARGEST_SHARE * aligned)
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Some(best.map_or(0, |(_, _, i)| i as i64 - self.range as i64))
    }
}

/// Returns the mean square difference of two thumbnails.
fn error(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    super::mse(&a.view(), &b.view())
}

/// Returns a plane reduced to at most [`THUMBNAIL`] by the means of cells, less the mean of all, so
/// that a change of brightness does not count.
fn thumbnail(plane: &ArrayView2<'_, f32>) -> Array2<f32> {
    let (height, width) = plane.dim();
    let size = (height.min(THUMBNAIL.1), width.min(THUMBNAIL.0));
    let mut cells = Array2::from_shape_fn(size, |(y, x)| {
        let rows = y * height / size.0..(y + 1) * height / size.0;
        let columns = x * width / size.1..(x + 1) * width / size.1;
        plane.slice(s![rows, columns]).mean().unwrap_or(0.0)
    });
    let mean = cells.mean().unwrap_or(0.0);
    cells -= mean;
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns frame `number` of a square that moves over texture, with noise.
    fn frame(number: usize, noise: usize) -> Array2<f32> {
        Array2::from_shape_fn((72, 128), |(y, x)| {
            let mut hash = (x + 128 * y + 16384 * noise).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            hash = (hash ^ (hash >> 31)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
            let inside = (20..50).contains(&y) && (3 * number..3 * number + 20).contains(&x);
            let noise = if noise > 0 { (hash >> 59) as f32 } else { 0.0 };
            noise + if inside { 200.0 } else { 60.0 + (x % 9) as f32 }
        })
    }

    fn offset(
        range: usize,
        frames: std::ops::Range<usize>,
        shift: i64,
        still: bool,
    ) -> Option<i64> {
        let mut alignment = Alignment::new(range);
        for i in frames {
            let number = |shift: i64| if still { 5 } else { (i as i64 + shift) as usize };
            let [a, b] = [frame(number(0), i + 1), frame(number(-shift), i + 1000) + 9.0];
            alignment.add(&a.view(), &b.view());
        }
        alignment.offset()
    }

    #[test]
    fn late_and_early_streams_are_found() {
        for shift in [-4, -1, 0, 1, 3] {
            assert_eq!(offset(5, 10..30, shift, false), Some(shift));
        }
        // Outside of the range no offset fits.
        assert_eq!(offset(2, 10..30, 9, false), Some(0));
        assert_eq!(offset(0, 10..30, 1, false), None);
    }

    #[test]
    fn still_scenes_and_short_streams_have_no_offset() {
        assert_eq!(offset(5, 10..30, 3, true), Some(0));
        assert_eq!(offset(5, 10..14, 1, false), Some(0));
        assert_eq!(Alignment::new(5).offset(), None);
    }
}
