// SPDX-License-Identifier: MIT OR Apache-2.0

//! The thread that measures how much the picture differs from the input, or from a reference file.
//!
//! It works on the newest pair only: while frames pass faster than it measures, some are left out.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cnnvideo::{
    frame::{Format, Picture, Plane},
    quality::{Comparison, Histogram},
};
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};
use serde_json::{Map, Value, json};

use super::{
    converter::Converter,
    decoder::{Decoder, Next, duration},
    frame::{Frame, Pair},
    outbox::Outbox,
    source::Source,
};
use crate::{
    access::Access,
    problem::{Problem, Result},
};

/// Values of luma that share a bar of a histogram.
const BAR: usize = 4;
/// Reference frames that are decoded and left out rather than to seek.
const LEFT_OUT: u64 = 50;
/// How long to wait for a reference frame, and how often.
const WAIT: gst::ClockTime = gst::ClockTime::from_mseconds(50);
const WAITS: u32 = 100;

#[derive(Default)]
struct State {
    newest: Option<(u64, Pair)>,
    reference: Option<Option<Decoder>>,
    ended: bool,
}

/// The pair that waits for the thread.
pub(crate) struct Meter {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Meter {
    /// Starts the thread, which ends with the value that this returns.
    ///
    /// # Errors
    /// The system provides no threads.
    pub(crate) fn start(outbox: Arc<Outbox>) -> Result<Self> {
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let own = Arc::clone(&state);
        let mut work = Work::new()?;
        let run = move || {
            while let Some((opening, pair, reference)) = next(&own) {
                if let Some(reference) = reference {
                    work.reference = reference;
                    work.held = None;
                }
                match work.measure(&pair) {
                    Ok(measured) => {
                        let seconds = pair.before.time().nseconds() as f64 / 1e9;
                        outbox.event(&json!({
                            "type": "quality", "opening": opening, "seconds": seconds,
                            "values": measured.values, "histograms": measured.histograms,
                        }));
                    }
                    Err(problem) => {
                        outbox.event(&json!({"type": "problem", "problem": problem}));
                    }
                }
            }
        };
        std::thread::Builder::new().name("studio-quality".to_owned()).spawn(run).map_err(
            |err| {
                Problem::new(
                    format!("the system provides no thread: {err}"),
                    "close other programs",
                )
            },
        )?;
        Ok(Self { state })
    }

    /// Compares with a file from now on, or with the input.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn set_reference(&self, path: Option<String>, access: &Access) -> Result<()> {
        let source = path.filter(|path| !path.is_empty()).map(|path| Source::File { path });
        let decoder = source.map(|source| Decoder::open(&source, access)).transpose()?;
        lock(&self.state.0).reference = Some(decoder);
        Ok(())
    }

    /// Replaces the pair to measure.
    pub(crate) fn measure(&self, opening: u64, pair: Pair) {
        lock(&self.state.0).newest = Some((opening, pair));
        self.state.1.notify_all();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        lock(&self.state.0).ended = true;
        self.state.1.notify_all();
    }
}

type Job = (u64, Pair, Option<Option<Decoder>>);

/// Waits for a pair; returns `None` at the end.
fn next(state: &(Mutex<State>, Condvar)) -> Option<Job> {
    let mut locked = lock(&state.0);
    loop {
        if locked.ended {
            return None;
        }
        if let Some((opening, pair)) = locked.newest.take() {
            return Some((opening, pair, locked.reference.take()));
        }
        locked = state.1.wait(locked).unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of a comparison.
struct Measured {
    /// Measures by name.
    values: Map<String, Value>,
    /// Histograms of luma of both pictures.
    histograms: [Vec<f64>; 2],
}

/// State of the thread.
struct Work {
    comparison: Comparison,
    reference: Option<Decoder>,
    /// The reference frame decoded last.
    held: Option<Frame>,
    /// To 8 bits in 4:2:0.
    converters: [Converter; 2],
}

impl Work {
    fn new() -> Result<Self> {
        let comparison = Comparison::new(0)
            .map_err(|err| Problem::new(format!("no measures: {err}"), "close other programs"))?;
        let caps = gst::Caps::builder("video/x-raw").field("format", "I420").build();
        let converters = [(); 2].map(|()| Converter::to(caps.clone()));
        Ok(Self { comparison, reference: None, held: None, converters })
    }

    /// Returns the measures, and the histograms of both pictures.
    fn measure(&mut self, pair: &Pair) -> Result<Measured> {
        let reference = match &self.reference {
            Some(_) => self.reference_frame(&pair.before)?,
            None => pair.before.clone(),
        };
        let [first, second] = &mut self.converters;
        let (reference, test) = (first.convert(&reference)?, second.convert(&pair.after)?);
        let comparison = &mut self.comparison;
        with_picture(&reference, |reference| {
            with_picture(&test, |test| {
                let measures = comparison
                    .measure(reference, test)
                    .map_err(|err| Problem::new(err.to_string(), "choose another reference"))?;
                let named = measures.named().into_iter();
                let values = named.map(|(name, value)| (name.to_owned(), json!(value))).collect();
                Ok(Measured { values, histograms: [bars(reference), bars(test)] })
            })
        })
    }

    /// Returns the reference frame at the time of a frame.
    fn reference_frame(&mut self, at: &Frame) -> Result<Frame> {
        let decoder = self.reference.as_ref().ok_or_else(no_frame)?;
        let (time, frame) = (at.time(), duration(at));
        if self.held.is_none() {
            // A pipeline that has no frame yet does not seek.
            self.held = next_frame(decoder)?;
        }
        let ahead = |held: &Frame| time.saturating_sub(held.time()) <= frame * LEFT_OUT;
        let near =
            self.held.as_ref().is_some_and(|held| held.time() <= time + frame / 2 && ahead(held));
        if !near {
            decoder.seek(time)?;
            self.held = next_frame(decoder)?;
        }
        while let Some(held) = &self.held {
            if held.time() + frame / 2 >= time {
                return Ok(held.clone());
            }
            self.held = next_frame(decoder)?;
        }
        Err(no_frame())
    }
}

/// Waits for the next frame of a reference; returns `None` at its end.
fn next_frame(decoder: &Decoder) -> Result<Option<Frame>> {
    for _ in 0..WAITS {
        match decoder.next(WAIT)? {
            Next::Frame(frame) => return Ok(Some(frame)),
            Next::Wait => (),
            Next::End => return Ok(None),
        }
    }
    Err(Problem::new("the reference is decoded too slowly", "choose another reference"))
}

fn no_frame() -> Problem {
    Problem::new("the reference has no frame of this time", "choose another reference")
}

/// Calls a function with the samples of a frame in 4:2:0.
fn with_picture<T>(frame: &Frame, work: impl FnOnce(&Picture<'_, u8>) -> Result<T>) -> Result<T> {
    let info = VideoInfo::from_caps(&frame.caps)?;
    let view = VideoFrameRef::from_buffer_ref_readable(&frame.buffer, &info)?;
    let mut planes = Vec::with_capacity(3);
    for (index, stride) in view.plane_stride().iter().enumerate() {
        let samples = view.plane_data(index as u32).map_err(|_| no_frame())?;
        planes.push(Plane::new(samples, *stride as usize));
    }
    let (width, height) = (info.width() as usize, info.height() as usize);
    let picture = Picture::new(Format::I420, width, height, &planes)
        .map_err(|err| Problem::new(err.to_string(), "open another video"))?;
    work(&picture)
}

/// Returns the histogram of luma, in bars of a few values.
fn bars(picture: &Picture<'_, u8>) -> Vec<f64> {
    let Some(luma) = picture.components.first() else { return Vec::new() };
    let histogram = Histogram::from_plane(&luma.mapv(f32::from).view());
    histogram.frequencies().chunks(BAR).map(|bar| bar.iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use gst::prelude::*;

    use super::*;

    /// Writes a clip of 64x48 and 25 frames a second.
    fn make_clip(path: &Path, frames: u32) {
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc num-buffers={frames} ! video/x-raw,width=64,height=48,framerate=25/1 \
             ! jpegenc ! matroskamux ! filesink location={}",
            path.display()
        ))
        .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let types = [gst::MessageType::Eos, gst::MessageType::Error];
        let end =
            pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(30), &types);
        assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos));
        pipeline.set_state(gst::State::Null).unwrap();
    }

    fn frame_at(time: gst::ClockTime) -> Frame {
        let mut buffer = gst::Buffer::new();
        buffer.make_mut().set_pts(time);
        let caps = gst::Caps::builder("video/x-raw").field("framerate", gst::Fraction::new(25, 1));
        Frame { buffer, caps: caps.build() }
    }

    #[test]
    fn a_reference_gives_frames_as_soon_as_it_is_open() {
        gst::init().unwrap();
        let folder = std::env::temp_dir().join(format!("studio-quality-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("clip.mkv");
        make_clip(&path, 100);
        let access = Access::new(std::slice::from_ref(&folder)).unwrap();
        let source = Source::File { path: path.to_str().unwrap().to_owned() };
        for milliseconds in [0, 200, 3200] {
            let time = gst::ClockTime::from_mseconds(milliseconds);
            let mut work = Work::new().unwrap();
            work.reference = Some(Decoder::open(&source, &access).unwrap());
            let frame = work.reference_frame(&frame_at(time)).unwrap();
            assert_eq!(frame.time(), time);
            // Back again, after its end.
            while work.held.is_some() {
                work.held = next_frame(work.reference.as_ref().unwrap()).unwrap();
            }
            let frame = work.reference_frame(&frame_at(time)).unwrap();
            assert_eq!(frame.time(), time);
        }
        let _ = fs::remove_dir_all(folder);
    }
}
