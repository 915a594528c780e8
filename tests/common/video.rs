// SPDX-License-Identifier: MIT OR Apache-2.0

//! Helpers for frames, elements in a harness, and their output.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoFrameExt, VideoInfo};
use rand::{SeedableRng, rngs::StdRng};

use super::random::normal;

/// All 8-bit formats that the filters support.
pub(crate) const FORMATS: [VideoFormat; 17] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Gray8,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
];

/// Returns the video info of a format at 25 frames per second.
pub(crate) fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    super::init();
    VideoInfo::builder(format, width, height).fps(gst::Fraction::new(25, 1)).build().unwrap()
}

/// Returns a harness with the described elements and caps set on its source pad.
pub(crate) fn harness(description: &str, info: &VideoInfo) -> Harness {
    super::init();
    let mut harness = Harness::new_parse(description);
    harness.set_src_caps(info.to_caps().unwrap());
    harness
}

/// Returns the first child of the bin that `harness` has created: the element of a description with
/// one element.
pub(crate) fn element(harness: &Harness) -> gst::Element {
    let bin = harness.element().unwrap().downcast::<gst::Bin>().unwrap();
    bin.children().remove(0)
}

/// Returns a smooth frame with noise of the given sigma in every byte, including alpha and padding.
pub(crate) fn bytes(info: &VideoInfo, sigma: f32, seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..info.size())
        .map(|i| {
            let clean = 118.0 + 6.0 * (i as f32 * 1e-3).sin();
            (clean + sigma * normal(&mut rng)).round().clamp(0.0, 255.0) as u8
        })
        .collect()
}

/// Wraps bytes as the buffer of frame `number` at 25 frames per second.
pub(crate) fn buffer(bytes: Vec<u8>, number: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let frame = gst::ClockTime::from_mseconds(40);
    let writable = buffer.get_mut().unwrap();
    writable.set_pts(frame * number);
    writable.set_duration(frame);
    buffer
}

/// Copies the content of a buffer.
pub(crate) fn to_bytes(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

/// Returns the visible samples of a frame by component of the format, including alpha.
pub(crate) fn components(info: &VideoInfo, data: &[u8]) -> Vec<Vec<u8>> {
    let buffer = gst::Buffer::from_slice(data.to_vec());
    let frame = gst_video::VideoFrame::from_buffer_readable(buffer, info).unwrap();
    let finfo = info.format_info();
    (0..finfo.n_components() as usize)
        .map(|c| {
            let (width, height) =
                (frame.comp_width(c as u32) as usize, frame.comp_height(c as u32) as usize);
            let (stride, step) =
                (frame.comp_stride(c as u32) as usize, frame.comp_pstride(c as u32) as usize);
            let data = frame.comp_data(c as u32).unwrap();
            (0..height)
                .flat_map(|y| (0..width).map(move |x| (x, y)))
                .map(|(x, y)| data[y * stride + x * step])
                .collect()
        })
        .collect()
}

/// Returns the variance of samples.
pub(crate) fn variance(samples: &[u8]) -> f64 {
    let mean = samples.iter().map(|v| f64::from(*v)).sum::<f64>() / samples.len() as f64;
    samples.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / samples.len() as f64
}
