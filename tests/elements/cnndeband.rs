// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `cnndeband` in a test harness: contours disappear, everything else stays.

use crate::common::{
    random::normal,
    video::{FORMATS, buffer, bytes, components, harness, info, to_bytes},
};
use gst_video::{VideoFormat, VideoFrame, VideoFrameExt, VideoInfo};
use rand::{SeedableRng, rngs::StdRng};

/// Creates a frame with the samples `value(x, y)` in all components but alpha, which is 77. x and y
/// count samples of the component.
fn frame(info: &VideoInfo, mut value: impl FnMut(usize, usize) -> f32) -> Vec<u8> {
    let buffer = gst::Buffer::with_size(info.size()).unwrap();
    let mut frame = VideoFrame::from_buffer_writable(buffer, info).unwrap();
    let finfo = info.format_info();
    for c in 0..finfo.n_components() {
        let (width, height) = (frame.comp_width(c) as usize, frame.comp_height(c) as usize);
        let (stride, step) = (frame.comp_stride(c) as usize, frame.comp_pstride(c) as usize);
        let alpha = finfo.has_alpha() && c == 3;
        let data = frame.comp_data_mut(c).unwrap();
        for y in 0..height {
            for x in 0..width {
                let sample = if alpha { 77.0 } else { value(x, y) };
                data[y * stride + x * step] = sample.round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    to_bytes(&frame.into_buffer())
}

/// A slope that is quantised to bands of about 16 samples at 6 bits.
fn slope(x: usize, y: usize) -> f32 {
    60.0 + 0.22 * x as f32 + 0.12 * y as f32
}

/// Quantises a code value to 6 bits.
fn six_bits(value: f32) -> f32 {
    (value / 4.0).round() * 4.0
}

/// Returns the output for a single frame.
fn debanded(element: &str, info: &VideoInfo, frame: Vec<u8>) -> Vec<u8> {
    to_bytes(&harness(element, info).push_and_pull(buffer(frame, 0)).unwrap())
}

fn mean_square(a: &[u8], b: impl Iterator<Item = f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| (f32::from(*a) - b).powi(2)).sum::<f32>() / a.len() as f32
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn contours_disappear_in_every_format() {
    for format in FORMATS {
        let info = info(format, 192, 160);
        let banded = frame(&info, |x, y| six_bits(slope(x, y)));
        let out = debanded("cnndeband threshold=2.5 range=64 grain=0", &info, banded.clone());
        let (before, after) = (components(&info, &banded), components(&info, &out));
        let colours = after.len().min(3);
        for (c, (before, after)) in before.iter().zip(&after).enumerate().take(colours) {
            let width = if before.len() == 192 * 160 { 192 } else { 96 };
            let truth = || (0..before.len()).map(|i| slope(i % width, i / width));
            let [before, after] = [before, after].map(|samples| mean_square(samples, truth()));
            assert!(after < 0.5 * before, "{format:?} component {c}: {before} to {after}");
        }
    }
}

#[test]
fn texture_and_edges_stay() {
    let info = info(VideoFormat::I420, 192, 160);
    let mut rng = StdRng::seed_from_u64(3);
    let noise = frame(&info, |_, _| 120.0 + 6.0 * normal(&mut rng));
    let checks = frame(&info, |x, y| if (x / 3 + y / 3) % 2 == 0 { 100.0 } else { 108.0 });
    let edge = frame(&info, |x, y| if x + y < 140 { 60.0 } else { 180.0 });
    let flat = frame(&info, |_, _| 97.0);
    for (name, input) in [("noise", noise), ("checks", checks), ("edge", edge), ("flat", flat)] {
        let out = debanded("cnndeband", &info, input.clone());
        let square = mean_square(&out, input.iter().map(|v| f32::from(*v)));
        assert!(square < 0.2, "{name}: mean square {square}");
    }
}

#[test]
fn the_threshold_bounds_the_change() {
    let info = info(VideoFormat::Gray8, 192, 160);
    let banded = frame(&info, |x, y| six_bits(slope(x, y)));
    for (threshold, largest) in [(0.5, 1), (1.0, 1), (2.0, 2), (3.0, 3)] {
        let element = format!("cnndeband threshold={threshold} grain=0");
        let difference = largest_difference(&debanded(&element, &info, banded.clone()), &banded);
        assert!(difference <= largest, "{threshold}: {difference}");
    }
    assert_eq!(debanded("cnndeband threshold=0", &info, banded.clone()), banded);
}

#[test]
fn a_short_range_changes_only_the_surroundings_of_contours() {
    let info = info(VideoFormat::Gray8, 640, 96);
    // Bands of 40 samples, with contours at 20, 60 and so on.
    let banded = frame(&info, |x, _| six_bits(60.0 + 0.1 * x as f32));
    let far = |x: usize| (x + 20) % 40 > 8 && (x + 20) % 40 < 32;
    let changes = [4, 64].map(|range| {
        let element = format!("cnndeband threshold=2.5 range={range} grain=0");
        let out = debanded(&element, &info, banded.clone());
        let samples = out.iter().zip(&banded).enumerate().filter(|(i, _)| far(i % 640));
        samples.map(|(_, (a, b))| f32::from(a.abs_diff(*b))).sum::<f32>()
    });
    assert!(changes[0] < 0.2 * changes[1], "{changes:?}");
}

#[test]
fn grain_dithers_contours_alone_and_stays_still() {
    let info = info(VideoFormat::Gray8, 192, 160);
    let banded = frame(&info, |x, y| six_bits(slope(x, y)));
    let mut h = harness("cnndeband threshold=2.5 grain=1", &info);
    let [first, second] =
        [0, 1].map(|i| to_bytes(&h.push_and_pull(buffer(banded.clone(), i)).unwrap()));
    assert_eq!(first, second, "a still gradient shimmers");
    let plain = debanded("cnndeband threshold=2.5 grain=0", &info, banded);
    assert!(largest_difference(&first, &plain) >= 1);
    let edge = frame(&info, |x, _| if x < 90 { 40.0 } else { 200.0 });
    let out = debanded("cnndeband", &info, edge.clone());
    let changed = out.iter().zip(&edge).filter(|(a, b)| a != b).count();
    assert!(changed < edge.len() / 50, "{changed} samples of {}", edge.len());
}

#[test]
fn ten_bit_output_lies_between_code_values() {
    let info = info(VideoFormat::I420, 192, 160);
    let banded = frame(&info, |x, y| six_bits(slope(x, y)));
    let filter = "cnndeband threshold=2.5 range=64 grain=0";
    let shallow = debanded(filter, &info, banded.clone());
    let deep = format!("{filter} ! capsfilter caps=video/x-raw,format=I420_10LE");
    let deep = debanded(&deep, &info, banded);
    let samples = || deep.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
    let luma = || samples().take(192 * 160);
    let between = luma().filter(|sample| sample % 4 != 0).count();
    assert!(between > 192 * 160 / 4, "{between}");
    for (deep, shallow) in luma().zip(&shallow) {
        let difference = (f32::from(deep) / 4.0 - f32::from(*shallow)).abs();
        assert!(difference <= 0.625, "{deep} {shallow}");
    }
}

#[test]
fn all_sizes_pass() {
    for format in [VideoFormat::I420, VideoFormat::Nv12, VideoFormat::Bgrx, VideoFormat::Gray8] {
        for (width, height) in [(1, 1), (2, 3), (5, 4), (33, 17), (66, 50)] {
            let info = info(format, width, height);
            let input = bytes(&info, 2.0, 1);
            let out = debanded("cnndeband", &info, input.clone());
            assert_eq!(out.len(), input.len(), "{format:?} {width}x{height}");
        }
    }
}
