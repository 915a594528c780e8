// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures as the input of denoising networks ([`NetworkInput`]): pixel-unshuffled to half size,
//! with control maps.

use ndarray::Array2;

use super::{ColourDomain, chroma_detail::ChromaCells, is_yuv420};
use crate::{
    frame::{
        Picture, Regions, Sample,
        unshuffle::{INPUT_SCALE, INPUT_ZERO, row_clamped, unshuffle_row, unshuffle_yuv420},
    },
    nn::Source,
    simd::{round_clamped, vectorise},
};

/// Input channels for RGB, including the control map.
const RGB: usize = super::RGB.io.input_channels();
/// Input channels for YUV 4:2:0, including the control maps.
const YUV420: usize = super::YUV420.io.input_channels();

/// Values of the control maps, already scaled by [`super::CONTROL_PER_SIGMA`].
pub(super) struct Controls {
    /// For luma, or for R, G and B, indexed by brightness: the rounded luma, or mean of R, G and B.
    pub main: [f32; 256],
    /// For chroma, the same at every brightness.
    pub chroma: f32,
}

/// A picture as the input of a network. Beyond the right and lower border the last pixels are
/// repeated.
pub(super) struct NetworkInput<'a, 'b, T> {
    picture: &'a Picture<'b, T>,
    domain: ColourDomain,
    controls: &'a Controls,
    /// Share of the noise variance that remains after temporal fusion, one value per 2x2 pixels.
    variance: Option<&'a Array2<f32>>,
    /// Regions, and the strength that their factors multiply.
    regions: Option<(Regions<'a>, f32)>,
}

impl<'a, 'b, T: Sample> NetworkInput<'a, 'b, T> {
    /// Creates the input of a picture that is not fused and has no regions.
    pub(super) fn new(
        picture: &'a Picture<'b, T>,
        domain: ColourDomain,
        controls: &'a Controls,
    ) -> Self {
        Self { picture, domain, controls, variance: None, regions: None }
    }

    /// Sets the share of the noise variance that remains after temporal fusion, one value per 2x2
    /// pixels. The control maps are scaled by its square root.
    pub(super) fn with_variance(self, variance: &'a Array2<f32>) -> Self {
        Self { variance: Some(variance), ..self }
    }

    /// Adds regions. `controls` account for `strength` above 1 without regions; inside a region,
    /// the control maps are rescaled for `strength` times the region's factor (see
    /// [`control_factor`]).
    pub(super) fn with_regions(self, regions: Option<Regions<'a>>, strength: f32) -> Self {
        Self { regions: regions.map(|regions| (regions, strength)), ..self }
    }
}

/// Returns the factor on the control maps for a region's strength factor: from `strength` to
/// `strength * factor`, where values below 1 count as 1.
#[inline(always)]
fn control_factor(strength: f32, factor: f32) -> f32 {
    (strength * factor).max(1.0) / strength.max(1.0)
}

impl<T: Sample> Source for NetworkInput<'_, '_, T> {
    fn max_control(&self) -> f32 {
        let Controls { main, chroma } = self.controls;
        let max_control = main.iter().chain([chroma]).fold(0.0, |max: f32, v| max.max(*v));
        let max_factor = self
            .regions
            .as_ref()
            .map_or(1.0, |(regions, strength)| control_factor(*strength, regions.max_factor()));
        max_control * max_factor
    }

    fn read_row(&self, y: usize, row: &mut [f32]) {
        vectorise(
            #[inline(always)]
            || match self.domain {
                ColourDomain::Rgb => {
                    self.read_rgb(y, row);
                    self.write_controls::<RGB, 12>(y, row.as_chunks_mut().0);
                }
                ColourDomain::Yuv420 => {
                    let components = &self.picture.components;
                    let luma = [0, 1].map(|dy| row_clamped(&components[0], 2 * y + dy));
                    let chroma = match &components[1..] {
                        [u, v] if is_yuv420(self.picture.colour) => {
                            Some([u, v].map(|plane| row_clamped(plane, y)))
                        }
                        _ => None,
                    };
                    let (pixels, _) = row.as_chunks_mut();
                    unshuffle_yuv420(luma, chroma, pixels);
                    if chroma.is_none() {
                        self.read_chroma_cells(y, pixels);
                    }
                    self.write_controls::<YUV420, 4>(y, pixels);
                }
            },
        );
    }
}

impl<T: Sample> NetworkInput<'_, '_, T> {
    #[inline(always)]
    fn read_rgb(&self, y: usize, row: &mut [f32]) {
        for (i, component) in self.picture.components.iter().enumerate() {
            for dy in 0..2 {
                unshuffle_row(row_clamped(component, 2 * y + dy), row, RGB, 4 * i + 2 * dy);
            }
        }
    }

    /// Fills the chroma channels of row `y` with cell means, for chroma with more samples than the
    /// network has pixels.
    #[inline(always)]
    fn read_chroma_cells(&self, y: usize, pixels: &mut [[f32; YUV420]]) {
        for (i, component) in self.picture.components.iter().enumerate().skip(1) {
            let cells = ChromaCells::new(component, self.picture.colour.subsampling(i));
            let (mut count, mut last) = (0, 0.0);
            cells.for_each_mean(y, |x, mean| {
                (count, last) = (x + 1, (mean - INPUT_ZERO) * (1.0 / INPUT_SCALE));
                if let Some(pixel) = pixels.get_mut(x) {
                    pixel[3 + i] = last;
                }
            });
            pixels.iter_mut().skip(count).for_each(|pixel| pixel[3 + i] = last);
        }
    }

    /// Fills the control channels of a row. The first `MAIN` channels of each pixel give its
    /// brightness.
    #[inline(always)]
    fn write_controls<const N: usize, const MAIN: usize>(&self, y: usize, row: &mut [[f32; N]]) {
        let first = self.domain.signature().io.output;
        for pixel in &mut *row {
            let brightness =
                pixel[..MAIN].iter().sum::<f32>() * (INPUT_SCALE / MAIN as f32) + INPUT_ZERO;
            pixel[first] = self.controls.main[round_clamped(brightness, 255.0) as usize];
            if let Some(chroma) = pixel.get_mut(first + 1) {
                *chroma = self.controls.chroma;
            }
        }
        if let Some((regions, strength)) = &self.regions {
            for (pixel, factor) in row.iter_mut().zip(regions.row(2 * y, 1)) {
                let factor = control_factor(*strength, factor);
                pixel[first..].iter_mut().for_each(|control| *control *= factor);
            }
        }
        if let Some(variance) = self.variance {
            let variance = variance.view();
            let variances = row_clamped(&variance, y);
            let variances =
                variances.iter().chain(std::iter::repeat(&variances[variances.len() - 1]));
            for (pixel, variance) in row.iter_mut().zip(variances) {
                let factor = variance.sqrt();
                pixel[first..].iter_mut().for_each(|control| *control *= factor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Colour;

    #[test]
    fn control_maps_do_not_exceed_max_control() {
        let luma = Array2::from_shape_fn((12, 18), |(y, x)| (13 * y + 9 * x) as u8);
        let chroma = Array2::from_elem((6, 9), 128u8);
        let colour = Colour::Yuv { shift_x: 1, shift_y: 1 };
        let picture =
            Picture { colour, components: vec![luma.view(), chroma.view(), chroma.view()] };
        let labels = Array2::from_shape_fn((12, 18), |(y, _)| u8::from(y < 6));
        let regions = Regions { labels: labels.view(), foreground: 3.0, background: 0.5 };
        let variance = Array2::from_elem((6, 9), 0.5);
        for (chroma, main) in [(0.02, 0.3), (0.4, 0.1)] {
            let main_control = |brightness| main * brightness as f32 / 255.0;
            let controls = Controls { main: std::array::from_fn(main_control), chroma };
            for variance in [None, Some(&variance)] {
                for (regions, factor) in [(None, 1.0), (Some(regions), 1.8)] {
                    let regions = regions.as_ref().map(Regions::reborrow);
                    let mut input = NetworkInput::new(&picture, ColourDomain::Yuv420, &controls)
                        .with_regions(regions, 0.6);
                    input.variance = variance;
                    let mut highest = 0.0f32;
                    for y in 0..6 {
                        let mut row = [0.0; 9 * YUV420];
                        input.read_row(y, &mut row);
                        let controls =
                            row.as_chunks::<YUV420>().0.iter().flat_map(|pixel| &pixel[6..]);
                        highest = controls.fold(highest, |highest, v| highest.max(*v));
                    }
                    let (max_control, expected) = (input.max_control(), chroma.max(main) * factor);
                    assert!((max_control - expected).abs() < 1e-6, "{max_control} for {expected}");
                    assert!(
                        (0.5 * expected..=expected + 1e-6).contains(&highest),
                        "{highest} of {expected}"
                    );
                }
            }
        }
    }
}
