// SPDX-License-Identifier: MIT OR Apache-2.0

//! Winograd F(4x4, 3x3): sizes and weight transform that the float32 and int8 kernels share (Lavin
//! and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016).

use super::ROW_BLOCK;

/// Rows and columns of the convolution kernel.
pub(super) const TAPS: usize = 3;
/// Rows and columns of an output tile.
pub(super) const TILE_SIDE: usize = ROW_BLOCK;
/// Rows and columns of an input tile, and of the transform domain ("points").
pub(super) const POINTS: usize = TILE_SIDE + TAPS - 1;
/// Factor by which transformed weights, and therefore the accumulators, are too large. It keeps the
/// transform of integer weights in integers.
pub(super) const WEIGHT_FACTOR: i32 = 24 * 24;
/// Upper limit of the input channels, so that the transformed values of several tiles stay in
/// cache. It is also the distance between the values of two tiles, as a compile-time constant that
/// the compiler encodes in the instructions.
pub(super) const MAX_CHANNELS: usize = 80;

/// Transforms three weights in one direction, 24 times too large.
fn transform_taps([a, b, c]: [f64; TAPS]) -> [f64; POINTS] {
    // The last row is a further 8 times smaller than that, which keeps the values small; the output
    // transform multiplies it by 8.
    [
        6.0 * a,
        -4.0 * (a + b + c),
        -4.0 * (a - b + c),
        a + 2.0 * b + 4.0 * c,
        a - 2.0 * b + 4.0 * c,
        3.0 * c,
    ]
}

/// Transforms a 3x3 kernel, whose weights `weight` returns by row and column. The result is
/// [`WEIGHT_FACTOR`] times too large.
pub(super) fn transform_kernel(weight: impl Fn(usize, usize) -> f64) -> [[f64; POINTS]; POINTS] {
    let rows: [_; TAPS] =
        std::array::from_fn(|row| transform_taps(std::array::from_fn(|tap| weight(row, tap))));
    let columns: [_; POINTS] = std::array::from_fn(|x| transform_taps(rows.map(|row| row[x])));
    std::array::from_fn(|y| columns.map(|column| column[y]))
}
