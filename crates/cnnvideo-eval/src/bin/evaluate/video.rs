//! Evaluation of cnndenoise on a noisy clip: PSNR by frame, with and without temporal denoising.

use std::path::Path;

use clap::Args;
use gst::prelude::*;
use image::RgbImage;

use crate::{Result, load};
use cnnvideo::quality::psnr;
use cnnvideo_eval::{Noise, mse};

#[derive(Args)]
pub struct Video {
    /// Folder with the frames of a clip (.png, .jpg), ordered by name
    #[arg(long)]
    data: std::path::PathBuf,
    /// Model file to use instead of the built-in models
    #[arg(long)]
    model: Option<std::path::PathBuf>,
    /// Sigma of the noise in luma in 8-bit units
    #[arg(long, default_value_t = 25.0)]
    level: f32,
    /// Maximum number of frames to use
    #[arg(long, default_value_t = 40)]
    frames: usize,
    /// Folder with a second clip of the same size, appended to simulate a scene cut
    #[arg(long)]
    then: Option<std::path::PathBuf>,
    /// Property of cnndenoise as `name=value`; may be given several times
    #[arg(long)]
    set: Vec<String>,
    /// Folder to write luma of the last frame to: clean, noisy and denoised
    #[arg(long)]
    pictures: Option<std::path::PathBuf>,
}

/// A frame in I420 without padding.
struct Frame {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Frame {
    /// Converts an image to ITU-R BT.601 (limited range) and crops it to an even size.
    fn new(picture: &RgbImage) -> Self {
        let (width, height) = (picture.width() as usize & !1, picture.height() as usize & !1);
        let rgb = |x: usize, y: usize| picture.get_pixel(x as u32, y as u32).0.map(f32::from);
        let mut data = Vec::with_capacity(width * height * 3 / 2);
        for y in 0..height {
            data.extend((0..width).map(|x| {
                let [r, g, b] = rgb(x, y);
                (16.5 + 0.2568 * r + 0.5041 * g + 0.0979 * b) as u8
            }));
        }
        for weights in [[-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]] {
            for y in (0..height).step_by(2) {
                data.extend((0..width).step_by(2).map(|x| {
                    let sum = |c: usize| {
                        rgb(x, y)[c] + rgb(x + 1, y)[c] + rgb(x, y + 1)[c] + rgb(x + 1, y + 1)[c]
                    };
                    (128.5 + (0..3).map(|c| weights[c] * 0.25 * sum(c)).sum::<f32>()) as u8
                }));
            }
        }
        Self { width, height, data }
    }

    fn luma(&self) -> &[u8] {
        &self.data[..self.width * self.height]
    }
}

pub fn run(video: &Video) -> Result<()> {
    gst::init()?;
    gstcnnvideo::plugin_register_static()?;
    let mut pictures = load(&video.data)?;
    pictures.truncate(video.frames.max(1));
    if let Some(then) = &video.then {
        pictures.extend(load(then)?.into_iter().take(video.frames));
    }
    let clean: Vec<Frame> = pictures.iter().map(Frame::new).collect();
    let mut noise = Noise::new(1);
    let noisy: Vec<Frame> = clean
        .iter()
        .map(|frame| {
            let luma = frame
                .luma()
                .iter()
                .map(|v| (f32::from(*v) + video.level * noise.next()).round() as u8);
            let data = luma.chain(frame.data[frame.luma().len()..].iter().copied()).collect();
            Frame { data, ..*frame }
        })
        .collect();
    let single = through_element(video, &noisy, false)?;
    let temporal = through_element(video, &noisy, true)?;
    println!("{} frames, {}x{}; luma PSNR in dB", clean.len(), clean[0].width, clean[0].height);
    println!(
        "| frame | noisy | temporal=false | temporal=true | gain |\n\
         | --- | --- | --- | --- | --- |"
    );
    let of = |a: &Frame, b: &[u8]| psnr(mse(a.luma(), &b[..a.luma().len()]));
    let mut rows = Vec::new();
    for (i, frame) in clean.iter().enumerate() {
        rows.push([of(frame, &noisy[i].data), of(frame, &single[i]), of(frame, &temporal[i])]);
    }
    for (i, [a, b, c]) in rows.iter().enumerate() {
        if i < 10 || i % 10 == 9 || (video.then.is_some() && i.abs_diff(video.frames) < 4) {
            println!("| {i} | {a:.2} | {b:.2} | {c:.2} | {:+.2} |", c - b);
        }
    }
    let mean = |rows: &[[f64; 3]], k: usize| {
        rows.iter().map(|r| r[k]).sum::<f64>() / rows.len().max(1) as f64
    };
    let settled = &rows[8.min(rows.len() - 1)..];
    let [a, b, c] = [0, 1, 2].map(|k| mean(settled, k));
    println!("| mean from frame 8 | {a:.2} | {b:.2} | {c:.2} | {:+.2} |", c - b);
    let worst = settled.iter().map(|r| r[2] - r[1]).fold(f64::INFINITY, f64::min);
    println!("worst gain of a frame from frame 8: {worst:+.2}");
    if let Some(folder) = &video.pictures {
        std::fs::create_dir_all(folder)?;
        let last = clean.len() - 1;
        let all: [(&str, &[u8]); 4] = [
            ("clean", &clean[last].data),
            ("noisy", &noisy[last].data),
            ("single", &single[last]),
            ("temporal", &temporal[last]),
        ];
        for (name, data) in all {
            let size = clean[last].width * clean[last].height;
            let (w, h) = (clean[last].width as u32, clean[last].height as u32);
            image::GrayImage::from_raw(w, h, data[..size].to_vec())
                .ok_or("a frame is too short")?
                .save(folder.join(format!("{name}.png")))?;
        }
    }
    Ok(())
}

/// Runs the frames through cnndenoise. Returns the luma of each denoised frame.
fn through_element(video: &Video, frames: &[Frame], temporal: bool) -> Result<Vec<Vec<u8>>> {
    let [width, height] = [frames[0].width as u32, frames[0].height as u32];
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height)
        .fps(gst::Fraction::new(25, 1))
        .build()?;
    let pipeline = gst::Pipeline::new();
    let source =
        gst_app::AppSrc::builder().caps(&info.to_caps()?).format(gst::Format::Time).build();
    let element = gst::ElementFactory::make("cnndenoise").property("temporal", temporal).build()?;
    element.set_property("model-file", video.model.as_deref().and_then(Path::to_str));
    for setting in &video.set {
        let (name, value) = setting.split_once('=').ok_or("--set needs name=value")?;
        element.set_property_from_str(name, value);
    }
    let sink = gst_app::AppSink::builder().sync(false).build();
    pipeline.add_many([source.upcast_ref(), &element, sink.upcast_ref()])?;
    gst::Element::link_many([source.upcast_ref(), &element, sink.upcast_ref()])?;
    pipeline.set_state(gst::State::Playing)?;
    let mut results = Vec::new();
    for (i, frame) in frames.iter().enumerate() {
        let mut padded = vec![0u8; info.size()];
        let mut rest = frame.data.as_slice();
        for plane in 0..3 {
            let (w, h) = if plane == 0 {
                (frame.width, frame.height)
            } else {
                (frame.width / 2, frame.height / 2)
            };
            let (offset, stride) = (info.offset()[plane], info.stride()[plane] as usize);
            for row in padded[offset..].chunks_mut(stride).take(h) {
                let (own, after) = rest.split_at(w);
                row[..w].copy_from_slice(own);
                rest = after;
            }
        }
        let mut buffer = gst::Buffer::from_mut_slice(padded);
        buffer
            .get_mut()
            .ok_or("the buffer is new")?
            .set_pts(gst::ClockTime::from_mseconds(40 * i as u64));
        source.push_buffer(buffer)?;
        let sample = sink.pull_sample()?;
        let map = sample.buffer().ok_or("no buffer")?.map_readable()?;
        let luma = map[info.offset()[0]..].chunks(info.stride()[0] as usize).take(frame.height);
        results.push(luma.flat_map(|row| &row[..frame.width]).copied().collect());
    }
    source.end_of_stream()?;
    pipeline.set_state(gst::State::Null)?;
    Ok(results)
}
