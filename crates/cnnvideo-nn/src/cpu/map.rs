//! Storage of feature maps: whole maps, and ring buffers of their most recent rows.

use super::arithmetic::{Rows, Sign, Uses};
use crate::{Size, arch::MapSpec};

/// Shape of a feature map: rows of interleaved pixels with zero padding on the left and the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Pixels per row without the padding.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// Values per pixel.
    pub channels: usize,
    /// Pixels of zero padding on either side of a row.
    pub margin: usize,
}

impl Shape {
    /// Returns the shape of a map in a network that runs on inputs of `size`, with a margin of one
    /// pixel.
    pub fn new(spec: MapSpec, size: Size) -> Self {
        Self {
            width: size.width >> spec.level,
            height: size.height >> spec.level,
            channels: spec.channels,
            margin: 1,
        }
    }

    /// Returns the values per row, padding included.
    pub fn stride(&self) -> usize {
        (self.width + 2 * self.margin) * self.channels
    }

    /// Returns the range of a row's values without the padding.
    pub fn inner(&self) -> std::ops::Range<usize> {
        self.margin * self.channels..(self.width + self.margin) * self.channels
    }
}

/// A whole feature map. Layers write only the inner pixels, so the padding stays zero.
#[derive(Debug)]
pub(super) struct Map<R> {
    /// Shape of the map.
    pub shape: Shape,
    /// Rows with their padding, `shape.stride() * shape.height` values.
    pub rows: R,
}

impl<R: Rows> Map<R> {
    /// Creates a map of zeros with storage for `uses`.
    pub fn new(shape: Shape, uses: Uses) -> Self {
        Self { shape, rows: R::zeros(shape.stride() * shape.height, Sign::Signed, uses) }
    }

    /// Returns row `y` with its padding.
    pub fn row(&self, y: usize) -> R::Ref<'_> {
        let stride = self.shape.stride();
        self.rows.view(y * stride..(y + 1) * stride)
    }
}

/// Ring buffer of the rows of a step's output that later steps still read. Row `y` lies in slot `y`
/// modulo the number of slots.
#[derive(Debug)]
pub(super) struct Ring<R> {
    rows: Vec<R>,
}

impl<R: Rows> Ring<R> {
    /// Creates a ring of `count` rows of up to `stride` values.
    pub fn new(count: usize, stride: usize) -> Self {
        Self { rows: (0..count).map(|_| R::zeros(stride, Sign::Signed, Uses::ALL)).collect() }
    }

    /// Returns row `y` with its padding.
    pub fn row(&self, y: usize, shape: Shape) -> R::Ref<'_> {
        self.rows[y % self.rows.len()].view(0..shape.stride())
    }

    /// Returns the inner pixels of rows `y..y + N` for writing, and zeroes their padding, because
    /// the slots may have held rows of another shape.
    ///
    /// # Panics
    /// If the ring has fewer than `N` slots.
    pub fn start_rows<const N: usize>(
        &mut self,
        y: usize,
        shape: Shape,
        sign: Sign,
    ) -> [R::Mut<'_>; N] {
        let count = self.rows.len();
        let rows = self.rows.get_disjoint_mut(std::array::from_fn(|i| (y + i) % count));
        rows.expect("a ring has a slot for each row of a row block").map(|row| {
            let inner = shape.inner();
            row.clear(0..inner.start, sign);
            row.clear(inner.end..shape.stride(), sign);
            row.view_mut(inner)
        })
    }
}
