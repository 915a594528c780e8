// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory of the planes of a mapped video frame ([`PlaneMemory`]), checked against the mapping.
//!
//! Strides and offsets come from the `GstVideoMeta` of a buffer, so upstream chooses them.
//! GStreamer does not compare them with the size of the memory.

use gst_video::{VideoFrameExt, VideoInfo};

use super::Scan;
use cnnvideo::frame::Error;

/// Largest number of planes of a frame.
const MAX_PLANES: usize = gst_video::VIDEO_MAX_PLANES;

/// Memory of one plane, from its first to its last sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlaneMemory {
    /// First byte. Valid for `bytes` bytes as long as the frame is mapped.
    pub(super) data: *mut u8,
    /// Length in bytes, without padding after the last row.
    pub(super) bytes: usize,
    /// Bytes from one row to the next.
    pub(super) stride: usize,
}

impl PlaneMemory {
    /// Returns the memory of each plane of a frame whose samples have the size and alignment of
    /// `T`.
    ///
    /// # Errors
    /// A plane that exceeds the mapped memory, or whose stride or address does not suit `T`.
    pub(super) fn of_frame<T>(frame: &impl VideoFrameExt, scan: Scan) -> Result<Vec<Self>, Error> {
        let planes = (frame.n_planes() as usize).min(MAX_PLANES);
        (0..planes).map(|plane| Self::of_plane::<T>(frame, plane, scan)).collect()
    }

    fn of_plane<T>(frame: &impl VideoFrameExt, plane: usize, scan: Scan) -> Result<Self, Error> {
        let (row, rows) = plane_size(frame.info(), plane, scan);
        let stride = frame.plane_stride()[plane];
        let invalid = Error::InvalidStride { plane, stride, row, sample: size_of::<T>() };
        let stride = usize::try_from(stride).map_err(|_| invalid.clone())?;
        if stride < row || !stride.is_multiple_of(size_of::<T>()) {
            return Err(invalid);
        }
        let bytes = stride.saturating_mul(rows.saturating_sub(1)).saturating_add(row);
        let data = frame.as_raw().data[plane].cast::<u8>();
        let (start, memory) = mapping(frame, plane);
        let offset = data.addr().wrapping_sub(start);
        if offset > memory || bytes > memory - offset {
            return Err(Error::OutsideMemory { plane, offset, extent: bytes, memory });
        }
        if !data.addr().is_multiple_of(align_of::<T>()) {
            return Err(Error::Misaligned { plane, alignment: align_of::<T>() });
        }
        Ok(Self { data, bytes, stride })
    }

    /// Checks that no two planes share memory.
    ///
    /// # Errors
    /// Two planes whose memory overlaps.
    pub(super) fn check_disjoint(planes: &[Self]) -> Result<(), Error> {
        for (other, b) in planes.iter().enumerate() {
            for (plane, a) in planes[..other].iter().enumerate() {
                let (a_start, b_start) = (a.data.addr(), b.data.addr());
                if a_start < b_start + b.bytes && b_start < a_start + a.bytes {
                    return Err(Error::Overlap { plane, other });
                }
            }
        }
        Ok(())
    }
}

/// Returns the bytes in a row and the number of rows of a plane.
fn plane_size(info: &VideoInfo, plane: usize, scan: Scan) -> (usize, usize) {
    let component = info.format_info().component(plane as u32)[0];
    let component = u8::try_from(component).expect("each plane has a component");
    let (width, rows) = (info.comp_width(component), info.comp_height(component));
    let is_halved = info.format_info().h_sub()[usize::from(component)] == 1;
    let extra = u32::from(is_halved && scan.has_extra_chroma_row(info.height()));
    let pixel_stride = info.comp_pstride(component).unsigned_abs();
    (width as usize * pixel_stride as usize, (rows + extra) as usize)
}

/// Returns address and size of the mapped memory that holds a plane.
fn mapping(frame: &impl VideoFrameExt, plane: usize) -> (usize, usize) {
    let frame = frame.as_raw();
    // Without a video meta, GStreamer maps the whole buffer once.
    let map = &frame.map[if frame.meta.is_null() { 0 } else { plane }];
    (map.data.addr(), map.size)
}
