// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures in memory, for programs that do not stream rows from a frame.

use std::ops::Range;

use super::{Error, Output, RowSink, Session, Size, Source};

/// Values of shape `[height, width, channels]`, channels innermost.
///
/// It serves as a [`Source`] and as an [`Output`] of a [`Session`].
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    size: Size,
    channels: usize,
    values: Vec<f32>,
    max_control: f32,
}

impl Tensor {
    /// Creates a tensor from its values, row by row.
    ///
    /// # Panics
    /// If there are not `height * width * channels` values.
    pub fn new(size: Size, channels: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), size.width * size.height * channels, "values of another shape");
        Self { size, channels, values, max_control: f32::INFINITY }
    }

    /// Creates a tensor of zeros.
    pub fn zeros(size: Size, channels: usize) -> Self {
        Self::new(size, channels, vec![0.0; size.width * size.height * channels])
    }

    /// Declares that no control channel holds more than `max_control`, see [`Source::max_control`].
    #[must_use]
    pub fn with_max_control(self, max_control: f32) -> Self {
        Self { max_control, ..self }
    }

    /// Returns width and height.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns the values per pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns all values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns all values, row by row, for changes.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Runs a session with this tensor as input. Returns a tensor of `output_channels` channels.
    ///
    /// # Errors
    /// Errors of the backend.
    ///
    /// # Panics
    /// If this tensor has another size than the session.
    pub fn run(&self, session: &mut dyn Session, output_channels: usize) -> Result<Self, Error> {
        assert_eq!(self.size, session.size(), "a session runs at one size");
        let mut output = Self::zeros(self.size, output_channels);
        session.run(self, &mut output)?;
        Ok(output)
    }

    fn stride(&self) -> usize {
        self.size.width * self.channels
    }
}

impl Source for Tensor {
    fn max_control(&self) -> f32 {
        self.max_control
    }

    fn read_row(&self, y: usize, row: &mut [f32]) {
        row.copy_from_slice(&self.values[y * self.stride()..][..self.stride()]);
    }
}

impl Output for Tensor {
    fn split<'a>(&'a mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'a>> {
        let stride = self.stride();
        let mut rest = self.values.as_mut_slice();
        let mut sinks: Vec<Box<dyn RowSink>> = Vec::with_capacity(bands.len());
        for band in bands {
            let (values, after) = rest.split_at_mut(band.len() * stride);
            sinks.push(Box::new(TensorBand { first: band.start, values, stride }));
            rest = after;
        }
        sinks
    }
}

/// Rows of a tensor that one thread writes.
struct TensorBand<'a> {
    first: usize,
    values: &'a mut [f32],
    stride: usize,
}

impl RowSink for TensorBand<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        self.values[(y - self.first) * self.stride..][..self.stride].copy_from_slice(row);
    }
}
