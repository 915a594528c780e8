// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures at the working resolution of the segmentation.

use ndarray::Array2;

use crate::frame::{
    Colour, Picture, Sample,
    convert::convert_row,
    luma::{luma_row, rgb_to_chroma},
    resample::Resampler,
};

/// Largest width and height, in pixels; larger pictures are downscaled to fit.
const MAX_SIDE: usize = 512;
/// Code value of neutral chroma.
const NEUTRAL_CHROMA: f32 = 128.0;

/// Picture at the working resolution: Y, U and V planes of one size, in 8-bit code values (0 to
/// 255).
#[derive(Default)]
pub struct WorkingImage {
    planes: [Array2<f32>; 3],
    resamplers: [Resampler; 3],
}

impl WorkingImage {
    /// Converts and downscales a picture, replacing the previous one.
    pub fn fill<T: Sample>(&mut self, picture: &Picture<'_, T>) {
        let size = picture.size();
        let scale = (MAX_SIDE as f64 / size.0.max(size.1) as f64).min(1.0);
        let scaled = |n: usize| ((n as f64 * scale).round() as usize).max(1);
        let to = (scaled(size.0), scaled(size.1));
        let ([y, u, v], [for_y, for_u, for_v]) = (&mut self.planes, &mut self.resamplers);
        let downscale = |from: (usize, usize),
                         resampler: &mut Resampler,
                         plane: &mut Array2<f32>,
                         read_row: &(dyn Fn(usize, &mut [f32]) + Sync)| {
            let scale = [to.0 as f64 / from.0 as f64, to.1 as f64 / from.1 as f64];
            resampler.resample(from, scale, plane, rayon::current_num_threads(), read_row);
        };
        let chroma = |i: usize, resampler: &mut Resampler, plane: &mut Array2<f32>| match picture
            .colour
        {
            Colour::Gray => *plane = Array2::from_elem((to.1, to.0), NEUTRAL_CHROMA),
            Colour::Yuv { .. } => {
                let component = &picture.components[1 + i];
                let (height, width) = component.dim();
                downscale((width, height), resampler, plane, &|y, row| {
                    convert_row(component.row(y), row);
                });
            }
            Colour::Rgb => {
                let [r, g, b] = [0, 1, 2].map(|i| &picture.components[i]);
                downscale(size, resampler, plane, &|y, row| {
                    let pixels = r.row(y).into_iter().zip(g.row(y)).zip(b.row(y));
                    for (to, ((r, g), b)) in row.iter_mut().zip(pixels) {
                        *to = rgb_to_chroma([r.code_value(), g.code_value(), b.code_value()])[i];
                    }
                });
            }
        };
        rayon::join(
            || downscale(size, for_y, y, &|y, row| luma_row(picture, y, row)),
            || rayon::join(|| chroma(0, for_u, u), || chroma(1, for_v, v)),
        );
    }

    /// Returns the height and width in pixels.
    pub fn dim(&self) -> (usize, usize) {
        self.planes[0].dim()
    }

    /// Returns the Y, U and V planes.
    pub fn planes(&self) -> &[Array2<f32>; 3] {
        &self.planes
    }

    /// Returns Y, U and V of a pixel.
    pub fn at(&self, y: usize, x: usize) -> [f32; 3] {
        self.planes.each_ref().map(|plane| plane[[y, x]])
    }

    /// Returns the planes as a 4:4:4 picture, for use as network input.
    pub fn picture(&self) -> Picture<'_, f32> {
        let colour = Colour::Yuv { shift_x: 0, shift_y: 0 };
        Picture { colour, components: self.planes.iter().map(|plane| plane.view()).collect() }
    }
}

/// Interpolates a map bilinearly at `(x, y)`; positions outside of it are clamped to the border.
#[inline(always)]
pub(super) fn bilinear(map: &Array2<f32>, x: f32, y: f32) -> f32 {
    let (height, width) = map.dim();
    let (x, y) = (x.clamp(0.0, width as f32 - 1.0), y.clamp(0.0, height as f32 - 1.0));
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let above = map[[y0, x0]] + fx * (map[[y0, x1]] - map[[y0, x0]]);
    let below = map[[y1, x0]] + fx * (map[[y1, x1]] - map[[y1, x0]]);
    above + fy * (below - above)
}

/// Interpolates a map bilinearly at `(x, y)`; `None` outside of it.
#[inline(always)]
pub(super) fn bilinear_inside(map: &Array2<f32>, x: f32, y: f32) -> Option<f32> {
    let (height, width) = map.dim();
    let is_inside = x >= -0.5 && y >= -0.5 && x <= width as f32 - 0.5 && y <= height as f32 - 0.5;
    is_inside.then(|| bilinear(map, x, y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Format, Plane};

    #[test]
    fn pictures_are_downscaled_and_converted() {
        let (width, height) = (1030, 300);
        let y: Vec<u8> = (0..width * height).map(|i| (i % width / 5) as u8).collect();
        let chroma = vec![90u8; 515 * 150];
        let picture = Picture::new(
            Format::I420,
            width,
            height,
            &[Plane::new(&y, width), Plane::new(&chroma, 515), Plane::new(&chroma, 515)],
        )
        .unwrap();
        let mut image = WorkingImage::default();
        image.fill(&picture);
        assert_eq!(image.dim(), (149, 512));
        assert!(
            (image.at(70, 256)[0] - 103.0).abs() < 1.5
                && (image.at(70, 256)[1] - 90.0).abs() < 0.01
        );

        let grey = vec![77u8; 40 * 30 * 3];
        let picture = Picture::new(Format::RGB, 40, 30, &[Plane::new(&grey, 120)]).unwrap();
        image.fill(&picture);
        assert_eq!(image.dim(), (30, 40));
        let [y, u, v] = image.at(3, 3);
        assert!(
            (y - (16.0 + 77.0 * 0.8588)).abs() < 0.1
                && (u - 128.0).abs() < 0.1
                && (v - 128.0).abs() < 0.1
        );
    }
}
