// SPDX-License-Identifier: MIT OR Apache-2.0

//! A real clip with the masks of an object, over which a band passes.

use std::path::Path;

use image::RgbImage;
use ndarray::Array2;

use super::{
    band::{Band, Direction, WAVE},
    material::Draws,
};
use cnnvideo_eval::{Result, images};

/// Frames for which the band covers the object.
const COVERED: usize = 10;
/// Last frame that the band covers.
const LAST_COVERED: usize = 17;
/// Frames from the first contact until the object is covered.
const COVERING: f32 = 3.0;

/// Frames and masks of a clip.
pub(super) struct Clip {
    frames: Vec<RgbImage>,
    masks: Vec<Array2<bool>>,
}

impl Clip {
    /// Reads a folder with `frames` and `masks` of the same names; mask values above 0 are the
    /// object.
    ///
    /// # Errors
    /// A file cannot be read, or frames and masks differ in size.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let (mut frames, mut masks) = (Vec::new(), Vec::new());
        for file in images::image_files(&folder.join("frames"))? {
            let name = images::stem(&file);
            let frame = images::open_rgb(&file)?;
            let mask = folder.join("masks").join(&name).with_extension("png");
            let mask = image::open(&mask)
                .map_err(|err| format!("{}: {err}", mask.display()))?
                .into_luma8();
            if mask.dimensions() != frame.dimensions() {
                return Err(format!("{name}: frame and mask differ in size").into());
            }
            let dim = (mask.height() as usize, mask.width() as usize);
            masks.push(Array2::from_shape_fn(dim, |(y, x)| {
                mask.get_pixel(x as u32, y as u32).0[0] > 0
            }));
            frames.push(frame);
        }
        Ok(Self { frames, masks })
    }

    /// Returns the frames and what shows of the object.
    pub(super) fn plain(&self) -> impl Iterator<Item = Result<(RgbImage, Vec<Array2<bool>>)>> {
        self.frames
            .iter()
            .zip(&self.masks)
            .map(|(frame, mask)| Ok((frame.clone(), vec![mask.clone()])))
    }

    /// Returns the frames with a band that covers the object for ten frames, and what shows of the
    /// object.
    pub(super) fn covered(
        &self,
        draws: &mut Draws<'_>,
    ) -> impl Iterator<Item = Result<(RgbImage, Vec<Array2<bool>>)>> {
        let spans: Vec<_> = self.masks.iter().map(columns).collect();
        let extent = spans.iter().map(|[l, r]| r - l).fold(0.0, f32::max) + 4.0;
        let (sign, speed) = (draws.sign(), extent / COVERING);
        let band = Band {
            photograph: draws.photograph(),
            direction: Direction { axis: 0, sign },
            length: Band::length_to_cover(extent, COVERED, speed),
        };
        self.plain().zip(spans).enumerate().map(move |(number, (frame, [left, right]))| {
            let (mut image, mut masks) = frame?;
            // The rear end reaches the near end of the object after the last covered frame.
            let near = 0.5 * (left + right) - sign * 0.5 * extent;
            let ahead = speed * (number as f32 - LAST_COVERED as f32);
            let front = near + sign * (band.length - WAVE - 1.0 + ahead);
            band.draw(&mut image, front, &mut masks);
            Ok((image, masks))
        })
    }
}

/// Returns the leftmost and the rightmost column of an object.
fn columns(mask: &Array2<bool>) -> [f32; 2] {
    let columns = || mask.columns().into_iter().map(|column| column.iter().any(|inside| *inside));
    let first = columns().position(|inside| inside).unwrap_or(0);
    let last = columns().collect::<Vec<_>>().iter().rposition(|inside| *inside).unwrap_or(0);
    [first as f32, last as f32]
}
