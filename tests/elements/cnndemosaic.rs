// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `cnndemosaic` in a test harness: patterns, depths, formats, noise and bad input.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo, VideoMeta};
use rand::{SeedableRng, rngs::StdRng};

use crate::common::{
    self,
    random::normal,
    video::{buffer, components, element, info, to_bytes},
};

/// Names of the patterns, and the row and column of the first red sample.
const PATTERNS: [(&str, [usize; 2]); 4] =
    [("rggb", [0, 0]), ("grbg", [0, 1]), ("gbrg", [1, 0]), ("bggr", [1, 1])];
/// Size of the frames.
const SIZE: [usize; 2] = [150, 118];

/// Raw frames of one size and format.
#[derive(Clone, Copy)]
struct Raw {
    pattern: &'static str,
    size: [usize; 2],
    bits: u32,
}

impl Raw {
    fn new(pattern: &'static str, bits: u32) -> Self {
        Self { pattern, size: SIZE, bits }
    }

    fn caps(self) -> gst::Caps {
        let suffix = if self.bits > 8 { format!("{}le", self.bits) } else { String::new() };
        gst::Caps::builder("video/x-bayer")
            .field("format", format!("{}{suffix}", self.pattern))
            .field("width", self.size[0] as i32)
            .field("height", self.size[1] as i32)
            .field("framerate", gst::Fraction::new(25, 1))
            .build()
    }

    /// Returns the colour (0 red, 1 green, 2 blue) of a sample.
    fn colour(self, x: usize, y: usize) -> usize {
        let (_, [row, column]) = PATTERNS.into_iter().find(|(n, _)| *n == self.pattern).unwrap();
        (y + row) % 2 + (x + column) % 2
    }

    fn stride(self) -> usize {
        (self.size[0] * self.bits.div_ceil(8) as usize).next_multiple_of(4)
    }

    /// Returns the bytes of a frame with the 8-bit code values `value(x, y, colour)`, which are
    /// rounded to the depth.
    fn bytes(self, mut value: impl FnMut(usize, usize, usize) -> f32) -> Vec<u8> {
        let ([width, height], stride) = (self.size, self.stride());
        let mut bytes = vec![0; stride * height];
        let largest = ((1u32 << self.bits) - 1) as f32;
        for y in 0..height {
            for x in 0..width {
                let sample = value(x, y, self.colour(x, y)) * largest / 255.0;
                let sample = (sample.round().clamp(0.0, largest) as u16).to_le_bytes();
                let count = self.bits.div_ceil(8) as usize;
                bytes[stride * y + count * x..][..count].copy_from_slice(&sample[..count]);
            }
        }
        bytes
    }

    /// Returns a harness with an element and the caps of these frames.
    fn harness(self, description: &str) -> Harness {
        common::init();
        let mut harness = Harness::new_parse(description);
        harness.set_src_caps(self.caps());
        harness
    }

    /// Runs one frame through an element with output of a format.
    fn run(self, element: &str, format: VideoFormat, bytes: Vec<u8>) -> (VideoInfo, Vec<u8>) {
        let description = format!("{element} ! capsfilter caps=video/x-raw,format={format}");
        let mut harness = self.harness(&description);
        let out = harness.push_and_pull(buffer(bytes, 0)).unwrap();
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        (VideoInfo::from_caps(&caps).unwrap(), to_bytes(&out))
    }
}

/// Colours with slopes of different directions, and an edge.
fn scene(x: usize, y: usize, colour: usize) -> f32 {
    let (x, y) = (x as f32, y as f32);
    let base = [60.0 + 0.5 * x, 150.0 - 0.4 * y, 70.0 + 0.3 * (x + y)][colour];
    if 2.0 * x + y > 220.0 { base } else { 0.6 * base }
}

/// Returns the mean absolute difference of a component to `value(x, y)`, and that of the outermost
/// samples.
fn differences(samples: &[u8], width: usize, value: impl Fn(usize, usize) -> f32) -> [f32; 2] {
    let height = samples.len() / width;
    let mut sums = [(0.0, 0usize); 2];
    for (i, sample) in samples.iter().enumerate() {
        let (x, y) = (i % width, i / width);
        let is_border = x == 0 || y == 0 || x + 1 == width || y + 1 == height;
        let difference = (f32::from(*sample) - value(x, y)).abs();
        for (sum, count) in &mut sums[..=usize::from(is_border)] {
            (*sum, *count) = (*sum + difference, *count + 1);
        }
    }
    sums.map(|(sum, count)| sum / count as f32)
}

#[test]
fn patterns_are_demosaicked_up_to_the_border() {
    for (pattern, _) in PATTERNS {
        let raw = Raw::new(pattern, 8);
        let bytes = raw.bytes(scene);
        for format in [VideoFormat::Rgb, VideoFormat::Bgrx, VideoFormat::Argb] {
            let (info, out) = raw.run("cnndemosaic noise-level=0", format, bytes.clone());
            let colours = components(&info, &out);
            for (colour, samples) in colours.iter().take(3).enumerate() {
                let [all, border] = differences(samples, SIZE[0], |x, y| scene(x, y, colour));
                assert!(all < 1.0, "{pattern} {format:?} {colour}: {all}");
                assert!(border < 3.0, "{pattern} {format:?} {colour}: {border} at the border");
            }
            if let Some(alpha) = colours.get(3) {
                assert!(alpha.iter().all(|v| *v == 255), "{format:?}");
            }
        }
    }
}

#[test]
fn luma_and_chroma_follow_the_colorimetry() {
    let raw = Raw::new("gbrg", 8);
    let rgb = [200.0, 80.0, 40.0];
    let bytes = raw.bytes(|_, _, colour| rgb[colour]);
    // Y, U and V of this colour in BT.601 and in BT.709, limited range.
    for (colorimetry, expected) in
        [("bt601", [111.6, 92.7, 183.6]), ("bt709", [104.1, 98.5, 182.4])]
    {
        for format in [VideoFormat::I420, VideoFormat::Nv12] {
            let element =
                format!("cnndemosaic ! capsfilter caps=video/x-raw,colorimetry={colorimetry}");
            let (info, out) = raw.run(&element, format, bytes.clone());
            for (samples, expected) in components(&info, &out).iter().zip(expected) {
                let [all, _] = differences(samples, samples.len(), |_, _| expected);
                assert!(all < 1.0, "{colorimetry} {format:?}: {all} from {expected}");
            }
        }
    }
}

#[test]
fn deep_samples_give_deep_output() {
    // Differences of less than a code value of 8 bits.
    let value = |x: usize, _: usize, _: usize| 100.0 + 0.01 * x as f32;
    for bits in [10, 12, 14, 16] {
        let raw = Raw::new("grbg", bits);
        let element = "cnndemosaic noise-level=0";
        let (_, out) = raw.run(element, VideoFormat::I42010le, raw.bytes(value));
        let sample = |x: usize| {
            let at = 2 * (60 * SIZE[0] + x);
            f32::from(u16::from_le_bytes([out[at], out[at + 1]])) / 4.0
        };
        let expected = |x: usize| 16.0 + value(x, 0, 0) * 219.0 / 255.0;
        for x in [10, 140] {
            assert!((sample(x) - expected(x)).abs() < 0.4, "{bits} bits: {}", sample(x));
        }
        assert!(sample(140) > sample(10) + 0.7, "{bits} bits");
    }
}

#[test]
fn noise_is_removed_and_estimated() {
    let mut rng = StdRng::seed_from_u64(5);
    let raw = Raw { size: [320, 240], ..Raw::new("bggr", 8) };
    let noisy = raw
        .bytes(|x, y, colour| 0.25 * scene(x / 2, y / 2, colour) + 60.0 + 10.0 * normal(&mut rng));
    let green = |element: &str| {
        let (info, out) = raw.run(element, VideoFormat::Rgb, noisy.clone());
        let samples = components(&info, &out).swap_remove(1);
        differences(&samples, 320, |x, y| 0.25 * scene(x / 2, y / 2, 1) + 60.0)[0]
    };
    let kept = green("cnndemosaic noise-level=0");
    let [given, estimated] = ["noise-level=10", ""].map(|p| green(&format!("cnndemosaic {p}")));
    assert!(given < 0.5 * kept, "{kept} to {given}");
    assert!(estimated < 0.55 * kept, "{kept} to {estimated}");
    let strength_0 = green("cnndemosaic noise-level=10 strength=0");
    assert_eq!(strength_0, kept);

    let mut harness = raw.harness("cnndemosaic");
    harness.push_and_pull(buffer(noisy, 0)).unwrap();
    let stats = element(&harness).property::<gst::Structure>("stats");
    let sigma = stats.get::<f32>("noise-level").unwrap();
    assert!((8.0..12.5).contains(&sigma), "{sigma}");
    assert_eq!(stats.get::<u64>("frames"), Ok(1));
    assert!(stats.get::<String>("backend").unwrap().starts_with("cpu/"));
}

#[test]
fn output_is_the_same_for_any_number_of_threads() {
    let raw = Raw { size: [203, 171], ..Raw::new("gbrg", 10) };
    let mut rng = StdRng::seed_from_u64(6);
    let noisy = raw.bytes(|x, y, colour| scene(x, y, colour) + 6.0 * normal(&mut rng));
    for format in [VideoFormat::Rgb, VideoFormat::Nv12] {
        // Padding between rows is not part of the frame.
        let run = |threads| {
            let element = format!("cnndemosaic threads={threads}");
            let (info, out) = raw.run(&element, format, noisy.clone());
            components(&info, &out)
        };
        assert!(run(1) == run(3) && run(1) == run(5), "{format:?}");
    }
}

#[test]
fn all_sizes_and_rows_without_padding_pass() {
    for size in [[2, 2], [3, 2], [5, 7], [33, 18], [66, 51]] {
        for (pattern, _) in PATTERNS {
            let raw = Raw { size, ..Raw::new(pattern, 8) };
            let flat = raw.bytes(|_, _, _| 90.0);
            let run = |bytes| {
                let (info, out) = raw.run("cnndemosaic noise-level=0", VideoFormat::Rgb, bytes);
                components(&info, &out).concat()
            };
            let samples = run(flat);
            assert!(samples == run(vec![90; size[0] * size[1]]), "{pattern} {size:?}");
            let [all, _] = differences(&samples, samples.len(), |_, _| 90.0);
            assert!(all < 2.0, "{pattern} {size:?}: {all}");
            raw.run("cnndemosaic", VideoFormat::I420, raw.bytes(|_, _, _| 90.0));
        }
    }
}

#[test]
fn rows_follow_the_video_meta() {
    let raw = Raw::new("rggb", 8);
    let packed = raw.bytes(scene);
    let (stride, offset) = (SIZE[0] + 42, 24);
    let mut wide = vec![0; offset + stride * SIZE[1]];
    for (y, row) in packed.chunks(raw.stride()).enumerate() {
        wide[offset + stride * y..][..row.len()].copy_from_slice(row);
    }
    let mut harness = raw.harness("cnndemosaic ! capsfilter caps=video/x-raw,format=RGB");
    let info = info(VideoFormat::Rgb, SIZE[0] as u32, SIZE[1] as u32);
    let mut run =
        |input| components(&info, &to_bytes(&harness.push_and_pull(input).unwrap())).concat();
    let first = run(buffer(packed, 0));
    let with_meta = |stride: i32| {
        let mut input = buffer(wide.clone(), 1);
        let (width, height) = (SIZE[0] as u32, SIZE[1] as u32);
        VideoMeta::add_full(
            input.get_mut().unwrap(),
            gst_video::VideoFrameFlags::empty(),
            VideoFormat::Gray8,
            width,
            height,
            &[offset],
            &[stride],
        )
        .unwrap();
        input
    };
    assert!(first == run(with_meta(stride as i32)));
    // A forged meta that reaches beyond the memory.
    assert_eq!(harness.push(with_meta(9000)), Err(gst::FlowError::Error));
}

#[test]
fn bad_input_is_an_error() {
    let raw = Raw::new("rggb", 12);
    let mut harness = raw.harness("cnndemosaic");
    let bus = gst::Bus::new();
    element(&harness).set_bus(Some(&bus));
    assert_eq!(harness.push(buffer(vec![0; 1000], 0)), Err(gst::FlowError::Error));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else { panic!() };
    let text = error.error().message().to_owned();
    assert!(text.contains("Cannot demosaic a frame") && text.contains("1000 bytes"), "{text}");

    for caps in [
        "video/x-bayer,format=rggb,width=1,height=20,framerate=25/1",
        "video/x-bayer,format=rggb,width=9000,height=20,framerate=25/1",
        "video/x-bayer,format=rggb9le,width=20,height=20,framerate=25/1",
    ] {
        common::init();
        let sink = gst::ElementFactory::make("cnndemosaic").build().unwrap();
        let caps: gst::Caps = caps.parse().unwrap();
        assert!(!sink.static_pad("sink").unwrap().query_accept_caps(&caps), "{caps}");
    }
}
