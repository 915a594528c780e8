// SPDX-License-Identifier: MIT OR Apache-2.0

//! Panel that shows a comparison: both pictures, luma error, gradients, histograms and measures.

use std::convert::Infallible;

use embedded_graphics::{
    mono_font::{MonoTextStyle, ascii::FONT_9X18_BOLD, ascii::FONT_10X20},
    pixelcolor::Rgb888,
    prelude::*,
    primitives::{Line, PrimitiveStyle},
    text::{Baseline, Text},
};
use ndarray::{Array2, ArrayView2};

use super::{
    compare::Comparison,
    gradient::{Gradient, gradient},
    histogram::Histogram,
    measures::Measures,
};
use crate::frame::{Colour, Picture, Sample, luma::yuv_to_rgb};

/// Cells in a row of the panel.
const CELL_COLUMNS: usize = 3;
/// Width and height of a cell with its caption, in pixels. The measures are printed below two rows
/// of cells.
const CELL: (usize, usize) = (Panel::WIDTH / CELL_COLUMNS, 316);
/// Height of a caption in pixels.
const CAPTION: usize = 22;
/// Gain of the displayed luma error.
const ERROR_GAIN: f32 = 8.0;
/// Gain of the displayed gradient magnitudes.
const GRADIENT_GAIN: f32 = 6.0;
const BACKGROUND: Rgb888 = Rgb888::new(16, 18, 22);
const TEXT: Rgb888 = Rgb888::new(235, 235, 235);
/// Colour of captions and means.
const MUTED_TEXT: Rgb888 = Rgb888::new(150, 155, 165);

/// Draws comparisons as 1280x720 RGB pictures.
pub struct Panel {
    /// Rows of interleaved R, G and B.
    pixels: Vec<u8>,
}

impl Default for Panel {
    fn default() -> Self {
        Self { pixels: vec![0; 3 * Panel::WIDTH * Panel::HEIGHT] }
    }
}

impl Panel {
    /// Width of the panel in pixels.
    pub const WIDTH: usize = 1280;
    /// Height of the panel in pixels.
    pub const HEIGHT: usize = 720;

    /// Draws a pair of pictures, its measures and their means. Returns rows of interleaved R, G and
    /// B.
    ///
    /// `comparison` must have measured this pair last: its luma planes are drawn.
    pub fn draw<T: Sample>(
        &mut self,
        reference: &Picture<'_, T>,
        test: &Picture<'_, T>,
        comparison: &Comparison,
        measures: &Measures,
        mean: &Measures,
    ) -> &[u8] {
        let Ok(()) = self.clear(BACKGROUND);
        let [a, b] = comparison.luma.each_ref().map(|plane| plane.view());
        self.draw_picture(0, "reference", reference.size(), |x, y| rgb(reference, x, y));
        self.draw_picture(1, "tested", test.size(), |x, y| rgb(test, x, y));
        let error = |x, y| [128.0 + ERROR_GAIN * (b[[y, x]] - a[[y, x]]); 3];
        self.draw_picture(2, &format!("error of luma, x{ERROR_GAIN}"), test.size(), error);
        for (cell, plane, name) in [(3, a, "reference"), (4, b, "tested")] {
            let map = gradient(&plane, Gradient::Sobel);
            self.draw_picture(
                cell,
                &format!("Sobel gradient, {name}, x{GRADIENT_GAIN}"),
                test.size(),
                |x, y| [GRADIENT_GAIN * map[[y, x]]; 3],
            );
        }
        self.draw_histograms(reference, test, [&a, &b]);
        self.draw_measures(measures, mean);
        &self.pixels
    }

    /// Returns the left and top of a cell.
    fn cell_origin(cell: usize) -> (usize, usize) {
        (cell % CELL_COLUMNS * CELL.0, cell / CELL_COLUMNS * CELL.1)
    }

    /// Draws a line of text with its top left corner at `(x, y)`.
    fn draw_text(&mut self, text: &str, x: usize, y: usize, colour: Rgb888, large: bool) {
        let font = if large { &FONT_10X20 } else { &FONT_9X18_BOLD };
        let at = Point::new(x as i32, y as i32);
        let Ok(_) = Text::with_baseline(text, at, MonoTextStyle::new(font, colour), Baseline::Top)
            .draw(self);
    }

    /// Draws a picture with a caption, scaled to fit its cell. Each panel pixel is the mean of four
    /// samples.
    fn draw_picture(
        &mut self,
        cell: usize,
        caption: &str,
        (width, height): (usize, usize),
        pixel: impl Fn(usize, usize) -> [f32; 3],
    ) {
        let (left, top) = Self::cell_origin(cell);
        self.draw_text(caption, left + 6, top + 3, MUTED_TEXT, false);
        let room = (CELL.0 - 4, CELL.1 - CAPTION - 4);
        let scale = (room.0 as f32 / width as f32).min(room.1 as f32 / height as f32);
        let size = ((width as f32 * scale) as usize, (height as f32 * scale) as usize);
        let (left, top) = (left + (CELL.0 - size.0) / 2, top + CAPTION + (room.1 - size.1) / 2);
        for y in 0..size.1 {
            for x in 0..size.0 {
                let mut sum = [0.0; 3];
                for (dx, dy) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
                    let place =
                        |i: usize, d: f32, n: usize| (((i as f32 + d) / scale) as usize).min(n - 1);
                    let value = pixel(place(x, dx, width), place(y, dy, height));
                    sum.iter_mut().zip(value).for_each(|(sum, v)| *sum += 0.25 * v);
                }
                let at = 3 * ((top + y) * Panel::WIDTH + left + x);
                // The saturating casts clamp.
                self.pixels[at..at + 3]
                    .iter_mut()
                    .zip(sum)
                    .for_each(|(to, v)| *to = (v + 0.5) as u8);
            }
        }
    }

    /// Draws the histograms of each channel: bright lines for the tested picture, muted ones for
    /// the reference.
    fn draw_histograms<T: Sample>(
        &mut self,
        reference: &Picture<'_, T>,
        test: &Picture<'_, T>,
        luma: [&ArrayView2<'_, f32>; 2],
    ) {
        let (left, top) = Self::cell_origin(5);
        let same = reference.colour == test.colour;
        let names = match test.colour {
            Colour::Rgb if same => "histograms R G B (reference faint)",
            Colour::Yuv { .. } if same => "histograms Y U V (reference faint)",
            _ => "histogram of luma (reference faint)",
        };
        self.draw_text(names, left + 6, top + 3, MUTED_TEXT, false);
        let planes: Vec<[Array2<f32>; 2]> = if same {
            let pairs = reference.components.iter().zip(&test.components);
            pairs.map(|(a, b)| [a.mapv(Sample::code_value), b.mapv(Sample::code_value)]).collect()
        } else {
            vec![luma.map(|plane| plane.to_owned())]
        };
        let colours = match test.colour {
            Colour::Rgb if same => {
                [Rgb888::new(255, 90, 90), Rgb888::new(90, 230, 90), Rgb888::new(110, 150, 255)]
            }
            _ => [TEXT, Rgb888::new(110, 150, 255), Rgb888::new(255, 110, 110)],
        };
        let (base, room) = (top + CELL.1 - 8, (CELL.1 - CAPTION - 16) as f64);
        for (pair, colour) in planes.iter().zip(colours) {
            let histograms = pair.each_ref().map(|plane| Histogram::from_plane(&plane.view()));
            let highest = histograms.iter().flat_map(|h| *h.frequencies()).fold(1e-6, f64::max);
            for (histogram, muted) in histograms.iter().zip([true, false]) {
                let colour = if muted {
                    Rgb888::new(colour.r() / 3, colour.g() / 3, colour.b() / 3)
                } else {
                    colour
                };
                // The square root keeps rare code values visible.
                let place = |i: usize| {
                    let height = (histogram.frequencies()[i] / highest).sqrt() * room;
                    let x = left + 8 + i * (CELL.0 - 16) / 255;
                    Point::new(x as i32, base as i32 - height as i32)
                };
                let style = PrimitiveStyle::with_stroke(colour, if muted { 3 } else { 1 });
                for i in 1..256 {
                    let Ok(()) = Line::new(place(i - 1), place(i)).into_styled(style).draw(self);
                }
            }
        }
    }

    /// Prints the measures of the frame and their means.
    fn draw_measures(&mut self, measures: &Measures, mean: &Measures) {
        let top = 2 * CELL.1 + 6;
        for (row, (name, measures, colour)) in
            [("frame", measures, TEXT), ("mean", mean, MUTED_TEXT)].into_iter().enumerate()
        {
            let number = |value: Option<f64>, digits: usize| match value {
                Some(value) => format!("{value:.digits$}"),
                None => "-".to_owned(),
            };
            let [a, b, c] = measures.mse.map(|mse| number(mse.map(super::psnr), 2));
            let line = format!(
                "{name:<5} MSE {:<8} PSNR {} dB ({a} {b} {c})  SSIM {}  MS-SSIM {}",
                number(Some(measures.mse_total), 2),
                number(Some(measures.psnr()), 2),
                number(measures.ssim, 4),
                number(measures.ms_ssim, 4),
            );
            self.draw_text(&line, 10, top + 40 * row, colour, true);
            let line = format!(
                "      Sobel {} Laplacian {}  histograms: chi-square {} earth mover {}  \
                 flicker {}  IoU {}",
                number(Some(measures.gradient_sobel), 3),
                number(Some(measures.gradient_laplacian), 3),
                number(Some(measures.histogram_chi_square), 4),
                number(Some(measures.histogram_earth_movers), 2),
                number(measures.flicker, 2),
                number(measures.iou, 3)
            );
            self.draw_text(&line, 10, top + 40 * row + 20, colour, true);
        }
    }
}

impl OriginDimensions for Panel {
    fn size(&self) -> Size {
        Size::new(Panel::WIDTH as u32, Panel::HEIGHT as u32)
    }
}

impl DrawTarget for Panel {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(at.x), usize::try_from(at.y)) else { continue };
            if x < Panel::WIDTH && y < Panel::HEIGHT {
                let i = 3 * (y * Panel::WIDTH + x);
                self.pixels[i..i + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

/// Returns a pixel as R, G and B from 0 to 255. Converts YUV as ITU-R BT.601, narrow range,
/// whatever the caps: accurate enough for display.
fn rgb<T: Sample>(picture: &Picture<'_, T>, x: usize, y: usize) -> [f32; 3] {
    let at = |i: usize| {
        let [shift_x, shift_y] = picture.colour.subsampling(i);
        picture.components[i][[y >> shift_y, x >> shift_x]].code_value()
    };
    match picture.colour {
        Colour::Gray => [at(0); 3],
        Colour::Rgb => [at(0), at(1), at(2)],
        Colour::Yuv { .. } => yuv_to_rgb([at(0), at(1), at(2)]),
    }
}
