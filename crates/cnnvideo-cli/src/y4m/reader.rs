// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads the frames of a stream.

use std::io::{self, BufRead, BufReader, Read, Seek};

use super::{Error, Header};

/// Longest line in bytes: a header with comments.
const MAX_LINE: u64 = 1024;

/// Reads a stream.
#[derive(Debug)]
pub struct Reader<R> {
    header: Header,
    stream: BufReader<R>,
    frame: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the header of a stream.
    ///
    /// # Errors
    /// The header is wrong or not supported, or the stream cannot be read.
    pub fn new(stream: R) -> Result<Self, Error> {
        let mut stream = BufReader::new(stream);
        let line = line(&mut stream)?;
        let line = line.ok_or_else(|| {
            Error::Header("the y4m stream is empty: the program before it may have failed".into())
        })?;
        Ok(Self { header: Header::parse(&line)?, stream, frame: 0 })
    }

    /// Returns the header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the next frame into `frame`, which has [`Header::frame_len`] bytes. Returns `false` at
    /// the end of the stream.
    ///
    /// # Errors
    /// The stream is damaged, ends within the frame, or cannot be read.
    ///
    /// # Panics
    /// If `frame` has another length.
    pub fn read(&mut self, frame: &mut [u8]) -> Result<bool, Error> {
        assert_eq!(frame.len(), self.header.frame_len(), "the length of the frame is wrong");
        if !self.begin_frame()? {
            return Ok(false);
        }
        self.stream.read_exact(frame).map_err(|err| match err.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated { frame: self.frame },
            _ => err.into(),
        })?;
        self.frame += 1;
        Ok(true)
    }

    /// Reads the line that begins a frame. Returns `false` at the end of the stream.
    fn begin_frame(&mut self) -> Result<bool, Error> {
        let wrong = Error::Frame { frame: self.frame };
        let line = match line(&mut self.stream) {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(false),
            Err(Error::Header(_)) => return Err(wrong),
            Err(other) => return Err(other),
        };
        // Parameters of a frame may follow; those of the header hold for all frames.
        match line == b"FRAME" || line.starts_with(b"FRAME ") {
            true => Ok(true),
            false => Err(wrong),
        }
    }

    /// Returns a reader of what `change` makes of the stream, at the same place.
    pub fn map<S: Read>(self, change: impl FnOnce(BufReader<R>) -> S) -> Reader<S> {
        let Self { header, stream, frame } = self;
        Reader { header, stream: BufReader::new(change(stream)), frame }
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Goes over the next frames without reading them, at most to the end of the stream. Whether
    /// the last one is complete shows only if it is read.
    ///
    /// # Errors
    /// The stream is damaged, or cannot be read.
    pub fn skip(&mut self, frames: u64) -> Result<(), Error> {
        let length = i64::try_from(self.header.frame_len()).unwrap_or(i64::MAX);
        for _ in 0..frames {
            if !self.begin_frame()? {
                break;
            }
            self.stream.seek_relative(length)?;
            self.frame += 1;
        }
        Ok(())
    }
}

/// Reads a line, without its line feed. Returns `None` at the end of the stream.
fn line(stream: &mut impl BufRead) -> Result<Option<Vec<u8>>, Error> {
    let mut line = Vec::new();
    if stream.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(Error::Header("this is not y4m: its first line does not end".to_owned()));
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"YUV4MPEG2 W2 H2 F25:1 Cmono\n";

    /// Reads a whole stream.
    fn read(parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, Error> {
        let stream = parts.concat();
        let mut reader = Reader::new(&stream[..])?;
        let mut frame = vec![0; reader.header().frame_len()];
        let mut frames = Vec::new();
        while reader.read(&mut frame)? {
            frames.push(frame.clone());
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_read() {
        let frames = read(&[HEADER, b"FRAME\nabcd", b"FRAME It XQ=1\nFRAM"]).unwrap();
        assert_eq!(frames, [b"abcd", b"FRAM"]);
        assert!(read(&[HEADER]).unwrap().is_empty());
    }

    #[test]
    fn frames_are_skipped() {
        let stream = [HEADER, b"FRAME\nabcd", b"FRAME It XQ=1\nefgh", b"FRAME\nijkl"].concat();
        for (skipped, expected) in [(0, b"abcd"), (1, b"efgh"), (2, b"ijkl")] {
            let mut reader = Reader::new(io::Cursor::new(&stream)).unwrap();
            reader.skip(skipped).unwrap();
            let mut frame = [0; 4];
            assert!(reader.map(|stream| stream).read(&mut frame).unwrap());
            assert_eq!(frame, *expected);
        }
        let mut reader = Reader::new(io::Cursor::new(&stream)).unwrap();
        reader.skip(9).unwrap();
        assert!(!reader.read(&mut [0; 4]).unwrap());
        let damaged = [HEADER, b"FRAME\nabc", b"FRAME\nefgh"].concat();
        let mut reader = Reader::new(io::Cursor::new(&damaged)).unwrap();
        assert!(matches!(reader.skip(2), Err(Error::Frame { frame: 1 })));
    }

    #[test]
    fn damaged_streams_are_refused() {
        assert!(matches!(read(&[]), Err(Error::Header(_))));
        assert!(matches!(read(&[b"YUV4MPEG2 W2 H2"]), Err(Error::Header(_))));
        assert!(matches!(read(&[&[b'Y'; 5000]]), Err(Error::Header(_))));
        for wrong in [&b"FRAMES\nabcd"[..], b"\n", b"frame\nabcd", b"abcd", &[b'F'; 5000]] {
            let result = read(&[HEADER, b"FRAME\nabcd", wrong]);
            assert!(matches!(result, Err(Error::Frame { frame: 1 })), "{wrong:?}");
        }
        let result = read(&[HEADER, b"FRAME\nabcd", b"FRAME\nabc"]);
        assert!(matches!(result, Err(Error::Truncated { frame: 1 })));
    }

    #[test]
    fn large_headers_allocate_nothing() {
        let reader = Reader::new(&b"YUV4MPEG2 W8192 H8192 F25:1 C444p10\n"[..]).unwrap();
        assert_eq!(reader.header().frame_len(), 8192 * 8192 * 6);
    }
}
