// SPDX-License-Identifier: MIT OR Apache-2.0

//! The property `payload-file`: the payload of each segment of a video.

use std::{
    fmt,
    io::{self, Read},
    path::Path,
};

use cnnvideo::{
    nn::model::open_regular_file,
    watermark::{HOP_FRAMES, Payload},
};

/// Largest file in bytes: more than a million segments.
const MAX_FILE_LEN: u64 = 32 << 20;

/// The segments of a video, sorted by their first frames, which begin with 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segments(Vec<(u64, Payload)>);

/// Errors of reading segments.
#[derive(Debug)]
enum SegmentError {
    /// The file cannot be read.
    Read(io::Error),
    /// A line is wrong.
    Line {
        /// Its number, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// The file is wrong as a whole.
    Content(&'static str),
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(err) => err.fmt(f),
            Self::Line { number, reason } => write!(f, "line {number}: {reason}"),
            Self::Content(reason) => f.write_str(reason),
        }
    }
}

impl Segments {
    /// Reads a file, as [`Self::read`], for an element.
    ///
    /// # Errors
    /// Returns the error for the user.
    pub(super) fn load(path: &Path) -> Result<Self, gst::ErrorMessage> {
        let shown = path.display();
        Self::read(path).map_err(|err| match &err {
            SegmentError::Read(source) if source.kind() == io::ErrorKind::NotFound => {
                gst::error_msg!(
                    gst::ResourceError::NotFound,
                    ("Cannot read payload file {}: {}", shown, err)
                )
            }
            SegmentError::Read(_) => gst::error_msg!(
                gst::ResourceError::Read,
                ("Cannot read payload file {}: {}", shown, err)
            ),
            SegmentError::Line { .. } | SegmentError::Content(_) => gst::error_msg!(
                gst::ResourceError::Settings,
                ("Cannot use payload file {}: {}", shown, err)
            ),
        })
    }

    /// Reads a file with a line `first-frame hex-payload` for each segment. Empty lines and lines
    /// that begin with # are left out.
    ///
    /// # Errors
    /// It is not a regular file, or cannot be read; a line is wrong; or there is no segment.
    fn read(path: &Path) -> Result<Self, SegmentError> {
        let file = open_regular_file(path).map_err(SegmentError::Read)?;
        let mut content = Vec::new();
        file.take(MAX_FILE_LEN + 1).read_to_end(&mut content).map_err(SegmentError::Read)?;
        if content.len() as u64 > MAX_FILE_LEN {
            return Err(SegmentError::Content("it has more than 32 MiB"));
        }
        let text = std::str::from_utf8(&content)
            .map_err(|_| SegmentError::Content("it is not a text file"))?;
        Self::parse(text)
    }

    /// Parses the content of a file.
    fn parse(text: &str) -> Result<Self, SegmentError> {
        let mut segments = Vec::<(u64, Payload)>::new();
        for (i, line) in text.lines().enumerate() {
            let wrong = |reason| SegmentError::Line { number: i + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let segment = parse_line(line).map_err(wrong)?;
            match segments.last() {
                None if segment.0 > 0 => {
                    return Err(wrong(format!(
                        "the first segment begins at frame {}: let it begin at frame 0",
                        segment.0
                    )));
                }
                Some((last, _)) if segment.0 <= *last => {
                    return Err(wrong(format!(
                        "frame {} does not follow frame {last}: sort the lines by their frames",
                        segment.0
                    )));
                }
                _ => segments.push(segment),
            }
        }
        match segments.is_empty() {
            true => Err(SegmentError::Content("it has no segment")),
            false => Ok(Self(segments)),
        }
    }

    /// Returns the payload of the hop that a frame belongs to: that of the segment in which the hop
    /// begins.
    pub(super) fn payload(&self, frame: u64) -> Payload {
        let begin = frame - frame % HOP_FRAMES;
        let next = self.0.partition_point(|(first, _)| *first <= begin);
        // There is a segment that begins with frame 0.
        self.0[next.saturating_sub(1)].1
    }
}

/// Parses the line of a segment.
fn parse_line(line: &str) -> Result<(u64, Payload), String> {
    let mut words = line.split_whitespace();
    let (Some(frame), Some(payload), None) = (words.next(), words.next(), words.next()) else {
        return Err("expected the number of a frame and 16 hex digits".to_owned());
    };
    let first = frame.parse().ok().filter(|_| frame.bytes().all(|byte| byte.is_ascii_digit()));
    let first = first.ok_or_else(|| format!("'{frame}' is not the number of a frame"))?;
    let payload = payload.parse().map_err(|err| format!("payload '{payload}': {err}"))?;
    Ok((first, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_carry_the_payload_of_the_segment_in_which_they_begin() {
        let text =
            "# part\r\n0 0000000000000001\r\n\n  100\t0000000000000002  \n240 3000000000000000";
        let segments = Segments::parse(text).unwrap();
        for (frame, expected) in
            [(0, 1), (100, 1), (119, 1), (120, 2), (239, 2), (240, 3 << 60), (u64::MAX, 3 << 60)]
        {
            assert_eq!(segments.payload(frame), Payload(expected), "{frame}");
        }
    }

    #[test]
    fn wrong_files_are_refused_with_the_line() {
        let payload = "0000000000000001";
        for (text, expected) in [
            (String::new(), "no segment"),
            ("# nothing\n".to_owned(), "no segment"),
            (format!("24 {payload}"), "line 1: the first segment begins at frame 24"),
            (format!("0 {payload}\n\n0 {payload}"), "line 3: frame 0 does not follow frame 0"),
            (format!("0 {payload}\n9 {payload}\n8 {payload}"), "line 3: frame 8 does not follow"),
            (format!("0 {payload}\n9"), "line 2: expected the number of a frame"),
            (format!("0 {payload} x"), "line 1: expected the number of a frame"),
            (format!("+0 {payload}"), "line 1: '+0' is not"),
            (format!("-1 {payload}"), "line 1: '-1' is not"),
            (format!("18446744073709551616 {payload}"), "is not the number of a frame"),
            ("0 1".to_owned(), "line 1: payload '1': not a payload"),
        ] {
            let error = Segments::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
