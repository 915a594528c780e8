// SPDX-License-Identifier: MIT OR Apache-2.0

//! Quantisation of the network's input.

use crate::{
    Error, IoSpec,
    cpu::kernels::int8::ZERO_POINT,
    simd::{round_clamped, vectorise},
};

/// Pixels that the code quantises per iteration.
const GROUP: usize = 16;
/// Upper limit of the input channels.
const MAX_INPUTS: usize = 16;
/// Side of the ordered dither pattern, in pixels. The scale of control maps is coarse compared with
/// differences that matter to the network; dithering preserves their mean over neighbouring pixels,
/// which convolutions average. Picture channels are not dithered, because their scale is one code
/// value.
const DITHER_SIDE: usize = 4;

/// Returns the ordered dither threshold at a pixel, between -1/2 and 1/2 (Bayer, "An optimum method
/// for two-level rendition of continuous-tone pictures", 1973).
fn threshold(x: usize, y: usize) -> f32 {
    const BAYER: [[u8; DITHER_SIDE]; DITHER_SIDE] =
        [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    (f32::from(BAYER[y % DITHER_SIDE][x % DITHER_SIDE]) + 0.5) / (DITHER_SIDE * DITHER_SIDE) as f32
        - 0.5
}

/// Quantises rows of the network's input to u8 activations.
#[derive(Debug, Clone)]
pub(super) struct InputQuantiser {
    /// Channels of the input, without padding.
    channels: usize,
    /// Reciprocals of the input scales, by channel, repeated for [`GROUP`] pixels.
    inverse_scales: Vec<f32>,
    /// Zero points with the dither of the control maps, for [`GROUP`] pixels; one entry for each
    /// row of the dither pattern.
    dithered_zero_points: [Vec<f32>; DITHER_SIDE],
}

impl InputQuantiser {
    /// Creates a quantiser for input channels with the given scales.
    ///
    /// # Errors
    /// [`Error::Invalid`] for too many channels.
    pub(super) fn new(io: IoSpec, scales: &[f32]) -> Result<Self, Error> {
        let channels = scales.len();
        if channels > MAX_INPUTS {
            let reason = format!("int8 supports at most {MAX_INPUTS} input channels");
            return Err(Error::invalid("quantisation", reason));
        }
        let inverse_scales = scales.iter().map(|scale| 1.0 / scale).collect::<Vec<_>>();
        let dithered_zero_points = std::array::from_fn(|y| {
            let zero_point = |x, channel| {
                f32::from(ZERO_POINT) + if channel < io.picture { 0.0 } else { threshold(x, y) }
            };
            (0..GROUP)
                .flat_map(|x| (0..channels).map(move |channel| zero_point(x, channel)))
                .collect()
        });
        Ok(Self { channels, inverse_scales: inverse_scales.repeat(GROUP), dithered_zero_points })
    }

    /// Returns the channels of the input, without padding.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Quantises row `y`. The pixels of `row` have `stride` values, of which the quantiser writes
    /// the first [`Self::channels`].
    pub(super) fn quantise(&self, y: usize, values: &[f32], row: &mut [u8], stride: usize) {
        let channels = self.channels;
        vectorise(
            #[inline(always)]
            || {
                let groups = row.chunks_mut(GROUP * stride).zip(values.chunks(GROUP * channels));
                for (activations, values) in groups {
                    let mut bytes = [0; GROUP * MAX_INPUTS];
                    let parameters =
                        self.inverse_scales.iter().zip(&self.dithered_zero_points[y % DITHER_SIDE]);
                    for ((byte, value), (inverse_scale, zero_point)) in
                        bytes.iter_mut().zip(values).zip(parameters)
                    {
                        *byte = round_clamped(value * inverse_scale + zero_point, 255.0) as u8;
                    }
                    for (pixel, bytes) in
                        activations.chunks_exact_mut(stride).zip(bytes.chunks_exact(channels))
                    {
                        pixel.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_maps_are_dithered_and_pictures_are_not() {
        let io = IoSpec { picture: 12, control: 1, output: 12 };
        let mut scales = vec![1.0 / 255.0; io.picture];
        let control_scale = 0.01;
        scales.push(control_scale);
        let quantiser = InputQuantiser::new(io, &scales).unwrap();

        let (width, channels) = (2 * GROUP, io.input_channels());
        let mut pixel = vec![64.0 / 255.0; channels];
        pixel[io.picture] = 8.3 * control_scale;
        let (values, stride) = (pixel.repeat(width), channels.next_multiple_of(4));
        let mut mean = 0.0;
        for y in 0..DITHER_SIDE {
            let mut row = vec![ZERO_POINT; width * stride];
            quantiser.quantise(y, &values, &mut row, stride);
            for pixel in row.chunks_exact(stride) {
                let (picture, rest) = pixel.split_at(io.picture);
                assert!(picture.iter().all(|byte| *byte == ZERO_POINT + 64), "{pixel:?}");
                mean += f32::from(rest[0] - ZERO_POINT) / (width * DITHER_SIDE) as f32;
            }
        }
        assert!((mean - 8.3).abs() < 1.0 / (DITHER_SIDE * DITHER_SIDE) as f32, "{mean}");
    }
}
