// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs of frames through GStreamer elements.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::{Result, frame::RawFrame};

/// Time from one frame to the next.
const FRAME_DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);
/// Maximum time that the elements may take for a frame.
const TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Output of elements for a clip.
pub struct Output {
    /// One frame for each input frame.
    pub frames: Vec<RawFrame>,
    /// Mean time of a frame in milliseconds, without the first one, which includes allocations
    /// (unless it is the only one).
    pub milliseconds: f64,
}

/// Runs the frames of a clip, which have the same format and size, through an element that returns
/// one frame for each. Leaves the element without a parent, in the state `Null`.
///
/// # Errors
/// There are no frames, the element fails, or it does not return a frame.
pub fn run_element(element: &gst::Element, frames: &[RawFrame]) -> Result<Output> {
    let first = frames.first().ok_or("a clip without frames")?.info();
    let caps = gst_video::VideoInfo::builder(first.format(), first.width(), first.height())
        .fps(gst::Fraction::new(25, 1))
        .build()?
        .to_caps()?;
    let buffers: Vec<_> = frames.iter().map(RawFrame::bytes).collect();
    run_caps(element, &caps, &buffers)
}

/// Runs buffers of the given caps through an element, as [`run_element`]. The output must be raw
/// video.
///
/// # Errors
/// As [`run_element`].
pub fn run_caps(element: &gst::Element, caps: &gst::Caps, buffers: &[&[u8]]) -> Result<Output> {
    let source = gst_app::AppSrc::builder().caps(caps).format(gst::Format::Time).build();
    let sink = gst_app::AppSink::builder().sync(false).build();
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([source.upcast_ref(), element, sink.upcast_ref()])?;
    gst::Element::link_many([source.upcast_ref(), element, sink.upcast_ref()])?;
    let output = push_and_pull(&pipeline, &source, &sink, buffers);
    pipeline.set_state(gst::State::Null)?;
    pipeline.remove(element)?;
    output
}

/// Runs the frames of a clip through elements in the syntax of gst-launch-1.0, as [`run_element`].
/// Converts their output to the format of the input.
///
/// # Errors
/// The description is invalid; as [`run_element`].
pub fn run_description(description: &str, frames: &[RawFrame]) -> Result<Output> {
    let format = frames.first().ok_or("a clip without frames")?.info().format();
    let whole =
        format!("{description} ! videoconvert ! capsfilter caps=video/x-raw,format={format}");
    let run = || -> Result<Output> {
        let bin = gst::parse::bin_from_description(&whole, true)?;
        run_element(bin.upcast_ref(), frames)
    };
    run().map_err(|err| format!("{description}: {err}").into())
}

fn push_and_pull(
    pipeline: &gst::Pipeline,
    source: &gst_app::AppSrc,
    sink: &gst_app::AppSink,
    frames: &[&[u8]],
) -> Result<Output> {
    let failure = |unknown: &str| error_of(pipeline).unwrap_or_else(|| unknown.to_owned());
    if pipeline.set_state(gst::State::Playing).is_err() {
        return Err(failure("the element does not start").into());
    }
    let delay = delay_in_frames(sink);
    let mut out = Vec::with_capacity(frames.len());
    let mut time = Duration::ZERO;
    for number in 0..frames.len() + delay {
        let start = Instant::now();
        match frames.get(number) {
            Some(frame) => {
                source.push_buffer(timed_buffer(frame, number))?;
            }
            None if number == frames.len() => {
                source.end_of_stream()?;
            }
            None => (),
        }
        if number < delay {
            continue;
        }
        let Some(sample) = sink.try_pull_sample(TIMEOUT) else {
            return Err(failure("the element returns no frame").into());
        };
        if number > delay || frames.len() == 1 {
            time += start.elapsed();
        }
        out.push(RawFrame::from_sample(&sample)?);
    }
    let count = (frames.len() - 1).max(1);
    Ok(Output { frames: out, milliseconds: time.as_secs_f64() * 1e3 / count as f64 })
}

/// Returns the number of frames that elements in front of a sink hold back, by the latency that
/// they report.
fn delay_in_frames(sink: &gst_app::AppSink) -> usize {
    let mut latency = gst::query::Latency::new();
    let pad = sink.static_pad("sink").expect("an appsink has a sink pad");
    if !pad.peer_query(&mut latency) {
        return 0;
    }
    (latency.result().1.nseconds() / FRAME_DURATION.nseconds()) as usize
}

/// Returns a buffer with the frame of that number.
fn timed_buffer(frame: &[u8], number: usize) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(frame.to_vec());
    let writable = buffer.get_mut().expect("a new buffer has one owner");
    writable.set_pts(FRAME_DURATION * number as u64);
    writable.set_duration(FRAME_DURATION);
    buffer
}

/// Sets a property of an element from text as gst-launch-1.0 does.
///
/// # Errors
/// A property that the element does not have, or text that is not a value of it.
pub fn set_from_text(element: &gst::Element, name: &str, text: &str) -> Result<()> {
    let factory = element.factory().map(|factory| factory.name()).unwrap_or_default();
    let property = element
        .find_property(name)
        .filter(|property| property.flags().contains(glib::ParamFlags::WRITABLE))
        .ok_or_else(|| format!("{factory} has no property {name} that can be set"))?;
    let value = glib::Value::deserialize_with_pspec(text, &property)
        .map_err(|_| format!("{text} is not a value of the property {name} of {factory}"))?;
    element.set_property_from_value(name, &value);
    Ok(())
}

/// Returns the text of the first error on the bus of a pipeline, if there is one.
pub fn error_of(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
        _ => None,
    }
}
