//! Feature maps in memory.

use super::arithmetic::{Rows, Sign, Uses};
use crate::nn::{Size, arch::MapSpec};

/// Shape of a feature map: rows of interleaved pixels with some pixels of zeros before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    /// Pixels of zeros on either side.
    pub margin: usize,
}

impl Shape {
    /// Shape of a map in a network that runs on inputs of `size`.
    pub fn new(spec: MapSpec, size: Size) -> Self {
        Self {
            width: size.width >> spec.level,
            height: size.height >> spec.level,
            channels: spec.channels,
            margin: 1,
        }
    }

    /// Values per row, the zeros included.
    pub fn stride(&self) -> usize {
        (self.width + 2 * self.margin) * self.channels
    }

    /// The pixels of a row without the zeros around them.
    pub fn inner(&self) -> std::ops::Range<usize> {
        self.margin * self.channels..(self.width + self.margin) * self.channels
    }
}

/// A feature map. Layers write the inner pixels only, so the zeros around stay zeros.
#[derive(Debug)]
pub(super) struct Map<R> {
    pub shape: Shape,
    pub rows: R,
}

impl<R: Rows> Map<R> {
    pub fn new(shape: Shape, uses: Uses) -> Self {
        Self { shape, rows: R::zeros(shape.stride() * shape.height, Sign::Signed, uses) }
    }

    pub fn row(&self, y: usize) -> R::Ref<'_> {
        let stride = self.shape.stride();
        self.rows.view(y * stride..(y + 1) * stride)
    }
}

/// The few rows that a layer needs while it moves down a band, each new one in the place of the oldest.
#[derive(Debug)]
pub(super) struct Ring<R> {
    rows: Vec<R>,
}

impl<R: Rows> Ring<R> {
    /// Room for `count` rows of up to `stride` values.
    pub fn new(count: usize, stride: usize) -> Self {
        Self { rows: (0..count).map(|_| R::zeros(stride, Sign::Signed, Uses::ALL)).collect() }
    }

    /// A row with the zeros around it.
    pub fn row(&self, y: usize, shape: Shape) -> R::Ref<'_> {
        self.rows[y % self.rows.len()].view(0..shape.stride())
    }

    /// The inner pixels of `N` rows to be written, from row `y` on. Rows of other shapes may have lain here, so the zeros are set anew.
    ///
    /// # Panics
    /// If there is no room for so many.
    pub fn start_rows<const N: usize>(
        &mut self,
        y: usize,
        shape: Shape,
        sign: Sign,
    ) -> [R::Mut<'_>; N] {
        let count = self.rows.len();
        let rows = self.rows.get_disjoint_mut(std::array::from_fn(|i| (y + i) % count));
        rows.expect("rings have room for the rows that are made together").map(|row| {
            let inner = shape.inner();
            row.clear(0..inner.start, sign);
            row.clear(inner.end..shape.stride(), sign);
            row.view_mut(inner)
        })
    }
}
