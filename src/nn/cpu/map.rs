//! Feature maps in memory.

use crate::nn::{Size, arch::MapSpec};

/// Shape of a feature map: rows of interleaved pixels with one pixel of zeros before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
}

impl Shape {
    /// Shape of a map in a network that runs on inputs of `size`.
    pub fn new(spec: MapSpec, size: Size) -> Self {
        Self { width: size.width >> spec.level, height: size.height >> spec.level, channels: spec.channels }
    }

    /// Values per row, the zeros included.
    pub fn stride(&self) -> usize {
        (self.width + 2) * self.channels
    }

    /// The pixels of a row without the zeros around them.
    pub fn inner(&self) -> std::ops::Range<usize> {
        self.channels..(self.width + 1) * self.channels
    }
}

/// A feature map. Layers write the inner pixels only, so the zeros around stay zeros.
#[derive(Debug)]
pub(super) struct Map {
    pub shape: Shape,
    pub data: Vec<f32>,
}

impl Map {
    pub fn new(shape: Shape) -> Self {
        Self { shape, data: vec![0.0; shape.stride() * shape.height] }
    }

    pub fn row(&self, y: usize) -> &[f32] {
        &self.data[y * self.shape.stride()..][..self.shape.stride()]
    }
}

/// The few rows that a layer needs while it moves down a band: row `y` takes the place of row `y - 3`.
#[derive(Debug)]
pub(super) struct Ring {
    rows: [Vec<f32>; 3],
}

impl Ring {
    /// Room for rows of up to `stride` values.
    pub fn new(stride: usize) -> Self {
        Self { rows: std::array::from_fn(|_| vec![0.0; stride]) }
    }

    /// A row with the zeros around it.
    pub fn row(&self, y: usize, shape: Shape) -> &[f32] {
        &self.rows[y % 3][..shape.stride()]
    }

    /// The inner pixels of a row to be written. Rows of other shapes may have lain here, so the zeros are set anew.
    pub fn start_row(&mut self, y: usize, shape: Shape) -> &mut [f32] {
        let row = &mut self.rows[y % 3][..shape.stride()];
        let inner = shape.inner();
        row[..inner.start].fill(0.0);
        row[inner.end..].fill(0.0);
        &mut row[inner]
    }
}
