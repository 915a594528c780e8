// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of 10-bit video formats in the filters.

use crate::common::{
    random::normal,
    video::{buffer, element, harness, info, to_bytes},
};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoFrame, VideoFrameExt, VideoInfo};
use rand::{SeedableRng, rngs::StdRng};

/// Each 10-bit format, the 8-bit format of the same layout, and the number of padding bits below a
/// sample.
const FORMATS: [(VideoFormat, VideoFormat, u32); 4] = [
    (VideoFormat::I42010le, VideoFormat::I420, 0),
    (VideoFormat::P01010le, VideoFormat::Nv12, 6),
    (VideoFormat::I42210le, VideoFormat::Y42b, 0),
    (VideoFormat::Y44410le, VideoFormat::Y444, 0),
];
const SIZES: [(u32, u32); 4] = [(1, 1), (33, 17), (66, 50), (127, 65)];

/// Calls `visit` for each sample with component, column, row and byte offset.
fn samples(info: &VideoInfo, mut visit: impl FnMut(usize, usize, usize, usize)) {
    for c in 0..info.n_components() as usize {
        let component = info.comp_info(c);
        for y in 0..component.1 {
            for x in 0..component.0 {
                visit(c, x, y, component.2 + y * component.3 + x * component.4);
            }
        }
    }
}

trait Components {
    /// Returns width, height, offset, row stride and pixel stride of a component; offset and
    /// strides in bytes.
    fn comp_info(&self, c: usize) -> (usize, usize, usize, usize, usize);
}

impl Components for VideoInfo {
    fn comp_info(&self, c: usize) -> (usize, usize, usize, usize, usize) {
        let c = c as u8;
        (
            self.comp_width(c) as usize,
            self.comp_height(c) as usize,
            // GStreamer 1.22 reports the offset of P010's V component as one byte instead of one
            // sample.
            self.comp_offset(c).next_multiple_of(if self.comp_depth(c) > 8 { 2 } else { 1 }),
            self.comp_stride(c) as usize,
            self.comp_pstride(c) as usize,
        )
    }
}

/// Creates a frame with the 10-bit samples `value(component, x, y)`.
fn ten_bit_frame(
    info: &VideoInfo,
    padding_bits: u32,
    mut value: impl FnMut(usize, usize, usize) -> f32,
) -> Vec<u8> {
    let mut bytes = vec![0; info.size()];
    samples(info, |c, x, y, at| {
        let sample = value(c, x, y).round().clamp(0.0, 1023.0) as u16;
        bytes[at..at + 2].copy_from_slice(&(sample << padding_bits).to_le_bytes());
    });
    bytes
}

/// Returns the 10-bit samples of a frame by component.
fn read(info: &VideoInfo, padding_bits: u32, bytes: &[u8]) -> Vec<Vec<f32>> {
    let mut components = vec![Vec::new(); info.n_components() as usize];
    samples(info, |c, _, _, at| {
        let sample = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!(sample & ((1 << padding_bits) - 1), 0, "padding bits of a sample are set");
        components[c].push(f32::from(sample >> padding_bits));
    });
    components
}

fn mean_square(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / a.len() as f32
}

#[test]
fn denoised_ten_bits_use_values_between_eight_bit_codes() {
    // A gradient of one 10-bit step over six pixels; noise with a sigma of 3 in 8-bit units.
    let clean = |c: usize, x: usize, y: usize| {
        if c == 0 { 300.0 + x as f32 / 6.0 } else { 500.0 + y as f32 / 8.0 }
    };
    for (format, _, padding_bits) in FORMATS {
        let info = info(format, 192, 128);
        let mut rng = StdRng::seed_from_u64(3);
        let noisy =
            ten_bit_frame(&info, padding_bits, |c, x, y| clean(c, x, y) + 12.0 * normal(&mut rng));
        let mut h = harness("cnndenoise noise-level=3 temporal=false", &info);
        let out = read(
            &info,
            padding_bits,
            &to_bytes(&h.push_and_pull(buffer(noisy.clone(), 0)).unwrap()),
        );
        let truth = read(&info, padding_bits, &ten_bit_frame(&info, padding_bits, clean));
        let (before, after) = (
            mean_square(&read(&info, padding_bits, &noisy)[0], &truth[0]),
            mean_square(&out[0], &truth[0]),
        );
        assert!(after < 0.15 * before, "{format:?}: {before:.2} to {after:.2}");
        let between = out[0].iter().filter(|v| *v % 4.0 != 0.0).count();
        assert!(
            between > out[0].len() / 2,
            "{format:?}: only {between} samples between 8-bit code values"
        );
    }
}

#[test]
fn strength_zero_is_bit_exact_and_every_size_passes() {
    for (format, _, padding_bits) in FORMATS {
        for (width, height) in SIZES {
            let info = info(format, width, height);
            let mut rng = StdRng::seed_from_u64(4);
            let noisy =
                ten_bit_frame(&info, padding_bits, |_, _, _| 480.0 + 60.0 * normal(&mut rng));
            for filter in ["cnndenoise strength=0", "cnnsmooth strength=0", "cnndeband threshold=0"]
            {
                let mut h = harness(filter, &info);
                let out = to_bytes(&h.push_and_pull(buffer(noisy.clone(), 0)).unwrap());
                assert_eq!(out, noisy, "{filter} {format:?} {width}x{height}");
            }
            for filter in ["cnndenoise noise-level=15", "cnnsmooth scale=6", "cnndeband"] {
                let mut h = harness(filter, &info);
                let out = to_bytes(&h.push_and_pull(buffer(noisy.clone(), 0)).unwrap());
                assert_eq!(
                    read(&info, padding_bits, &out).len(),
                    3,
                    "{filter} {format:?} {width}x{height}"
                );
            }
        }
    }
}

#[test]
fn samples_beyond_ten_bits_count_as_white() {
    for filter in ["cnndenoise", "cnnsmooth", "cnndeband"] {
        for (format, width, height) in
            [(VideoFormat::Y44410le, 35, 21), (VideoFormat::I42010le, 64, 48)]
        {
            let info = info(format, width, height);
            // Most of these words exceed 1023.
            let byte = |i: usize| if i % 32 > 20 && i / 64 % 16 > 9 { 220 } else { (i % 97) as u8 };
            let frame: Vec<u8> = (0..info.size()).map(byte).collect();
            let mut h = harness(filter, &info);
            for number in 0..2 {
                let out = to_bytes(&h.push_and_pull(buffer(frame.clone(), number)).unwrap());
                let samples = read(&info, 0, &out).concat();
                assert!(samples.iter().all(|sample| *sample <= 1023.0), "{filter} {format:?}");
            }
        }
    }
}

#[test]
fn ten_bit_output_matches_eight_bit_output() {
    for (deep, eight, padding_bits) in FORMATS {
        let (deep, eight) = (info(deep, 96, 64), info(eight, 96, 64));
        let mut rng = StdRng::seed_from_u64(5);
        let mut shallow = vec![0; eight.size()];
        samples(&eight, |_, x, _, at| {
            let value = 110.0 + if x % 48 < 24 { 0.0 } else { 40.0 } + 12.0 * normal(&mut rng);
            shallow[at] = value.round().clamp(0.0, 255.0) as u8;
        });
        let mut values = Vec::new();
        samples(&eight, |_, _, _, at| values.push(f32::from(shallow[at])));
        let mut next = values.iter();
        let noisy = ten_bit_frame(&deep, padding_bits, |_, _, _| 4.0 * next.next().unwrap());
        for filter in ["cnndenoise noise-level=12 precision=fp32 dither=false", "cnnsmooth scale=6"]
        {
            let out = to_bytes(
                &harness(filter, &eight).push_and_pull(buffer(shallow.clone(), 0)).unwrap(),
            );
            let mut expected = Vec::new();
            samples(&eight, |_, _, _, at| expected.push(f32::from(out[at])));
            let out =
                to_bytes(&harness(filter, &deep).push_and_pull(buffer(noisy.clone(), 0)).unwrap());
            let found = read(&deep, padding_bits, &out).concat();
            let worst =
                found.iter().zip(&expected).map(|(a, b)| (a / 4.0 - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 0.63, "{filter} {deep:?}: maximum difference {worst} in 8-bit units");
        }
    }
}

#[test]
fn ten_bits_run_in_float32_unless_asked_otherwise() {
    let info = info(VideoFormat::P01010le, 64, 48);
    let frame = ten_bit_frame(&info, 6, |_, _, _| 500.0);
    for (properties, expected) in [("", "fp32"), ("precision=int8", "int8")] {
        let mut h = harness(&format!("cnndenoise {properties}"), &info);
        h.push_and_pull(buffer(frame.clone(), 0)).unwrap();
        let stats: gst::Structure = element(&h).property("stats");
        let backend: String = stats.get("backend").unwrap();
        assert!(backend.contains(expected), "{properties}: {backend}");
    }
}

#[test]
fn padded_rows_and_interlaced_frames_are_right() {
    let progressive = info(VideoFormat::I42010le, 64, 48);
    let noise = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        move |_: usize, _: usize, _: usize| 400.0 + 50.0 * normal(&mut rng)
    };
    let whole = to_bytes(
        &harness("cnndenoise noise-level=12", &progressive)
            .push_and_pull(buffer(ten_bit_frame(&progressive, 0, noise(8)), 0))
            .unwrap(),
    );
    let caps = progressive.to_caps().unwrap().to_string().replace("progressive", "interleaved");
    let interlaced = VideoInfo::from_caps(&caps.parse::<gst::Caps>().unwrap()).unwrap();
    let fields = to_bytes(
        &harness("cnndenoise noise-level=12", &interlaced)
            .push_and_pull(buffer(ten_bit_frame(&progressive, 0, noise(8)), 0))
            .unwrap(),
    );
    let variance = |bytes: &[u8]| {
        let luma = read(&progressive, 0, bytes).swap_remove(0);
        mean_square(&luma, &vec![400.0; luma.len()])
    };
    assert!(
        variance(&whole) < 250.0 && variance(&fields) < 300.0,
        "{} {}",
        variance(&whole),
        variance(&fields)
    );
    assert_ne!(whole, fields);

    // The same frame with padded rows gives the same output.
    let frame = VideoFrame::from_buffer_readable(
        buffer(ten_bit_frame(&progressive, 0, noise(8)), 0),
        &progressive,
    )
    .unwrap();
    let strides = [192, 96, 96];
    let offsets = [0, 192 * 48, 192 * 48 + 96 * 24];
    let mut padded = vec![0xa5; offsets[2] + 96 * 24];
    for plane in 0..3 {
        let rows = if plane == 0 { 48 } else { 24 };
        let (from, stride) =
            (frame.plane_data(plane as u32).unwrap(), frame.plane_stride()[plane] as usize);
        let width = if plane == 0 { 128 } else { 64 };
        for y in 0..rows {
            let to = offsets[plane] + y * strides[plane];
            padded[to..to + width].copy_from_slice(&from[y * stride..][..width]);
        }
    }
    let mut input = buffer(padded, 0);
    gst_video::VideoMeta::add_full(
        input.get_mut().unwrap(),
        gst_video::VideoFrameFlags::empty(),
        VideoFormat::I42010le,
        64,
        48,
        &offsets,
        &strides.map(|s| s as i32),
    )
    .unwrap();
    let out = harness("cnndenoise noise-level=12", &progressive).push_and_pull(input).unwrap();
    assert_eq!(to_bytes(&out), whole);
}

#[test]
fn a_watermark_goes_into_luma_and_is_found() {
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const PAYLOAD: &str = "fedcba9876543210";
    for (format, _, padding_bits) in FORMATS {
        let info = info(format, 641, 361);
        let description = format!(
            "watermarkembed key={KEY} payload={PAYLOAD} ! watermarkdetect key={KEY} search=none"
        );
        let mut h = harness(&description, &info);
        for number in 0..2 {
            let mut rng = StdRng::seed_from_u64(number);
            let picture = ten_bit_frame(&info, padding_bits, |_, x, y| {
                480.0
                    + 160.0 * (x as f32 * 0.021).sin()
                    + 80.0 * (y as f32 * 0.13).cos()
                    + 9.0 * normal(&mut rng)
            });
            let out = to_bytes(&h.push_and_pull(buffer(picture.clone(), number)).unwrap());
            let (before, after) =
                (read(&info, padding_bits, &picture), read(&info, padding_bits, &out));
            assert!(before[1..] == after[1..], "{format:?}: chroma changed");
            let psnr = 10.0 * (1020f32.powi(2) / mean_square(&before[0], &after[0])).log10();
            assert!((44.4..49.5).contains(&psnr), "{format:?}: {psnr} dB");
        }
        assert!(h.push_event(gst::event::Eos::new()));
        // A bin lists its children in reverse order, so `element` returns the detector.
        let found: Option<String> = element(&h).property("last-payload");
        assert_eq!(found.as_deref(), Some(PAYLOAD), "{format:?}");
    }
}

/// Returns 8-bit samples of a gradient with noise.
fn noisy_gradient(info: &VideoInfo) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(6);
    let mut bytes = vec![0; info.size()];
    samples(info, |c, x, y, at| {
        let clean = 90.0 + 0.03 * x as f32 + if c == 0 { 0.02 * y as f32 } else { 8.0 };
        bytes[at] = (clean + 3.0 * normal(&mut rng)).round() as u8;
    });
    bytes
}

#[test]
fn eight_bit_input_may_become_ten_bit_output() {
    for (deep, eight, padding_bits) in FORMATS {
        for (width, height) in [(1, 1), (66, 50), (128, 64)] {
            let (deep, eight) = (info(deep, width, height), info(eight, width, height));
            let frame = noisy_gradient(&eight);
            let caps = deep.to_caps().unwrap();
            let shallow = |filter: &str| {
                let mut h = harness(filter, &eight);
                let out = to_bytes(&h.push_and_pull(buffer(frame.clone(), 0)).unwrap());
                let mut values = Vec::new();
                samples(&eight, |_, _, _, at| values.push(f32::from(out[at])));
                values
            };
            for (filter, largest) in [
                ("cnndenoise strength=0", 0.0),
                ("cnnsmooth strength=0", 0.0),
                ("cnndenoise dither=false precision=int8", 0.5),
                ("cnnsmooth scale=6", 0.5),
            ] {
                let mut h = harness(&format!("{filter} ! capsfilter caps=\"{caps}\""), &eight);
                let out = to_bytes(&h.push_and_pull(buffer(frame.clone(), 0)).unwrap());
                let found = read(&deep, padding_bits, &out).concat();
                let differences =
                    found.iter().zip(shallow(filter)).map(|(a, b)| (a / 4.0 - b).abs());
                let worst = differences.fold(0.0, f32::max);
                assert!(worst <= largest + 0.125, "{filter} {deep:?}: {worst}");
                let between = found.iter().any(|value| value % 4.0 != 0.0);
                assert_eq!(between, largest > 0.0 && width > 1, "{filter} {deep:?}");
            }
        }
    }
}

#[test]
fn strength_may_reach_zero_while_the_output_has_more_bits() {
    let eight = info(VideoFormat::I420, 66, 50);
    let mut h = harness("cnndenoise name=d ! capsfilter caps=video/x-raw,format=I420_10LE", &eight);
    let bin = h.element().unwrap().downcast::<gst::Bin>().unwrap();
    let denoise = bin.by_name("d").unwrap();
    let frame = noisy_gradient(&eight);
    for (number, strength) in [1.0f32, 0.0, 1.0, 0.0].into_iter().enumerate() {
        denoise.set_property("strength", strength);
        let out = h.push_and_pull(buffer(frame.clone(), number as u64)).unwrap();
        assert_eq!(out.size(), info(VideoFormat::I42010le, 66, 50).size());
    }
}

#[test]
fn the_format_stays_unless_downstream_needs_another() {
    let eight = info(VideoFormat::Nv12, 64, 48);
    for (downstream, expected) in
        [("{NV12,P010_10LE}", "NV12"), ("{P010_10LE,NV12}", "NV12"), ("P010_10LE", "P010_10LE")]
    {
        let mut h = harness(
            &format!("cnndenoise ! capsfilter caps=video/x-raw,format={downstream}"),
            &eight,
        );
        h.push_and_pull(buffer(noisy_gradient(&eight), 0)).unwrap();
        let caps = h.sinkpad().unwrap().current_caps().unwrap();
        assert_eq!(caps.structure(0).unwrap().get::<String>("format").unwrap(), expected);
    }
}

#[test]
fn dither_keeps_gradients_smooth() {
    let eight = info(VideoFormat::Gray8, 256, 64);
    let frame = noisy_gradient(&eight);
    // Share of the samples in bands: runs of at least 12 equal samples.
    let banded = |dither: bool| {
        let mut h = harness(&format!("cnndenoise noise-level=3 dither={dither}"), &eight);
        let out = to_bytes(&h.push_and_pull(buffer(frame.clone(), 0)).unwrap());
        let rows = out.chunks(eight.stride()[0] as usize);
        let runs = rows.flat_map(|row| row.chunk_by(|a, b| a == b).map(<[u8]>::len));
        runs.filter(|length| *length >= 12).sum::<usize>() as f32 / out.len() as f32
    };
    let (dithered, rounded) = (banded(true), banded(false));
    assert!(rounded > 0.12 && dithered < 0.6 * rounded, "{dithered}, {rounded} without");
}
