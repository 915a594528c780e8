// SPDX-License-Identifier: MIT OR Apache-2.0

//! Region masks attached to buffers as a custom meta. `cnnsegment` writes them; the filters read
//! them to vary their strength by region.

use std::sync::Once;

use ndarray::{Array2, ArrayView2};

use super::analytics;

/// Name of the custom meta.
pub const REGION_MASK_META: &str = "cnn-region-mask";
/// Largest accepted width and height of a mask, in pixels.
const MAX_SIDE: u32 = 1 << 15;
/// Largest relative difference of aspect ratio between a mask's frame and a scaled frame; rounding
/// to whole pixels causes differences up to this.
const MAX_ASPECT_DIFFERENCE: f64 = 0.03;

/// Region label of each pixel of a frame: 0 outside of all regions, 1 to 8 inside of one.
///
/// On a buffer it is the custom meta `cnn-region-mask`. Fields of its structure:
/// * `width`, `height`, `stride` (u32): size of the mask, and bytes from one row to the next
/// * `labels` (u32): highest label in the mask
/// * `mask` (buffer): `height` rows of `stride` bytes
/// * `frame-width`, `frame-height` (u32): size of the frame that the mask belongs to
/// * `scaled` (bool): whether the frame was scaled since; if so, the mask applies to frames of any
///   size with the same aspect ratio
#[derive(Debug, Clone)]
pub struct RegionMask {
    /// Labels, `height` rows of `stride` bytes.
    buffer: gst::Buffer,
    width: u32,
    height: u32,
    stride: u32,
}

impl RegionMask {
    /// Returns a mask with one byte per pixel in row-major order, or `None` if a side is 0 or
    /// `labels` does not hold `width * height` bytes.
    pub fn new(width: u32, height: u32, labels: Vec<u8>) -> Option<Self> {
        let fits =
            width > 0 && height > 0 && labels.len() as u64 == u64::from(width) * u64::from(height);
        fits.then(|| Self {
            buffer: mask_buffer(width, height, labels),
            width,
            height,
            stride: width,
        })
    }

    /// Returns the labels of the regions of a frame, indexed `[[y, x]]`: of its region mask, or
    /// else of its segmentation metadata. `None` if the buffer has neither. `size` is that of the
    /// frame (width, height).
    pub fn labels_of(buffer: &gst::BufferRef, size: (u32, u32)) -> Option<Array2<u8>> {
        match Self::of(buffer, size) {
            Some(mask) => mask.labels(size),
            None => analytics::labels(buffer, size),
        }
    }

    /// Attaches the mask as segmentation metadata, for elements of other plugins. Without effect
    /// before GStreamer 1.26.
    ///
    /// # Errors
    /// The analytics library refuses the mask.
    pub fn attach_segmentation(
        &self,
        buffer: &mut gst::BufferRef,
        frame: (u32, u32),
    ) -> Result<(), glib::BoolError> {
        analytics::attach(buffer, &self.buffer, self.last_label(), frame)
    }

    /// Returns the highest label.
    fn last_label(&self) -> u8 {
        let bytes = self.buffer.map_readable().expect("the mask's buffer was readable before");
        bytes.iter().copied().max().expect("a mask has at least one pixel")
    }

    /// Attaches the mask to a buffer that holds a frame of size `frame` (width, height). It
    /// replaces an existing mask.
    pub fn attach(&self, buffer: &mut gst::BufferRef, frame: (u32, u32)) {
        register();
        if let Ok(meta) = gst::meta::CustomMeta::from_mut_buffer(buffer, REGION_MASK_META) {
            let _ = meta.remove();
        }
        let mut meta = gst::meta::CustomMeta::add(buffer, REGION_MASK_META)
            .expect("the meta is registered and the buffer is writable");
        let structure = meta.mut_structure();
        structure.set("width", self.width);
        structure.set("height", self.height);
        structure.set("stride", self.stride);
        structure.set("labels", u32::from(self.last_label()));
        structure.set("mask", self.buffer.clone());
        structure.set("frame-width", frame.0);
        structure.set("frame-height", frame.1);
        structure.set("scaled", false);
    }

    /// Returns the mask attached to a buffer that holds a frame of size `frame` (width, height).
    /// Returns `None` if there is no mask, if its fields are missing or inconsistent, or if it
    /// belongs to a frame of another size because an element changed the geometry without updating
    /// the mask.
    pub fn of(buffer: &gst::BufferRef, frame: (u32, u32)) -> Option<Self> {
        let meta = gst::meta::CustomMeta::from_buffer(buffer, REGION_MASK_META).ok()?;
        let structure = meta.structure();
        let get = |name: &str| structure.get::<u32>(name).ok();
        let (width, height, stride) = (get("width")?, get("height")?, get("stride")?);
        let of = (get("frame-width")?, get("frame-height")?);
        let mask = structure.get::<gst::Buffer>("mask").ok()?;
        let fits = (1..=MAX_SIDE).contains(&width)
            && (1..=MAX_SIDE).contains(&height)
            && (width..=2 * MAX_SIDE).contains(&stride)
            && mask.size() as u64 >= u64::from(stride) * u64::from(height - 1) + u64::from(width);
        // A scaling element does not report the new size to the meta's transform function, but it
        // rarely changes the aspect ratio.
        let product = |a: u32, b: u32| f64::from(a) * f64::from(b);
        let shape = product(of.0, frame.1) / product(of.1, frame.0).max(1.0);
        let scaled =
            structure.get::<bool>("scaled").ok()? && (shape - 1.0).abs() < MAX_ASPECT_DIFFERENCE;
        (fits && (of == frame || scaled) && mask.map_readable().is_ok()).then_some(Self {
            buffer: mask,
            width,
            height,
            stride,
        })
    }

    /// Returns the labels, indexed `[[y, x]]`, at the given size (width, height), resampled by
    /// nearest neighbour.
    pub fn labels(&self, (width, height): (u32, u32)) -> Option<Array2<u8>> {
        use ndarray::ShapeBuilder;
        let bytes = self.buffer.map_readable().ok()?;
        let shape = (self.height as usize, self.width as usize).strides((self.stride as usize, 1));
        let own = ArrayView2::from_shape(shape, bytes.as_slice()).ok()?;
        if (width, height) == (self.width, self.height) {
            return Some(own.to_owned());
        }
        let (width, height) = (width as usize, height as usize);
        let columns: Vec<_> = (0..width).map(|x| nearest(x, width, own.ncols())).collect();
        let mut labels = Array2::zeros((height, width));
        for (y, mut row) in labels.rows_mut().into_iter().enumerate() {
            let from = own.row(nearest(y, height, own.nrows()));
            row.iter_mut().zip(&columns).for_each(|(to, x)| *to = from[*x]);
        }
        Some(labels)
    }
}

/// Returns the index of the sample, of `count`, that is nearest to the sample `index` of a line of
/// `size` samples.
pub(super) fn nearest(index: usize, size: usize, count: usize) -> usize {
    (2 * index + 1) * count / (2 * size)
}

/// Returns a buffer with one byte per pixel and the video meta of such a frame.
fn mask_buffer(width: u32, height: u32, labels: Vec<u8>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(labels);
    gst_video::VideoMeta::add_full(
        buffer.get_mut().expect("a new buffer is not shared"),
        gst_video::VideoFrameFlags::empty(),
        gst_video::VideoFormat::Gray8,
        width,
        height,
        &[0],
        &[i32::try_from(width).expect("frames are smaller")],
    )
    .expect("the labels fill the frame");
    buffer
}

/// Registers the custom meta with GStreamer. Later calls have no effect.
pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // Another copy of this code in the process may have registered the meta.
        if gst::meta::CustomMeta::is_registered(REGION_MASK_META) {
            return;
        }
        let scaled = glib::Quark::from_str("gst-video-scale");
        let copied = glib::Quark::from_str("gst-copy");
        // The tags declare that the meta depends on the size and the orientation of the frame, but
        // not on its colours.
        let tags = ["video", "size", "orientation"];
        gst::meta::CustomMeta::register_with_transform(
            REGION_MASK_META,
            &tags,
            move |to, meta, _, kind| {
                if kind != copied && kind != scaled {
                    return false;
                }
                let Ok(mut new) = gst::meta::CustomMeta::add(to, REGION_MASK_META) else {
                    return false;
                };
                let structure = new.mut_structure();
                for (name, value) in meta.structure().iter() {
                    structure.set_value(name, value.clone());
                }
                if kind == scaled {
                    structure.set("scaled", true);
                }
                true
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_survive_copies_of_buffers() {
        gst::init().unwrap();
        register();
        register();
        let mut buffer = gst::Buffer::with_size(64).unwrap();
        let buffer = buffer.make_mut();
        assert!(RegionMask::of(buffer, (4, 2)).is_none());
        assert!(RegionMask::new(4, 2, vec![0; 7]).is_none());
        let mask = RegionMask::new(4, 2, vec![0, 1, 0, 2, 0, 0, 1, 0]).unwrap();
        mask.attach(buffer, (4, 2));
        mask.attach(buffer, (4, 2));
        assert!(RegionMask::of(buffer, (8, 2)).is_none());
        let copy = buffer.copy();
        let read = RegionMask::of(&copy, (4, 2)).unwrap();
        assert_eq!(
            read.labels((4, 2)).unwrap().into_raw_vec_and_offset().0,
            [0, 1, 0, 2, 0, 0, 1, 0]
        );
        let large = read.labels((8, 4)).unwrap();
        assert_eq!(large.row(1).to_vec(), [0, 0, 1, 1, 0, 0, 2, 2]);
    }

    #[test]
    fn incomplete_metas_are_rejected() {
        gst::init().unwrap();
        register();
        type Damage = fn(&mut gst::StructureRef);
        let damages: [Damage; 6] = [
            |s| s.set("width", 0u32),
            |s| s.set("height", 3u32),
            |s| s.set("stride", 3u32),
            |s| s.set("stride", u32::MAX),
            |s| s.remove_field("mask"),
            |s| s.set("width", "4"),
        ];
        for damage in damages {
            let mut buffer = gst::Buffer::new();
            let buffer = buffer.make_mut();
            RegionMask::new(4, 2, vec![1; 8]).unwrap().attach(buffer, (4, 2));
            damage(
                gst::meta::CustomMeta::from_mut_buffer(buffer, REGION_MASK_META)
                    .unwrap()
                    .mut_structure(),
            );
            assert!(RegionMask::of(buffer, (4, 2)).is_none());
        }
    }
}
