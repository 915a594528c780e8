// SPDX-License-Identifier: MIT OR Apache-2.0

//! Divides an .mp4 file with key frames at regular distances into the segments of an HLS stream.

use std::{fs, path::Path};

use gst::prelude::*;

use super::manifest::PLAYLIST;
use crate::{
    error::{Result, failed},
    media::{demux::Kind, probe::Media},
    run::{Observer, Running, run},
    stop::Stop,
};

/// The package of the elements.
const PACKAGE: &str = "gstreamer1.0-plugins-bad";

/// A playlist of HLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Playlist(Vec<String>);

impl Playlist {
    /// Reads a playlist.
    ///
    /// # Errors
    /// It cannot be read, or has no segment.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|err| failed!("cannot read {shown}: {err}"))?;
        let playlist = Self(text.lines().map(ToOwned::to_owned).collect());
        if !text.starts_with("#EXTM3U") || playlist.segments().next().is_none() {
            return Err(failed!("{shown} is not a playlist of HLS with segments"));
        }
        Ok(playlist)
    }

    /// Returns the names of the segments.
    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|line| is_segment(line))
    }

    /// Returns the lines that are not names of segments, such as the durations.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|line| !is_segment(line))
    }

    /// Returns the text of the playlist with other names for the segments. `name` receives the
    /// number of a segment and its name.
    pub(super) fn renamed(&self, mut name: impl FnMut(usize, &str) -> String) -> String {
        let mut number = 0;
        let mut text = String::new();
        for line in &self.0 {
            if is_segment(line) {
                text.push_str(&name(number, line));
                number += 1;
            } else {
                text.push_str(line);
            }
            text.push('\n');
        }
        text
    }
}

/// Returns whether a line of a playlist is the name of a segment.
fn is_segment(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

struct Silent;

impl Observer for Silent {}

/// Writes an .mp4 file as an HLS stream of MPEG-2 segments into a new folder. Each segment begins
/// with a key frame and has at least `seconds`.
///
/// # Errors
/// An element is missing or fails, the folder cannot be written, or a signal arrives.
pub(super) fn package(file: &Path, folder: &Path, seconds: u32, stop: &Stop) -> Result<Playlist> {
    fs::create_dir(folder).map_err(|err| failed!("cannot create {}: {err}", folder.display()))?;
    let make = |factory: &str| {
        gst::ElementFactory::make(factory)
            .build()
            .map_err(|_| failed!("the element {factory} is missing: install {PACKAGE}"))
    };
    let path = |name: &str| {
        let path = folder.join(name);
        path.to_str()
            .map(ToOwned::to_owned)
            .ok_or_else(|| failed!("the name of {} is not UTF-8: rename it", folder.display()))
    };
    let sink = make("hlssink2")?;
    sink.set_property("location", path("%05d.ts")?);
    let playlist = folder.join(PLAYLIST);
    sink.set_property("playlist-location", path(PLAYLIST)?);
    sink.set_property("target-duration", seconds);
    sink.set_property("max-files", 0u32);
    sink.set_property("playlist-length", 0u32);
    sink.set_property("send-keyframe-requests", false);
    let source = gst::ElementFactory::make("filesrc").property("location", file).build()?;
    let demux = make("qtdemux")?;
    let pipeline = Running(gst::Pipeline::new());
    pipeline.0.add_many([&source, &demux, &sink])?;
    source.link(&demux)?;
    // Requested now, so that the sink waits for both streams.
    let video = branch(&pipeline.0, &sink, "video", make("h264parse")?)?;
    let has_audio = has_audio(file, stop)?;
    let audio = has_audio.then(|| branch(&pipeline.0, &sink, "audio", make("parsebin")?));
    let audio = audio.transpose()?;
    let weak = pipeline.0.downgrade();
    demux.connect_pad_added(move |_, pad| {
        let to = match pad.name() {
            name if name.starts_with("video") => Some(&video),
            name if name.starts_with("audio") => audio.as_ref(),
            _ => None,
        };
        let Some(to) = to.filter(|to| !to.is_linked()) else { return };
        if let (Err(err), Some(pipeline)) = (pad.link(to), weak.upgrade()) {
            gst::element_error!(pipeline, gst::CoreError::Pad, ("cannot link a stream: {err}"));
        }
    });
    let about = file.display().to_string();
    run(&pipeline, gst::State::Playing, stop, &about, &mut Silent)?;
    Playlist::read(&playlist)
}

/// Adds a queue and a parser in front of a pad of the sink. Returns the pad that takes the stream.
fn branch(
    pipeline: &gst::Pipeline,
    sink: &gst::Element,
    pad: &str,
    parser: gst::Element,
) -> Result<gst::Pad> {
    let queue = gst::ElementFactory::make("queue")
        .property("max-size-buffers", 0u32)
        .property("max-size-bytes", 0u32)
        .property("max-size-time", 30_000_000_000u64)
        .build()?;
    pipeline.add_many([&queue, &parser])?;
    let to = sink.request_pad_simple(pad).ok_or_else(|| failed!("hlssink2 takes no {pad}"))?;
    queue.link(&parser)?;
    match parser.static_pad("src") {
        Some(from) => {
            from.link(&to).map_err(|err| failed!("cannot link hlssink2: {err}"))?;
        }
        None => {
            let weak = pipeline.downgrade();
            parser.connect_pad_added(move |_, from| {
                if let (Err(_), Some(pipeline)) = (from.link(&to), weak.upgrade()) {
                    gst::element_error!(
                        pipeline,
                        gst::CoreError::Pad,
                        ("HLS cannot carry this audio: convert it to AAC first")
                    );
                }
            });
        }
    }
    queue.static_pad("sink").ok_or_else(|| failed!("a queue has no input"))
}

/// Returns whether a file has audio.
fn has_audio(file: &Path, stop: &Stop) -> Result<bool> {
    let media = Media::probe(file, stop)?;
    Ok(media.streams.iter().any(|stream| stream.kind == Kind::Audio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_renamed_and_tags_stay() {
        let lines = "#EXTM3U\n#EXTINF:4,\n00000.ts\n#EXTINF:2,\n00001.ts\n#EXT-X-ENDLIST";
        let playlist = Playlist(lines.lines().map(ToOwned::to_owned).collect());
        assert_eq!(playlist.segments().collect::<Vec<_>>(), ["00000.ts", "00001.ts"]);
        let renamed = playlist.renamed(|number, name| format!("{number}/{name}"));
        assert!(renamed.contains("\n0/00000.ts\n#EXTINF:2,\n1/00001.ts\n"), "{renamed}");
        assert_eq!(playlist.tags().count(), 4);
    }
}
