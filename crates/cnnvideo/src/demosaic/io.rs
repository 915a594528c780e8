// SPDX-License-Identifier: MIT OR Apache-2.0

//! Input and output of the demosaicking network.

use std::{cell::RefCell, ops::Range};

use ndarray::{Array2, ArrayViewMut2};

use super::{
    SIGNATURE, control,
    linear::LinearRows,
    raw::{CellLine, Grid, RawFrame},
};
use crate::{
    denoise::NoiseModel,
    frame::{FixedSample, Sample},
    nn::{Output, RowSink, Source, split_rows},
    simd::vectorise,
};

/// Channels of the network's input.
const INPUTS: usize = SIGNATURE.io.input_channels();
/// Channels of the network's output.
const OUTPUTS: usize = SIGNATURE.io.output;
/// Code value that is 0 in the network's input.
const OFFSET: f32 = 128.0;
/// Code values that are 1 in the network's input and output.
const SCALE: f32 = 255.0;
/// Reason why rows of planes can be viewed as slices.
const CONTIGUOUS: &str = "rows of own planes are contiguous";

/// Samples of a frame as the input of the network.
pub(super) struct Cells<'a> {
    /// The frame.
    pub frame: RawFrame<'a>,
    /// Noise of the samples.
    pub noise: NoiseModel,
}

impl Source for Cells<'_> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        thread_local! {
            static LINES: RefCell<[CellLine; 2]> = RefCell::default();
        }
        let cells = row.as_chunks_mut::<INPUTS>().0;
        LINES.with_borrow_mut(|lines| {
            for (i, line) in lines.iter_mut().enumerate() {
                line.resize(cells.len());
                self.frame.read_line((2 * y + i) as isize, line);
            }
            let [above, below] = &*lines;
            let noise = &self.noise;
            vectorise(
                #[inline(always)]
                || {
                    for (x, cell) in cells.iter_mut().enumerate() {
                        let samples = [above.even[x + 1], above.odd[x + 1]];
                        let [[r, g], [h, b]] = [samples, [below.even[x + 1], below.odd[x + 1]]];
                        let sigma = noise.sigma_at(0.25 * (r + g + (h + b)));
                        let [r, g, h, b] = [r, g, h, b].map(|v| (v - OFFSET) * (1.0 / SCALE));
                        *cell = [r, g, h, b, control(sigma)];
                    }
                },
            );
        });
    }
}

/// Red, green and blue of all pixels of a grid.
#[derive(Debug, Default)]
pub(super) struct RgbPlanes([Array2<FixedSample>; 3]);

impl RgbPlanes {
    /// Resizes the planes for a grid.
    pub(super) fn resize(&mut self, grid: &Grid) {
        let dim = (2 * grid.rows, 2 * grid.columns);
        for plane in self.0.iter_mut().filter(|plane| plane.dim() != dim) {
            *plane = Array2::default(dim);
        }
    }

    /// Returns a row of red, green and blue.
    pub(super) fn row(&self, y: usize) -> [&[FixedSample]; 3] {
        self.0.each_ref().map(|plane| plane.row(y).to_slice().expect(CONTIGUOUS))
    }
}

/// Output of the network: corrects linear demosaicking.
pub(super) struct Corrections<'a> {
    /// The frame.
    pub frame: RawFrame<'a>,
    /// Demosaicked picture.
    pub planes: &'a mut RgbPlanes,
}

impl Output for Corrections<'_> {
    fn split<'a>(&'a mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'a>> {
        let frame = self.frame;
        let columns = frame.grid().columns;
        let [red, green, blue] =
            self.planes.0.each_mut().map(|plane| split_rows(plane, bands, 2).into_iter());
        let planes = red.zip(green).zip(blue);
        let parts = planes.zip(bands).map(|(((red, green), blue), band)| {
            Box::new(Band {
                first_row: band.start,
                planes: [red, green, blue],
                linear: LinearRows::new(frame, columns),
                pixels: std::array::from_fn(|_| vec![0.0; columns]),
            }) as Box<dyn RowSink + 'a>
        });
        parts.collect()
    }
}

/// Sink of one band of the network's output.
struct Band<'a> {
    /// First row of the band, in rows of cells.
    first_row: usize,
    planes: [ArrayViewMut2<'a, FixedSample>; 3],
    linear: LinearRows<'a>,
    /// Linear demosaicking of one colour of the first and of the second pixel of each cell.
    pixels: [Vec<f32>; 2],
}

impl RowSink for Band<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let Self { first_row, planes, linear, pixels } = self;
        let first = 2 * (y - *first_row);
        // Rows and columns beyond the grid make the input a multiple of the granularity.
        if first >= planes[0].nrows() {
            return;
        }
        linear.load(y);
        let excess = row.as_chunks::<OUTPUTS>().0;
        for (colour, plane) in planes.iter_mut().enumerate() {
            for dy in 0..2 {
                for (dx, pixels) in pixels.iter_mut().enumerate() {
                    linear.filter(2 * dy + dx, colour, pixels);
                }
                let mut to = plane.row_mut(first + dy);
                let to = to.as_slice_mut().expect(CONTIGUOUS);
                let channel = 4 * colour + 2 * dy;
                vectorise(
                    #[inline(always)]
                    || correct(pixels, excess, channel, to),
                );
            }
        }
    }
}

/// Subtracts the excess in two channels from the pixels of a row.
#[inline(always)]
fn correct(
    [even, odd]: &[Vec<f32>; 2],
    excess: &[[f32; OUTPUTS]],
    channel: usize,
    to: &mut [FixedSample],
) {
    let pairs = to.as_chunks_mut::<2>().0.iter_mut().zip(even.iter().zip(odd));
    for ((to, (even, odd)), excess) in pairs.zip(excess) {
        to[0] = FixedSample::from_code_value(even - SCALE * excess[channel]);
        to[1] = FixedSample::from_code_value(odd - SCALE * excess[channel + 1]);
    }
}
