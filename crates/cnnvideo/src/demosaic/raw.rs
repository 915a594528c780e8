// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames of a sensor with a Bayer pattern ([`RawFrame`]).

use std::ops::Range;

/// Colours of the first 2x2 pixels of a frame in reading order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BayerPattern {
    /// Blue, green, green, red.
    Bggr,
    /// Green, blue, red, green.
    Gbrg,
    /// Green, red, blue, green.
    Grbg,
    /// Red, green, green, blue.
    Rggb,
}

impl BayerPattern {
    /// Returns the rows and columns of the first cell that lie before the frame: cells begin with
    /// red.
    const fn offset(self) -> [usize; 2] {
        match self {
            Self::Rggb => [0, 0],
            Self::Grbg => [0, 1],
            Self::Gbrg => [1, 0],
            Self::Bggr => [1, 1],
        }
    }
}

/// Pattern and depth of a raw frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawFormat {
    /// Colours of the pixels.
    pub pattern: BayerPattern,
    /// Bits of a sample, 8 to 16. Samples of more than 8 bits are the lower bits of little-endian
    /// 16-bit words.
    pub bits: u32,
}

impl RawFormat {
    /// Returns the bytes of a sample.
    pub fn sample_bytes(self) -> usize {
        if self.bits > 8 { 2 } else { 1 }
    }
}

/// Errors of [`RawFrame::new`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// Width or height is less than 2.
    #[error("a Bayer pattern needs at least 2x2 pixels, not {width}x{height}")]
    TooSmall {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The samples have less than 8 or more than 16 bits.
    #[error("raw samples have 8 to 16 bits, not {0}")]
    Bits(u32),
    /// The rows do not fit into the memory.
    #[error("{bytes} bytes with {stride} for each row are too few for {width}x{height} samples")]
    Memory {
        /// Bytes of memory.
        bytes: usize,
        /// Bytes from one row to the next.
        stride: usize,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
}

/// A frame of a sensor: one sample for each pixel.
#[derive(Debug, Clone, Copy)]
pub struct RawFrame<'a> {
    memory: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
    format: RawFormat,
}

impl<'a> RawFrame<'a> {
    /// Creates a frame of `width` by `height` pixels with a row every `stride` bytes of `memory`.
    ///
    /// # Errors
    /// [`RawError`] if the frame is smaller than 2x2 pixels, the depth is not supported or the
    /// memory too small.
    pub fn new(
        memory: &'a [u8],
        stride: usize,
        [width, height]: [usize; 2],
        format: RawFormat,
    ) -> Result<Self, RawError> {
        if width.min(height) < 2 {
            return Err(RawError::TooSmall { width, height });
        }
        if !(8..=16).contains(&format.bits) {
            return Err(RawError::Bits(format.bits));
        }
        let row = width.saturating_mul(format.sample_bytes());
        let needed = stride.saturating_mul(height - 1).saturating_add(row);
        if stride < row || memory.len() < needed {
            return Err(RawError::Memory { bytes: memory.len(), stride, width, height });
        }
        Ok(Self { memory, stride, width, height, format })
    }

    /// Returns the width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Returns pattern and depth.
    pub fn format(&self) -> RawFormat {
        self.format
    }

    /// Returns the grid of cells that covers the frame.
    pub(super) fn grid(&self) -> Grid {
        Grid::new([self.width, self.height], self.format.pattern)
    }

    /// Returns whether the pixel at column `x` and row `y` has a green sample.
    pub(super) fn is_green(&self, x: usize, y: usize) -> bool {
        let [above, before] = self.format.pattern.offset();
        (x + y + above + before) % 2 == 1
    }

    /// Returns the code value of a sample; beyond the frame it is mirrored.
    pub(super) fn sample(&self, x: isize, y: isize) -> f32 {
        let [x, y] = [mirror(x, self.width), mirror(y, self.height)];
        let bytes = &self.memory[self.stride * y..];
        if self.format.bits > 8 {
            self.value::<u16>(&bytes[x * size_of::<u16>()..])
        } else {
            self.value::<u8>(&bytes[x..])
        }
    }

    /// Returns the 8-bit code value of the sample at the start of `bytes`.
    #[inline(always)]
    fn value<T: RawSample>(&self, bytes: &[u8]) -> f32 {
        let scale = 255.0 / ((1u32 << self.format.bits) - 1) as f32;
        (T::load(bytes) * scale).min(255.0)
    }

    /// Returns the bytes of a row of the grid; beyond the frame it is mirrored.
    fn row(&self, grid_row: isize) -> &'a [u8] {
        let [above, _] = self.format.pattern.offset();
        let y = mirror(grid_row - above as isize, self.height);
        &self.memory[self.stride * y..][..self.width * self.format.sample_bytes()]
    }

    /// Converts a row of the grid to code values of 8 bits with a fraction. `line` gets the cells
    /// from one before the first one to one after the last one; beyond the frame they are mirrored.
    pub(super) fn read_line(&self, grid_row: isize, line: &mut CellLine) {
        let row = self.row(grid_row);
        if self.format.bits > 8 {
            self.read_samples::<u16>(row, line);
        } else {
            self.read_samples::<u8>(row, line);
        }
    }

    /// Converts a row of samples of type `T`.
    fn read_samples<T: RawSample>(&self, row: &[u8], CellLine { even, odd }: &mut CellLine) {
        let [_, before] = self.format.pattern.offset();
        let Range { start, end } = self.grid().inner_columns();
        let value = |bytes: &[u8]| self.value::<T>(bytes);
        let first_byte = (2 * start - before) * size_of::<T>();
        let pairs = row[first_byte..].chunks_exact(2 * size_of::<T>());
        // Cell 0 is the second one of the line.
        let inner = start + 1..end + 1;
        crate::simd::vectorise(
            #[inline(always)]
            || {
                let cells = even[inner.clone()].iter_mut().zip(&mut odd[inner.clone()]);
                for ((even, odd), pair) in cells.zip(pairs) {
                    let (first, second) = pair.split_at(size_of::<T>());
                    (*even, *odd) = (value(first), value(second));
                }
            },
        );
        let mirrored = |column: isize| {
            let x = mirror(column - before as isize, self.width);
            value(&row[x * size_of::<T>()..])
        };
        for cell in (0..inner.start).chain(inner.end..even.len()) {
            let column = 2 * (cell as isize - 1);
            (even[cell], odd[cell]) = (mirrored(column), mirrored(column + 1));
        }
    }
}

/// Cells of 2x2 pixels that cover a frame. The first sample of each cell is red.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    /// Rows and columns of the first cell before the frame.
    pub offset: [usize; 2],
    /// Rows of cells.
    pub rows: usize,
    /// Columns of cells.
    pub columns: usize,
    /// Width of the frame.
    width: usize,
}

impl Grid {
    /// Returns the grid for frames of a size.
    pub(super) fn new([width, height]: [usize; 2], pattern: BayerPattern) -> Self {
        let offset @ [above, before] = pattern.offset();
        let (rows, columns) = ((height + above).div_ceil(2), (width + before).div_ceil(2));
        Self { offset, rows, columns, width }
    }

    /// Returns the columns of cells that lie inside the frame.
    fn inner_columns(&self) -> Range<usize> {
        let [_, before] = self.offset;
        before..(self.width + before) / 2
    }
}

/// Samples of a row of cells, with a cell beyond each end.
#[derive(Debug, Default, Clone)]
pub(super) struct CellLine {
    /// First sample of each cell.
    pub even: Vec<f32>,
    /// Second sample of each cell.
    pub odd: Vec<f32>,
}

impl CellLine {
    /// Creates a line for `columns` cells and one more at each end.
    pub(super) fn new(columns: usize) -> Self {
        let mut line = Self::default();
        line.resize(columns);
        line
    }

    /// Resizes the line for `columns` cells and one more at each end.
    pub(super) fn resize(&mut self, columns: usize) {
        self.even.resize(columns + 2, 0.0);
        self.odd.resize(columns + 2, 0.0);
    }
}

/// A sample in memory.
trait RawSample {
    /// Returns the value at the start of `bytes`.
    fn load(bytes: &[u8]) -> f32;
}

impl RawSample for u8 {
    #[inline(always)]
    fn load(bytes: &[u8]) -> f32 {
        f32::from(bytes[0])
    }
}

impl RawSample for u16 {
    #[inline(always)]
    fn load(bytes: &[u8]) -> f32 {
        f32::from(Self::from_le_bytes([bytes[0], bytes[1]]))
    }
}

/// Mirrors a position at the first and the last of `length` samples, which are not repeated, so
/// that it keeps its colour.
fn mirror(position: isize, length: usize) -> usize {
    let period = 2 * (length as isize - 1);
    let position = position.rem_euclid(period);
    position.min(period - position) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [BayerPattern; 4] =
        [BayerPattern::Bggr, BayerPattern::Gbrg, BayerPattern::Grbg, BayerPattern::Rggb];

    #[test]
    fn positions_are_mirrored_and_keep_their_colour() {
        let mirrored: Vec<_> = (-3..8).map(|i| mirror(i, 5)).collect();
        assert_eq!(mirrored, [3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1]);
        assert_eq!([-2, -1, 0, 1, 2, 3].map(|i| mirror(i, 2)), [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn lines_have_the_samples_of_the_grid() {
        for pattern in PATTERNS {
            for (width, height) in [(2, 2), (3, 5), (6, 4), (7, 3)] {
                for bits in [8, 12] {
                    let format = RawFormat { pattern, bits };
                    let size = format.sample_bytes();
                    let stride = width * size + 3;
                    let sample = |y: usize, x: usize| 10 * y + x + 1;
                    let mut memory = vec![0xee; stride * height];
                    for y in 0..height {
                        for x in 0..width {
                            let bytes = (sample(y, x) as u16).to_le_bytes();
                            memory[stride * y + size * x..][..size].copy_from_slice(&bytes[..size]);
                        }
                    }
                    let frame = RawFrame::new(&memory, stride, [width, height], format).unwrap();
                    let [above, before] = pattern.offset();
                    let columns = frame.grid().columns + 3;
                    let mut line = CellLine::new(columns);
                    for row in -2..height as isize + 4 {
                        frame.read_line(row, &mut line);
                        for cell in 0..columns + 2 {
                            for (i, samples) in [&line.even, &line.odd].into_iter().enumerate() {
                                let column = 2 * (cell as isize - 1) + i as isize;
                                let y = mirror(row - above as isize, height);
                                let x = mirror(column - before as isize, width);
                                let unit = 255.0 / ((1 << bits) - 1) as f32;
                                let expected = sample(y, x) as f32 * unit;
                                assert_eq!(samples[cell], expected, "{pattern:?} {row} {column}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn invalid_frames_are_rejected() {
        let format = RawFormat { pattern: BayerPattern::Rggb, bits: 8 };
        let new = |bytes: usize, stride, size, bits| {
            RawFrame::new(&vec![0; bytes], stride, size, RawFormat { bits, ..format }).map(|_| ())
        };
        assert_eq!(new(14, 8, [6, 2], 8), Ok(()));
        assert!(matches!(new(13, 8, [6, 2], 8), Err(RawError::Memory { .. })));
        assert!(matches!(new(100, 8, [6, 2], 10), Err(RawError::Memory { .. })));
        assert!(matches!(new(100, 8, [1, 2], 8), Err(RawError::TooSmall { .. })));
        assert_eq!(new(100, 8, [2, 2], 7), Err(RawError::Bits(7)));
    }
}
