// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads a video, runs a filter over it and writes it again, with all other streams.

mod depths;
pub(crate) mod durations;
pub(crate) mod path;
mod plain_text;
pub(crate) mod plan;
mod report;
pub(crate) mod streams;
pub(crate) mod trial;

pub(crate) use report::{Report, filter_stats, structure_to_json};

use std::path::{Path, PathBuf};

use gst::prelude::*;
use gst_video::VideoInfo;

use crate::{
    args::{Encoding, Files, ProgressArguments, ProgressMode},
    codec,
    container::{Container, request_pad},
    error::{Result, failed, usage},
    filter::Filter,
    media::{Input, probe::Media},
    output::{check_output, is_standard, note, write_whole},
    pipe,
    progress::{Count, Progress},
    run::{Running, run},
    stop::Stop,
};
use durations::Durations;
use path::{Ends, VideoPath};
use plan::Plan;

/// What to do.
pub(crate) struct Job<'a> {
    /// Name of the command.
    pub(crate) command: &'static str,
    /// Input and output.
    pub(crate) files: &'a Files,
    /// Elements that process the video.
    pub(crate) filter: Filter,
    /// How the video is encoded.
    pub(crate) encoding: &'a Encoding,
    /// What is printed.
    pub(crate) progress: ProgressArguments,
    /// Other files that are read, and must not be the output.
    pub(crate) read: Vec<PathBuf>,
    /// Number of frames from one key frame to the next; by default as the encoder decides.
    pub(crate) key_frame_interval: Option<u32>,
}

impl Job<'_> {
    /// Returns all files that are read.
    pub(crate) fn read_files(&self) -> Vec<&Path> {
        let input = Some(self.files.input.as_path()).filter(|input| !is_standard(input));
        self.read.iter().map(PathBuf::as_path).chain(input).collect()
    }
}

/// The opened input.
enum Source {
    File(Input, Box<Media>, Plan),
    Y4m(Box<pipe::Source>),
}

impl Source {
    fn info(&self) -> &VideoInfo {
        match self {
            Self::File(_, media, _) => &media.info,
            Self::Y4m(source) => source.info(),
        }
    }

    fn is_vp8(&self) -> bool {
        match self {
            Self::File(_, media, _) => media.streams[media.video].type_name() == "video/x-vp8",
            Self::Y4m(_) => false,
        }
    }

    fn caps(&self) -> Result<gst::Caps> {
        match self {
            Self::File(_, media, _) => Ok(media.caps.clone()),
            Self::Y4m(source) => Ok(source.info().to_caps()?),
        }
    }

    fn orientation(&self) -> Option<&str> {
        match self {
            Self::File(_, media, _) => media.orientation.as_deref(),
            Self::Y4m(_) => None,
        }
    }

    fn duration(&self) -> Option<gst::ClockTime> {
        match self {
            Self::File(_, media, _) => media.duration,
            Self::Y4m(_) => None,
        }
    }
}

/// Does the work and prints the report.
///
/// # Errors
/// As [`transcode_silently`].
pub(crate) fn transcode(job: Job<'_>, stop: &Stop) -> Result<()> {
    transcode_silently(&job, stop)?.print(&job)
}

/// Does the work.
///
/// # Errors
/// The input cannot be read, the output cannot be written or would lose properties of the input,
/// an element fails, or a signal arrives. Then nothing is left under the name of the output.
pub(crate) fn transcode_silently(job: &Job<'_>, stop: &Stop) -> Result<Report> {
    let Files { input, output, overwrite } = job.files;
    let container = Container::of(output)?;
    let prints_json = job.progress.report.json || job.progress.progress == ProgressMode::Json;
    if is_standard(output) && prints_json {
        return Err(usage!("the standard output carries the video: leave out --json"));
    }
    codec::check(job.encoding.quality.codec, job.encoding.quality.crf, container)?;
    let kind = Input::of(input)?;
    check_output(output, &job.read_files(), *overwrite)?;
    let source = open(kind, container, job, stop)?;
    let encoding = job.encoding;
    let mut path = VideoPath::choose(
        job.filter.clone(),
        source.caps()?,
        container,
        &encoding.quality,
        encoding.threads,
    )?;
    path.key_frame_interval = job.key_frame_interval;
    let about = if is_standard(input) { "the video".into() } else { input.display().to_string() };
    let work = Work { job, container, path, about, stop };
    if is_standard(output) {
        return work.run(source, None);
    }
    let mut report = None;
    write_whole(output, |temporary| {
        report = Some(work.run(source, Some(temporary))?);
        Ok(())
    })?;
    report.ok_or_else(|| failed!("the work has no result"))
}

/// Opens the input and plans its streams.
fn open(kind: Input, container: Container, job: &Job<'_>, stop: &Stop) -> Result<Source> {
    let Some(path) = kind.path().filter(|_| matches!(kind, Input::File(_))) else {
        return Ok(Source::Y4m(Box::new(pipe::Source::open(&kind, stop)?)));
    };
    let media = Media::probe(path, stop)?;
    if container == Container::Y4m && media.info.fps().numer() == 0 {
        return Err(failed!(
            "{} has a variable frame rate, which y4m cannot express: write a .mkv file",
            path.display()
        ));
    }
    let plan = Plan::new(&media, container, job.encoding.drop_unsupported)?;
    plan.note_dropped();
    Ok(Source::File(kind, Box::new(media), plan))
}

/// A job with all choices made.
struct Work<'a> {
    job: &'a Job<'a>,
    container: Container,
    path: VideoPath,
    about: String,
    stop: &'a Stop,
}

impl Work<'_> {
    /// Writes the output to a file, or to the standard output.
    fn run(&self, source: Source, file: Option<&Path>) -> Result<Report> {
        let kept = trial::Kept {
            caps: self.path.caps.clone(),
            orientation: source.orientation().map(ToOwned::to_owned),
        };
        if let Some(file) = self.muxed(file).filter(|file| file.is_file() || !file.exists()) {
            trial::check(&self.path, self.container, &kept, file, &self.about, self.stop)?;
        }
        let pipeline = Running(gst::Pipeline::new());
        let ends = self.path.add_to(&pipeline.0)?;
        let decoded = count(&ends.first, "sink")?;
        let duration = source.duration();
        let frames = expected_frames(source.info(), duration);
        let streams = match &source {
            Source::File(_, _, plan) => Some(plan.to_json()),
            Source::Y4m(_) => None,
        };
        // VP8 has packets without a frame to show.
        let counts_packets = !source.is_vp8();
        let durations = Durations::default();
        let sink = self.add_output(&pipeline.0, &ends, source, file, &durations)?;
        // Behind the probe that restores durations.
        let encoded = count(&ends.last, "src")?;
        let mut progress =
            Progress::new(self.job.progress.progress, decoded.clone(), duration, frames);
        let result = run(&pipeline, gst::State::Playing, self.stop, &self.about, &mut progress);
        let stats = report::filter_stats(&ends.filter);
        let (rate, elapsed) = (progress.rate(), progress.elapsed());
        drop(progress);
        match sink {
            Some(sink) => sink.finish(result)?,
            None => result?,
        }
        let packets = if counts_packets { durations.noted() } else { 0 };
        self.check_counts(packets, &decoded, &encoded)?;
        if let Some(file) = self.muxed(file) {
            kept.complete(self.container, file)?;
        }
        Ok(Report {
            frames: encoded.frames(),
            time: encoded.time(),
            elapsed,
            rate,
            encoder: self.path.encoder.map(|(encoder, _)| encoder),
            depth: self.path.encoded_depth(),
            streams,
            stats,
        })
    }

    /// Returns the file if a muxer writes it.
    fn muxed<'f>(&self, file: Option<&'f Path>) -> Option<&'f Path> {
        file.filter(|_| self.container != Container::Y4m)
    }

    /// Adds the input and the output. Returns the sink for y4m.
    fn add_output(
        &self,
        pipeline: &gst::Pipeline,
        ends: &Ends,
        source: Source,
        file: Option<&Path>,
        durations: &Durations,
    ) -> Result<Option<pipe::Sink>> {
        let header = match &source {
            Source::Y4m(source) => Some(source.header().clone()),
            Source::File(..) => None,
        };
        let (muxer, sink) = if self.container == Container::Y4m {
            let sink = pipe::Sink::new(file, header)?;
            pipeline.add(&sink.element)?;
            ends.last.link(&sink.element)?;
            (None, Some(sink))
        } else {
            let file = file.ok_or_else(|| failed!("a container needs a file"))?;
            (Some(self.add_muxer(pipeline, &source, ends, file, durations)?), None)
        };
        match source {
            Source::File(input, _, plan) => {
                let ignore_damage = self.job.encoding.ignore_damage;
                let durations = durations.handle();
                let process = |source: &gst::Pad| {
                    streams::decode(pipeline, source, &ends.first, ignore_damage)
                };
                let note = move |pad: &gst::Pad| durations.note_at(pad);
                streams::add_to(pipeline, &input, &plan, muxer.as_ref(), note, process)?;
            }
            Source::Y4m(source) => {
                source.add_to(pipeline)?.link(&ends.first)?;
            }
        }
        Ok(sink)
    }

    /// Adds the muxer, with its pad for the video, and the sink of the file.
    fn add_muxer(
        &self,
        pipeline: &gst::Pipeline,
        source: &Source,
        ends: &Ends,
        file: &Path,
        durations: &Durations,
    ) -> Result<gst::Element> {
        let has_rate = source.info().fps().numer() > 0;
        let (muxer, pad) = add_muxer(pipeline, self.container, file, has_rate)?;
        let last = ends.last.static_pad("src").ok_or_else(|| failed!("there is no encoder"))?;
        durations.handle().restore_at(&last);
        last.link(&pad).map_err(|err| failed!("cannot link the muxer: {err}"))?;
        Ok(muxer)
    }

    /// Checks that every frame has arrived.
    fn check_counts(&self, packets: u64, decoded: &Count, encoded: &Count) -> Result<()> {
        let about = &self.about;
        if decoded.frames() == 0 {
            return Err(failed!("{about} has no video frame: there is nothing to do"));
        }
        let lost = packets.saturating_sub(decoded.frames());
        if lost > 0 && !self.job.encoding.ignore_damage {
            return Err(failed!(
                "{about} is damaged: {lost} of {packets} frames cannot be decoded; \
                 --ignore-damage writes the others"
            ));
        }
        if lost > 0 {
            note(format_args!("cnnvideo: warning: {lost} of {packets} frames are damaged"));
        }
        if decoded.frames() != encoded.frames() {
            return Err(failed!(
                "{about}: {} frames were decoded, but {} encoded; please report this",
                decoded.frames(),
                encoded.frames()
            ));
        }
        let untimed = encoded.frames() - encoded.timed_frames();
        if untimed > 0 {
            return Err(failed!(
                "{about}: {untimed} frames have no timestamp: put it into another container first"
            ));
        }
        Ok(())
    }
}

/// Adds a muxer that writes a file, and returns it with its pad for the video. `has_rate` tells
/// whether the frame rate is constant.
///
/// # Errors
/// An element is missing.
pub(crate) fn add_muxer(
    pipeline: &gst::Pipeline,
    container: Container,
    file: &Path,
    has_rate: bool,
) -> Result<(gst::Element, gst::Pad)> {
    let muxer = container.muxer()?;
    let sink = gst::ElementFactory::make("filesink").property("location", file).build()?;
    pipeline.add_many([&muxer, &sink])?;
    muxer.link(&sink)?;
    let pad = request_pad(&muxer, "video_%u")?;
    if pad.find_property("trak-timescale").is_some() && !has_rate {
        // A multiple of the timescales of Matroska and of MPEG.
        pad.set_property("trak-timescale", 90_000u32);
    }
    Ok((muxer, pad))
}

/// Counts the buffers at a pad of an element.
fn count(element: &gst::Element, pad: &str) -> Result<Count> {
    let pad =
        element.static_pad(pad).ok_or_else(|| failed!("{} has no pad {pad}", element.name()))?;
    Ok(Count::at(&pad))
}

/// Returns the number of frames, if rate and duration are known.
pub(crate) fn expected_frames(info: &VideoInfo, duration: Option<gst::ClockTime>) -> Option<u64> {
    let (rate, scale) = (info.fps().numer(), info.fps().denom());
    if rate <= 0 {
        return None;
    }
    duration?.nseconds().mul_div_round(rate as u64, 1_000_000_000 * scale as u64)
}
