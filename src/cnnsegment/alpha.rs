// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames with an alpha channel that is opaque inside of regions and transparent outside.

use gst_video::{VideoFormat, VideoFrameExt, VideoFrameRef};
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, Zip};

use crate::shared::{FORMATS_8BIT, format_of, view_frame_mut};
use cnnvideo::frame::{Colour, Error, Format, Picture, PictureMut};

/// Returns the output formats with alpha for an input format, the preferred one first. None of them
/// needs a colour conversion.
pub(super) fn formats_with_alpha(format: VideoFormat) -> Vec<VideoFormat> {
    match format_of(format).map(|format| format.colour()) {
        Some(Colour::Rgb) => {
            vec![VideoFormat::Rgba, VideoFormat::Bgra, VideoFormat::Argb, VideoFormat::Abgr]
        }
        Some(Colour::Yuv { shift_x: 1, shift_y: 1 } | Colour::Gray) => vec![VideoFormat::A420],
        Some(Colour::Yuv { .. }) => vec![VideoFormat::Ayuv],
        None => Vec::new(),
    }
}

/// Returns the input formats that can be output as a format with alpha.
pub(super) fn input_formats_of(format: VideoFormat) -> Vec<VideoFormat> {
    FORMATS_8BIT.into_iter().filter(|from| formats_with_alpha(*from).contains(&format)).collect()
}

/// Returns the memory layout of an output format with alpha, `None` if it is not supported.
pub(super) fn layout_with_alpha(format: VideoFormat) -> Option<Format> {
    match format {
        VideoFormat::A420 => Some(Format::A420),
        VideoFormat::Ayuv => Some(Format::AYUV),
        other => format_of(other),
    }
}

/// Returns the value of a pixel in a mask or an alpha component: 255 inside of regions, 0 outside.
pub(super) fn mask_value(label: u8) -> u8 {
    255 * u8::from(label > 0)
}

/// Writes the output of a frame: copies the colours of `input`, and makes the pixels inside of
/// regions opaque and the others transparent.
///
/// # Errors
/// Fails if a plane is missing or too small for the frame.
///
/// # Panics
/// Panics if `layout` has no alpha.
pub(super) fn write_frame(
    input: &Picture<'_, u8>,
    labels: &ArrayView2<'_, u8>,
    output: &mut VideoFrameRef<&mut gst::BufferRef>,
    layout: Format,
) -> Result<(), Error> {
    copy_components(input, &mut view_frame_mut(output, layout)?);
    write_alpha(output, layout, labels)
}

/// Copies the colour components of a picture. Grey input gets neutral chroma; subsampled chroma is
/// replicated if the output has more of it (4:2:2 to AYUV).
fn copy_components(from: &Picture<'_, u8>, to: &mut PictureMut<'_, u8>) {
    for (i, to) in to.components.iter_mut().enumerate() {
        match from.components.get(i) {
            Some(from) if from.dim() == to.dim() => to.assign(from),
            Some(from) => {
                let (rows, columns) = from.dim();
                let shift = usize::from(columns < to.ncols());
                to.indexed_iter_mut().for_each(|((y, x), to)| {
                    *to = from[[y.min(rows - 1), (x >> shift).min(columns - 1)]];
                });
            }
            None => to.fill(128),
        }
    }
}

/// Writes the alpha component of a frame of the given layout.
///
/// # Errors
/// Fails if the plane that holds alpha is missing or too small.
fn write_alpha(
    frame: &mut VideoFrameRef<&mut gst::BufferRef>,
    layout: Format,
    labels: &ArrayView2<'_, u8>,
) -> Result<(), Error> {
    let alpha = layout.alpha().expect("the layout has alpha");
    let (height, width) = labels.dim();
    // As in `view_frame_mut`, a negative stride counts as 0, which is too small.
    let stride =
        frame.plane_stride().get(alpha.plane).map_or(0, |s| usize::try_from(*s).unwrap_or(0));
    let too_small = Error::TooSmall { plane: alpha.plane, stride, width, height };
    let plane = frame
        .plane_data_mut(alpha.plane as u32)
        .map_err(|_| Error::MissingPlane { plane: alpha.plane })?;
    let samples = plane.get_mut(alpha.offset..).ok_or_else(|| too_small.clone())?;
    let shape = (height, width).strides((stride, alpha.pixel_stride));
    let mut component = ArrayViewMut2::from_shape(shape, samples).map_err(|_| too_small)?;
    Zip::from(&mut component).and(labels).for_each(|to, label| *to = mask_value(*label));
    Ok(())
}
