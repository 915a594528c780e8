// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversion of mapped GStreamer video frames to typed picture views.

use gst_video::{VideoFormat, VideoFrameExt, VideoFrameRef, VideoInterlaceMode};

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

/// Converts strides from bytes to samples.
fn strides<T>(strides: &[i32]) -> impl Iterator<Item = usize> {
    // Negative strides and strides that are no multiple of the sample size become 0, which the
    // picture constructors reject as too small.
    let samples = |bytes: usize| {
        if bytes.is_multiple_of(size_of::<T>()) { bytes / size_of::<T>() } else { 0 }
    };
    strides.iter().map(move |s| usize::try_from(*s).map_or(0, samples))
}

/// Rounds a number of bytes down to whole samples.
fn whole<T>(bytes: usize) -> usize {
    bytes - bytes % size_of::<T>()
}

/// Views a frame that is mapped for reading.
///
/// # Errors
/// A plane that is missing or too small for the format.
pub(crate) fn view_frame<'a, T: Sample>(
    frame: &'a VideoFrameRef<&gst::BufferRef>,
    format: Format,
) -> Result<Picture<'a, T>, Error> {
    let samples = |data: &'a [u8]| {
        bytemuck::try_cast_slice(&data[..whole::<T>(data.len())]).unwrap_or_default()
    };
    let planes = frame.planes_data().into_iter().map(samples);
    let planes: Vec<_> = planes.zip(strides::<T>(frame.plane_stride())).map(Plane::from).collect();
    Picture::new(format, frame.width() as usize, frame.height() as usize, &planes)
}

/// Views a frame that is mapped for writing.
///
/// # Errors
/// A plane that is missing or too small for the format.
pub(crate) fn view_frame_mut<'a, T: Sample>(
    frame: &'a mut VideoFrameRef<&mut gst::BufferRef>,
    format: Format,
) -> Result<PictureMut<'a, T>, Error> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let strides: Vec<_> = strides::<T>(frame.plane_stride()).collect();
    let samples = |data: &'a mut [u8]| {
        let whole = whole::<T>(data.len());
        bytemuck::try_cast_slice_mut(&mut data[..whole]).unwrap_or_default()
    };
    PictureMut::new(
        format,
        width,
        height,
        frame.planes_data_mut().into_iter().map(samples).zip(strides).map(PlaneMut::from),
    )
}

/// Returns whether the rows of a frame belong to two fields captured at different times.
pub(crate) fn is_interlaced(frame: &VideoFrameRef<&gst::BufferRef>) -> bool {
    match frame.info().interlace_mode() {
        VideoInterlaceMode::Interleaved => true,
        VideoInterlaceMode::Mixed => frame.flags().contains(gst_video::VideoFrameFlags::INTERLACED),
        _ => false,
    }
}
