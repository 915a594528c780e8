// SPDX-License-Identifier: MIT OR Apache-2.0

//! Configuration of the tile registers: their sizes, and what they hold.

/// Rows of a tile register, and therefore pixels per matrix.
pub(super) const ROWS: usize = 16;
/// Bytes per row of a tile register.
pub(super) const BYTES: usize = 64;
/// Tile registers that hold accumulators. With four, each loaded matrix serves at least two
/// products.
pub(super) const ACCUMULATORS: usize = 4;

/// Tile register configuration in the memory layout that `ldtilecfg` reads.
#[repr(C, align(64))]
pub(super) struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// Returns the configuration: four registers for accumulators, then `values` registers for
    /// activations with `chunk` bytes per pixel, then registers for weights.
    pub(super) fn new(values: usize, chunk: usize) -> Self {
        let (mut bytes, mut rows) = ([0; 16], [0; 16]);
        for register in 0..8 {
            let is_values = (ACCUMULATORS..ACCUMULATORS + values).contains(&register);
            bytes[register] = if is_values { chunk } else { BYTES } as u16;
            rows[register] = if register < ACCUMULATORS + values { ROWS } else { chunk / 4 } as u8;
        }
        Self { palette: 1, start_row: 0, reserved: [0; 14], bytes, rows }
    }
}

/// Returns the bytes of a segment that one product covers. A segment of `depth` bytes, a multiple
/// of 4, is divided into the fewest equal chunks of whole words that fit the rows of a tile
/// register.
pub(super) fn chunk_bytes(depth: usize) -> usize {
    let words = depth / 4;
    let count = (depth.div_ceil(BYTES)..=words).find(|count| words.is_multiple_of(*count));
    depth / count.expect("chunks of one word always fit")
}

/// Assignment of the four accumulator registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccumulatorLayout {
    /// u8 activations: two vectors of outputs for 32 pixels.
    Double,
    /// u8 activations: one vector of outputs for 64 pixels.
    Single,
    /// i16 residuals: one vector of outputs for 32 pixels, with separate accumulators for low and
    /// high bytes.
    Split,
}

impl AccumulatorLayout {
    /// Returns the pixels per iteration.
    pub(super) fn pixels(self) -> usize {
        if self == Self::Single { 4 * ROWS } else { 2 * ROWS }
    }
}
