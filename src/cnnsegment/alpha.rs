//! Frames with an alpha channel that is opaque inside of regions and transparent outside.

use gst_video::VideoFormat;
use ndarray::{ArrayView2, Zip};

use crate::{shared::FORMATS, shared::format_of};
use cnnvideo::frame::{Colour, Format, Picture, PictureMut};

/// Returns the output formats with alpha for an input format, the preferred one first. None of them
/// needs a colour conversion.
pub(super) fn with_alpha(format: VideoFormat) -> Vec<VideoFormat> {
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
pub(super) fn without_alpha(format: VideoFormat) -> Vec<VideoFormat> {
    FORMATS.into_iter().filter(|from| with_alpha(*from).contains(&format)).collect()
}

/// Returns the memory layout of an output format with alpha, `None` if it is not supported.
pub(super) fn layout(format: VideoFormat) -> Option<Format> {
    match format {
        VideoFormat::A420 => Some(Format::A420),
        VideoFormat::Ayuv => Some(Format::AYUV),
        other => format_of(other),
    }
}

/// Copies the colour components of a picture. Grey input gets neutral chroma; subsampled chroma is
/// replicated if the output has more of it (4:2:2 to AYUV).
pub(super) fn copy(from: &Picture<'_, u8>, to: &mut PictureMut<'_, u8>) {
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

/// Writes the alpha component: 255 inside of regions, 0 outside. `plane` is the plane that holds
/// alpha at `place`, with `stride` bytes per row.
///
/// # Errors
/// Fails if a planar alpha plane is too small for `labels`.
pub(super) fn write(
    plane: &mut [u8],
    stride: usize,
    place: cnnvideo::frame::Place,
    labels: &ArrayView2<'_, u8>,
) -> Result<(), cnnvideo::frame::Error> {
    let (height, width) = labels.dim();
    let alpha = Format::GRAY8;
    if place.step == 1 {
        let mut view = PictureMut::new(alpha, width, height, [(plane, stride)])?;
        Zip::from(&mut view.components[0])
            .and(labels)
            .for_each(|to, label| *to = 255 * u8::from(*label > 0));
        return Ok(());
    }
    for (row, labels) in plane.chunks_mut(stride.max(1)).zip(labels.rows()) {
        let pixels = row.get_mut(place.offset..).unwrap_or_default().iter_mut().step_by(place.step);
        pixels.zip(labels).for_each(|(to, label)| *to = 255 * u8::from(*label > 0));
    }
    Ok(())
}
