// SPDX-License-Identifier: MIT OR Apache-2.0

//! The regions of a frame as a coloured picture to lay over it.

use gstcnnvideo::shared::RegionMask;
use image::ExtendedColorType;

use super::{frame::Frame, picture::png};
use crate::problem::Result;

/// Colours of the regions 1 to 8, distinct for colour-blind users (Okabe and Ito).
const COLOURS: [[u8; 3]; 8] = [
    [0, 158, 115],
    [213, 94, 0],
    [86, 180, 233],
    [204, 121, 167],
    [240, 228, 66],
    [0, 114, 178],
    [230, 159, 0],
    [154, 154, 154],
];
/// Opacity inside of a region and on its border.
const INSIDE: u8 = 90;
const BORDER: u8 = 255;

/// Returns a PNG file, or nothing if the frame has no regions.
///
/// # Errors
/// The picture cannot be written.
pub(crate) fn overlay(frame: &Frame) -> Result<Vec<u8>> {
    let Some(size) = frame.size() else { return Ok(Vec::new()) };
    let labels = RegionMask::of(&frame.buffer, size).and_then(|mask| mask.labels(size));
    let Some(labels) = labels else { return Ok(Vec::new()) };
    let (width, height) = (size.0 as usize, size.1 as usize);
    let at = |x: usize, y: usize| labels.get((y, x)).copied().unwrap_or_default();
    let mut pixels = Vec::with_capacity(4 * width * height);
    for y in 0..height {
        for x in 0..width {
            let label = at(x, y);
            let colour = usize::from(label).checked_sub(1).and_then(|index| COLOURS.get(index));
            let Some([red, green, blue]) = colour else {
                pixels.extend_from_slice(&[0; 4]);
                continue;
            };
            let is_border = label != at(x + 1, y)
                || label != at(x, y + 1)
                || label != at(x.wrapping_sub(1), y)
                || label != at(x, y.wrapping_sub(1));
            let opacity = if is_border { BORDER } else { INSIDE };
            pixels.extend_from_slice(&[*red, *green, *blue, opacity]);
        }
    }
    png(&pixels, size.0, size.1, ExtendedColorType::Rgba8)
}
