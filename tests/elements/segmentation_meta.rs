// SPDX-License-Identifier: MIT OR Apache-2.0

//! Segmentation metadata of the analytics library, which GStreamer has from 1.26 on. Earlier
//! versions neither attach nor find it.

use gst_video::VideoFormat;
use gstcnnvideo::shared::{REGION_MASK_META, RegionMask};

use crate::common::video::{buffer, bytes, harness, info, to_bytes};

const WIDTH: u32 = 160;
const HEIGHT: u32 = 120;
const SIZE: (u32, u32) = (WIDTH, HEIGHT);

/// Returns whether this GStreamer has segmentation metadata.
fn is_supported() -> bool {
    gst::version() >= (1, 26, 0, 0)
}

/// Returns the mask of a rectangle in the middle.
fn rectangle() -> RegionMask {
    let inside = |i: &u32| (40..100).contains(&(i % WIDTH)) && (30..80).contains(&(i / WIDTH));
    let labels = (0..WIDTH * HEIGHT).map(|i| u8::from(inside(&i))).collect();
    RegionMask::new(WIDTH, HEIGHT, labels).unwrap()
}

#[test]
fn filters_follow_segmentation_metadata() {
    let info = info(VideoFormat::I420, WIDTH, HEIGHT);
    let frame = bytes(&info, 20.0, 1);
    for filter in [
        "cnndenoise noise-level=20 temporal=false foreground-strength=0",
        "cnnsmooth scale=12 background-strength=0",
    ] {
        let after = |attach: &dyn Fn(&mut gst::BufferRef)| {
            let mut buffer = buffer(frame.clone(), 0);
            attach(buffer.make_mut());
            to_bytes(&harness(filter, &info).push_and_pull(buffer).unwrap())
        };
        let plain = after(&|_| ());
        let masked = after(&|buffer| rectangle().attach(buffer, SIZE));
        let found = after(&|buffer| rectangle().attach_segmentation(buffer, SIZE).unwrap());
        assert_ne!(plain, masked, "{filter}");
        assert!(found == if is_supported() { masked } else { plain }, "{filter}");
    }
}

#[test]
fn cnnsegment_attaches_segmentation_metadata() {
    let info = info(VideoFormat::I420, WIDTH, HEIGHT);
    let mut harness = harness("cnnsegment seeds=fg:80,60", &info);
    let mut out = harness.push_and_pull(buffer(bytes(&info, 5.0, 1), 0)).unwrap();
    let mask = RegionMask::of(&out, SIZE).unwrap().labels(SIZE).unwrap();
    assert!(mask.iter().any(|label| *label == 1));
    let buffer = out.make_mut();
    let meta = gst::meta::CustomMeta::from_mut_buffer(buffer, REGION_MASK_META).unwrap();
    meta.remove().unwrap();
    assert!(RegionMask::of(buffer, SIZE).is_none());
    assert_eq!(RegionMask::labels_of(buffer, SIZE), is_supported().then_some(mask));
}
