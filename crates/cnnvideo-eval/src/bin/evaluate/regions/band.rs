// SPDX-License-Identifier: MIT OR Apache-2.0

//! A band of a photograph that passes in front of an object and covers it.

use image::RgbImage;
use ndarray::Array2;

/// Largest deviation of the wavy border of a band from a straight line, in pixels.
pub(super) const WAVE: f32 = 4.0;

/// Axis and direction in which a band passes.
#[derive(Clone, Copy)]
pub(super) struct Direction {
    /// 0 for a band that passes sideways, 1 for one that passes up or down.
    pub axis: usize,
    /// 1 in the direction of the axis, -1 against it.
    pub sign: f32,
}

/// A band that moves relative to an object, all in pixels of the frame.
pub(super) struct Band {
    pub photograph: RgbImage,
    pub direction: Direction,
    /// Length along the direction.
    pub length: f32,
}

impl Band {
    /// Returns the length of a band that covers an object of length `extent` for `frames` frames at
    /// `speed` pixels for each frame.
    pub(super) fn length_to_cover(extent: f32, frames: usize, speed: f32) -> f32 {
        extent + (frames - 1) as f32 * speed + 2.0 * (WAVE + 1.0)
    }

    /// Draws the band with its front end, in the direction of its motion, at `front`. Takes covered
    /// pixels out of the masks.
    pub(super) fn draw(&self, frame: &mut RgbImage, front: f32, masks: &mut [Array2<bool>]) {
        let Direction { axis, sign } = self.direction;
        for (x, y, pixel) in frame.enumerate_pixels_mut() {
            let at = [x as f32, y as f32];
            let wave = WAVE * (0.13 * at[1 - axis] + 0.05 * at[axis] * sign).sin();
            let behind = sign * (front - at[axis]) + wave;
            if behind < 0.0 || behind > self.length {
                continue;
            }
            // The texture moves with the band.
            let mut texture = at;
            texture[axis] = sign * behind;
            let index = |v: f32, n: u32| (v.round() as i64).rem_euclid(i64::from(n)) as u32;
            let (width, height) = self.photograph.dimensions();
            *pixel =
                *self.photograph.get_pixel(index(texture[0], width), index(texture[1], height));
            masks.iter_mut().for_each(|mask| mask[[y as usize, x as usize]] = false);
        }
    }
}
