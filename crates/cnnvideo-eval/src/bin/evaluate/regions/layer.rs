// SPDX-License-Identifier: MIT OR Apache-2.0

//! Objects that are cut from photographs and drawn at a place, size and angle.

use image::{
    RgbImage,
    imageops::{FilterType, crop_imm, resize},
};
use ndarray::Array2;

use cnnvideo_eval::{Result, images};
use std::path::Path;

/// Depth of a turning object as a share of its width.
const DEPTH: f32 = 0.8;
/// Mask value of the object; the others are the surroundings or the uncertain border.
const OBJECT: u8 = 255;

/// An object without its surroundings.
pub(super) struct Cutout {
    image: RgbImage,
    /// Opacity of each pixel, 0 to 1.
    alpha: Array2<f32>,
    /// First and last column of the object in each row, `None` for rows without it.
    extents: Vec<Option<[f32; 2]>>,
}

/// Where and how an object is drawn.
#[derive(Clone, Copy)]
pub(super) struct Pose {
    /// Position `[x, y]` of the middle in pixels of the frame.
    pub centre: [f32; 2],
    /// Pixels of the frame for each pixel of the cutout.
    pub scale: f32,
    /// Angle in the plane of the picture, in radians.
    pub angle: f32,
    /// Angle about the upright axis, in radians.
    pub turn: f32,
}

impl Cutout {
    /// Reads an object; `None` if it is small or if the border of the photograph cuts much of it
    /// off.
    ///
    /// # Errors
    /// A file cannot be read, or image and mask differ in size.
    pub(super) fn open(image: &Path, mask: &Path) -> Result<Option<Self>> {
        let image = images::open_rgb(image)?;
        let mask = image::open(mask).map_err(|err| format!("{}: {err}", mask.display()))?;
        let mask = mask.into_luma8();
        if mask.dimensions() != image.dimensions() {
            return Err("image and mask differ in size".into());
        }
        let (width, height) = mask.dimensions();
        let object = || mask.enumerate_pixels().filter(|(_, _, p)| p.0[0] == OBJECT);
        let [l, t, r, b] = object().fold([width, height, 0, 0], |[l, t, r, b], (x, y, _)| {
            [l.min(x), t.min(y), r.max(x), b.max(y)]
        });
        let at_border = |x: u32, y: u32| x == 0 || y == 0 || x == width - 1 || y == height - 1;
        let cut_off = object().filter(|(x, y, _)| at_border(*x, *y)).count() as u32;
        if r < l + 40 || b < t + 40 || 10 * cut_off > 2 * (r - l + b - t) {
            return Ok(None);
        }
        let (w, h) = (r - l + 1, b - t + 1);
        let cut = crop_imm(&image, l, t, w, h).to_image();
        let alpha = Array2::from_shape_fn((h as usize, w as usize), |(y, x)| {
            let value = mask.get_pixel(l + x as u32, t + y as u32).0[0];
            f32::from(u8::from(value == OBJECT))
        });
        Ok(Some(Self::new(cut, alpha)))
    }

    fn new(image: RgbImage, alpha: Array2<f32>) -> Self {
        let extent = |row: ndarray::ArrayView1<'_, f32>| {
            let first = row.iter().position(|a| *a > 0.5)?;
            let last = row.iter().rposition(|a| *a > 0.5)?;
            Some([first as f32 - 0.5, last as f32 + 0.5])
        };
        let extents = alpha.rows().into_iter().map(extent).collect();
        Self { image, alpha, extents }
    }

    /// Returns the object at another size, so that drawing it at a scale near 1 does not alias.
    /// `side` is the square root of its new area in pixels; `largest` bounds width and height.
    pub(super) fn resized(&self, side: f32, largest: [f32; 2]) -> Self {
        let scale = (side / self.alpha.sum().sqrt())
            .min(largest[0] / self.image.width() as f32)
            .min(largest[1] / self.image.height() as f32);
        let scaled = |n: u32| ((n as f32 * scale).round() as u32).max(8);
        let (width, height) = (scaled(self.image.width()), scaled(self.image.height()));
        let image = resize(&self.image, width, height, FilterType::Triangle);
        let (rows, columns) = self.alpha.dim();
        let alpha = image::ImageBuffer::<image::Luma<f32>, _>::from_fn(
            columns as u32,
            rows as u32,
            |x, y| image::Luma([self.alpha[[y as usize, x as usize]]]),
        );
        let alpha = resize(&alpha, width, height, FilterType::Triangle);
        let alpha = Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
            alpha.get_pixel(x as u32, y as u32).0[0]
        });
        Self::new(image, alpha)
    }

    /// Returns width and height in pixels.
    pub(super) fn size(&self) -> [f32; 2] {
        [self.image.width() as f32, self.image.height() as f32]
    }

    /// Draws the object over a frame. Returns the opacity of each pixel.
    pub(super) fn draw(&self, frame: &mut RgbImage, pose: &Pose) -> Array2<f32> {
        let (width, height) = frame.dimensions();
        let mut opacity = Array2::zeros((height as usize, width as usize));
        let (sin, cos) = pose.angle.sin_cos();
        for (x, y, pixel) in frame.enumerate_pixels_mut() {
            let (dx, dy) = (x as f32 - pose.centre[0], y as f32 - pose.centre[1]);
            let (dx, dy) = ((cos * dx + sin * dy) / pose.scale, (cos * dy - sin * dx) / pose.scale);
            let [w, h] = self.size();
            let (u, v) = (dx + 0.5 * (w - 1.0), dy + 0.5 * (h - 1.0));
            let Some(u) = self.column_when_turned(u, v, pose.turn) else { continue };
            let Some((colour, alpha)) = self.sample(u, v) else { continue };
            opacity[[y as usize, x as usize]] = alpha;
            for (to, from) in pixel.0.iter_mut().zip(colour) {
                let value = f32::from(*to) + alpha * (from - f32::from(*to));
                *to = value.round() as u8;
            }
        }
        opacity
    }

    /// Returns the column of the surface that shows at column `u` of row `v` when the object has
    /// turned about the upright axis through its middle. Each row of the object is an ellipse from
    /// above; its back looks like its front.
    fn column_when_turned(&self, u: f32, v: f32, turn: f32) -> Option<f32> {
        if turn == 0.0 {
            return Some(u);
        }
        let row = (v.round().max(0.0) as usize).min(self.extents.len() - 1);
        let [left, right] = self.extents[row]?;
        let axis = 0.5 * (self.size()[0] - 1.0);
        let (middle, half) = (0.5 * (left + right), 0.5 * (right - left));
        let (sin, cos) = turn.sin_cos();
        let depth = DEPTH * half;
        let turned_half = (half * cos).hypot(depth * sin);
        let along = (u - axis - (middle - axis) * cos) / turned_half;
        if along.abs() > 1.0 {
            return None;
        }
        let parameter = along.acos() - (depth * sin).atan2(half * cos);
        Some(middle + half * parameter.cos())
    }

    /// Interpolates colour and opacity at a position; `None` outside of the object.
    fn sample(&self, u: f32, v: f32) -> Option<([f32; 3], f32)> {
        let [w, h] = self.size();
        if u <= -1.0 || v <= -1.0 || u >= w || v >= h {
            return None;
        }
        let (x, y) = (u.floor(), v.floor());
        let (mut colour, mut alpha) = ([0.0; 3], 0.0);
        for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
            let weight = (1.0 - (u - x - dx).abs()) * (1.0 - (v - y - dy).abs());
            let (i, j) = ((x + dx) as i32, (y + dy) as i32);
            if i < 0 || j < 0 || i >= w as i32 || j >= h as i32 {
                continue;
            }
            let weight = weight * self.alpha[[j as usize, i as usize]];
            alpha += weight;
            let pixel = self.image.get_pixel(i as u32, j as u32).0;
            colour.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += weight * f32::from(v));
        }
        (alpha > 1e-3).then(|| (colour.map(|sum| sum / alpha), alpha))
    }
}
