// SPDX-License-Identifier: MIT OR Apache-2.0

//! Buffers that do not fit their caps, and forged `GstVideoMeta`: an element answers with a frame
//! or with an error message, and processes the next frame.

use gst_video::{
    VideoCropMeta, VideoFormat, VideoFrameFlags, VideoInfo, VideoInterlaceMode, VideoMeta,
};

use super::random_corpus;
use crate::{
    Target,
    elements::{self, KEY, Meter, Running},
    input::Input,
};

/// The target.
pub const TARGET: Target = Target {
    name: "video-meta",
    about: "forged video metas and buffer sizes through every element",
    corpus: || random_corpus(64, 160),
    dictionary: &[],
    mutate: None,
    repair: None,
    run,
};

/// Formats of 8 bits a sample, which all elements accept.
const FORMATS_8BIT: [VideoFormat; 11] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Gray8,
    VideoFormat::Rgb,
    VideoFormat::Rgba,
    VideoFormat::Argb,
    VideoFormat::Bgrx,
];
/// Formats of 10 bits a sample, which the filters and watermark elements accept.
const FORMATS_10BIT: [VideoFormat; 4] =
    [VideoFormat::I42010le, VideoFormat::P01010le, VideoFormat::I42210le, VideoFormat::Y44410le];
/// Formats that only a forged meta has.
const OTHER_FORMATS: [VideoFormat; 4] =
    [VideoFormat::Ayuv, VideoFormat::V210, VideoFormat::Nv1264z32, VideoFormat::Y41b];
/// Most planes of a meta.
const MAX_PLANES: usize = gst_video::VIDEO_MAX_PLANES;
/// Most hostile buffers of an input.
const MAX_BUFFERS: usize = 3;
/// Largest buffer in bytes.
const MAX_BYTES: u64 = 1 << 16;

/// Filters that accept all formats.
const FILTERS: [&str; 6] = [
    "cnndenoise threads=1 noise-level=9",
    "cnndenoise threads=1 noise-level=9",
    "cnndenoise threads=1",
    "cnndenoise threads=1 strength=0",
    "cnnsmooth threads=1",
    "cnnsmooth threads=1 strength=0",
];
/// Outputs of `cnnsegment`.
const OUTPUTS: [&str; 4] = ["meta", "overlay", "mask", "alpha"];

fn run(data: &[u8]) {
    elements::init();
    let mut input = Input::new(data);
    match input.byte() {
        0 => filter(elements::EMBED, true, &mut input),
        1..=4 => detector(&mut input),
        5..=55 => meter(&mut input),
        56..=127 => {
            let output = input.choose(&OUTPUTS);
            let description = elements::segment();
            let description = format!("{description} seeds=fg:50%,50% output={output}");
            filter(&description, false, &mut input);
        }
        _ => {
            let description = input.choose(&FILTERS);
            filter(description, true, &mut input);
        }
    }
}

/// Pushes hostile buffers, then a right one, through an element.
fn filter(description: &str, ten_bits: bool, input: &mut Input<'_>) {
    let info = caps(input, ten_bits);
    let mut element = Running::new(description, &info);
    let count = 1 + input.below(MAX_BUFFERS);
    for number in 0..count as u64 {
        if input.one_in(4) {
            send_event(&mut element.harness, input);
        }
        if let Ok(count) = element.push(hostile(input, &info, number)) {
            assert_eq!(count, 1, "{description}: a frame is lost");
        }
    }
    let last = elements::frame(info.size(), count as u64);
    assert_eq!(element.push(last), Ok(1), "{description}: after hostile buffers");
}

/// Sends an event that may come between two frames.
fn send_event(harness: &mut gst_check::Harness, input: &mut Input<'_>) {
    let mut time = || gst::ClockTime::try_from(input.integer(40_000_000)).ok();
    let [start, duration] = [time(), time()];
    // Elements may refuse events, so that the results do not matter.
    match input.byte() % 4 {
        0 => {
            let start = start.unwrap_or(gst::ClockTime::ZERO);
            harness.push_event(gst::event::Gap::builder(start).duration(duration).build());
        }
        1 => {
            harness.push_event(gst::event::FlushStart::new());
            harness.push_event(gst::event::FlushStop::new(input.one_in(2)));
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            harness.push_event(gst::event::Segment::new(&segment));
        }
        2 => {
            let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
            segment.set_start(start);
            segment.set_time(duration);
            segment.set_rate(input.choose(&[1.0, -1.0, 0.5, 1e9]));
            // GStreamer requires a stop for negative rates.
            segment.set_stop(gst::ClockTime::MAX);
            harness.push_event(gst::event::Segment::new(&segment));
        }
        _ => {
            let mut segment = gst::FormattedSegment::<gst::format::Bytes>::new();
            segment.set_start(gst::format::Bytes::from_u64(input.integer(0) >> 1));
            harness.push_event(gst::event::Segment::new(&segment));
        }
    }
}

/// Pushes hostile buffers through the detector, which passes all of them on.
fn detector(input: &mut Input<'_>) {
    let info = caps(input, true);
    let description = format!("watermarkdetect key={KEY} window=2 interval=2 search=none");
    let mut element = Running::new(&description, &info);
    for number in 0..=input.below(MAX_BUFFERS) as u64 {
        assert_eq!(element.push(hostile(input, &info, number)), Ok(1));
    }
}

/// Compares hostile buffers with right ones.
fn meter(input: &mut Input<'_>) {
    let output = if input.one_in(8) { "panel" } else { "test" };
    let info = caps(input, false);
    let pair = |number| {
        let mut pair = [elements::frame(info.size(), number), hostile(input, &info, number)];
        if input.one_in(2) {
            pair.reverse();
        }
        pair
    };
    let pairs = (0..=MAX_BUFFERS as u64).map(pair).collect();
    // Whether it fails depends on the buffers; that it ends is checked.
    let _ = Meter::new(output, &info).compare(pairs);
}

/// Returns random caps of small frames.
fn caps(input: &mut Input<'_>, ten_bits: bool) -> VideoInfo {
    let formats: &[_] = if ten_bits && input.one_in(4) { &FORMATS_10BIT } else { &FORMATS_8BIT };
    let format = input.choose(formats);
    let (width, height) = (1 + input.below(40) as u32, 1 + input.below(24) as u32);
    if input.one_in(6) {
        return VideoInfo::builder(format, width, height)
            .interlace_mode(VideoInterlaceMode::Interleaved)
            .fps(gst::Fraction::new(25, 1))
            .build()
            .unwrap_or_else(|_| elements::info(format, width, height));
    }
    elements::info(format, width, height)
}

/// Returns a buffer whose size, memories, metas and times may be wrong for frames of `info`.
fn hostile(input: &mut Input<'_>, info: &VideoInfo, number: u64) -> gst::Buffer {
    let size = if input.one_in(3) { input.integer(info.size() as u64) } else { info.size() as u64 };
    let mut buffer = elements::frame(size.min(MAX_BYTES) as usize, number);
    let writable = buffer.get_mut().expect("a new buffer has one owner");
    if input.one_in(4) {
        split_memory(writable, input);
    }
    if input.one_in(4) {
        let time = gst::ClockTime::try_from(input.integer(40_000_000)).ok();
        writable.set_pts(time);
        writable.set_duration(gst::ClockTime::try_from(input.integer(40_000_000)).ok());
    }
    if input.one_in(6) {
        writable.set_flags(gst::BufferFlags::from_bits_truncate(input.integer(0) as u32));
    }
    if !input.one_in(4) {
        add_meta(writable, info, input);
    }
    if input.one_in(6) {
        let mut number = |usual| input.integer(u64::from(usual)) as u32;
        let rectangle = (number(0), number(0), number(info.width()), number(info.height()));
        VideoCropMeta::add(writable, rectangle);
    }
    buffer
}

/// Divides the memory of a buffer in two, or appends memory.
fn split_memory(buffer: &mut gst::BufferRef, input: &mut Input<'_>) {
    let size = buffer.size();
    if size > 1 && input.one_in(2) {
        let at = 1 + input.below(size - 1);
        let bytes = buffer.map_readable().expect("memory of this process").to_vec();
        let (first, second) = bytes.split_at(at);
        buffer.remove_all_memory();
        buffer.append_memory(gst::Memory::from_mut_slice(first.to_vec()));
        buffer.append_memory(gst::Memory::from_mut_slice(second.to_vec()));
    } else {
        buffer.append_memory(gst::Memory::from_mut_slice(vec![0; 1 + input.below(99)]));
    }
}

/// Adds a video meta of which each field may be wrong.
fn add_meta(buffer: &mut gst::BufferRef, info: &VideoInfo, input: &mut Input<'_>) {
    let format = match input.byte() % 12 {
        0 => input.choose(&FORMATS_8BIT),
        1 => input.choose(&FORMATS_10BIT),
        2 => input.choose(&OTHER_FORMATS),
        _ => info.format(),
    };
    let mut side = |usual: u32| {
        if input.one_in(8) { input.integer(u64::from(usual)) as u32 } else { usual }
    };
    let (width, height) = (side(info.width()), side(info.height()));
    let planes = info.n_planes() as usize;
    let planes = if input.one_in(10) { input.below(1 + MAX_PLANES) } else { planes };
    let usual = |values: &[u64], plane: usize| values.get(plane).copied().unwrap_or(0);
    let offsets: Vec<u64> = info.offset().iter().map(|offset| *offset as u64).collect();
    let strides: Vec<u64> = info.stride().iter().map(|stride| *stride as u64).collect();
    let offsets: Vec<usize> =
        (0..planes).map(|plane| input.integer(usual(&offsets, plane)) as usize).collect();
    let strides: Vec<i32> =
        (0..planes).map(|plane| input.integer(usual(&strides, plane)) as i32).collect();
    let mut flags = VideoFrameFlags::empty();
    if input.one_in(5) {
        flags |= VideoFrameFlags::INTERLACED | VideoFrameFlags::TFF;
    }
    // Formats without planes are refused; the buffer then has no meta.
    let _ = VideoMeta::add_full(buffer, flags, format, width, height, &offsets, &strides);
}
