// SPDX-License-Identifier: MIT OR Apache-2.0

//! Linear demosaicking (Malvar, He and Cutler, "High-quality linear interpolation for demosaicing
//! of Bayer-patterned color images", 2004).

/// Colours of a pixel.
const COLOURS: usize = 3;
/// Samples of a cell: the red, the two green and the blue one of 2x2 pixels.
pub const CELL_SAMPLES: usize = 4;
/// Side of the kernels in pixels.
pub const KERNEL_SIDE: usize = 5;

/// A kernel of 5x5 pixels in units of [`KERNEL_UNIT`].
pub type Kernel = [[i32; KERNEL_SIDE]; KERNEL_SIDE];

/// Divisor of the weights of a [`Kernel`].
pub const KERNEL_UNIT: i32 = 16;

/// The sample itself.
const IDENTITY: Kernel = [[0; 5], [0; 5], [0, 0, 16, 0, 0], [0; 5], [0; 5]];
/// Green at a red or blue sample.
const GREEN: Kernel =
    [[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]];
/// Red or blue at a green sample whose neighbours of that colour are on its left and right.
const ACROSS: Kernel =
    [[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]];
/// Red at a blue sample or blue at a red one.
const DIAGONAL: Kernel =
    [[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]];
/// Red or blue at a green sample whose neighbours of that colour are above and below.
const DOWN: Kernel = transpose(ACROSS);

/// Kernels of red, green and blue at each sample of a cell, whose samples are red, green, green and
/// blue in reading order.
pub const KERNELS: [[Kernel; COLOURS]; CELL_SAMPLES] = [
    [IDENTITY, GREEN, DIAGONAL],
    [ACROSS, IDENTITY, DOWN],
    [DOWN, IDENTITY, ACROSS],
    [DIAGONAL, GREEN, IDENTITY],
];

/// Returns a kernel with rows and columns exchanged.
const fn transpose(kernel: Kernel) -> Kernel {
    let mut result = kernel;
    let mut y = 0;
    while y < KERNEL_SIDE {
        let mut x = 0;
        while x < KERNEL_SIDE {
            result[y][x] = kernel[x][y];
            x += 1;
        }
        y += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_keep_grey() {
        for kernel in KERNELS.as_flattened() {
            assert_eq!(kernel.as_flattened().iter().sum::<i32>(), KERNEL_UNIT);
        }
    }
}
