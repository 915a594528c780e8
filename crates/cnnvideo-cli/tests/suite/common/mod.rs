// SPDX-License-Identifier: MIT OR Apache-2.0

//! Helpers of the tests: clips, the packets in files, and runs of the program.

pub(crate) mod server;
#[path = "../../../../../tests/common/temporary.rs"]
mod temporary;

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use gst::prelude::*;
use gst_video::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use temporary::Temporary;

/// A folder of a test, which is removed at its end.
pub(crate) struct Folder(Temporary);

impl Folder {
    /// Creates an empty folder.
    pub(crate) fn new(name: &str) -> Self {
        let folder = Temporary::new(&format!("cli-{name}"));
        fs::create_dir_all(&folder.0).unwrap();
        Self(folder)
    }

    /// Returns the path of a file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    /// Returns the names of all files, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0.0).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Returns the program with arguments, run in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cnnvideo"));
        command.current_dir(&self.0.0).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run(self.command(arguments).output().unwrap())
    }
}

/// The result of a run.
pub(crate) struct Run(pub(crate) Output);

impl Run {
    /// Returns what the program has written to the standard error.
    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Asserts success, and returns the standard output.
    pub(crate) fn success(&self) -> String {
        assert_eq!(self.0.status.code(), Some(0), "{}", self.errors());
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Asserts that the arguments are wrong.
    pub(crate) fn fails_to_parse(&self) {
        assert_eq!(self.0.status.code(), Some(2), "{}", self.errors());
        assert!(self.errors().contains("Usage:"), "{}", self.errors());
    }

    /// Asserts an exit status and a text in the error message, which is a single sentence.
    pub(crate) fn fails(&self, status: i32, expected: &str) {
        let errors = self.errors();
        assert_eq!(self.0.status.code(), Some(status), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        let lines = errors.lines().filter(|line| line.starts_with("cnnvideo: "));
        assert_eq!(lines.count(), 1, "{errors}");
    }
}

/// Runs a pipeline to its end.
pub(crate) fn launch(description: &str) {
    gst::init().unwrap();
    finish(&gst::parse::launch(description).unwrap().downcast().unwrap());
}

/// Waits for the end of a pipeline.
pub(crate) fn finish(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).unwrap();
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &types).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
}

/// Writes a clip of variable frame rate with sound: `tail` takes the video of `caps`, and names the
/// muxer `m`.
pub(crate) fn vfr_clip(caps: &str, frames: u64, tail: &str) {
    gst::init().unwrap();
    let description = format!(
        "appsrc name=source format=time caps=\"{caps}\" ! queue ! {tail} \
         audiotestsrc num-buffers={} samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 ! \
         opusenc ! queue ! m.",
        frames * 2
    );
    let pipeline: gst::Pipeline = gst::parse::launch(&description).unwrap().downcast().unwrap();
    let source: gst_app::AppSrc = pipeline.by_name("source").unwrap().downcast().unwrap();
    let info = gst_video::VideoInfo::from_caps(&source.caps().unwrap()).unwrap();
    let mut time = gst::ClockTime::ZERO;
    for frame in 0..frames {
        let duration = gst::ClockTime::from_mseconds([33, 40, 17, 100][frame as usize % 4]);
        let sample = |i: usize| (frame as usize * 3 + i % 97 * 2) as u8;
        let mut buffer =
            gst::Buffer::from_mut_slice((0..info.size()).map(sample).collect::<Vec<_>>());
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(time);
        writable.set_duration(duration);
        time += duration;
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    finish(&pipeline);
}

/// Writes a clip without loss: scenes of `frames` frames at 25 frames a second, each with noise of
/// its own.
pub(crate) fn noisy_scenes(path: &Path, frames: usize, scenes: usize) {
    const SIZE: [usize; 2] = [128, 96];
    gst::init().unwrap();
    let description = format!(
        "appsrc name=source format=time \
         caps=video/x-raw,format=I420,width={},height={},framerate=25/1 ! avenc_ffv1 ! matroskamux \
         ! filesink location=\"{}\"",
        SIZE[0],
        SIZE[1],
        path.display()
    );
    let pipeline: gst::Pipeline = gst::parse::launch(&description).unwrap().downcast().unwrap();
    let source: gst_app::AppSrc = pipeline.by_name("source").unwrap().downcast().unwrap();
    let mut random = StdRng::seed_from_u64(5);
    for frame in 0..frames * scenes {
        let scene = (frame / frames) as f32;
        let amplitude = 8.0 + 8.0 * scene;
        let mut data = vec![128u8; SIZE[0] * SIZE[1] * 3 / 2];
        for (i, sample) in data[..SIZE[0] * SIZE[1]].iter_mut().enumerate() {
            let (x, y) = ((i % SIZE[0]) as f32, (i / SIZE[0]) as f32);
            let (x, y) = (x + (frame % frames) as f32, y * (1.0 + scene));
            let value = 60.0 + 50.0 * scene + 40.0 * (x / 17.0 + scene).sin() * (y / 23.0).cos();
            let noise = random.random_range(-amplitude..amplitude);
            *sample = (value + noise).clamp(0.0, 255.0) as u8;
        }
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(gst::ClockTime::from_mseconds(40) * frame as u64);
        writable.set_duration(gst::ClockTime::from_mseconds(40));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    finish(&pipeline);
}

/// Writes a clip with texture that can hold a watermark.
pub(crate) fn textured_clip(path: &Path) {
    launch(&format!(
        "videotestsrc pattern=snow num-buffers=30 ! video/x-raw,width=160,height=90,framerate=25/1 \
         ! videoscale method=bilinear ! video/x-raw,format=I420,width=640,height=360 ! \
         avenc_ffv1 ! matroskamux ! filesink location={}",
        path.display()
    ));
}

/// Writes the usual clip: Matroska, H.264 with B frames, Opus.
pub(crate) fn usual_clip(path: &Path) {
    usual_clip_of(path, 24);
}

/// Writes the usual clip with a number of frames.
pub(crate) fn usual_clip_of(path: &Path, frames: u64) {
    vfr_clip(
        "video/x-raw,format=I420,width=96,height=64,framerate=0/1",
        frames,
        &format!(
            "x264enc bframes=2 ! matroskamux name=m ! filesink location=\"{}\"",
            path.display()
        ),
    );
}

/// A packet of a stream: running time, duration, hash of its data.
pub(crate) type Packet = (Option<gst::ClockTime>, Option<gst::ClockTime>, u64);

/// Returns the packets of each stream of a file as its demultiplexer gives them, by the name of its
/// pad; headers left out.
pub(crate) fn packets(path: &Path) -> BTreeMap<String, Vec<Packet>> {
    let demultiplexer = match path.extension().unwrap().to_str().unwrap() {
        "mkv" | "webm" => "matroskademux",
        "mp4" | "mov" => "qtdemux",
        other => panic!("no demultiplexer for {other}"),
    };
    gst::init().unwrap();
    let text = format!("filesrc location={} ! {demultiplexer} name=d", path.display());
    let pipeline: gst::Pipeline = gst::parse::launch(&text).unwrap().downcast().unwrap();
    let packets = Arc::new(Mutex::new(BTreeMap::<String, Vec<Packet>>::new()));
    let weak = pipeline.downgrade();
    let found = Arc::clone(&packets);
    pipeline.by_name("d").unwrap().connect_pad_added(move |_, pad| {
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()
            .unwrap();
        weak.upgrade().unwrap().add(&sink).unwrap();
        sink.sync_state_with_parent().unwrap();
        pad.link(&sink.static_pad("sink").unwrap()).unwrap();
        found.lock().unwrap().insert(pad.name().to_string(), Vec::new());
        let found = Arc::clone(&found);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let buffer = info.buffer().unwrap();
            if !buffer.flags().contains(gst::BufferFlags::HEADER) {
                let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
                let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap().clone();
                let mut hasher = DefaultHasher::new();
                buffer.map_readable().unwrap().as_slice().hash(&mut hasher);
                let packet =
                    (segment.to_running_time(buffer.pts()), buffer.duration(), hasher.finish());
                found.lock().unwrap().get_mut(pad.name().as_str()).unwrap().push(packet);
            }
            gst::PadProbeReturn::Ok
        });
    });
    finish(&pipeline);
    packets.lock().unwrap().clone()
}

/// Returns the times and durations of packets in the order of presentation.
pub(crate) fn times(packets: &[Packet]) -> Vec<(Option<gst::ClockTime>, Option<gst::ClockTime>)> {
    let mut times: Vec<_> = packets.iter().map(|(pts, duration, _)| (*pts, *duration)).collect();
    times.sort();
    times
}

/// Starts a pipeline that decodes the video of a file; returns it with its sink.
fn decode(path: &Path) -> (gst::Pipeline, gst_app::AppSink) {
    gst::init().unwrap();
    let text = format!(
        "filesrc location={} ! decodebin name=d d. ! video/x-raw ! appsink name=s sync=false",
        path.display()
    );
    let pipeline: gst::Pipeline = gst::parse::launch(&text).unwrap().downcast().unwrap();
    let sink = pipeline.by_name("s").unwrap().downcast().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    (pipeline, sink)
}

/// Returns the times of the decoded frames of a file in the video, and the hashes of their samples.
pub(crate) fn decoded(path: &Path) -> Vec<(Option<gst::ClockTime>, u64)> {
    let (pipeline, sink) = decode(path);
    let mut frames = Vec::new();
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(20)) {
        let segment = sample.segment().unwrap().downcast_ref::<gst::ClockTime>().unwrap();
        let buffer = sample.buffer().unwrap();
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).unwrap();
        let mut hasher = DefaultHasher::new();
        for plane in 0..info.n_planes() {
            // Without the padding of rows.
            let stride = frame.plane_stride()[plane as usize] as usize;
            let width = frame.comp_width(plane) as usize * frame.comp_pstride(plane) as usize;
            for row in frame.plane_data(plane).unwrap().chunks(stride) {
                row[..width.min(row.len())].hash(&mut hasher);
            }
        }
        frames.push((segment.to_running_time(buffer.pts()), hasher.finish()));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    frames
}

/// Returns the caps of the decoded video of a file.
pub(crate) fn decoded_caps(path: &Path) -> gst::Caps {
    let (pipeline, sink) = decode(path);
    let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(20)).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    sample.caps_owned().unwrap()
}
