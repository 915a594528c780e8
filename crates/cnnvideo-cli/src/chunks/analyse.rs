// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes a video once: the times of its frames, and its cuts.

use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};

use super::{
    cuts::{CutDetector, SIZE},
    plan::Time,
};
use crate::{
    error::{Result, failed},
    media::{
        Input,
        frames::{Frame, FrameSource, Frames},
    },
    output::note,
    progress::{Count, Progress},
    run::Observer,
    stop::Stop,
    transcode::durations::Durations,
};

/// Elements that make the small pictures of the cut detector.
const REDUCE: &str = "videoscale ! videoconvert ! \
    capsfilter caps=video/x-raw,format=GRAY8,width=64,height=36,pixel-aspect-ratio=1/1";

/// What the planner knows about a video.
pub(crate) struct Analysis {
    /// Times of all frames.
    pub(crate) times: Vec<Time>,
    /// Time of a frame in the file minus its time in the plan, in nanoseconds.
    pub(crate) offset: i64,
    /// Numbers of the frames that begin a shot, without frame 0.
    pub(crate) cuts: Vec<u64>,
}

/// Decodes a video. `counts_packets` is whether each of its packets has a frame. `progress` makes
/// the report of the progress of a count of frames.
///
/// # Errors
/// The video is damaged and `ignore_damage` is false, it has frames without or with equal
/// timestamps, or a signal arrives.
pub(crate) fn analyse(
    input: &Input,
    ignore_damage: bool,
    counts_packets: bool,
    progress: impl FnOnce(Count) -> Progress,
    stop: &Stop,
) -> Result<Analysis> {
    let about = input.name();
    let durations = Durations::default();
    let noted = durations.handle();
    let source = FrameSource { input: input.clone(), ignore_damage, elements: REDUCE };
    let mut frames = Frames::open(&source, stop, move |pad| noted.note_at(pad))?;
    let mut progress = progress(Count::at(&frames.pad()?));
    let mut detector = CutDetector::default();
    let (mut times, mut offset) = (Vec::<Time>::new(), None);
    while let Some(frame) = frames.next()? {
        progress.tick()?;
        detector.push(luma(&frame)?);
        let own_offset = frame.stream_time as i64 - frame.running_time as i64;
        if *offset.get_or_insert(own_offset) != own_offset {
            return Err(failed!(
                "{about} has a timeline with jumps, which cannot be divided: process it with \
                 cnnvideo denoise, without a plan"
            ));
        }
        let own = frame.sample.buffer().and_then(|buffer| buffer.duration());
        let duration = match durations.take(gst::ClockTime::from_nseconds(frame.running_time)) {
            Some(duration) => duration,
            None => own,
        };
        if times.last().is_some_and(|(last, _)| *last >= frame.running_time) {
            return Err(failed!(
                "{about} has frames with equal or decreasing timestamps: repair it first (ffmpeg \
                 -i IN -c copy OUT.mkv)"
            ));
        }
        times.push((frame.running_time, duration.map(gst::ClockTime::nseconds)));
    }
    let lost =
        if counts_packets { durations.noted().saturating_sub(times.len() as u64) } else { 0 };
    if lost > 0 && !ignore_damage {
        return Err(failed!(
            "{about} is damaged: {lost} frames cannot be decoded; --ignore-damage goes on without \
             them"
        ));
    }
    if lost > 0 {
        note(format_args!("cnnvideo: warning: {lost} frames of {about} are damaged"));
    }
    if times.is_empty() {
        return Err(failed!("{about} has no video frame: there is nothing to do"));
    }
    Ok(Analysis { times, offset: offset.unwrap_or(0), cuts: detector.cuts() })
}

/// Returns the samples of a small picture, without the padding of its rows.
fn luma(frame: &Frame) -> Result<Vec<u8>> {
    let wrong = || failed!("a frame cannot be scaled down");
    let info = frame.sample.caps().and_then(|caps| VideoInfo::from_caps(caps).ok());
    let info = info.ok_or_else(wrong)?;
    let buffer = frame.sample.buffer().ok_or_else(wrong)?;
    let picture = VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|_| wrong())?;
    let stride = usize::try_from(picture.plane_stride()[0]).map_err(|_| wrong())?;
    let rows = picture.plane_data(0).map_err(|_| wrong())?.chunks(stride.max(1)).take(SIZE[1]);
    let luma: Vec<u8> = rows.flat_map(|row| row.iter().take(SIZE[0]).copied()).collect();
    if luma.len() == SIZE[0] * SIZE[1] { Ok(luma) } else { Err(wrong()) }
}
