// SPDX-License-Identifier: MIT OR Apache-2.0

//! Colour conversions that only the evaluation needs. The library has those of the elements
//! ([`cnnvideo::frame::luma`]).

use ndarray::Array2;

/// Converts Y, U and V to R, G and B, all in 8-bit code values (ITU-R BT.601, limited range). The
/// result may exceed the range of 0 to 255.
pub fn yuv_to_rgb([y, u, v]: [f32; 3]) -> [f32; 3] {
    let (luma, u, v) = (1.164 * (y - 16.0), u - 128.0, v - 128.0);
    [luma + 1.596 * v, luma - 0.392 * u - 0.813 * v, luma + 2.017 * u]
}

/// Returns luma of interleaved RGB (ITU-R BT.601, full range) as a plane of `size` (width, height).
pub fn full_range_luma(rgb: &[u8], size: (u32, u32)) -> Array2<f32> {
    let (width, height) = (size.0 as usize, size.1 as usize);
    let luma = |rgb: &[u8]| {
        0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2])
    };
    Array2::from_shape_fn((height, width), |(y, x)| luma(&rgb[3 * (y * width + x)..]))
}
