// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversion of training images from RGB to luma and chroma (ITU-R BT.601, limited range).

use tch::Tensor;

use super::Error;
use cnnvideo::denoise::ColourDomain;

/// Weights of R, G and B in Y, U and V.
pub(crate) const YUV_WEIGHTS: [[f32; 3]; 3] =
    [[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]];
/// Code values of black in Y and of grey in U and V.
pub(crate) const YUV_OFFSETS: [f32; 3] = [16.0, 128.0, 128.0];

/// Returns the weights of R, G and B in Y, U or V (`index` 0 to 2), then its offset.
pub(crate) const fn weights_and_offset(index: usize) -> [f32; 4] {
    let [r, g, b] = YUV_WEIGHTS[index];
    [r, g, b, YUV_OFFSETS[index]]
}

/// Converts RGB images, `[n, 3, height, width]`, values 0 to 255, to the picture channels of a
/// denoising network, `[n, channels, height / 2, width / 2]`: pixel-unshuffled, `(v - 128) / 255`.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn rgb_to_channels(rgb: &Tensor, domain: ColourDomain) -> Result<Tensor, Error> {
    let scaled = |x: &Tensor| (x - 128.0) / 255.0;
    match domain {
        ColourDomain::Rgb => Ok(scaled(rgb).f_pixel_unshuffle(2)?),
        ColourDomain::Yuv420 => {
            let luma = rgb_to_luma(rgb)?;
            let (u, v) = (component(rgb, 1)?, component(rgb, 2)?);
            let chroma = Tensor::f_cat(&[u, v], 1)?.f_avg_pool2d(
                [2, 2],
                [2, 2],
                [0, 0],
                false,
                true,
                None,
            )?;
            Ok(Tensor::f_cat(&[scaled(&luma).f_pixel_unshuffle(2)?, scaled(&chroma)], 1)?)
        }
    }
}

/// Returns luma (16 to 235) of RGB images (0 to 255).
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn rgb_to_luma(rgb: &Tensor) -> Result<Tensor, Error> {
    component(rgb, 0)
}

/// Returns Y, U or V (`index` 0 to 2) of RGB images.
fn component(rgb: &Tensor, index: usize) -> Result<Tensor, Error> {
    let weights = YUV_WEIGHTS[index].map(f64::from);
    let weighted = |i: usize| rgb.f_narrow(1, i as i64, 1).map(|channel| channel * weights[i]);
    Ok(weighted(0)? + weighted(1)? + weighted(2)? + f64::from(YUV_OFFSETS[index]))
}
