// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo info`: what is in a file, its noise, and a suggested command.

use std::path::{Path, PathBuf};

use cnnvideo::{
    frame::{Format, Picture, Plane},
    smooth::PeriodMeter,
};
use gst::prelude::*;
use gst_video::{VideoInfo, VideoInterlaceMode, prelude::*};
use serde_json::{Value, json};

use crate::{
    error::{Result, failed, usage},
    formats,
    media::{Input, decode::add_input, probe::Media},
    output::{is_standard, print_line},
    pipe,
    run::Running,
    stop::Stop,
    transcode::filter_stats,
};

/// Parts of the video, as shares of its duration, at which the noise is measured.
const PARTS: [f64; 3] = [0.1, 0.5, 0.9];
/// Frames of each part: the estimate needs about six to settle.
const FRAMES: u64 = 12;
/// Longest wait for a frame.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// Noise sigma, in 8-bit units, below which denoising changes hardly anything.
const LEAST_SIGMA: f64 = 1.0;
/// Ratio of the suggested scale of `cnnsmooth` to the period of the texture.
const SCALE_OVER_PERIOD: f32 = 1.1;
/// Largest frame in pixels for which the larger network is suggested.
const MAX_BALANCED: u32 = 1280 * 720;

/// Prints what is in a file.
///
/// # Errors
/// It is not a video that can be decoded.
pub(crate) fn info(file: &Path, as_json: bool, stop: &Stop) -> Result<()> {
    if is_standard(file) {
        return Err(usage!("info reads a file, not the standard input"));
    }
    let input = Input::of(file)?;
    let facts = Facts::read(file, &input, stop)?;
    let measured = measure(&input, facts.duration, stop)?;
    if as_json {
        return print_line(facts.to_json(measured));
    }
    print_line(facts.to_text(measured))
}

/// What is measured in the frames.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    noise: Noise,
    /// Dominant period of the textures in pixels, if there are any.
    texture_period: Option<f32>,
}

impl Measured {
    /// Returns the scale at which `cnnsmooth` removes the textures.
    fn smooth_scale(&self) -> Option<f32> {
        self.texture_period.map(|period| (SCALE_OVER_PERIOD * period).ceil())
    }
}

/// Noise sigmas of luma and chroma in 8-bit units.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Noise {
    luma: f64,
    chroma: f64,
}

/// What the file says about itself.
struct Facts {
    file: PathBuf,
    info: VideoInfo,
    caps: gst::Caps,
    duration: Option<gst::ClockTime>,
    orientation: Option<String>,
    /// Kind and type of each stream.
    streams: Vec<(&'static str, String)>,
}

impl Facts {
    fn read(file: &Path, input: &Input, stop: &Stop) -> Result<Self> {
        let file = file.to_owned();
        if let Input::File(path) = input {
            let Media { streams, caps, info, orientation, duration, .. } =
                Media::probe(path, stop)?;
            let streams = streams
                .iter()
                .map(|stream| (stream.kind.name(), stream.type_name().to_owned()))
                .collect();
            return Ok(Self { file, info, caps, duration, orientation, streams });
        }
        let source = pipe::Source::open(input, stop)?;
        let info = source.info().clone();
        let streams = vec![("video", "y4m".to_owned())];
        Ok(Self { caps: info.to_caps()?, file, info, duration: None, orientation: None, streams })
    }

    /// Returns the frames per second, or `None` if they vary.
    fn rate(&self) -> Option<gst::Fraction> {
        Some(self.info.fps()).filter(|rate| rate.numer() > 0)
    }

    fn has_hdr(&self) -> bool {
        self.caps.structure(0).is_some_and(|caps| caps.has_field("mastering-display-info"))
    }

    /// Returns a command on this file and another one, whose name ends in `suffix`.
    fn command(&self, name: &str, suffix: &str) -> String {
        let own = self.file.extension().and_then(|extension| extension.to_str());
        let extension = match own.map(str::to_ascii_lowercase).as_deref() {
            Some("mp4" | "m4v") => "mp4",
            Some("mov") => "mov",
            Some("webm") => "webm",
            _ => "mkv",
        };
        let mut output = self.file.file_stem().unwrap_or_default().to_owned();
        output.push(format!("-{suffix}.{extension}"));
        let [input, output] = [self.file.as_os_str(), &output].map(|n| n.to_string_lossy());
        format!("cnnvideo {name} {} {}", quoted(&input), quoted(&output))
    }

    fn suggestion(&self, noise: Noise) -> Option<String> {
        (noise.luma.max(noise.chroma) >= LEAST_SIGMA).then(|| {
            let is_small = self.info.width() * self.info.height() <= MAX_BALANCED;
            let quality = if is_small { " --set quality=balanced" } else { "" };
            self.command("denoise", "denoised") + quality
        })
    }

    fn smooth_command(&self, scale: f32) -> String {
        format!("{} --set scale={scale}", self.command("smooth", "smoothed"))
    }

    fn to_json(&self, measured: Measured) -> Value {
        let noise = measured.noise;
        let streams: Vec<_> =
            self.streams.iter().map(|(kind, name)| json!({"kind": kind, "type": name})).collect();
        json!({
            "file": self.file.to_string_lossy(),
            "seconds": self.duration.map(|duration| duration.nseconds() as f64 / 1e9),
            "width": self.info.width(),
            "height": self.info.height(),
            "frame_rate": self.rate().map(|rate| rate.to_string()),
            "format": self.info.format().to_string(),
            "depth": formats::depth(self.info.format()),
            "colorimetry": self.info.colorimetry().to_string(),
            "pixel_aspect_ratio": self.info.par().to_string(),
            "interlaced": self.info.interlace_mode() != VideoInterlaceMode::Progressive,
            "hdr_metadata": self.has_hdr(),
            "orientation": self.orientation,
            "streams": streams,
            "noise_sigma": {"luma": noise.luma, "chroma": noise.chroma},
            "suggestion": self.suggestion(noise),
            "texture_period": measured.texture_period,
            "smooth_suggestion": measured.smooth_scale().map(|scale| self.smooth_command(scale)),
        })
    }

    fn to_text(&self, measured: Measured) -> String {
        let noise = measured.noise;
        let info = &self.info;
        let rate = match self.rate() {
            Some(rate) => format!("{:.3} fps", f64::from(rate.numer()) / f64::from(rate.denom())),
            None => "variable frame rate".to_owned(),
        };
        let fields = match info.interlace_mode() {
            VideoInterlaceMode::Progressive => "progressive",
            _ => "interlaced",
        };
        let mut lines = vec![
            format!("file     {}", self.file.display()),
            format!(
                "video    {}x{}, {rate}, {} ({} bit), {fields}, {}",
                info.width(),
                info.height(),
                info.format(),
                formats::depth(info.format()),
                info.colorimetry()
            ),
        ];
        if let Some(duration) = self.duration {
            lines.push(format!("length   {:.2} s", duration.nseconds() as f64 / 1e9));
        }
        if info.par() != gst::Fraction::new(1, 1) {
            lines.push(format!("pixels   {} wide", info.par()));
        }
        if let Some(orientation) = &self.orientation {
            lines.push(format!("turned   {orientation} (kept in .mp4 and .mov files)"));
        }
        if self.has_hdr() {
            lines.push("HDR      metadata (kept by h265)".to_owned());
        }
        for (kind, name) in &self.streams {
            lines.push(format!("stream   {kind}, {name}"));
        }
        lines.push(format!(
            "noise    sigma {:.1} in luma, {:.1} in chroma (8-bit units)",
            noise.luma, noise.chroma
        ));
        match self.suggestion(noise) {
            Some(command) => lines.push(format!("suggest  {command}")),
            None => lines.push("suggest  no denoising: there is hardly any noise".to_owned()),
        }
        if let (Some(period), Some(scale)) = (measured.texture_period, measured.smooth_scale()) {
            lines.push(format!("texture  of a period of {period:.1} pixels; to remove it:"));
            lines.push(format!("         {}", self.smooth_command(scale)));
        }
        lines.join("\n")
    }
}

/// Quotes a word for a shell where it needs that.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Measures the noise with the estimator of `cnndenoise`, as the median of some parts of the video,
/// and the textures of the denoised frames.
fn measure(input: &Input, duration: Option<gst::ClockTime>, stop: &Stop) -> Result<Measured> {
    let pipeline = Running(gst::Pipeline::new());
    let make = |factory: &str| gst::ElementFactory::make(factory).build();
    let convert = make("videoconvert")?;
    let denoise = make("cnndenoise")?;
    let grey = make("videoconvert")?;
    let caps = gst_video::VideoCapsBuilder::new().format(gst_video::VideoFormat::Gray8).build();
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).caps(&caps).build();
    let elements = [&convert, &denoise, &grey, sink.upcast_ref()];
    pipeline.0.add_many(elements)?;
    gst::Element::link_many(elements)?;
    add_input(&pipeline.0, input, &convert, stop)?;
    pipeline.0.set_state(gst::State::Playing)?;
    let mut textures = PeriodMeter::new();
    let mut readings = vec![read_part(&pipeline, &sink, &denoise, &mut textures, stop)?];
    for part in PARTS {
        let Some(time) = duration.map(|duration| duration.nseconds() as f64 * part) else { break };
        let time = gst::ClockTime::from_nseconds(time as u64);
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
        // Streams that cannot seek have the reading of their beginning.
        if pipeline.0.seek_simple(flags, time).is_err() {
            break;
        }
        readings.push(read_part(&pipeline, &sink, &denoise, &mut textures, stop)?);
    }
    let readings: Vec<Noise> = readings.into_iter().flatten().collect();
    if readings.is_empty() {
        return Err(failed!("{} has no video frame that can be measured", input.name()));
    }
    let median = |value: fn(&Noise) -> f64| {
        let mut values: Vec<f64> = readings.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let noise = Noise { luma: median(|noise| noise.luma), chroma: median(|noise| noise.chroma) };
    Ok(Measured { noise, texture_period: textures.dominant() })
}

/// Adds a grey frame to a meter.
fn add_textures(sample: &gst::Sample, textures: &mut PeriodMeter) -> Result<()> {
    let info = sample.caps().and_then(|caps| VideoInfo::from_caps(caps).ok());
    let (info, buffer) =
        info.zip(sample.buffer()).ok_or_else(|| failed!("a frame has no caps or no memory"))?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)?;
    let data = frame.plane_data(0).map_err(|err| failed!("a frame cannot be read: {err}"))?;
    let plane = Plane::new(data, frame.plane_stride()[0] as usize);
    let size = (info.width() as usize, info.height() as usize);
    let picture = Picture::new(Format::GRAY8, size.0, size.1, &[plane])
        .map_err(|err| failed!("a frame cannot be read: {err}"))?;
    textures.add_picture(&picture);
    Ok(())
}

/// Lets some frames pass and returns the noise that the element has found in them; `None` if the
/// video has ended. Adds the textures of the last one.
fn read_part(
    pipeline: &Running,
    sink: &gst_app::AppSink,
    denoise: &gst::Element,
    textures: &mut PeriodMeter,
    stop: &Stop,
) -> Result<Option<Noise>> {
    let bus = pipeline.0.bus().ok_or_else(|| failed!("the pipeline has no bus"))?;
    let mut frames = 0;
    let mut last = None;
    while frames < FRAMES {
        stop.check()?;
        if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
            && let gst::MessageView::Error(error) = message.view()
        {
            return Err(crate::explain::error(error, "the video", None));
        }
        if let Some(sample) = sink.try_pull_sample(TICK) {
            last = Some(sample);
            frames += 1;
        } else if sink.is_eos() {
            break;
        }
    }
    if let Some(sample) = last {
        add_textures(&sample, textures)?;
    }
    let stats = filter_stats(denoise);
    let sigma = |name: &str| stats.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let noise = Noise { luma: sigma("noise-level"), chroma: sigma("chroma-noise-level") };
    Ok((frames > 0).then_some(noise))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_shells() {
        assert_eq!(quoted("a/b-c.mkv"), "a/b-c.mkv");
        assert_eq!(quoted("my film.mkv"), "'my film.mkv'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
