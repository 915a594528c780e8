// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `cnnsmooth` in a test harness: removal of texture and preservation of structure.

use crate::common::video::{FORMATS, buffer, components, harness, info, to_bytes, variance};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoFrame, VideoFrameExt, VideoInfo};

/// Creates a frame with the samples `value(component, x, y)`, where x and y are frame coordinates;
/// alpha is 77.
fn frame(info: &VideoInfo, value: impl Fn(usize, usize, usize) -> f32) -> Vec<u8> {
    let buffer = gst::Buffer::with_size(info.size()).unwrap();
    let mut frame = VideoFrame::from_buffer_writable(buffer, info).unwrap();
    let finfo = info.format_info();
    for c in 0..finfo.n_components() {
        let (width, height) = (frame.comp_width(c) as usize, frame.comp_height(c) as usize);
        let (stride, step) = (frame.comp_stride(c) as usize, frame.comp_pstride(c) as usize);
        let (scale_x, scale_y) = (info.width() as usize / width, info.height() as usize / height);
        let alpha = finfo.has_alpha() && c == 3;
        let data = frame.comp_data_mut(c).unwrap();
        for y in 0..height {
            for x in 0..width {
                let sample = if alpha { 77.0 } else { value(c as usize, x * scale_x, y * scale_y) };
                data[y * stride + x * step] = sample.round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    to_bytes(&frame.into_buffer())
}

/// Returns the values of one component in a rectangle.
fn rectangle(
    component: &[u8],
    width: usize,
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
) -> Vec<u8> {
    rows.flat_map(|y| component[y * width..][columns.clone()].to_vec()).collect()
}

fn mean(samples: &[u8]) -> f64 {
    samples.iter().map(|v| f64::from(*v)).sum::<f64>() / samples.len() as f64
}

/// Creates a frame of two flat halves with a fine texture over both.
fn textured(info: &VideoInfo) -> Vec<u8> {
    let is_chroma = |c: usize| info.format_info().is_yuv() && c > 0;
    frame(info, |c, x, y| {
        let flat = if x < 64 { 90.0 } else { 165.0 };
        let texture = if (x / 2 + y / 2) % 2 == 0 { 16.0 } else { -16.0 };
        if is_chroma(c) { 128.0 } else { flat + texture }
    })
}

#[test]
fn texture_is_removed_and_structure_kept_in_every_format() {
    for format in FORMATS {
        let info = info(format, 128, 96);
        let mut h = harness("cnnsmooth scale=8", &info);
        let out = to_bytes(&h.push_and_pull(buffer(textured(&info), 0)).unwrap());
        let out = components(&info, &out);
        let colours = if info.format_info().is_rgb() { 3 } else { 1 };
        for component in &out[..colours] {
            let [left, right] =
                [12..52, 76..116].map(|columns| rectangle(component, 128, columns, 12..84));
            // The texture has a variance of 256.
            assert!(
                variance(&left) < 20.0 && variance(&right) < 20.0,
                "{format:?}: {:.1}",
                variance(&left)
            );
            assert!(
                (mean(&right) - mean(&left) - 75.0).abs() < 6.0,
                "{format:?}: {:.1}",
                mean(&right) - mean(&left)
            );
            // The step of the edge lies within four pixels of its position.
            let edge = mean(&rectangle(component, 128, 67..70, 12..84))
                - mean(&rectangle(component, 128, 58..61, 12..84));
            assert!(edge > 55.0, "{format:?}: {edge:.1}");
        }
        if info.has_alpha() {
            assert!(out[3].iter().all(|v| *v == 77), "{format:?}: alpha changed");
        }
    }
}

#[test]
fn higher_scale_and_strength_smooth_more() {
    let info = info(VideoFormat::I420, 192, 160);
    let input = frame(&info, |c, x, _| {
        let wave = (x as f32 * std::f32::consts::TAU / 12.0).sin();
        if c == 0 { 128.0 + 20.0 * wave } else { 128.0 }
    });
    let remaining_energy = |properties: &str| {
        let mut h = harness(&format!("cnnsmooth {properties}"), &info);
        let out = to_bytes(&h.push_and_pull(buffer(input.clone(), 0)).unwrap());
        variance(&rectangle(&components(&info, &out)[0], 192, 24..168, 24..136)) / 200.0
    };
    let (coarse, fine) = (remaining_energy("scale=16"), remaining_energy("scale=4"));
    assert!(
        coarse < 0.15 && fine > 0.6,
        "remaining energy: {coarse:.2} at scale 16, {fine:.2} at scale 4"
    );
    let (half, weak) =
        (remaining_energy("scale=16 strength=0.5"), remaining_energy("scale=16 strength=0.1"));
    assert!(coarse <= half && half <= weak && weak < 1.02, "{coarse:.2} {half:.2} {weak:.2}");
}

#[test]
fn colours_of_equal_luma_do_not_bleed() {
    let info = info(VideoFormat::I420, 128, 96);
    let input = frame(&info, |c, x, y| match c {
        0 => 120.0 + if (x / 2 + y / 2) % 2 == 0 { 10.0 } else { -10.0 },
        1 => {
            if x < 64 {
                90.0
            } else {
                160.0
            }
        }
        _ => {
            if x < 64 {
                170.0
            } else {
                100.0
            }
        }
    });
    let mut h = harness("cnnsmooth", &info);
    let out = components(&info, &to_bytes(&h.push_and_pull(buffer(input, 0)).unwrap()));
    for (c, [left, right]) in [(1, [90.0, 160.0]), (2, [170.0, 100.0])] {
        let means = [4..30, 34..60].map(|columns| mean(&rectangle(&out[c], 64, columns, 4..44)));
        assert!(
            (means[0] - left).abs() < 3.0 && (means[1] - right).abs() < 3.0,
            "component {c}: {means:?}"
        );
    }
}

#[test]
fn gradients_are_preserved() {
    let info = info(VideoFormat::I420, 128, 96);
    // The network was not trained on scales above 40, and a wave of 64 pixels hardly fits into this
    // frame.
    for (scale, allowed) in [(2, 2), (8, 2), (24, 2), (32, 3), (64, 12)] {
        let mut h = harness(&format!("cnnsmooth scale={scale}"), &info);
        let input = frame(&info, |c, x, _| if c == 0 { 40.0 + x as f32 } else { 128.0 });
        let out = components(&info, &to_bytes(&h.push_and_pull(buffer(input.clone(), 0)).unwrap()));
        let before = components(&info, &input);
        let inner = |c: &[u8]| rectangle(c, 128, 24..104, 16..80);
        let errors = inner(&out[0]).into_iter().zip(inner(&before[0])).map(|(a, b)| a.abs_diff(b));
        let worst = errors.max().unwrap();
        assert!(worst <= allowed, "scale {scale}: maximum change of a gradient {worst}");
    }
}

#[test]
fn the_dominant_texture_period_is_in_the_stats() {
    let info = info(VideoFormat::I420, 256, 256);
    let period_of = |period: f32| {
        let mut h = harness("cnnsmooth", &info);
        let wave = |x: usize, y: usize| {
            let at = 0.8 * x as f32 + 0.6 * y as f32;
            128.0 + 20.0 * (std::f32::consts::TAU * at / period).sin()
        };
        let input = frame(&info, |c, x, y| if c == 0 { wave(x, y) } else { 128.0 });
        h.push_and_pull(buffer(input, 0)).unwrap();
        let bin = h.element().unwrap().downcast::<gst::Bin>().unwrap();
        let smooth = bin.children().into_iter().find(|e| e.has_property("stats")).unwrap();
        let stats = smooth.property::<gst::Structure>("stats");
        stats.get::<f64>("texture-period").unwrap()
    };
    for period in [5.0, 11.0] {
        let measured = period_of(period);
        assert!((measured / f64::from(period) - 1.0).abs() < 0.15, "{period}: {measured}");
    }
    assert_eq!(period_of(f32::INFINITY), 0.0);
}

/// Returns the sum of squared differences between successive frames, of the input and of the
/// output.
fn flicker(properties: &str) -> [f64; 2] {
    let info = info(VideoFormat::I420, 128, 96);
    let mut h = harness(&format!("cnnsmooth {properties}"), &info);
    let mut last: Option<[Vec<u8>; 2]> = None;
    let mut sums = [0.0; 2];
    for number in 0..8u32 {
        // A still image with weak noise that differs from frame to frame.
        let input = frame(&info, |c, x, y| {
            let hash = (x as u32).wrapping_mul(0x9e37_79b9)
                ^ (y as u32).wrapping_mul(0x85eb_ca6b)
                ^ (number * 0xc2b2);
            let hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
            let noise = ((hash >> 20) % 25) as f32 - 12.0;
            let flat = if (x / 24 + y / 24) % 2 == 0 { 80.0 } else { 140.0 };
            if c == 0 { flat + noise } else { 128.0 }
        });
        let out = to_bytes(&h.push_and_pull(buffer(input.clone(), u64::from(number))).unwrap());
        let now = [input, out].map(|data| components(&info, &data).remove(0));
        if let Some(last) = &last {
            for ((sum, now), last) in sums.iter_mut().zip(&now).zip(last) {
                *sum += now
                    .iter()
                    .zip(last)
                    .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                    .sum::<f64>();
            }
        }
        last = Some(now);
    }
    sums
}

#[test]
fn static_content_does_not_flicker() {
    let [input, with] = flicker("temporal=true");
    let [_, without] = flicker("temporal=false");
    // The int8 network leaves a ratio of 0.092, the float32 network 0.050.
    assert!(with < 0.1 * input, "{with:.0} of {input:.0}");
    let [_, float] = flicker("precision=fp32");
    assert!(float < 0.05 * input, "{float:.0} of {input:.0}");
    assert!(with < without, "temporal=true: {with:.0}, temporal=false: {without:.0}");
}
