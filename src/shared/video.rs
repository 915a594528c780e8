// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversion of mapped GStreamer video frames to typed picture views.

use std::slice;

use gst_video::{
    VideoFormat, VideoFrameExt, VideoFrameRef, VideoInfo, VideoInterlaceMode, VideoMeta,
};

use super::plane_memory::PlaneMemory;
use cnnvideo::frame::{Error, Format, Picture, PictureMut, Plane, PlaneMut, Sample};

/// Pixel formats of 8 bits a sample. All elements accept them.
pub(crate) const FORMATS_8BIT: [VideoFormat; 17] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Gray8,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
];

/// Returns the component layout of an 8-bit pixel format; `None` for formats that are not in
/// [`FORMATS_8BIT`].
pub(crate) fn format_of(format: VideoFormat) -> Option<Format> {
    match format {
        VideoFormat::Gray8 => Some(Format::GRAY8),
        VideoFormat::I420 => Some(Format::I420),
        // GStreamer numbers the planes in memory order: V before U.
        VideoFormat::Yv12 => Some(Format::YV12),
        VideoFormat::Nv12 => Some(Format::NV12),
        VideoFormat::Nv21 => Some(Format::NV21),
        VideoFormat::Y42b => Some(Format::Y42B),
        VideoFormat::Y444 => Some(Format::Y444),
        VideoFormat::Rgb => Some(Format::RGB),
        VideoFormat::Bgr => Some(Format::BGR),
        VideoFormat::Rgba => Some(Format::RGBA),
        VideoFormat::Bgra => Some(Format::BGRA),
        VideoFormat::Argb => Some(Format::ARGB),
        VideoFormat::Abgr => Some(Format::ABGR),
        VideoFormat::Rgbx => Some(Format::RGBX),
        VideoFormat::Bgrx => Some(Format::BGRX),
        VideoFormat::Xrgb => Some(Format::XRGB),
        VideoFormat::Xbgr => Some(Format::XBGR),
        _ => None,
    }
}

/// Pixel formats of 10 bits a sample. The filters and the watermark elements accept them too.
pub(crate) const FORMATS_10BIT: [VideoFormat; 4] =
    [VideoFormat::I42010le, VideoFormat::P01010le, VideoFormat::I42210le, VideoFormat::Y44410le];

/// Storage of a sample in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleDepth {
    /// 8 bits in one byte.
    U8,
    /// 10 bits in the lower bits of a little-endian 16-bit word.
    Lsb10,
    /// 10 bits in the upper bits of a little-endian 16-bit word.
    Msb10,
}

/// Returns the formats that a structure of video caps lists; `None` if it does not restrict them.
pub(crate) fn listed_formats(caps: &gst::StructureRef) -> Option<Vec<VideoFormat>> {
    let value = caps.value("format").ok()?;
    let parse = |name: &str| VideoFormat::from_string(name);
    Some(match value.get::<gst::List>() {
        Ok(list) => list.iter().filter_map(|value| value.get().ok()).map(parse).collect(),
        Err(_) => value.get().into_iter().map(parse).collect(),
    })
}

/// Evaluates `$body` with `$T` as the sample type of a [`SampleDepth`].
macro_rules! with_samples {
    ($depth:expr, $T:ident => $body:expr) => {
        match $depth {
            $crate::shared::SampleDepth::U8 => {
                type $T = u8;
                $body
            }
            $crate::shared::SampleDepth::Lsb10 => {
                type $T = cnnvideo::frame::Lsb10;
                $body
            }
            $crate::shared::SampleDepth::Msb10 => {
                type $T = cnnvideo::frame::Msb10;
                $body
            }
        }
    };
}
pub(crate) use with_samples;

/// Evaluates `$body` with `$T` and `$U` as the sample types of the input and of the output of a
/// filter, whose output has the [`SampleDepth`] of its input or the greater one of [`deeper`].
macro_rules! with_sample_pairs {
    ($input:expr, $output:expr, $T:ident, $U:ident => $body:expr) => {
        match ($input, $output) {
            ($crate::shared::SampleDepth::U8, $crate::shared::SampleDepth::Lsb10) => {
                type $T = u8;
                type $U = cnnvideo::frame::Lsb10;
                $body
            }
            ($crate::shared::SampleDepth::U8, $crate::shared::SampleDepth::Msb10) => {
                type $T = u8;
                type $U = cnnvideo::frame::Msb10;
                $body
            }
            (same, _) => $crate::shared::with_samples!(same, $T => {
                type $U = $T;
                $body
            }),
        }
    };
}
pub(crate) use with_sample_pairs;

/// Returns the 10-bit format with the planes of an 8-bit one; `None` if there is none.
pub(crate) fn deeper(format: VideoFormat) -> Option<VideoFormat> {
    match format {
        VideoFormat::I420 => Some(VideoFormat::I42010le),
        VideoFormat::Nv12 => Some(VideoFormat::P01010le),
        VideoFormat::Y42b => Some(VideoFormat::I42210le),
        VideoFormat::Y444 => Some(VideoFormat::Y44410le),
        _ => None,
    }
}

/// Returns the component layout (in samples) and the sample depth of a pixel format; `None` for
/// formats that are neither in [`FORMATS_8BIT`] nor in [`FORMATS_10BIT`].
pub(crate) fn layout_of(format: VideoFormat) -> Option<(Format, SampleDepth)> {
    match format {
        VideoFormat::I42010le => Some((Format::I420, SampleDepth::Lsb10)),
        VideoFormat::I42210le => Some((Format::Y42B, SampleDepth::Lsb10)),
        VideoFormat::Y44410le => Some((Format::Y444, SampleDepth::Lsb10)),
        VideoFormat::P01010le => Some((Format::NV12, SampleDepth::Msb10)),
        other => format_of(other).map(|format| (format, SampleDepth::U8)),
    }
}

/// Rows of a frame that belong together in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// All rows.
    Progressive,
    /// Every other row: the frame has two fields.
    Interlaced,
}

impl Scan {
    /// Returns whether vertically halved chroma has a row more than half of `height`, rounded up.
    ///
    /// A field of an interlaced frame of 4n + 2 rows has 2n + 1 rows of luma and n + 1 rows of
    /// chroma, so that both fields together have 2n + 2. `GstVideoInfo` reserves them.
    pub(crate) fn has_extra_chroma_row(self, height: u32) -> bool {
        self == Self::Interlaced && height % 4 == 2
    }
}

/// Checks that the video meta of a buffer, if it has one, describes a frame of `info`.
///
/// # Errors
/// A meta with another format, size or number of planes.
fn check_meta(buffer: &gst::BufferRef, info: &VideoInfo) -> Result<(), String> {
    let Some(meta) = buffer.meta::<VideoMeta>() else { return Ok(()) };
    let [of_meta, of_caps] = [
        (meta.format(), meta.width(), meta.height(), meta.n_planes()),
        (info.format(), info.width(), info.height(), info.n_planes()),
    ];
    if of_meta == of_caps {
        return Ok(());
    }
    let text = |(format, width, height, planes): (VideoFormat, u32, u32, u32)| {
        format!("{format} of {width}x{height} in {planes} planes")
    };
    Err(format!("its video meta describes {}, its caps {}", text(of_meta), text(of_caps)))
}

/// Returns the message for a buffer of `size` bytes that GStreamer cannot map as a frame of `info`.
fn map_error(size: usize, info: &VideoInfo) -> String {
    let expected = info.size();
    format!("its buffer of {size} bytes cannot be mapped as a frame of {expected} bytes")
}

/// Maps a buffer for reading.
///
/// # Errors
/// A buffer that is too small, or whose video meta contradicts `info`.
pub(crate) fn map_frame<'a>(
    buffer: &'a gst::BufferRef,
    info: &VideoInfo,
) -> Result<VideoFrameRef<&'a gst::BufferRef>, String> {
    check_meta(buffer, info)?;
    VideoFrameRef::from_buffer_ref_readable(buffer, info)
        .map_err(|_| map_error(buffer.size(), info))
}

/// Maps a buffer for writing.
///
/// # Errors
/// A buffer that is too small, or whose video meta contradicts `info`.
pub(crate) fn map_frame_mut<'a>(
    buffer: &'a mut gst::BufferRef,
    info: &VideoInfo,
) -> Result<VideoFrameRef<&'a mut gst::BufferRef>, String> {
    check_meta(buffer, info)?;
    let size = buffer.size();
    VideoFrameRef::from_buffer_ref_writable(buffer, info).map_err(|_| map_error(size, info))
}

/// Views a frame that is mapped for reading.
///
/// # Errors
/// A plane that is missing, too small for the format or outside of the mapped memory.
pub(crate) fn view_frame<'a, T: Sample>(
    frame: &'a VideoFrameRef<&gst::BufferRef>,
    format: Format,
) -> Result<Picture<'a, T>, Error> {
    view_scan(frame, format, Scan::Progressive)
}

/// Views a frame that is mapped for writing.
///
/// # Errors
/// A plane that is missing, too small for the format or outside of the mapped memory, or planes
/// that overlap.
pub(crate) fn view_frame_mut<'a, T: Sample>(
    frame: &'a mut VideoFrameRef<&mut gst::BufferRef>,
    format: Format,
) -> Result<PictureMut<'a, T>, Error> {
    view_scan_mut(frame, format, Scan::Progressive)
}

/// Views a frame that is mapped for reading, with all rows of both fields if `scan` is interlaced.
///
/// # Errors
/// As [`view_frame`].
pub(crate) fn view_scan<'a, T: Sample>(
    frame: &'a VideoFrameRef<&gst::BufferRef>,
    format: Format,
    scan: Scan,
) -> Result<Picture<'a, T>, Error> {
    let plane = |memory: PlaneMemory| {
        // SAFETY: `of_frame` has checked that the memory is in the mapping, which the frame holds
        // for `'a`.
        let bytes = unsafe { slice::from_raw_parts(memory.data.cast_const(), memory.bytes) };
        let samples = bytemuck::cast_slice::<u8, T>(bytes);
        Plane::new(samples, memory.stride / size_of::<T>())
    };
    let planes = PlaneMemory::of_frame::<T>(frame, scan)?;
    let planes: Vec<_> = planes.into_iter().map(plane).collect();
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    match scan {
        Scan::Progressive => Picture::new(format, width, height, &planes),
        Scan::Interlaced => Picture::interlaced(format, width, height, &planes),
    }
}

/// Views a frame that is mapped for writing, with all rows of both fields if `scan` is interlaced.
///
/// # Errors
/// As [`view_frame_mut`].
pub(crate) fn view_scan_mut<'a, T: Sample>(
    frame: &'a mut VideoFrameRef<&mut gst::BufferRef>,
    format: Format,
    scan: Scan,
) -> Result<PictureMut<'a, T>, Error> {
    let planes = PlaneMemory::of_frame::<T>(frame, scan)?;
    PlaneMemory::check_disjoint(&planes)?;
    let planes = planes.into_iter().map(|memory| {
        // SAFETY: `of_frame` has checked that the memory is in the mapping, which the frame holds
        // for `'a` and for writing. The planes do not overlap, and `frame` is borrowed mutably.
        let bytes = unsafe { slice::from_raw_parts_mut(memory.data, memory.bytes) };
        let samples = bytemuck::cast_slice_mut::<u8, T>(bytes);
        PlaneMut::new(samples, memory.stride / size_of::<T>())
    });
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    match scan {
        Scan::Progressive => PictureMut::new(format, width, height, planes),
        Scan::Interlaced => PictureMut::interlaced(format, width, height, planes),
    }
}

/// Returns whether the memory of a frame has the chroma rows of both fields, which the frame's
/// height alone does not guarantee; see [`Scan::has_extra_chroma_row`].
pub(crate) fn has_room_for_fields<T: Sample>(frame: &impl VideoFrameExt) -> bool {
    let scan = Scan::Interlaced;
    !scan.has_extra_chroma_row(frame.height())
        || PlaneMemory::of_frame::<T>(frame, scan)
            .and_then(|planes| PlaneMemory::check_disjoint(&planes))
            .is_ok()
}

/// Returns whether the rows of a frame belong to two fields captured at different times.
pub(crate) fn is_interlaced(frame: &VideoFrameRef<&gst::BufferRef>) -> bool {
    match frame.info().interlace_mode() {
        VideoInterlaceMode::Interleaved => true,
        VideoInterlaceMode::Mixed => frame.flags().contains(gst_video::VideoFrameFlags::INTERLACED),
        _ => false,
    }
}
