// SPDX-License-Identifier: MIT OR Apache-2.0

//! Recognises the input of a plan: by its size and a hash of its beginning and end.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use gst::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::plan::digits;
use crate::{
    error::{Result, failed},
    explain,
    media::location::{http_source, is_url},
    run::Running,
    stop::Stop,
};

/// Bytes at the beginning and at the end that are hashed. The headers and indices of containers lie
/// there.
const PART: u64 = 1 << 20;
/// Longest time between two looks at the signals.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// A file and what it is recognised by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Absolute path, or http(s) URL.
    pub(crate) location: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// SHA-256 of the first and the last MiB; of the whole file if it is smaller than both.
    pub(crate) sha256: String,
}

impl Identity {
    /// Reads what a file is recognised by.
    ///
    /// # Errors
    /// It cannot be read, or its name is not text.
    pub(crate) fn of(file: &Path, stop: &Stop) -> Result<Self> {
        let shown = file.display();
        let location = if is_url(file) { file.to_owned() } else { std::path::absolute(file)? };
        let location = location.to_str().map(ToOwned::to_owned).ok_or_else(|| {
            failed!("the name of {shown} is not UTF-8, which a plan needs: rename it")
        })?;
        let (size, sha256) = if is_url(file) {
            of_url(file, stop)?
        } else {
            of_file(file).map_err(|err| failed!("cannot read {shown}: {err}"))?
        };
        Ok(Self { location, size, sha256 })
    }

    /// Returns the path or URL.
    pub(crate) fn path(&self) -> &Path {
        Path::new(&self.location)
    }

    /// Checks that the file is still the same.
    ///
    /// # Errors
    /// It is another one, or cannot be read.
    pub(crate) fn check(&self, stop: &Stop) -> Result<()> {
        if Self::of(self.path(), stop)? == *self {
            return Ok(());
        }
        Err(failed!(
            "{} is not the file that the plan was made for: restore it, or make a new plan",
            self.location
        ))
    }
}

fn of_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut hash = Sha256::new();
    for start in parts(size) {
        file.seek(SeekFrom::Start(start))?;
        let mut part = Vec::new();
        (&mut file).take(PART).read_to_end(&mut part)?;
        hash.update(&part);
    }
    Ok((size, digits(&hash.finalize())))
}

/// Returns the positions of the hashed parts of a file.
fn parts(size: u64) -> Vec<u64> {
    match size {
        0..=PART => vec![0],
        _ => vec![0, size.saturating_sub(PART).max(PART)],
    }
}

fn of_url(url: &Path, stop: &Stop) -> Result<(u64, String)> {
    let pipeline = Running(gst::Pipeline::new());
    let source = http_source(url)?;
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(4).build();
    pipeline.0.add_many([&source, sink.upcast_ref()])?;
    source.link(&sink)?;
    let read = Remote { pipeline, sink, about: url.display().to_string(), stop };
    // The error is on the bus.
    let _ = read.pipeline.0.set_state(gst::State::Playing);
    let mut hash = Sha256::new();
    let head = read.part()?;
    hash.update(&head);
    let size = read.pipeline.0.query_duration::<gst::format::Bytes>();
    let size = size.map(u64::from).ok_or_else(|| {
        failed!("the server of {} does not tell the size of the file", url.display())
    })?;
    for start in &parts(size)[1..] {
        let seek = read
            .pipeline
            .0
            .seek_simple(gst::SeekFlags::FLUSH, gst::format::Bytes::from_u64(*start));
        seek.map_err(|_| {
            failed!(
                "the server of {} does not send parts of files (range requests): use another \
                 server, or copy the file",
                url.display()
            )
        })?;
        hash.update(read.part()?);
    }
    Ok((size, digits(&hash.finalize())))
}

/// A URL that is read.
struct Remote<'a> {
    pipeline: Running,
    sink: gst_app::AppSink,
    about: String,
    stop: &'a Stop,
}

impl Remote<'_> {
    /// Returns the next MiB, or what there is up to the end.
    fn part(&self) -> Result<Vec<u8>> {
        let bus = self.pipeline.0.bus().ok_or_else(|| failed!("the pipeline has no bus"))?;
        let mut part = Vec::new();
        while part.len() < PART as usize {
            self.stop.check()?;
            if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
                && let gst::MessageView::Error(error) = message.view()
            {
                return Err(explain::error(error, &self.about, None));
            }
            if let Some(sample) = self.sink.try_pull_sample(TICK) {
                let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
                part.extend_from_slice(&map.ok_or_else(|| failed!("data cannot be read"))?);
            } else if self.sink.is_eos() {
                break;
            }
        }
        part.truncate(PART as usize);
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap() {
        assert_eq!(parts(0), [0]);
        assert_eq!(parts(PART), [0]);
        assert_eq!(parts(PART + 1), [0, PART]);
        assert_eq!(parts(5 * PART), [0, 4 * PART]);
    }
}
