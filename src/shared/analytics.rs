// SPDX-License-Identifier: MIT OR Apache-2.0

//! Regions as segmentation metadata of the analytics library of GStreamer
//! (`GstAnalyticsSegmentationMtd`), which elements of other plugins read and write.
//!
//! The library has this metadata from GStreamer 1.26 on. The plugin also runs with 1.22, so it
//! looks the functions up when it first needs them; without them, nothing is attached or found.

use std::{
    ffi::{c_int, c_uint, c_void},
    mem::MaybeUninit,
    sync::LazyLock,
};

use glib::translate::{IntoGlibPtr, from_glib_full};
use gst::ffi::GstBuffer;
use gst_video::VideoMeta;
use libloading::Library;
use ndarray::{Array2, ArrayView2, ShapeBuilder, s};

use super::region_mask::nearest;

/// Name of the library file.
const LIBRARY: &str = if cfg!(target_os = "macos") {
    "libgstanalytics-1.0.0.dylib"
} else if cfg!(windows) {
    "gstanalytics-1.0-0.dll"
} else {
    "libgstanalytics-1.0.so.0"
};

/// `GST_SEGMENTATION_TYPE_INSTANCE`: each region is one object.
const INSTANCE: c_int = 1;

/// `GstAnalyticsRelationMeta`, only used by pointer.
#[repr(C)]
struct RelationMeta {
    _private: [u8; 0],
}

/// `GstAnalyticsMtd`: handle of one item in a [`RelationMeta`].
#[repr(C)]
struct Mtd {
    id: c_uint,
    meta: *mut RelationMeta,
}

/// Functions of the library, with the signatures of its header files.
struct Functions {
    get_meta: unsafe extern "C" fn(*mut GstBuffer) -> *mut RelationMeta,
    add_meta: unsafe extern "C" fn(*mut GstBuffer) -> *mut RelationMeta,
    segmentation_type: unsafe extern "C" fn() -> usize,
    iterate: unsafe extern "C" fn(*mut RelationMeta, *mut *mut c_void, usize, *mut Mtd) -> c_int,
    get_mask: unsafe extern "C" fn(
        *const Mtd,
        *mut c_int,
        *mut c_int,
        *mut c_uint,
        *mut c_uint,
    ) -> *mut GstBuffer,
    add_segmentation: unsafe extern "C" fn(
        *mut RelationMeta,
        *mut GstBuffer,
        c_int,
        usize,
        *mut c_uint,
        c_int,
        c_int,
        c_uint,
        c_uint,
        *mut Mtd,
    ) -> c_int,
    /// Keeps the functions in memory.
    _library: Library,
}

impl Functions {
    /// Looks the functions up. Returns `None` if the library is missing or older than 1.26.
    fn load() -> Option<Self> {
        // SAFETY: the library is part of GStreamer, which the process runs already. The names and
        // signatures are those of its public header files; `segmentation_mtd_get_mask` and
        // `add_segmentation_mtd` have had theirs since they were added in 1.26.
        unsafe {
            let library = Library::new(LIBRARY).ok()?;
            Some(Self {
                get_meta: *library.get(b"gst_buffer_get_analytics_relation_meta\0").ok()?,
                add_meta: *library.get(b"gst_buffer_add_analytics_relation_meta\0").ok()?,
                segmentation_type: *library
                    .get(b"gst_analytics_segmentation_mtd_get_mtd_type\0")
                    .ok()?,
                iterate: *library.get(b"gst_analytics_relation_meta_iterate\0").ok()?,
                get_mask: *library.get(b"gst_analytics_segmentation_mtd_get_mask\0").ok()?,
                add_segmentation: *library
                    .get(b"gst_analytics_relation_meta_add_segmentation_mtd\0")
                    .ok()?,
                _library: library,
            })
        }
    }

    /// Returns the functions; `None` if the library is missing or older than 1.26.
    fn get() -> Option<&'static Self> {
        static FUNCTIONS: LazyLock<Option<Functions>> = LazyLock::new(Functions::load);
        FUNCTIONS.as_ref()
    }
}

/// Adds a mask of 8-bit labels with a video meta to a buffer with a frame of size `frame` (width,
/// height). Labels go from 0, which is outside of all regions, to `last_label`. Without effect if
/// the library is not available.
///
/// # Errors
/// The library refuses the mask.
pub(super) fn attach(
    buffer: &mut gst::BufferRef,
    mask: &gst::Buffer,
    last_label: u8,
    frame: (u32, u32),
) -> Result<(), glib::BoolError> {
    let Some(functions) = Functions::get() else { return Ok(()) };
    let mut ids: Vec<c_uint> = (0..=c_uint::from(last_label)).collect();
    let mut mtd = MaybeUninit::uninit();
    // SAFETY: `buffer` is writable and the mask has a video meta, as the function demands. It takes
    // the reference to the mask, copies the identifiers and fills `mtd`, which is not read.
    let added = unsafe {
        let mut meta = (functions.get_meta)(buffer.as_mut_ptr());
        if meta.is_null() {
            meta = (functions.add_meta)(buffer.as_mut_ptr());
        }
        (functions.add_segmentation)(
            meta,
            mask.clone().into_glib_ptr(),
            INSTANCE,
            ids.len(),
            ids.as_mut_ptr(),
            0,
            0,
            frame.0,
            frame.1,
            mtd.as_mut_ptr(),
        )
    };
    if added == 0 {
        return Err(glib::bool_error!("the analytics library refused the segmentation mask"));
    }
    Ok(())
}

/// Returns the labels `[row, column]` of the first segmentation mask on a buffer with a frame of
/// size `frame` (width, height): the region identifiers, 255 for larger ones, 0 outside of the
/// mask. Returns `None` if there is none or it is not 8 or 16-bit grey.
pub(super) fn labels(buffer: &gst::BufferRef, frame: (u32, u32)) -> Option<Array2<u8>> {
    let functions = Functions::get()?;
    let (mut x, mut y, mut width, mut height) = (0, 0, 0, 0);
    // SAFETY: the functions read the metas of `buffer`, which lives during the call. They fill
    // `mtd` if they return true. `get_mask` returns a new reference to the mask's buffer.
    let mask: gst::Buffer = unsafe {
        let meta = (functions.get_meta)(buffer.as_ptr().cast_mut());
        if meta.is_null() {
            return None;
        }
        let mut mtd = MaybeUninit::uninit();
        let mut state = std::ptr::null_mut();
        let kind = (functions.segmentation_type)();
        if (functions.iterate)(meta, &mut state, kind, mtd.as_mut_ptr()) == 0 {
            return None;
        }
        let mask = (functions.get_mask)(mtd.as_ptr(), &mut x, &mut y, &mut width, &mut height);
        if mask.is_null() {
            return None;
        }
        from_glib_full(mask)
    };
    place(&own_labels(&mask)?, [x, y], [width, height], frame)
}

/// Returns the labels of a mask in its own size.
fn own_labels(mask: &gst::Buffer) -> Option<Array2<u8>> {
    let meta = mask.meta::<VideoMeta>()?;
    let (width, height) = (meta.width() as usize, meta.height() as usize);
    let stride = usize::try_from(*meta.stride().first()?).ok()?;
    let bytes = mask.map_readable().ok()?;
    let bytes = bytes.get(*meta.offset().first()?..)?;
    let view = |bytes_per_label: usize| {
        let shape = (height, width * bytes_per_label).strides((stride, 1));
        ArrayView2::from_shape(shape, bytes).ok()
    };
    let wide = |view: ArrayView2<'_, u8>, of: fn([u8; 2]) -> u16| {
        let (low, high) = (view.slice(s![.., ..;2]), view.slice(s![.., 1..;2]));
        let join = |a: &u8, b: &u8| of([*a, *b]).min(255) as u8;
        ndarray::Zip::from(low).and(high).map_collect(join)
    };
    match meta.format() {
        gst_video::VideoFormat::Gray8 => Some(view(1)?.to_owned()),
        gst_video::VideoFormat::Gray16Le => Some(wide(view(2)?, u16::from_le_bytes)),
        gst_video::VideoFormat::Gray16Be => Some(wide(view(2)?, u16::from_be_bytes)),
        _ => None,
    }
}

/// Returns labels in the size of a frame: `own`, resampled to `size` by nearest neighbour, at
/// `position`, and 0 elsewhere.
fn place(
    own: &Array2<u8>,
    position: [i32; 2],
    size: [u32; 2],
    frame: (u32, u32),
) -> Option<Array2<u8>> {
    let (own_height, own_width) = own.dim();
    if own.is_empty() || size.contains(&0) {
        return None;
    }
    // Returns the place in the mask of a place in the frame.
    let source = |at: usize, position: i32, size: u32, own: usize| {
        let offset = usize::try_from(at as i64 - i64::from(position)).ok()?;
        let size = size as usize;
        (offset < size).then(|| nearest(offset, size, own))
    };
    let (width, height) = (frame.0 as usize, frame.1 as usize);
    let columns: Vec<_> = (0..width).map(|x| source(x, position[0], size[0], own_width)).collect();
    let mut labels = Array2::zeros((height, width));
    for (y, mut row) in labels.rows_mut().into_iter().enumerate() {
        if let Some(from) = source(y, position[1], size[1], own_height) {
            let from = own.row(from);
            row.iter_mut().zip(&columns).for_each(|(to, x)| *to = x.map_or(0, |x| from[x]));
        }
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use gst_video::{VideoFormat, VideoFrameFlags};

    use super::*;

    /// Returns a mask of 2x2 labels whose rows are `stride` bytes apart, after `offset` bytes.
    fn mask(format: VideoFormat, bytes: &[u8], offset: usize, stride: i32) -> gst::Buffer {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(bytes.to_vec());
        let flags = VideoFrameFlags::empty();
        let buffer_mut = buffer.get_mut().unwrap();
        VideoMeta::add_full(buffer_mut, flags, format, 2, 2, &[offset], &[stride]).unwrap();
        buffer
    }

    #[test]
    fn masks_of_8_and_16_bits_are_read_with_their_strides() {
        let read = |mask: &gst::Buffer| own_labels(mask).map(|l| l.into_raw_vec_and_offset().0);
        let grey = mask(VideoFormat::Gray8, &[9, 1, 2, 0, 0, 3, 4, 0, 0], 1, 4);
        assert_eq!(read(&grey), Some(vec![1, 2, 3, 4]));
        let little = mask(VideoFormat::Gray16Le, &[1, 0, 0, 1, 3, 0, 0, 0], 0, 4);
        assert_eq!(read(&little), Some(vec![1, 255, 3, 0]));
        let big = mask(VideoFormat::Gray16Be, &[0, 1, 0, 2, 0, 0, 0, 7], 0, 4);
        assert_eq!(read(&big), Some(vec![1, 2, 0, 7]));
        assert_eq!(read(&gst::Buffer::new()), None);
    }

    #[test]
    fn forged_masks_are_refused() {
        // The buffer is shrunk after the meta was added.
        let mut short = mask(VideoFormat::Gray8, &[1, 2, 3, 4], 0, 2);
        short.make_mut().set_size(3);
        assert_eq!(own_labels(&short), None);
        let rgb = mask(VideoFormat::Rgb, &[0; 16], 0, 8);
        assert_eq!(own_labels(&rgb), None);
        let own = Array2::from_elem((2, 2), 1);
        assert_eq!(place(&own, [0, 0], [0, 4], (4, 4)), None);
        assert_eq!(place(&Array2::zeros((0, 2)), [0, 0], [4, 4], (4, 4)), None);
    }

    #[test]
    fn masks_are_placed_in_the_frame() {
        let own = ndarray::array![[1, 2], [3, 4]];
        let expected = ndarray::array![[0, 1, 1, 2], [0, 3, 3, 4]];
        assert_eq!(place(&own, [1, 0], [4, 2], (4, 2)), Some(expected));
        let expected = ndarray::array![[4, 0], [0, 0]];
        assert_eq!(place(&own, [-1, -1], [2, 2], (2, 2)), Some(expected));
        let far = place(&own, [i32::MAX, i32::MIN], [u32::MAX, 1], (2, 1));
        assert_eq!(far, Some(Array2::zeros((1, 2))));
    }
}
