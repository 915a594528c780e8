// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames as pictures of the web: JPEG for speed, PNG without loss.

use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use super::{
    frame::Frame,
    strand::{Fault, Strand, make, make_caps},
};
use crate::problem::{Problem, Result};

/// Quality of JPEG while the video plays: differences to the lossless picture are hard to see.
const JPEG_QUALITY: i32 = 90;

/// Turns frames into pictures of one kind of stream.
#[derive(Default)]
pub(crate) struct Encoder {
    jpeg: Option<Strand>,
    rgb: Option<Strand>,
}

impl Encoder {
    /// Returns the frame as a JPEG file.
    ///
    /// # Errors
    /// An element is missing or fails.
    pub(crate) fn jpeg(&mut self, frame: &Frame) -> Result<Vec<u8>> {
        // JPEG has the full range and the matrix of BT.601.
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("colorimetry", "1:4:0:0")
            .build();
        let encode = make("jpegenc")?;
        gst::prelude::ObjectExt::set_property(&encode, "quality", JPEG_QUALITY);
        let start = || Strand::start(&[make("videoconvert")?, make_caps(&caps)?, encode]);
        let picture = push(&mut self.jpeg, frame, start)?;
        let bytes = picture.buffer.map_readable()?;
        Ok(bytes.as_slice().to_vec())
    }

    /// Returns the frame as a PNG file of its RGB values.
    ///
    /// # Errors
    /// An element is missing or fails.
    pub(crate) fn png(&mut self, frame: &Frame) -> Result<Vec<u8>> {
        let caps = gst::Caps::builder("video/x-raw").field("format", "RGB").build();
        let start = || Strand::start(&[make("videoconvert")?, make_caps(&caps)?]);
        let picture = push(&mut self.rgb, frame, start)?;
        let info = VideoInfo::from_caps(&picture.caps)?;
        let view = VideoFrameRef::from_buffer_ref_readable(&picture.buffer, &info)?;
        let stride = view.plane_stride().first().copied().unwrap_or_default() as usize;
        let plane = view.plane_data(0).map_err(|_| no_picture())?;
        let row_bytes = 3 * info.width() as usize;
        let mut pixels = Vec::with_capacity(row_bytes * info.height() as usize);
        for row in plane.chunks(stride.max(1)).take(info.height() as usize) {
            pixels.extend_from_slice(row.get(..row_bytes).ok_or_else(no_picture)?);
        }
        png(&pixels, info.width(), info.height(), ExtendedColorType::Rgb8)
    }
}

/// Returns samples as a PNG file.
///
/// # Errors
/// The number of samples is wrong.
pub(crate) fn png(
    samples: &[u8],
    width: u32,
    height: u32,
    kind: ExtendedColorType,
) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    // Speed counts more than size: the picture goes to the same machine in most cases.
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Up)
        .write_image(samples, width, height, kind)
        .map_err(|err| Problem::new(format!("no PNG: {err}"), "open the video again"))?;
    Ok(file)
}

/// Pushes a frame through elements, which start with the first one.
fn push(
    strand: &mut Option<Strand>,
    frame: &Frame,
    start: impl FnOnce() -> std::result::Result<Strand, Fault>,
) -> Result<Frame> {
    if strand.is_none() {
        *strand = Some(start().map_err(|fault| fault.problem)?);
    }
    let pushed = strand.as_mut().ok_or_else(no_picture)?.push(frame);
    match pushed {
        Ok(frames) => frames.into_iter().last().ok_or_else(no_picture),
        Err(fault) => {
            *strand = None;
            Err(fault.problem)
        }
    }
}

fn no_picture() -> Problem {
    Problem::new("a frame did not become a picture", "open the video again")
}
