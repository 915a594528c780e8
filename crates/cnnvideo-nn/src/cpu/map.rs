// SPDX-License-Identifier: MIT OR Apache-2.0

//! Storage of feature maps: whole maps, and ring buffers of their most recent rows.

use super::arithmetic::{Reads, Signedness, Storage};
use crate::{Size, arch::MapSpec};

/// Shape of a feature map: rows of interleaved pixels with zero padding on the left and the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapShape {
    /// Pixels per row without the padding.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// Values per pixel.
    pub channels: usize,
    /// Pixels of zero padding on either side of a row.
    pub padding: usize,
}

impl MapShape {
    /// Returns the shape of a map in a network that runs on inputs of `size`, with a padding of one
    /// pixel.
    pub(super) fn new(spec: MapSpec, size: Size) -> Self {
        Self {
            width: size.width >> spec.stage,
            height: size.height >> spec.stage,
            channels: spec.channels,
            padding: 1,
        }
    }

    /// Returns the values per row, padding included.
    pub(super) fn stride(&self) -> usize {
        (self.width + 2 * self.padding) * self.channels
    }

    /// Returns the range of a row's values without the padding.
    pub(super) fn inner(&self) -> std::ops::Range<usize> {
        self.padding * self.channels..(self.width + self.padding) * self.channels
    }
}

/// Shape of a whole feature map, and the operations that read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BufferSpec {
    /// Shape of the map.
    pub shape: MapShape,
    /// Operations that read the map.
    pub reads: Reads,
}

/// A whole feature map. Layers write only the inner pixels, so the padding stays zero.
#[derive(Debug)]
pub(super) struct FeatureMap<R> {
    /// Shape of the map.
    pub shape: MapShape,
    /// Rows with their padding, `shape.stride() * shape.height` values.
    pub rows: R,
}

impl<R: Storage> FeatureMap<R> {
    /// Creates a map of zeros.
    pub(super) fn new(spec: &BufferSpec) -> Self {
        let &BufferSpec { shape, reads } = spec;
        Self { shape, rows: R::zeros(shape.stride() * shape.height, Signedness::Signed, reads) }
    }

    /// Returns row `y` with its padding.
    pub(super) fn row(&self, y: usize) -> R::Ref<'_> {
        let stride = self.shape.stride();
        self.rows.view(y * stride..(y + 1) * stride)
    }
}

/// Size of a [`Ring`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RingSize {
    /// Number of rows.
    pub slots: usize,
    /// Upper limit of the values per row.
    pub stride: usize,
}

impl RingSize {
    /// Returns the smallest size that is sufficient for both sizes.
    #[must_use]
    pub(super) fn max(self, other: Self) -> Self {
        Self { slots: self.slots.max(other.slots), stride: self.stride.max(other.stride) }
    }
}

/// Ring buffer of the rows of a step's output that later steps still read. Row `y` lies in slot `y`
/// modulo the number of slots.
#[derive(Debug)]
pub(super) struct Ring<R> {
    slots: Vec<R>,
}

impl<R: Storage> Ring<R> {
    /// Creates a ring of zeros.
    pub(super) fn new(size: RingSize) -> Self {
        let slot = |_| R::zeros(size.stride, Signedness::Signed, Reads::ALL);
        Self { slots: (0..size.slots).map(slot).collect() }
    }

    /// Returns row `y` with its padding.
    pub(super) fn row(&self, y: usize, shape: MapShape) -> R::Ref<'_> {
        self.slots[y % self.slots.len()].view(0..shape.stride())
    }

    /// Returns the inner pixels of rows `y..y + N` for writing, and zeroes their padding, because
    /// the slots may have held rows of another shape.
    ///
    /// # Panics
    /// If the ring has fewer than `N` slots.
    pub(super) fn rows_mut<const N: usize>(
        &mut self,
        y: usize,
        shape: MapShape,
        sign: Signedness,
    ) -> [R::Mut<'_>; N] {
        let count = self.slots.len();
        let rows = self.slots.get_disjoint_mut(std::array::from_fn(|i| (y + i) % count));
        rows.expect("a ring has a slot for each row of a row block").map(|row| {
            let inner = shape.inner();
            row.clear(0..inner.start, sign);
            row.clear(inner.end..shape.stride(), sign);
            row.view_mut(inner)
        })
    }
}
