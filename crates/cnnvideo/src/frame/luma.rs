// SPDX-License-Identifier: MIT OR Apache-2.0

//! Luma and chroma of pictures of any colour model, as 8-bit code values.

use super::{Colour, Picture, Sample, convert::convert_row};

/// Weights of R, G and B in luma: ITU-R BT.601, narrow range.
const LUMA_WEIGHTS: [f32; 3] = [0.2568, 0.5041, 0.0979];
/// Luma of black.
const LUMA_OFFSET: f32 = 16.0;
/// Weights of R, G and B in U and in V.
const CHROMA_WEIGHTS: [[f32; 3]; 2] = [[-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]];
/// Chroma of grey.
const CHROMA_OFFSET: f32 = 128.0;

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Returns the luma (16 to 235) of R, G and B from 0 to 255.
pub fn rgb_to_luma(rgb: [f32; 3]) -> f32 {
    LUMA_OFFSET + dot(rgb, LUMA_WEIGHTS)
}

/// Returns U and V (16 to 240) of R, G and B from 0 to 255.
pub fn rgb_to_chroma(rgb: [f32; 3]) -> [f32; 2] {
    CHROMA_WEIGHTS.map(|weights| CHROMA_OFFSET + dot(rgb, weights))
}

/// Returns Y, U and V of R, G and B from 0 to 255.
pub fn rgb_to_yuv(rgb: [f32; 3]) -> [f32; 3] {
    let [u, v] = rgb_to_chroma(rgb);
    [rgb_to_luma(rgb), u, v]
}

/// Returns R, G and B of Y, U and V. Colours outside the range of RGB give values below 0 or above
/// 255.
pub fn yuv_to_rgb([y, u, v]: [f32; 3]) -> [f32; 3] {
    let (luma, u, v) = (1.164 * (y - 16.0), u - 128.0, v - 128.0);
    [luma + 1.596 * v, luma - 0.392 * u - 0.813 * v, luma + 2.017 * u]
}

/// Fills `to` with the luma of row `y` as 8-bit code values; converts RGB pictures.
pub fn luma_row<T: Sample>(picture: &Picture<'_, T>, y: usize, to: &mut [f32]) {
    let components = &picture.components;
    if picture.colour == Colour::Rgb {
        let [r, g, b] = [0, 1, 2].map(|c| components[c].row(y));
        for (x, to) in to.iter_mut().enumerate() {
            *to = rgb_to_luma([r[x].code_value(), g[x].code_value(), b[x].code_value()]);
        }
    } else {
        convert_row(components[0].row(y), to);
    }
}
