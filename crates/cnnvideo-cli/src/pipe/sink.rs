// SPDX-License-Identifier: MIT OR Apache-2.0

//! Writes the frames of a pipeline as y4m.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use gst::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};

use super::header;
use crate::{
    error::{Failure, Result, failed},
    media::demux::Shared,
    output::{note, standard_output_error},
    y4m::{Header, Writer},
};

type Stream = Box<dyn Write + Send>;

/// The end of a pipeline that writes y4m.
pub(crate) struct Sink {
    /// Takes the frames.
    pub(crate) element: gst::Element,
    state: Shared<State>,
}

struct State {
    stream: Option<Stream>,
    /// Writer and headers of input and output, once the format is known.
    open: Option<(Writer<Stream>, Header)>,
    source: Option<Header>,
    failure: Option<Failure>,
    is_standard: bool,
    rate: RateCheck,
}

/// Watches whether frames come at a constant rate.
#[derive(Default)]
struct RateCheck {
    start: Option<gst::ClockTime>,
    frames: u64,
    is_uneven: bool,
}

impl RateCheck {
    /// Notes a frame. The first one that is more than a frame away from its place is reported.
    fn note(&mut self, buffer: &gst::BufferRef, header: &Header) {
        let Some(time) = buffer.pts().filter(|_| !self.is_uneven) else { return };
        let start = *self.start.get_or_insert(time);
        let [rate, scale] = header.rate.map(f64::from);
        let place = time.saturating_sub(start).nseconds() as f64 * 1e-9 * rate / scale;
        self.is_uneven = (place - self.frames as f64).abs() > 1.0;
        self.frames += 1;
        if self.is_uneven {
            note(
                "cnnvideo: warning: the frame rate varies, which y4m cannot express; sound would \
                 not fit the video",
            );
        }
    }
}

impl Sink {
    /// Creates the sink for a file, or for the standard output if `file` is `None`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(crate) fn new(file: Option<&Path>, source: Option<Header>) -> Result<Self> {
        let stream: Stream = match file {
            Some(path) => Box::new(File::create(path)?),
            None => Box::new(io::stdout()),
        };
        let state = Shared::new(State {
            stream: Some(stream),
            open: None,
            source,
            failure: None,
            is_standard: file.is_none(),
            rate: RateCheck::default(),
        });
        let shared = state.clone();
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                shared.with(|state| state.write(&sample)).map_err(|text| {
                    gst::element_error!(sink, gst::ResourceError::Write, ("{text}"));
                    gst::FlowError::Error
                })?;
                Ok(gst::FlowSuccess::Ok)
            })
            .build();
        let element = gst_app::AppSink::builder()
            .sync(false)
            .max_buffers(2)
            .callbacks(callbacks)
            .build()
            .upcast();
        Ok(Self { element, state })
    }

    /// Completes the stream after the pipeline has ended with `result`.
    ///
    /// # Errors
    /// That of the pipeline or of a write.
    pub(crate) fn finish(self, result: Result<()>) -> Result<()> {
        self.state.with(|state| {
            if let Some(failure) = state.failure.take() {
                return Err(failure);
            }
            result?;
            match state.open.take() {
                Some((mut writer, _)) => writer.flush().map_err(|err| state.failure_of(&err)),
                None => Ok(()),
            }
        })
    }
}

impl State {
    /// Writes a frame. Keeps the failure and returns its text.
    fn write(&mut self, sample: &gst::Sample) -> std::result::Result<(), String> {
        let result = self.try_write(sample);
        result.map_err(|failure| {
            let text = failure.to_string();
            self.failure = Some(failure);
            text
        })
    }

    fn try_write(&mut self, sample: &gst::Sample) -> Result<()> {
        let caps = sample.caps().ok_or_else(|| failed!("a frame has no caps"))?;
        let info = VideoInfo::from_caps(caps)?;
        let buffer = sample.buffer().ok_or_else(|| failed!("a frame has no data"))?;
        let next = header(&info, self.source.as_ref())?;
        if let Some(stream) = self.stream.take() {
            let writer = Writer::new(stream, &next).map_err(|err| self.failure_of(&err))?;
            self.open = Some((writer, next.clone()));
        }
        let (writer, first) = self.open.as_mut().ok_or_else(|| failed!("nothing is open"))?;
        if *first != next {
            return Err(failed!(
                "the video changes its size or format, which y4m cannot express: split it first"
            ));
        }
        self.rate.note(buffer, &next);
        let written = writer.begin_frame();
        let written = written
            .map_err(WriteError::Io)
            .and_then(|()| write_frame(buffer, &info, &next, |row| writer.write_row(row)));
        written.map_err(|err| match err {
            WriteError::Io(err) => self.failure_of(&err),
            WriteError::Map => failed!("a frame cannot be mapped"),
        })
    }

    fn failure_of(&self, err: &io::Error) -> Failure {
        match err.kind() {
            _ if self.is_standard => standard_output_error(err),
            io::ErrorKind::StorageFull => {
                failed!("the disk is full: free some space, or write to another disk")
            }
            _ => failed!("the output cannot be written: {err}"),
        }
    }
}

/// Why a frame is not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The stream cannot be written.
    Io(io::Error),
    /// The buffer cannot be read.
    Map,
}

/// Passes the rows of all planes of a frame to `write`.
pub(super) fn write_frame(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
    header: &Header,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> std::result::Result<(), WriteError> {
    let frame =
        VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(|_| WriteError::Map)?;
    for (index, [width, height]) in header.planes().into_iter().enumerate() {
        let stride = frame.plane_stride()[index] as usize;
        let plane = frame.plane_data(index as u32).map_err(|_| WriteError::Map)?;
        for row in plane.chunks(stride).take(height) {
            let row = row.get(..width * header.sample_len()).ok_or(WriteError::Map)?;
            write(row).map_err(WriteError::Io)?;
        }
    }
    Ok(())
}
