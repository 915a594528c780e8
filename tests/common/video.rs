//! Frames to feed to elements, and what to expect of them.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoFrameExt, VideoInfo};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// All formats of the filters.
pub const FORMATS: [VideoFormat; 17] = [
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

pub fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    super::init();
    VideoInfo::builder(format, width, height).fps(gst::Fraction::new(25, 1)).build().unwrap()
}

/// An element with caps set on both sides.
pub fn harness(description: &str, info: &VideoInfo) -> Harness {
    super::init();
    let mut harness = Harness::new_parse(description);
    harness.set_src_caps(info.to_caps().unwrap());
    harness
}

/// The element in a harness, which `harness` has wrapped into a bin.
pub fn element(harness: &Harness) -> gst::Element {
    let bin = harness.element().unwrap().downcast::<gst::Bin>().unwrap();
    bin.children().remove(0)
}

/// Approximately normal with unit variance.
pub fn normal(rng: &mut StdRng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

/// A smooth picture, every byte of it (alpha and padding too) with noise of a level.
pub fn bytes(info: &VideoInfo, level: f32, seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..info.size())
        .map(|i| {
            let clean = 118.0 + 6.0 * (i as f32 * 1e-3).sin();
            (clean + level * normal(&mut rng)).round().clamp(0.0, 255.0) as u8
        })
        .collect()
}

/// Wraps bytes as frame number `number` of a stream of 25 frames per second.
pub fn buffer(bytes: Vec<u8>, number: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let frame = gst::ClockTime::from_mseconds(40);
    let writable = buffer.get_mut().unwrap();
    writable.set_pts(frame * number);
    writable.set_duration(frame);
    buffer
}

pub fn to_bytes(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

/// Values of the visible samples of a frame, by component of the format (alpha included).
pub fn components(info: &VideoInfo, data: &[u8]) -> Vec<Vec<u8>> {
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

/// Variance of samples.
pub fn variance(samples: &[u8]) -> f64 {
    let mean = samples.iter().map(|v| f64::from(*v)).sum::<f64>() / samples.len() as f64;
    samples.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / samples.len() as f64
}
