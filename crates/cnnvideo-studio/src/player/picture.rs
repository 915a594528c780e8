// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames as pictures of the web: JPEG for speed, PNG without loss.

use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use super::{converter::Converter, frame::Frame};
use crate::problem::{Problem, Result};

/// Quality of JPEG while the video plays: differences to the lossless picture are hard to see.
const JPEG_QUALITY: i32 = 90;

/// Turns frames into pictures.
pub(crate) struct Encoder {
    jpeg: Converter,
    rgb: Converter,
}

impl Encoder {
    /// Returns an encoder for the frames of a stream.
    pub(crate) fn new() -> Self {
        // JPEG has the full range and the matrix of BT.601.
        let full = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("colorimetry", "1:4:0:0")
            .build();
        let rgb = gst::Caps::builder("video/x-raw").field("format", "RGB").build();
        Self { jpeg: Converter::to(full).encoded_by(jpegenc), rgb: Converter::to(rgb) }
    }

    /// Returns the frame as a JPEG file.
    ///
    /// # Errors
    /// An element is missing or fails.
    pub(crate) fn jpeg(&mut self, frame: &Frame) -> Result<Vec<u8>> {
        let picture = self.jpeg.convert(frame)?;
        let bytes = picture.buffer.map_readable()?;
        Ok(bytes.as_slice().to_vec())
    }

    /// Returns the frame as a PNG file of its RGB values.
    ///
    /// # Errors
    /// An element is missing or fails.
    pub(crate) fn png(&mut self, frame: &Frame) -> Result<Vec<u8>> {
        let picture = self.rgb.convert(frame)?;
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

fn jpegenc() -> Result<gst::Element> {
    Ok(gst::ElementFactory::make("jpegenc").property("quality", JPEG_QUALITY).build()?)
}

fn no_picture() -> Problem {
    Problem::new("a frame did not become a picture", "open the video again")
}
