// SPDX-License-Identifier: MIT OR Apache-2.0

//! Finds out what is in a file: its streams, and the format of its first video frame.

use std::path::Path;

use gst::prelude::*;
use gst_video::VideoInfo;

use super::{
    Input,
    decode::{self, Decode, add_sink},
    demux::{Kind, Shared},
};
use crate::{
    error::{Result, failed},
    explain, pipe,
    run::{Next, Observer, Running, run},
    stop::Stop,
};

/// A stream of a file.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Identifies the stream each time that the file is opened.
    pub(crate) id: String,
    /// Kind of the stream.
    pub(crate) kind: Kind,
    /// Caps of the encoded stream.
    pub(crate) caps: gst::Caps,
}

/// What is in a file.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    /// All streams in the order of the file.
    pub(crate) streams: Vec<Stream>,
    /// Index of the video stream to process.
    pub(crate) video: usize,
    /// Caps of its decoded frames.
    pub(crate) caps: gst::Caps,
    /// The same caps, parsed.
    pub(crate) info: VideoInfo,
    /// How the picture is to be rotated or mirrored, as in the tag `image-orientation`.
    pub(crate) orientation: Option<String>,
    /// Length of the file, if it is known.
    pub(crate) duration: Option<gst::ClockTime>,
}

/// What the callbacks of the pipeline have found.
#[derive(Default)]
struct Found {
    streams: Vec<Stream>,
    video: Option<usize>,
    all_streams: bool,
    frame: Option<gst::Caps>,
    has_time: bool,
    orientation: Option<String>,
}

impl Media {
    /// Finds out what is in a file of any kind.
    ///
    /// # Errors
    /// As [`Self::probe`]; or it is the standard input.
    pub(crate) fn of(input: &Input, stop: &Stop) -> Result<Self> {
        match input {
            Input::File(path) => Self::probe(path, stop),
            Input::Y4m(path) => Self::of_y4m(path),
            Input::Standard => Err(failed!("the standard input is not a file")),
        }
    }

    /// Reads the header of a y4m file.
    fn of_y4m(path: &Path) -> Result<Self> {
        let source = pipe::Source::open_at(path, 0)?;
        let (header, info) = (source.header(), source.info().clone());
        let caps = info.to_caps()?;
        // Lines between the frames have some bytes too.
        let frames = path.metadata()?.len() / header.frame_len() as u64;
        let [rate, scale] = header.rate.map(u64::from);
        let duration = frames.mul_div_floor(1_000_000_000 * scale, rate);
        Ok(Self {
            streams: vec![Stream { id: String::new(), kind: Kind::Video, caps: caps.clone() }],
            video: 0,
            caps,
            info,
            orientation: None,
            duration: duration.map(gst::ClockTime::from_nseconds),
        })
    }

    /// Opens a file and decodes its first frame.
    ///
    /// # Errors
    /// It is not a video that can be decoded, or has no frame.
    pub(crate) fn probe(file: &Path, stop: &Stop) -> Result<Self> {
        Self::probe_by(&Running(gst::Pipeline::new()), file, stop)
    }

    /// Does the same with a new pipeline. The pipeline still runs when this returns.
    fn probe_by(pipeline: &Running, file: &Path, stop: &Stop) -> Result<Self> {
        let about = file.display().to_string();
        let found = Shared::<Found>::default();
        let (streams, frames) = (found.clone(), found.clone());
        let decode = Decode::add_to(
            &pipeline.0,
            file,
            move |pad, is_main| note_stream(pad, is_main, &streams),
            move |pipeline, pad| {
                note_first_frame(pipeline, pad, &frames);
                add_sink(pipeline, pad)
            },
            |_| (),
        )?;
        let (all, weak) = (found.clone(), pipeline.0.downgrade());
        decode.after_streams(move || {
            all.with(|found| found.all_streams = true);
            wake(&weak);
        });
        let mut observer = FirstFrame { found: &found, missing: None };
        run(pipeline, gst::State::Playing, stop, &about, &mut observer)?;
        let duration = pipeline.0.query_duration::<gst::ClockTime>();
        // The last stream may have ended the wait before its message was read.
        let rest = pipeline.0.bus().into_iter().flat_map(|bus| {
            std::iter::from_fn(move || bus.pop_filtered(&[gst::MessageType::Element]))
        });
        let rest = rest.filter_map(|message| explain::missing_plugin(message.structure()?)).last();
        let missing = rest.or(observer.missing);
        found.with(|found| found.media(&about, duration, missing.as_deref()))
    }
}

impl Found {
    fn media(
        &mut self,
        about: &str,
        duration: Option<gst::ClockTime>,
        missing: Option<&str>,
    ) -> Result<Media> {
        // A video stream that nothing can decode is not offered.
        let video = self.video.ok_or_else(|| match missing {
            Some(missing) => explain::no_decoder(about, missing),
            None => failed!("{about} has no video stream"),
        })?;
        let caps = self.frame.take().ok_or_else(|| failed!("{about} has no video frame"))?;
        if !self.has_time {
            return Err(failed!(
                "the frames of {about} have no timestamps: put it into another container first \
                 (ffmpeg -fflags +genpts -i IN -c copy OUT.mkv)"
            ));
        }
        let info = VideoInfo::from_caps(&caps)
            .map_err(|_| failed!("{about}: the decoder gives {caps}, which is not raw video"))?;
        Ok(Media {
            streams: std::mem::take(&mut self.streams),
            video,
            caps,
            info,
            orientation: self.orientation.take(),
            duration,
        })
    }
}

/// Waits for the first frame and all streams.
struct FirstFrame<'a> {
    found: &'a Shared<Found>,
    /// The plugin that an element has missed.
    missing: Option<String>,
}

impl Observer for FirstFrame<'_> {
    fn missing_plugin(&mut self, name: &str) {
        self.missing = Some(name.to_owned());
    }

    fn tick(&mut self) -> Result<Next> {
        let complete = self
            .found
            .with(|found| found.all_streams && (found.video.is_none() || found.frame.is_some()));
        Ok(if complete { Next::Finish } else { Next::Continue })
    }
}

/// Notes a stream.
fn note_stream(pad: &gst::Pad, is_main: bool, found: &Shared<Found>) {
    let caps = decode::caps(pad);
    let id = pad.stream_id().map(|id| id.to_string()).unwrap_or_default();
    found.with(|found| {
        if is_main {
            found.video = Some(found.streams.len());
        }
        found.streams.push(Stream { id, kind: Kind::of(&caps), caps });
    });
    if is_main {
        watch_orientation(pad, found);
    }
}

/// Notes the caps of the first frame that leaves a pad.
fn note_first_frame(pipeline: &gst::Pipeline, pad: &gst::Pad, found: &Shared<Found>) {
    let (found, pipeline) = (found.clone(), pipeline.downgrade());
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        found.with(|found| {
            found.frame = pad.current_caps();
            found.has_time = info.buffer().is_some_and(|buffer| buffer.pts().is_some());
        });
        wake(&pipeline);
        gst::PadProbeReturn::Remove
    });
}

/// Lets the loop that runs a pipeline look at what was found.
fn wake(pipeline: &glib::WeakRef<gst::Pipeline>) {
    if let Some(pipeline) = pipeline.upgrade() {
        let message = gst::message::Application::new(gst::Structure::new_empty("found"));
        // A bus that is closed belongs to a pipeline that stops.
        let _ = pipeline.post_message(message);
    }
}

/// Notes the tag that tells how to rotate the picture.
fn watch_orientation(pad: &gst::Pad, found: &Shared<Found>) {
    let found = found.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Tag(tag)) = info.event().map(|event| event.view())
            && let Some(orientation) = tag.tag().get::<gst::tags::ImageOrientation>()
        {
            let orientation = orientation.get().to_owned();
            found.with(|found| found.orientation = Some(orientation));
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, io::Write, process::Command, sync::mpsc::channel, thread, time::Duration};

    use super::*;

    /// Writes a clip with sound, of some seconds.
    fn write_clip(path: &Path) {
        let description = format!(
            "videotestsrc num-buffers=200 ! video/x-raw,format=I420,width=160,height=120 ! \
             x264enc ! matroskamux streamable=true name=m ! filesink location=\"{}\" \
             audiotestsrc num-buffers=300 ! opusenc ! m.",
            path.display()
        );
        let pipeline = gst::parse::launch(&description).unwrap().downcast().unwrap();
        let pipeline = Running(pipeline);
        let stop = Stop::watch().unwrap();
        run(&pipeline, gst::State::Playing, &stop, "the clip", &mut Ignore).unwrap();
    }

    struct Ignore;
    impl Observer for Ignore {}

    #[test]
    fn the_probe_reads_only_the_beginning() {
        crate::init().unwrap();
        let folder = std::env::temp_dir().join(format!("cnnvideo-probe-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (clip, pipe) = (folder.join("clip.mkv"), folder.join("pipe"));
        write_clip(&clip);
        let content = fs::read(&clip).unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (done, is_done) = channel();
        let writer = thread::spawn({
            let pipe = pipe.clone();
            move || {
                // The file may be opened more than once. Without a reader in between, the pipe
                // would lose what is in it.
                let mut pipe = fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap();
                // The reader may have enough already.
                let _ = pipe.write_all(&content[..content.len() / 2]);
                // The rest never comes.
                is_done.recv_timeout(Duration::from_secs(60)).is_ok()
            }
        });
        let pipeline = Running(gst::Pipeline::new());
        let media = Media::probe_by(&pipeline, &pipe, &Stop::watch().unwrap());
        done.send(()).unwrap();
        assert!(writer.join().unwrap(), "the probe waits for the end");
        // It cannot stop while it waits for the pipe, which the writer has closed.
        drop(pipeline);
        assert_eq!(media.unwrap().streams.len(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
