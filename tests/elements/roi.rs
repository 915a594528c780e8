// SPDX-License-Identifier: MIT OR Apache-2.0

//! Regions of interest of other elements as regions of the filters.

use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo, VideoRegionOfInterestMeta};
use gstcnnvideo::shared::RegionMask;

use crate::common::video::{FORMATS, buffer, bytes, components, element, harness, info, to_bytes};

const WIDTH: u32 = 160;
const HEIGHT: u32 = 120;
/// Left, top, width and height of a region, with odd borders.
const FACE: [u32; 4] = [31, 21, 60, 50];
const FILTERS: [&str; 2] = ["cnndenoise noise-level=20 temporal=false", "cnnsmooth scale=12"];

/// Returns the output of a filter. A probe on its sink pad attaches the regions of interest, as a
/// detector upstream does.
fn with_regions(
    filter: &str,
    info: &VideoInfo,
    frame: &[u8],
    regions: &'static [(&str, [u32; 4])],
) -> Vec<u8> {
    let mut harness = harness(filter, info);
    let pad = element(&harness).static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut probe.data else { unreachable!() };
        for (kind, [x, y, w, h]) in regions {
            VideoRegionOfInterestMeta::add(buffer.make_mut(), kind, (*x, *y, *w, *h));
        }
        gst::PadProbeReturn::Ok
    });
    let out = harness.push_and_pull(buffer(frame.to_vec(), 0)).unwrap();
    assert_eq!(out.iter_meta::<VideoRegionOfInterestMeta>().count(), regions.len());
    to_bytes(&out)
}

/// Returns whether a pixel, by its index, is in a region.
fn is_inside(pixel: u32, [x, y, w, h]: [u32; 4]) -> bool {
    (x..x + w).contains(&(pixel % WIDTH)) && (y..y + h).contains(&(pixel / WIDTH))
}

/// Returns a frame with a region mask.
fn masked(frame: &[u8], region: [u32; 4]) -> gst::Buffer {
    let labels = (0..WIDTH * HEIGHT).map(|pixel| u8::from(is_inside(pixel, region)));
    let mut buffer = buffer(frame.to_vec(), 0);
    let mask = RegionMask::new(WIDTH, HEIGHT, labels.collect()).unwrap();
    mask.attach(buffer.make_mut(), (WIDTH, HEIGHT));
    buffer
}

/// Returns the output of a filter for a frame with a region mask.
fn with_mask(filter: &str, info: &VideoInfo, frame: &[u8], region: [u32; 4]) -> Vec<u8> {
    to_bytes(&harness(filter, info).push_and_pull(masked(frame, region)).unwrap())
}

#[test]
fn regions_of_interest_work_as_a_region_mask() {
    for format in FORMATS {
        let info = info(format, WIDTH, HEIGHT);
        let frame = bytes(&info, 20.0, 1);
        for filter in FILTERS {
            for factors in ["foreground-strength=0", "background-strength=0"] {
                let filter = format!("{filter} {factors}");
                let found = with_regions(&filter, &info, &frame, &[("face", FACE)]);
                assert!(found == with_mask(&filter, &info, &frame, FACE), "{filter} {format:?}");
            }
        }
    }
}

#[test]
fn pixels_in_regions_stay_bit_exact_at_factor_0() {
    let info = info(VideoFormat::Y444, WIDTH, HEIGHT);
    let frame = bytes(&info, 20.0, 1);
    for filter in FILTERS {
        let filter = format!("{filter} foreground-strength=0");
        let after = with_regions(&filter, &info, &frame, &[("face", FACE)]);
        for (before, after) in components(&info, &frame).iter().zip(components(&info, &after)) {
            let mut changed = 0;
            for (pixel, (a, b)) in (0..).zip(before.iter().zip(&after)) {
                assert!(!is_inside(pixel, FACE) || a == b, "{filter} at pixel {pixel}");
                changed += u32::from(a != b);
            }
            assert!(changed > 1000, "{filter}: {changed}");
        }
    }
}

#[test]
fn only_regions_of_the_chosen_types_count() {
    let info = info(VideoFormat::I420, WIDTH, HEIGHT);
    let frame = bytes(&info, 20.0, 1);
    const REGIONS: &[(&str, [u32; 4])] = &[("face", FACE), ("car", [0, 0, WIDTH, HEIGHT])];
    for filter in FILTERS {
        let run = |properties: &str, regions| {
            with_regions(&format!("{filter} {properties}"), &info, &frame, regions)
        };
        let everywhere = run("", &[]);
        let face = run("foreground-strength=0", &REGIONS[..1]);
        assert!(face != everywhere && face != frame);
        assert_eq!(run("foreground-strength=0 roi-types=person,face", REGIONS), face);
        assert_eq!(run("foreground-strength=0", REGIONS), frame);
        assert_eq!(run("foreground-strength=0 roi-types=\"\"", REGIONS), everywhere);
        assert_eq!(run("foreground-strength=0 roi-types=dog", REGIONS), everywhere);
        // Without a region: outside where a type is named, else as without regions at all.
        assert_eq!(run("background-strength=0 roi-types=dog", REGIONS), frame);
        assert_eq!(run("background-strength=0 roi-types=dog", &[]), frame);
        assert_eq!(run("background-strength=0", &[]), everywhere);
    }
}

#[test]
fn a_region_mask_takes_precedence() {
    let info = info(VideoFormat::I420, WIDTH, HEIGHT);
    let frame = bytes(&info, 20.0, 1);
    let filter = format!("{} foreground-strength=0", FILTERS[1]);
    let expected = with_mask(&filter, &info, &frame, FACE);
    let mut buffer = masked(&frame, FACE);
    VideoRegionOfInterestMeta::add(buffer.make_mut(), "car", (0, 0, WIDTH, HEIGHT));
    let found = harness(&filter, &info).push_and_pull(buffer).unwrap();
    assert_eq!(to_bytes(&found), expected);
}
