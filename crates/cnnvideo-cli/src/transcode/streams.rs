// SPDX-License-Identifier: MIT OR Apache-2.0

//! Links the streams of a file with the elements that process or copy them.

use std::collections::HashMap;

use gst::prelude::*;

use super::{
    plain_text,
    plan::{Conversion, Plan, Route},
};
use crate::{
    container::request_pad,
    error::{Result, failed},
    media::{
        Input,
        decode::{add_decoder, add_sink, fail_at_damage, link},
        demux::{Demux, Shared},
    },
};

/// Most memory in bytes for encoded data of a stream that waits for others. The queue grows to it
/// only where the streams of the file are stored far apart.
const MAX_QUEUED_BYTES: u32 = 512 << 20;
/// Buffers of a stream that wait in any case.
const QUEUED_BUFFERS: u32 = 64;

/// Adds the elements that read a file, and links its streams as planned: the copied ones with
/// `muxer`. `process` takes the pad of the processed one, `note_video` the pad where it leaves the
/// demultiplexer.
///
/// # Errors
/// An element is missing.
pub(crate) fn add_to(
    pipeline: &gst::Pipeline,
    file: &Input,
    plan: &Plan,
    muxer: Option<&gst::Element>,
    note_video: impl FnOnce(&gst::Pad) + Send + 'static,
    process: impl Fn(&gst::Pad) -> Result<()>,
) -> Result<()> {
    let path = file.path().ok_or_else(|| failed!("{} is not a file", file.name()))?;
    let demux = Demux::add_to(pipeline, path, note_video)?;
    let queue = gst::ElementFactory::make("multiqueue")
        .property("max-size-buffers", QUEUED_BUFFERS)
        .property("max-size-bytes", MAX_QUEUED_BYTES)
        .property("max-size-time", 0u64)
        .build()?;
    pipeline.add(&queue)?;
    let mut waiting = HashMap::new();
    for (stream, route) in &plan.0 {
        if *route == Route::Drop {
            continue;
        }
        let missing = || failed!("the queue takes no more streams");
        let sink = queue.request_pad_simple("sink_%u").ok_or_else(missing)?;
        let source_name = sink.name().replace("sink", "src");
        let source = queue.static_pad(&source_name).ok_or_else(missing)?;
        match route {
            Route::Process => process(&source)?,
            Route::Copy { pad, conversion } => {
                let muxer = muxer.ok_or_else(|| failed!("y4m holds no other streams"))?;
                copy(pipeline, &source, muxer, pad, conversion)?;
            }
            Route::Drop => (),
        }
        waiting.insert(stream.id.clone(), sink);
    }
    let waiting = Shared::new(waiting);
    {
        let (waiting, pipeline) = (waiting.clone(), pipeline.downgrade());
        demux.each_stream(move |pad| {
            let Some(pipeline) = pipeline.upgrade() else { return };
            let id = pad.stream_id().map(|id| id.to_string()).unwrap_or_default();
            let linked = match waiting.with(|waiting| waiting.remove(&id)) {
                Some(sink) => pad
                    .link(&sink)
                    .map(drop)
                    .map_err(|err| failed!("cannot link stream {id}: {err}")),
                None => add_sink(&pipeline, pad),
            };
            if let Err(failure) = linked {
                gst::element_error!(pipeline, gst::CoreError::Pad, ("{failure}"));
            }
        });
    }
    let pipeline = pipeline.downgrade();
    demux.after_streams(move || {
        // A muxer would wait for such a stream for ever.
        if let Some(pipeline) = pipeline.upgrade()
            && waiting.with(|waiting| !waiting.is_empty())
        {
            gst::element_error!(
                pipeline,
                gst::CoreError::Pad,
                ("the file has changed since it was opened")
            );
        }
    });
    Ok(())
}

/// Decodes a stream. Unless damage is to be ignored, the first frame that cannot be decoded is an
/// error.
///
/// # Errors
/// An element is missing.
pub(crate) fn decode(
    pipeline: &gst::Pipeline,
    source: &gst::Pad,
    first: &gst::Element,
    ignore_damage: bool,
) -> Result<()> {
    let decoder = add_decoder(pipeline)?;
    if let Some(bin) = decoder.downcast_ref::<gst::Bin>().filter(|_| !ignore_damage) {
        fail_at_damage(bin);
    }
    let first = first.clone();
    decoder.connect_pad_added(move |decoder, pad| {
        if let Err(failure) = link(pad, &first) {
            gst::element_error!(decoder, gst::CoreError::Pad, ("{failure}"));
        }
    });
    link(source, &decoder)
}

/// Copies a stream into the muxer.
fn copy(
    pipeline: &gst::Pipeline,
    source: &gst::Pad,
    muxer: &gst::Element,
    template: &str,
    conversion: &Conversion,
) -> Result<()> {
    let converter = match conversion {
        Conversion::None => None,
        Conversion::PlainText => Some(plain_text::converter()?),
        Conversion::Parser(parser) => Some(gst::ElementFactory::make(parser).build()?),
    };
    let mut source = source.clone();
    if let Some(converter) = converter {
        pipeline.add(&converter)?;
        converter.sync_state_with_parent()?;
        link(&source, &converter)?;
        source = converter.static_pad("src").ok_or_else(|| failed!("a parser has no output"))?;
    }
    let sink = request_pad(muxer, template)?;
    source.link(&sink).map_err(|err| failed!("cannot link a stream with the muxer: {err}"))?;
    Ok(())
}
