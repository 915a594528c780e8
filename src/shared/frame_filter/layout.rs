// SPDX-License-Identifier: MIT OR Apache-2.0

//! Layout of frames in memory: interlaced or not, packed or padded; and copies of whole frames.

use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo, VideoMeta};

use crate::shared::{
    Scan, has_room_for_fields, is_interlaced, view_frame, view_frame_mut, view_scan, view_scan_mut,
};
use cnnvideo::frame::{Format, Sample};

/// Interlaced frames with fewer rows than this are processed as progressive ones.
const MIN_INTERLACED_HEIGHT: u32 = 8;

/// Returns whether a buffer holds the planes of a frame of `info` as the caps describe them, so
/// that elements that do not read video metas find them.
pub(super) fn is_packed(buffer: &gst::BufferRef, info: &VideoInfo) -> bool {
    buffer.meta::<VideoMeta>().is_none_or(|meta| {
        buffer.size() == info.size()
            && meta.stride() == info.stride()
            && meta.offset() == info.offset()
    })
}

/// Returns how to process the rows of a frame. Interlaced frames whose memory has no room for the
/// chroma rows of both fields, and those of few rows, are processed as progressive ones.
pub(super) fn scan_of<T: Sample, U: Sample>(
    inframe: &VideoFrameRef<&gst::BufferRef>,
    outframe: &VideoFrameRef<&mut gst::BufferRef>,
) -> Scan {
    if has_room_for_fields::<U>(outframe) { scan_of_input::<T>(inframe) } else { Scan::Progressive }
}

/// Returns how to process the rows of a frame if the output has room for the fields.
pub(super) fn scan_of_input<T: Sample>(inframe: &VideoFrameRef<&gst::BufferRef>) -> Scan {
    let is_split = is_interlaced(inframe)
        && inframe.height() >= MIN_INTERLACED_HEIGHT
        && has_room_for_fields::<T>(inframe);
    if is_split { Scan::Interlaced } else { Scan::Progressive }
}

/// Copies all samples of a frame, alpha, unused samples and the chroma rows of both fields
/// included. Formats whose samples can have more bits in the output have no other samples than
/// those of the components.
pub(super) fn copy_frame<T: Sample, U: Sample>(
    inframe: &VideoFrameRef<&gst::BufferRef>,
    outframe: &mut VideoFrameRef<&mut gst::BufferRef>,
    format: Format,
) -> Result<(), String> {
    // The views check that the planes are in memory, which the copy does not.
    view_frame::<T>(inframe, format).map_err(|err| err.to_string())?;
    view_frame_mut::<U>(outframe, format).map_err(|err| err.to_string())?;
    let is_same_format = inframe.format() == outframe.format();
    if is_same_format {
        inframe.copy(outframe).map_err(|err| err.to_string())?;
    }
    let scan = scan_of::<T, U>(inframe, outframe);
    let has_more_rows =
        scan.has_extra_chroma_row(inframe.height()) && format.colour().subsampling(1)[1] == 1;
    if !is_same_format || has_more_rows {
        let input = view_scan::<T>(inframe, format, scan).map_err(|err| err.to_string())?;
        let output = view_scan_mut::<U>(outframe, format, scan).map_err(|err| err.to_string())?;
        for (mut to, from) in output.components.into_iter().zip(&input.components) {
            to.zip_mut_with(from, |to, from| *to = U::from_code_value(from.code_value()));
        }
    }
    Ok(())
}

/// Returns whether the components of a format are all samples of its planes. Formats with alpha or
/// with unused samples have more.
pub(crate) fn components_cover_planes(format: Format) -> bool {
    let layouts = format.component_layouts();
    let covers_plane = |plane: usize, pixel_stride: usize| {
        layouts.iter().filter(|layout| layout.plane == plane).count() == pixel_stride
    };
    format.alpha().is_none()
        && layouts.iter().all(|layout| covers_plane(layout.plane, layout.pixel_stride))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_with_alpha_or_unused_samples_are_not_covered() {
        for format in [Format::GRAY8, Format::I420, Format::NV12, Format::Y444, Format::RGB] {
            assert!(components_cover_planes(format), "{format:?}");
        }
        for format in [Format::RGBA, Format::ARGB, Format::BGRX, Format::A420, Format::AYUV] {
            assert!(!components_cover_planes(format), "{format:?}");
        }
    }
}
