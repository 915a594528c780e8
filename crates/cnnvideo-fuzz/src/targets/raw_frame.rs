// SPDX-License-Identifier: MIT OR Apache-2.0

//! Raw frames of any size, pattern and depth with buffers that may not fit them: `cnndemosaic`
//! answers with a frame or with an error message, and processes the next frame.

use gst_video::{VideoFormat, VideoFrameFlags, VideoMeta};

use super::random_corpus;
use crate::{
    Target,
    elements::{self, Running},
    input::Input,
};

/// The target.
pub const TARGET: Target = Target {
    name: "raw-frame",
    about: "raw frames with wrong sizes and forged video metas through cnndemosaic",
    corpus: || random_corpus(64, 80),
    dictionary: &[],
    mutate: None,
    repair: None,
    run,
};

/// Formats in caps; the last ones do not exist.
const FORMATS: [&str; 8] =
    ["bggr", "gbrg", "grbg", "rggb", "rggb10le", "bggr16le", "rggb9le", "rgbg"];
/// Formats of the output.
const OUTPUTS: [&str; 5] = ["RGB", "ARGB", "I420", "NV12", "P010_10LE"];
/// Most hostile buffers of an input.
const MAX_BUFFERS: usize = 3;
/// Largest buffer in bytes.
const MAX_BYTES: u64 = 1 << 16;

fn run(data: &[u8]) {
    elements::init();
    let mut input = Input::new(data);
    let format = input.choose(&FORMATS);
    let side = |input: &mut Input<'_>, limit| {
        if input.one_in(12) { input.integer(8) as i32 } else { 1 + input.below(limit) as i32 }
    };
    let (width, height) = (side(&mut input, 40), side(&mut input, 24));
    let caps = gst::Caps::builder("video/x-bayer")
        .field("format", format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(25, 1))
        .build();
    let factory = gst::ElementFactory::find("cnndemosaic").expect("the plugin is registered");
    if !factory.can_sink_all_caps(&caps) {
        return;
    }
    // Frames of the largest accepted sizes take too long.
    if i64::from(width) * i64::from(height) > 4096 {
        return;
    }
    let level = input.choose(&["-1", "0", "9"]);
    let output = input.choose(&OUTPUTS);
    let description = format!("cnndemosaic threads=1 noise-level={level}");
    let mut element =
        Running::with_caps(&description, &caps).expect("an element with valid properties starts");
    element.harness.set_sink_caps_str(&format!("video/x-raw,format={output}"));
    let row = if format.ends_with("le") { 2 * width } else { width } as usize;
    let size = row.next_multiple_of(4) * height as usize;
    let count = 1 + input.below(MAX_BUFFERS) as u64;
    for number in 0..count {
        if let Ok(count) = element.push(hostile(&mut input, size, [width, height], number)) {
            assert_eq!(count, 1, "a frame is lost");
        }
    }
    let last = elements::frame(size, count);
    assert_eq!(element.push(last), Ok(1), "after hostile buffers");
}

/// Returns a buffer whose size and video meta may be wrong for frames of `size` bytes.
fn hostile(input: &mut Input<'_>, size: usize, sides: [i32; 2], number: u64) -> gst::Buffer {
    let bytes = if input.one_in(2) { input.integer(size as u64) } else { size as u64 };
    let mut buffer = elements::frame(bytes.min(MAX_BYTES) as usize, number);
    if input.one_in(2) {
        let writable = buffer.get_mut().expect("a new buffer has one owner");
        let planes = input.below(3);
        let offsets: Vec<usize> = (0..planes).map(|_| input.integer(0) as usize).collect();
        let strides: Vec<i32> = (0..planes).map(|_| input.integer(40) as i32).collect();
        let [width, height] = sides.map(|side| input.integer(side as u64) as u32);
        let flags = VideoFrameFlags::empty();
        let format = input.choose(&[VideoFormat::Gray8, VideoFormat::Gray16Le, VideoFormat::I420]);
        // Metas that GStreamer refuses are not added.
        let _ = VideoMeta::add_full(writable, flags, format, width, height, &offsets, &strides);
    }
    buffer
}
