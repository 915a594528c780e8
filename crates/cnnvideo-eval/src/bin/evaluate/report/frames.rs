//! Frames of the report: loaded from files and run through elements.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use cnnvideo::frame::{Format, Picture};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use image::{GrayImage, RgbImage};
use ndarray::Array2;

use crate::Result;

pub use image::RgbImage as Rgb;

/// Maximum width of an image on the page in pixels; wider ones are downscaled.
const WIDEST: u32 = 420;

/// One frame in the layout described by `info`.
#[derive(Clone)]
pub struct Frame {
    info: VideoInfo,
    bytes: Vec<u8>,
}

/// The frames of one source.
#[derive(Clone)]
pub struct Clip {
    /// File name without extension.
    pub name: String,
    pub frames: Vec<Frame>,
}

impl Frame {
    fn of_picture(picture: &RgbImage) -> Result<Self> {
        let info =
            VideoInfo::builder(VideoFormat::Rgb, picture.width(), picture.height()).build()?;
        let stride = info.stride()[0] as usize;
        let mut bytes = vec![0; info.size()];
        let row = 3 * picture.width() as usize;
        bytes
            .chunks_mut(stride)
            .zip(picture.as_raw().chunks(row))
            .for_each(|(to, from)| to[..row].copy_from_slice(from));
        Ok(Self { info, bytes })
    }

    fn of_sample(sample: &gst::Sample) -> Result<Self> {
        let info = VideoInfo::from_caps(sample.caps().ok_or("no caps")?)?;
        let buffer = sample.buffer_owned().ok_or("no buffer")?;
        let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &info)
            .map_err(|_| "no video frame")?;
        // Copies the frame without the decoder's padding.
        let plain = VideoInfo::builder(info.format(), info.width(), info.height()).build()?;
        let buffer = gst::Buffer::with_size(plain.size())?;
        let mut copy =
            gst_video::VideoFrame::from_buffer_writable(buffer, &plain).map_err(|_| "no memory")?;
        frame.copy(&mut copy)?;
        let bytes = copy.into_buffer().map_readable()?.to_vec();
        Ok(Self { info: plain, bytes })
    }

    /// Returns a view of the planes.
    pub fn view(&self) -> Result<Picture<'_, u8>> {
        let (width, height) = (self.info.width() as usize, self.info.height() as usize);
        let format = match self.info.format() {
            VideoFormat::Rgb => Format::packed_rgb([0, 1, 2], None, 3),
            _ => Format::I420,
        };
        let planes: Vec<_> = (0..self.info.n_planes() as usize)
            .map(|i| (&self.bytes[self.info.offset()[i]..], self.info.stride()[i] as usize))
            .collect();
        Ok(Picture::new(format, width, height, &planes)?)
    }

    /// Returns luma; of RGB frames, the luma of BT.601 in limited range.
    pub fn luma(&self) -> Result<Array2<f32>> {
        let picture = self.view()?;
        let [first, ..] = &picture.components[..] else { return Err("no components".into()) };
        Ok(match &picture.components[..] {
            [r, g, b] if self.info.is_rgb() => Array2::from_shape_fn(r.dim(), |at| {
                16.0 + 0.2568 * f32::from(r[at])
                    + 0.5041 * f32::from(g[at])
                    + 0.0979 * f32::from(b[at])
            }),
            _ => first.mapv(f32::from),
        })
    }

    /// Returns all samples that get noise: R, G and B, or luma.
    pub fn samples(&mut self) -> impl Iterator<Item = &mut u8> {
        let count = if self.info.is_rgb() { self.bytes.len() } else { self.info.offset()[1] };
        self.bytes[..count].iter_mut()
    }

    /// Returns the frame in RGB, downscaled for the page.
    pub fn rgb(&self) -> Rgb {
        let Ok(picture) = self.view() else { return Rgb::new(1, 1) };
        let (width, height) = picture.size();
        let at = |i: usize, x: usize, y: usize| {
            let component = &picture.components[i];
            let (rows, columns) = component.dim();
            f32::from(component[[y * rows / height, x * columns / width]])
        };
        smaller(Rgb::from_fn(width as u32, height as u32, |x, y| {
            let [a, b, c] = [0, 1, 2].map(|i| at(i, x as usize, y as usize));
            image::Rgb(if self.info.is_rgb() {
                [a as u8, b as u8, c as u8]
            } else {
                let (y, u, v) = (1.164 * (a - 16.0), b - 128.0, c - 128.0);
                [y + 1.596 * v, y - 0.813 * v - 0.392 * u, y + 2.017 * u].map(|v| v as u8)
            })
        }))
    }
}

/// Returns a plane of 8-bit values as an image, downscaled for the page.
pub fn grey(plane: &Array2<f32>) -> Rgb {
    let (height, width) = plane.dim();
    let picture = GrayImage::from_fn(width as u32, height as u32, |x, y| {
        image::Luma([plane[[y as usize, x as usize]] as u8])
    });
    smaller(image::DynamicImage::ImageLuma8(picture).into_rgb8())
}

/// Downscales an image to at most [`WIDEST`] pixels in width.
fn smaller(picture: Rgb) -> Rgb {
    if picture.width() <= WIDEST {
        return picture;
    }
    let height = (picture.height() * WIDEST / picture.width()).max(1);
    image::imageops::resize(&picture, WIDEST, height, image::imageops::FilterType::Triangle)
}

/// Loads a source: images of a file or folder, each as a clip of one frame, or the first frames of
/// a video.
pub fn load(path: &Path, frames: usize, pictures: usize) -> Result<Vec<Clip>> {
    let is_picture =
        |path: &Path| path.extension().is_some_and(|e| e == "png" || e == "jpg" || e == "jpeg");
    let one = |path: &Path| -> Result<Clip> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let picture =
            image::open(path).map_err(|err| format!("{}: {err}", path.display()))?.into_rgb8();
        Ok(Clip { name, frames: vec![Frame::of_picture(&picture)?] })
    };
    if path.is_dir() {
        let mut files = std::fs::read_dir(path)?
            .map(|e| e.map(|e| e.path()))
            .collect::<std::io::Result<Vec<_>>>()?;
        files.retain(|file| is_picture(file));
        files.sort();
        files.truncate(pictures);
        if files.is_empty() {
            return Err(format!("no images in {}", path.display()).into());
        }
        return files.iter().map(|file| one(file)).collect();
    }
    if is_picture(path) { Ok(vec![one(path)?]) } else { Ok(vec![video(path, frames)?]) }
}

fn video(path: &Path, frames: usize) -> Result<Clip> {
    let uri = glib::filename_to_uri(std::fs::canonicalize(path)?, None)?;
    let description = format!(
        "uridecodebin uri=\"{uri}\" ! videoconvert ! video/x-raw,format=I420 ! appsink name=o \
         sync=false max-buffers=4"
    );
    let pipeline =
        gst::parse::launch(&description)?.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let output = pipeline
        .by_name("o")
        .and_then(|e| e.downcast::<gst_app::AppSink>().ok())
        .ok_or("no sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut clip = Clip {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        frames: Vec::new(),
    };
    while clip.frames.len() < frames
        && let Some(sample) = output.try_pull_sample(gst::ClockTime::from_seconds(20))
    {
        clip.frames.push(Frame::of_sample(&sample)?);
    }
    let error = error_of(&pipeline);
    pipeline.set_state(gst::State::Null)?;
    match error {
        Some(error) => Err(format!("{}: {error}", path.display()).into()),
        None if clip.frames.is_empty() => Err(format!("{}: no frames", path.display()).into()),
        None => Ok(clip),
    }
}

/// Returns the error message of a failed pipeline.
fn error_of(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
        _ => None,
    }
}

/// Runs a clip through elements. Returns the output frames and the mean time of a frame in
/// milliseconds.
pub fn through(elements: &str, clip: &Clip) -> Result<(Vec<Frame>, f64)> {
    let first = clip.frames.first().ok_or("a clip without frames")?;
    let format = first.info.format();
    let description = format!(
        "appsrc name=i format=time ! {elements} ! videoconvert ! video/x-raw,format={} ! appsink \
         name=o sync=false",
        format.to_str()
    );
    let pipeline =
        gst::parse::launch(&description)?.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let input = pipeline
        .by_name("i")
        .and_then(|e| e.downcast::<gst_app::AppSrc>().ok())
        .ok_or("no source")?;
    let output = pipeline
        .by_name("o")
        .and_then(|e| e.downcast::<gst_app::AppSink>().ok())
        .ok_or("no sink")?;
    let info = VideoInfo::builder(format, first.info.width(), first.info.height())
        .fps(gst::Fraction::new(25, 1))
        .build()?;
    input.set_caps(Some(&info.to_caps()?));
    if pipeline.set_state(gst::State::Playing).is_err() {
        return Err(format!(
            "{elements}: {}",
            error_of(&pipeline).unwrap_or("does not start".to_owned())
        )
        .into());
    }
    let mut out = Vec::new();
    let mut time = Duration::ZERO;
    for (number, frame) in clip.frames.iter().enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(frame.bytes.clone());
        let writable = buffer.get_mut().ok_or("the buffer is new")?;
        writable.set_pts(gst::ClockTime::from_mseconds(40) * number as u64);
        writable.set_duration(gst::ClockTime::from_mseconds(40));
        let start = Instant::now();
        input.push_buffer(buffer)?;
        let Some(sample) = output.try_pull_sample(gst::ClockTime::from_seconds(60)) else {
            let reason = error_of(&pipeline).unwrap_or("the elements return no frame".to_owned());
            pipeline.set_state(gst::State::Null)?;
            return Err(format!("{elements}: {reason}").into());
        };
        // The first frame includes allocations and is not timed, unless it is the only one.
        if number > 0 || clip.frames.len() == 1 {
            time += start.elapsed();
        }
        out.push(Frame::of_sample(&sample)?);
    }
    pipeline.set_state(gst::State::Null)?;
    let count = (clip.frames.len() - 1).max(1);
    Ok((out, time.as_secs_f64() * 1e3 / count as f64))
}
