// SPDX-License-Identifier: MIT OR Apache-2.0

//! SSIMULACRA2 (Sneyers, Cloudinary, 2023), by the crate `ssimulacra2`.

use rayon::prelude::*;
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use crate::frame::{Colour, Picture, Sample};

/// Smallest side of a picture in pixels. Below, the coarsest of the six scales has fewer than 8
/// pixels to a side: implementations then leave out scales, their weights belong to other parts of
/// the score, and the scores of implementations differ.
pub const SSIMULACRA2_SMALLEST_SIDE: usize = 225;

/// Conversion of YUV to RGB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct YuvMatrix {
    /// Weight of red in luma, `Kr`.
    pub red: f64,
    /// Weight of blue in luma, `Kb`.
    pub blue: f64,
    /// Whether black is 0 and white 255, not 16 and 235.
    pub full_range: bool,
}

impl YuvMatrix {
    /// ITU-R BT.601, narrow range.
    pub const BT601: Self = Self { red: 0.299, blue: 0.114, full_range: false };
    /// ITU-R BT.709, narrow range.
    pub const BT709: Self = Self { red: 0.2126, blue: 0.0722, full_range: false };

    /// Returns R, G and B from 0 to 1 of Y, U and V in 8-bit code values.
    fn rgb(&self, [y, u, v]: [f32; 3]) -> [f32; 3] {
        let (black, luma_range, chroma_range) = match self.full_range {
            true => (0.0, 255.0, 255.0),
            false => (16.0, 219.0, 224.0),
        };
        let (red, blue) = (self.red as f32, self.blue as f32);
        let luma = (y - black) / luma_range;
        let r = luma + 2.0 * (1.0 - red) * (v - 128.0) / chroma_range;
        let b = luma + 2.0 * (1.0 - blue) * (u - 128.0) / chroma_range;
        let g = (luma - red * r - blue * b) / (1.0 - red - blue);
        [r, g, b].map(|value| value.clamp(0.0, 1.0))
    }
}

/// Returns the SSIMULACRA2 score: 100 for equal pictures, 90 where differences are hard to see, 50
/// for medium quality, below 0 for strong distortion. `None` if the pictures differ in size or a
/// side has fewer than [`SSIMULACRA2_SMALLEST_SIDE`] pixels.
///
/// Each picture comes with the matrix that converts it to RGB, without effect on RGB pictures. The
/// score counts RGB as sRGB, and chroma is replicated to the size of luma.
pub fn ssimulacra2<T: Sample>(
    reference: (&Picture<'_, T>, YuvMatrix),
    test: (&Picture<'_, T>, YuvMatrix),
) -> Option<f64> {
    let (width, height) = reference.0.size();
    if (width, height) != test.0.size() || width.min(height) < SSIMULACRA2_SMALLEST_SIDE {
        return None;
    }
    let (a, b) = rayon::join(|| srgb(reference), || srgb(test));
    compute_frame_ssimulacra2(a?, b?).ok()
}

/// Converts a picture for the crate.
fn srgb<T: Sample>((picture, matrix): (&Picture<'_, T>, YuvMatrix)) -> Option<Rgb> {
    let (width, height) = picture.size();
    let mut pixels = vec![[0.0; 3]; width * height];
    pixels.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
        for (x, pixel) in row.iter_mut().enumerate() {
            let at = |i: usize| {
                let [shift_x, shift_y] = picture.colour.subsampling(i);
                picture.components[i][[y >> shift_y, x >> shift_x]].code_value()
            };
            *pixel = match picture.colour {
                Colour::Gray => matrix.rgb([at(0), 128.0, 128.0]),
                Colour::Rgb => [at(0), at(1), at(2)].map(|value| value / 255.0),
                Colour::Yuv { .. } => matrix.rgb([at(0), at(1), at(2)]),
            };
        }
    });
    let transfer = TransferCharacteristic::SRGB;
    Rgb::new(pixels, width, height, transfer, ColorPrimaries::BT709).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Format, Plane};

    const RGB: YuvMatrix = YuvMatrix::BT601;

    fn score(width: usize, height: usize, change: impl Fn(usize, u8) -> u8) -> Option<f64> {
        let samples: Vec<u8> =
            (0..3 * width * height).map(|i| (60 + i * i % 91 + i / 999) as u8).collect();
        let changed: Vec<u8> = samples.iter().enumerate().map(|(i, v)| change(i, *v)).collect();
        let picture = |data| {
            Picture::new(Format::RGB, width, height, &[Plane::new(data, 3 * width)]).unwrap()
        };
        ssimulacra2((&picture(&samples), RGB), (&picture(&changed), RGB))
    }

    #[test]
    fn equal_pictures_score_100_and_tiny_ones_have_no_score() {
        for (width, height) in [(225, 225), (230, 300), (257, 240)] {
            assert_eq!(score(width, height, |_, v| v), Some(100.0), "{width}x{height}");
            let noisy = score(width, height, |i, v| v.wrapping_add((i % 7 * 9) as u8)).unwrap();
            assert!(noisy < 80.0, "{noisy}");
        }
        for (width, height) in [(1, 1), (7, 300), (8, 8), (64, 48), (224, 500), (300, 224)] {
            assert_eq!(score(width, height, |_, v| v), None, "{width}x{height}");
        }
    }

    #[test]
    fn matrices_convert_black_white_and_red() {
        for (matrix, samples, expected) in [
            (YuvMatrix::BT709, [16.0, 128.0, 128.0], [0.0; 3]),
            (YuvMatrix::BT601, [235.0, 128.0, 128.0], [1.0; 3]),
            (YuvMatrix::BT601, [81.48, 90.2, 240.0], [1.0, 0.0, 0.0]),
            (YuvMatrix { full_range: true, ..YuvMatrix::BT601 }, [255.0, 128.0, 128.0], [1.0; 3]),
        ] {
            for (found, expected) in matrix.rgb(samples).into_iter().zip(expected) {
                assert!((found - expected).abs() < 2e-3, "{matrix:?}: {found}, not {expected}");
            }
        }
    }
}
