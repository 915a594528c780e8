// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the behaviour that all filters share.

use gst_video::{VideoFormat, VideoInfo, VideoInterlaceMode};

use crate::common::video::{buffer, bytes, components};

mod interlaced;
mod layout;
mod metas;
mod properties;
mod streams;
mod strength_zero;

/// Elements with properties that make the output depend on the current frame only.
const FILTERS: [&str; 2] = ["cnndenoise noise-level=15", "cnnsmooth"];

fn name(filter: &str) -> &str {
    filter.split(' ').next().unwrap()
}

/// Returns the info of an interlaced format.
fn interlaced(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    crate::common::init();
    VideoInfo::builder(format, width, height)
        .interlace_mode(VideoInterlaceMode::Interleaved)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .unwrap()
}

/// Changes a buffer that nothing else references.
fn with_meta(mut buffer: gst::Buffer, add: impl FnOnce(&mut gst::BufferRef)) -> gst::Buffer {
    add(buffer.get_mut().unwrap());
    buffer
}

/// Adds a video meta with the format and size of `info`.
fn add_meta(buffer: &mut gst::BufferRef, info: &VideoInfo, offsets: &[usize], strides: &[i32]) {
    gst_video::VideoMeta::add_full(
        buffer,
        gst_video::VideoFrameFlags::empty(),
        info.format(),
        info.width(),
        info.height(),
        offsets,
        strides,
    )
    .unwrap();
}

/// Returns a grey frame with bright padding in each row, and the frame without padding.
fn padded_frame(info: &VideoInfo, seed: u64) -> (gst::Buffer, Vec<u8>) {
    let (width, stride) = (info.width() as usize, 112);
    let rows = components(info, &bytes(info, 15.0, seed)).remove(0);
    let pad = |row: &[u8]| [row, &vec![255; stride - width]].concat();
    let padded = rows.chunks(width).flat_map(pad).collect();
    let padded =
        with_meta(buffer(padded, seed), |input| add_meta(input, info, &[0], &[stride as i32]));
    let row_length = info.stride()[0] as usize;
    let packed = rows.chunks(width).flat_map(|row| [row, &vec![0; row_length - width]].concat());
    (padded, packed.collect())
}
