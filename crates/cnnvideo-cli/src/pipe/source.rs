// SPDX-License-Identifier: MIT OR Apache-2.0

//! Feeds a y4m stream into a pipeline.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use gst::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};

use super::info;
use crate::{
    error::{Failure, Result, failed},
    media::Input,
    stop::Stop,
    y4m::{Chroma, Error, Header, Reader},
};

/// Frames that wait for the pipeline.
const QUEUED_FRAMES: u64 = 4;
/// Value of chroma without colour, 10 bits.
const NEUTRAL: [u8; 2] = 512u16.to_le_bytes();

type Stream = Box<dyn Read + Send>;

/// A stream whose header has been read.
pub(crate) struct Source {
    reader: Reader<Stream>,
    info: VideoInfo,
    name: String,
    /// Number of the next frame.
    first: u64,
}

impl Source {
    /// Opens a y4m input and reads its header. A signal ends the wait for it.
    ///
    /// # Errors
    /// The input cannot be read, or is not y4m of a supported kind.
    pub(crate) fn open(input: &Input, stop: &Stop) -> Result<Self> {
        let name = input.name();
        let stream: Stream = match input.path() {
            None => Box::new(io::stdin()),
            Some(path) => {
                Box::new(File::open(path).map_err(|err| failed!("cannot read {name}: {err}"))?)
            }
        };
        let (send, receive) = mpsc::channel();
        thread::Builder::new().spawn(move || {
            // The receiver is gone if a signal has ended the wait.
            let _ = send.send(Reader::new(stream));
        })?;
        let reader = loop {
            stop.check()?;
            match receive.recv_timeout(Duration::from_millis(50)) {
                Ok(reader) => break reader.map_err(|err| failed!("{name}: {err}"))?,
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(failed!("{name}: the reading thread has ended"));
                }
            }
        };
        let info = info(reader.header())?;
        Ok(Self { reader, info, name, first: 0 })
    }

    /// Opens a y4m file at a frame, by its number. The frames have the times that they have in the
    /// whole file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_at(path: &Path, first: u64) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|err| failed!("cannot read {name}: {err}"))?;
        let failure = |err: Error| failed!("{name}: {err}");
        let mut reader = Reader::new(file).map_err(failure)?;
        reader.skip(first).map_err(failure)?;
        let reader = reader.map(|file| Box::new(file) as Stream);
        let info = info(reader.header())?;
        Ok(Self { reader, info, name, first })
    }

    /// Returns the header of the stream.
    pub(crate) fn header(&self) -> &Header {
        self.reader.header()
    }

    /// Returns the format of the frames.
    pub(crate) fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// Adds an element to a pipeline that gives the frames, and starts to read them.
    ///
    /// # Errors
    /// The system provides no thread.
    pub(crate) fn add_to(self, pipeline: &gst::Pipeline) -> Result<gst::Element> {
        let source = gst_app::AppSrc::builder()
            .caps(&self.info.to_caps()?)
            .format(gst::Format::Time)
            .block(true)
            .max_buffers(QUEUED_FRAMES)
            .max_bytes(0)
            .build();
        pipeline.add(&source)?;
        let element = source.clone().upcast();
        thread::Builder::new().name("y4m".to_owned()).spawn(move || {
            let name = self.name.clone();
            if let Err(failure) = self.feed(&source) {
                gst::element_error!(source, gst::ResourceError::Read, ("{failure}"));
            } else {
                log_end(&name, source.end_of_stream());
            }
        })?;
        Ok(element)
    }

    /// Pushes all frames. Ends early if the pipeline stops.
    fn feed(mut self, source: &gst_app::AppSrc) -> Result<()> {
        let header = self.reader.header().clone();
        let mut packed = vec![0; header.frame_len()];
        let mut number = self.first;
        loop {
            match self.reader.read(&mut packed) {
                Ok(true) => (),
                Ok(false) => return Ok(()),
                Err(Error::Io(err)) => return Err(failed!("it cannot be read: {err}")),
                Err(err) => return Err(failed!("{err}")),
            }
            let frame = self.frame(&header, &packed, number)?;
            if source.push_buffer(frame).is_err() {
                return Ok(());
            }
            number += 1;
        }
    }

    /// Returns a frame as a buffer with the layout that GStreamer expects.
    fn frame(&self, header: &Header, packed: &[u8], number: u64) -> Result<gst::Buffer> {
        let mut buffer = gst::Buffer::with_size(self.info.size())?;
        let writable = buffer.get_mut().ok_or_else(|| failed!("a new buffer is shared"))?;
        let [rate, scale] = header.rate.map(u64::from);
        let time = |number: u64| {
            let nanoseconds = 1_000_000_000 * scale;
            gst::ClockTime::from_nseconds(number.mul_div_round(nanoseconds, rate).unwrap_or(0))
        };
        writable.set_pts(time(number));
        writable.set_duration(time(number + 1) - time(number));
        let mut frame = VideoFrameRef::from_buffer_ref_writable(writable, &self.info)
            .map_err(|_| Failure::Failed("a frame cannot be mapped".to_owned()))?;
        let mut rest = packed;
        for (index, [width, height]) in header.planes().into_iter().enumerate() {
            let row_len = width * header.sample_len();
            let stride = frame.plane_stride()[index] as usize;
            let plane = frame.plane_data_mut(index as u32)?;
            let (rows, after) = rest.split_at(row_len * height);
            rest = after;
            for (to, from) in plane.chunks_mut(stride).zip(rows.chunks(row_len)) {
                to[..row_len].copy_from_slice(from);
            }
        }
        if header.chroma == Chroma::Mono10 {
            for plane in 1..frame.n_planes() {
                frame.plane_data_mut(plane)?.chunks_exact_mut(2).for_each(|to| {
                    to.copy_from_slice(&NEUTRAL);
                });
            }
        }
        drop(frame);
        Ok(buffer)
    }
}

/// Notes in GStreamer's log that a pipeline did not take the end of a stream because it stops.
fn log_end(name: &str, flow: std::result::Result<gst::FlowSuccess, gst::FlowError>) {
    if let Err(err) = flow {
        gst::info!(gst::CAT_DEFAULT, "{name}: the end was not taken: {err}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe;

    #[test]
    fn frames_get_the_layout_of_gstreamer() {
        crate::init().unwrap();
        for (chroma, bytes) in [
            ("420", 1),
            ("422", 1),
            ("444", 1),
            ("mono", 1),
            ("420p10", 2),
            ("422p10", 2),
            ("444p10", 2),
            ("mono10", 2),
        ] {
            let head = format!("YUV4MPEG2 W3 H5 F30000:1001 Ib A8:9 C{chroma}");
            let header = Header::parse(head.as_bytes()).unwrap();
            let packed: Vec<u8> =
                (0..header.frame_len()).map(|i| if bytes == 2 { i % 2 } else { i } as u8).collect();
            let stream: Stream = Box::new(io::Cursor::new(format!("{head}\n").into_bytes()));
            let reader = Reader::new(stream).unwrap();
            let info = pipe::info(&header).unwrap();
            assert_eq!(pipe::header(&info, Some(&header)).unwrap(), header, "{chroma}");
            let source = Source { reader, info: info.clone(), name: String::new(), first: 0 };
            let buffer = source.frame(&header, &packed, 3).unwrap();
            assert_eq!(buffer.pts(), Some(gst::ClockTime::from_nseconds(100_100_000)));
            let mut out = Vec::new();
            pipe::sink::write_frame(&buffer, &info, &header, |row| {
                out.extend_from_slice(row);
                Ok(())
            })
            .unwrap();
            assert_eq!(out, packed, "{chroma}");
        }
    }
}
