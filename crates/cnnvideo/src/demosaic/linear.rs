// SPDX-License-Identifier: MIT OR Apache-2.0

//! Linear demosaicking of rows of cells ([`LinearRows`]).

use super::{
    kernels::{KERNEL_SIDE, KERNEL_UNIT, KERNELS, Kernel},
    raw::{CellLine, RawFrame},
};
use crate::simd::vectorise;

/// Rows of samples that the kernels of a row of cells read: its two rows and two on each side.
const LINES: usize = KERNEL_SIDE + 1;
/// Largest distance of a tap from the centre of a kernel.
const REACH: isize = KERNEL_SIDE as isize / 2;

/// Demosaicks the rows of cells of a frame, in ascending order.
pub(super) struct LinearRows<'a> {
    frame: RawFrame<'a>,
    lines: [CellLine; LINES],
    /// Row of cells whose samples are in `lines`.
    row: Option<usize>,
}

impl<'a> LinearRows<'a> {
    /// Creates the rows for a network whose input has `columns` cells, as many as the grid of the
    /// frame or more.
    pub(super) fn new(frame: RawFrame<'a>, columns: usize) -> Self {
        Self { frame, lines: std::array::from_fn(|_| CellLine::new(columns)), row: None }
    }

    /// Reads the samples for a row of cells.
    pub(super) fn load(&mut self, row: usize) {
        let follows = self.row.is_some_and(|last| last + 1 == row);
        let kept = if follows { LINES - 2 } else { 0 };
        self.lines.rotate_left(LINES - kept);
        for (i, line) in self.lines.iter_mut().enumerate().skip(kept) {
            self.frame.read_line(2 * row as isize + i as isize - REACH, line);
        }
        self.row = Some(row);
    }

    /// Writes one colour (0 red, 1 green, 2 blue) of one pixel (in reading order) of each cell in
    /// the loaded row, in 8-bit code values.
    pub(super) fn filter(&self, pixel: usize, colour: usize, to: &mut [f32]) {
        to.fill(0.0);
        let kernel: &Kernel = &KERNELS[pixel][colour];
        for (i, weight) in kernel.as_flattened().iter().enumerate().filter(|(_, w)| **w != 0) {
            let line = &self.lines[pixel / 2 + i / KERNEL_SIDE];
            let column = (pixel % 2 + i % KERNEL_SIDE) as isize - REACH;
            let samples = if column.rem_euclid(2) == 0 { &line.even } else { &line.odd };
            let first = (column.div_euclid(2) + 1) as usize;
            let samples = &samples[first..][..to.len()];
            let weight = *weight as f32 / KERNEL_UNIT as f32;
            vectorise(
                #[inline(always)]
                || to.iter_mut().zip(samples).for_each(|(to, sample)| *to += weight * sample),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{BayerPattern, RawFormat},
        *,
    };

    #[test]
    fn rows_equal_the_kernels_at_each_pixel() {
        let (width, height) = (11, 9);
        let memory: Vec<u8> = (0..width * height).map(|i| (i * 37 % 251) as u8).collect();
        let format = RawFormat { pattern: BayerPattern::Grbg, bits: 8 };
        let frame = RawFrame::new(&memory, width, [width, height], format).unwrap();
        let columns = frame.grid().columns;
        let sample = |row: isize, column: isize| {
            let mut line = CellLine::new(columns);
            frame.read_line(row, &mut line);
            let cell = (column.div_euclid(2) + 1) as usize;
            if column.rem_euclid(2) == 0 { line.even[cell] } else { line.odd[cell] }
        };
        let mut rows = LinearRows::new(frame, columns);
        let mut result = vec![0.0; columns];
        for row in [0, 1, 2, 4] {
            rows.load(row);
            for (pixel, kernels) in KERNELS.iter().enumerate() {
                for (colour, kernel) in kernels.iter().enumerate() {
                    rows.filter(pixel, colour, &mut result);
                    for (cell, value) in result.iter().enumerate() {
                        let y = (2 * row + pixel / 2) as isize;
                        let x = (2 * cell + pixel % 2) as isize;
                        let taps = kernel.as_flattened().iter().enumerate();
                        let sum: f32 = taps
                            .map(|(i, weight)| {
                                let (dy, dx) = ((i / 5) as isize - 2, (i % 5) as isize - 2);
                                *weight as f32 / 16.0 * sample(y + dy, x + dx)
                            })
                            .sum();
                        assert!((sum - value).abs() < 1e-3, "{row} {pixel} {colour} {cell}");
                    }
                }
            }
        }
    }
}
