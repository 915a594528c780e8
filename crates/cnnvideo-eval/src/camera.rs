// SPDX-License-Identifier: MIT OR Apache-2.0

//! Simulation of a camera: shot and read noise behind a Bayer pattern, bilinear demosaicking and
//! gamma.

use image::{Rgb, RgbImage};
use ndarray::Array2;

use crate::Noise;

/// Exponent of the transfer function between code values and linear light.
const GAMMA: f32 = 2.2;

/// The noise of a sensor.
#[derive(Clone, Copy, Debug)]
pub struct Sensor {
    /// Photons that a white pixel collects; the fewer, the stronger the shot noise.
    pub photons: f32,
    /// Standard deviation of the read noise in photons.
    pub read_noise: f32,
}

/// Linear light (0 to 1) behind a Bayer pattern (RGGB): one component for each pixel.
#[derive(Clone, Debug)]
pub struct Mosaic(Array2<f32>);

impl Mosaic {
    /// Samples an image.
    pub fn from_image(image: &RgbImage) -> Self {
        let light: [f32; 256] = std::array::from_fn(|code| (code as f32 / 255.0).powf(GAMMA));
        let (width, height) = image.dimensions();
        let at = |(y, x): (usize, usize)| {
            let pixel = image.get_pixel(x as u32, y as u32);
            light[usize::from(pixel.0[component_at(y, x)])]
        };
        Self(Array2::from_shape_fn((height as usize, width as usize), at))
    }

    /// Returns the mosaic as a sensor records it: with shot noise and read noise.
    pub fn recorded(&self, sensor: Sensor, noise: &mut Noise) -> Self {
        let Sensor { photons, read_noise } = sensor;
        let record =
            |light: &f32| (noise.poisson(light * photons) + read_noise * noise.sample()) / photons;
        Self(self.0.map(record))
    }

    /// Demosaicks bilinearly and returns 8-bit code values.
    pub fn developed(&self) -> RgbImage {
        let (height, width) = self.0.dim();
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            Rgb(self.neighbour_means(y as usize, x as usize).map(code_value))
        })
    }

    /// Returns R, G and B of a pixel: the component that the pixel has, and means over those of
    /// its eight neighbours that have the others.
    fn neighbour_means(&self, y: usize, x: usize) -> [f32; 3] {
        let (height, width) = self.0.dim();
        let (mut sums, mut counts) = ([0.0; 3], [0.0; 3]);
        for row in y.saturating_sub(1)..(y + 2).min(height) {
            for column in x.saturating_sub(1)..(x + 2).min(width) {
                let component = component_at(row, column);
                sums[component] += self.0[[row, column]];
                counts[component] += 1.0;
            }
        }
        let own = component_at(y, x);
        (sums[own], counts[own]) = (self.0[[y, x]], 1.0);
        [0, 1, 2].map(|i| sums[i] / f32::max(counts[i], 1.0))
    }
}

/// Returns the component that a pixel of the Bayer pattern has: 0 for R, 1 for G, 2 for B.
fn component_at(y: usize, x: usize) -> usize {
    y % 2 + x % 2
}

/// Converts linear light to an 8-bit code value.
fn code_value(light: f32) -> u8 {
    (255.0 * light.clamp(0.0, 1.0).powf(1.0 / GAMMA)).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a grey image.
    fn grey(value: u8) -> RgbImage {
        RgbImage::from_pixel(64, 48, Rgb([value; 3]))
    }

    #[test]
    fn flat_colours_survive_without_noise() {
        let colour = RgbImage::from_pixel(7, 5, Rgb([200, 90, 20]));
        assert_eq!(Mosaic::from_image(&colour).developed(), colour);
    }

    #[test]
    fn noise_has_the_variance_of_the_sensor() {
        let mosaic = Mosaic::from_image(&grey(186));
        let sensor = Sensor { photons: 400.0, read_noise: 4.0 };
        let recorded = mosaic.recorded(sensor, &mut Noise::new(3));
        let light = mosaic.0[[0, 0]];
        let variance = light / sensor.photons + (sensor.read_noise / sensor.photons).powi(2);
        let ratio = recorded.0.var(0.0) / variance;
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
    }
}
