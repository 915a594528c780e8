// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes the frames of a chunk and encodes them into a file.

use std::{path::Path, thread};

use gst::prelude::*;

use super::{
    elements,
    plan::{Chunk, ChunkPlan, Time},
    reader::{RangeOfFrames, Reader, TOLERANCE},
};
use crate::{
    args::ProgressMode,
    error::{Result, failed},
    media::{Input, demux::Shared},
    progress::{Count, Progress},
    run::{Running, run},
    stop::Stop,
    transcode::{add_muxer, durations::running_time, path::Ends},
};

/// Frames that wait for the filter.
const QUEUED_FRAMES: u64 = 3;

/// The encoded video of a chunk.
pub(crate) struct Encoded {
    /// Caps of the packets.
    pub(crate) caps: String,
    /// For each packet in the order of the file, the number of its frame in the chunk.
    pub(crate) order: Vec<u32>,
    /// Frames per second.
    pub(crate) rate: f64,
}

/// Writes the file of a chunk.
///
/// # Errors
/// Frames cannot be read, processed, encoded or written, the filter changes their number or times,
/// or a signal arrives.
pub(crate) fn encode(
    plan: &ChunkPlan,
    number: usize,
    file: &Path,
    threads: Option<u32>,
    progress: ProgressMode,
    stop: &Stop,
) -> Result<Encoded> {
    let chunk = plan.chunk(number)?;
    let first = chunk.first_frame - chunk.warm_up;
    let end = (chunk.first_frame + chunk.frames).saturating_add(chunk.future);
    let timestamps = plan.timestamps();
    let input = Input::of(plan.input.path())?;
    let reader = Reader::new(input, plan.ignore_damage, timestamps, plan.offset);
    let frames = reader.range(first..end, stop)?;

    let pipeline = Running(gst::Pipeline::new());
    let source = gst_app::AppSrc::builder()
        .caps(&frames.caps()?)
        .format(gst::Format::Time)
        .block(true)
        .max_buffers(QUEUED_FRAMES)
        .max_bytes(0)
        .build();
    pipeline.0.add(&source)?;
    let ends = plan.path(threads)?.add_to(&pipeline.0)?;
    source.link(&ends.first)?;
    elements::prepare(&ends.filter, plan, first, threads)?;
    keep_frames_of(chunk, &ends)?;
    let written = Written::note(plan, chunk, &pipeline.0, &ends, file)?;
    let step = format!("chunk {number} (last: {})", plan.chunks.len() - 1);
    let last = pad(&ends.last, "src")?;
    let mut progress =
        Progress::new(progress, Count::at(&last), None, Some(chunk.frames)).of_step(step);
    let about = reader.about();
    let feeder = thread::spawn({
        let pipeline = pipeline.0.clone();
        move || feed(frames, &source, &pipeline)
    });
    let result = run(&pipeline, gst::State::Playing, stop, &about, &mut progress);
    let rate = progress.rate();
    drop((progress, pipeline));
    // The source takes no more frames, which ends the thread.
    let fed = feeder.join().unwrap_or_else(|_| Err(failed!("the reading thread has failed")));
    fed?;
    result?;
    written.finish(chunk, rate)
}

/// Passes frames to the pipeline. A failure ends the pipeline.
fn feed(
    mut frames: RangeOfFrames,
    source: &gst_app::AppSrc,
    pipeline: &gst::Pipeline,
) -> Result<()> {
    let mut feed = || {
        while let Some((buffer, caps)) = frames.next()? {
            if source.caps().as_ref() != Some(&caps) {
                source.set_caps(Some(&caps));
            }
            // The pipeline has ended, and tells why.
            if source.push_buffer(buffer).is_err() {
                return Ok(());
            }
        }
        let _ = source.end_of_stream();
        Ok(())
    };
    let result = feed();
    if let Err(failure) = &result {
        gst::element_error!(pipeline, gst::ResourceError::Read, ("{failure}"));
    }
    result
}

/// Discards the output for the frames before and behind a chunk.
fn keep_frames_of(chunk: &Chunk, ends: &Ends) -> Result<()> {
    let range = chunk.first_pts..=chunk.last_pts;
    pad(&ends.filter, "src")?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let time = info.buffer().and_then(|buffer| running_time(pad, buffer));
        match time {
            Some(time) if !range.contains(&time.nseconds()) => gst::PadProbeReturn::Drop,
            _ => gst::PadProbeReturn::Ok,
        }
    });
    Ok(())
}

/// Notes what is written.
struct Written {
    numbers: Shared<Vec<Option<usize>>>,
    caps: Shared<Option<gst::Caps>>,
}

impl Written {
    /// Adds the muxer and the sink, and notes the packets.
    fn note(
        plan: &ChunkPlan,
        chunk: &Chunk,
        pipeline: &gst::Pipeline,
        ends: &Ends,
        file: &Path,
    ) -> Result<Self> {
        let (_, muxer_pad) = add_muxer(pipeline, plan.container()?, file, false)?;
        let last = pad(&ends.last, "src")?;
        let numbers = Shared::new(Vec::with_capacity(chunk.times.len()));
        let caps = Shared::new(None);
        let (noted, noted_caps, muxer_end) = (numbers.clone(), caps.clone(), muxer_pad.clone());
        let frames = chunk.times.clone();
        last.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
            let number = running_time(pad, buffer).and_then(|time| number(&frames, time));
            // Encoders change durations, and qtdemux drops a last frame without one.
            let duration = number.and_then(|number| frames[number].1);
            if let Some(duration) = duration.map(gst::ClockTime::from_nseconds) {
                buffer.make_mut().set_duration(duration);
            }
            noted.with(|numbers| numbers.push(number));
            // The caps without what is left to the stream itself.
            noted_caps.with(|caps| *caps = muxer_end.current_caps());
            gst::PadProbeReturn::Ok
        });
        last.link(&muxer_pad).map_err(|err| failed!("cannot link the muxer: {err}"))?;
        Ok(Self { numbers, caps })
    }

    /// Returns the result.
    fn finish(self, chunk: &Chunk, rate: f64) -> Result<Encoded> {
        let numbers = self.numbers.with(std::mem::take);
        let order = order(chunk.times.len(), &numbers).ok_or_else(|| {
            failed!(
                "the filter gives {} frames for the {} frames of the chunk, or other times: only \
                 filters that keep the frames can be divided",
                numbers.len(),
                chunk.frames
            )
        })?;
        let caps = self.caps.with(std::mem::take).ok_or_else(|| failed!("the chunk is empty"))?;
        Ok(Encoded { caps: caps.to_string(), order, rate })
    }
}

/// Returns the number of the frame at a time, in frames that are sorted by their times.
fn number(frames: &[Time], time: gst::ClockTime) -> Option<usize> {
    let time = time.nseconds();
    let number = frames.partition_point(|(pts, _)| *pts + TOLERANCE < time);
    frames.get(number).filter(|(pts, _)| pts.abs_diff(time) <= TOLERANCE).map(|_| number)
}

/// Returns the number of the frame of each packet; `None` if they are not all frames of a chunk of
/// `frames` frames, each once.
fn order(frames: usize, numbers: &[Option<usize>]) -> Option<Vec<u32>> {
    let order = numbers.iter().map(|number| u32::try_from((*number)?).ok());
    let order: Vec<u32> = order.collect::<Option<_>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.iter().copied().eq(0..frames as u32).then_some(order)
}

fn pad(element: &gst::Element, name: &str) -> Result<gst::Pad> {
    element.static_pad(name).ok_or_else(|| failed!("{} has no pad {name}", element.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_matched_with_frames() {
        let frames = [0, 40_000_000, 57_000_000].map(|time| (time, None));
        let of = |times: &[u64]| {
            let time = |time: &u64| number(&frames, gst::ClockTime::from_nseconds(*time));
            order(3, &times.iter().map(time).collect::<Vec<_>>())
        };
        assert_eq!(of(&[0, 57_000_000, 40_000_001]), Some(vec![0, 2, 1]));
        assert_eq!(of(&[0, 57_000_000]), None);
        assert_eq!(of(&[0, 57_000_000, 57_000_000]), None);
        assert_eq!(of(&[0, 57_000_000, 41_000_000]), None);
        assert_eq!(of(&[0, 40_000_000, 57_000_000, 97_000_000]), None);
    }
}
