//! What the kernels for minimal filtering F(4x4, 3x3) share: its measures, and the transform of weights (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", CVPR 2016).

use super::TOGETHER;

/// Rows and columns of the kernel.
pub(super) const TAPS: usize = 3;
/// Rows and columns of a tile, and values in each direction that it is made of.
pub(super) const SIDE: usize = TOGETHER;
pub(super) const POINTS: usize = SIDE + TAPS - 1;
/// By so much transformed weights, and with them the sums, are too large: whole weights stay whole.
pub(super) const FACTOR: i32 = 24 * 24;

/// Three weights in a line, transformed.
fn transformed([a, b, c]: [f64; TAPS]) -> [f64; POINTS] {
    // The last one is as small as it may be: it is multiplied by 8 later.
    [
        6.0 * a,
        -4.0 * (a + b + c),
        -4.0 * (a - b + c),
        a + 2.0 * b + 4.0 * c,
        a - 2.0 * b + 4.0 * c,
        3.0 * c,
    ]
}

/// The weights of a kernel, which `weight` tells by row and column, transformed; [`FACTOR`] times too large.
pub(super) fn points(weight: impl Fn(usize, usize) -> f64) -> [[f64; POINTS]; POINTS] {
    let rows: [_; TAPS] =
        std::array::from_fn(|row| transformed(std::array::from_fn(|tap| weight(row, tap))));
    let columns: [_; POINTS] = std::array::from_fn(|x| transformed(rows.map(|row| row[x])));
    std::array::from_fn(|y| columns.map(|column| column[y]))
}
