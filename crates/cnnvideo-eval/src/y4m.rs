// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reader and writer for YUV4MPEG2 files with 8-bit 4:2:0, as `y4menc` and ffmpeg write them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
};

/// Header of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Width of the frames in pixels.
    pub width: usize,
    /// Height of the frames in pixels.
    pub height: usize,
    /// The header line as it is in the file.
    line: String,
}

impl Header {
    /// Returns width and height of a chroma plane.
    pub fn chroma_size(&self) -> (usize, usize) {
        (self.width.div_ceil(2), self.height.div_ceil(2))
    }

    /// Returns the number of bytes of luma in a frame.
    pub fn luma_len(&self) -> usize {
        self.width * self.height
    }

    /// Returns the number of bytes of a frame.
    pub fn frame_len(&self) -> usize {
        let (width, height) = self.chroma_size();
        self.luma_len() + 2 * width * height
    }
}

/// Reads frames.
pub struct Reader {
    /// Header of the file.
    pub header: Header,
    file: BufReader<File>,
}

impl Reader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// A file that cannot be read or has another format.
    pub fn open(path: &Path) -> io::Result<Self> {
        let wrong = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
        };
        let mut file = BufReader::new(
            File::open(path)
                .map_err(|err| io::Error::new(err.kind(), format!("{}: {err}", path.display())))?,
        );
        let mut line = String::new();
        file.by_ref().take(1024).read_line(&mut line)?;
        let mut fields = line.split_whitespace();
        if fields.next() != Some("YUV4MPEG2") {
            return Err(wrong("not a YUV4MPEG2 file"));
        }
        let (mut width, mut height) = (0, 0);
        for field in fields {
            match field.split_at_checked(1) {
                Some(("W", value)) => width = value.parse().unwrap_or(0),
                Some(("H", value)) => height = value.parse().unwrap_or(0),
                Some(("C", value))
                    if !["420", "420jpeg", "420mpeg2", "420paldv"].contains(&value) =>
                {
                    return Err(wrong("unsupported format; only 8-bit 4:2:0 is supported"));
                }
                _ => (),
            }
        }
        if !(1..=16384).contains(&width) || !(1..=16384).contains(&height) {
            return Err(wrong("the header has no valid frame size"));
        }
        Ok(Self { header: Header { width, height, line }, file })
    }

    /// Reads the next frame: Y, U and V, one plane after the other. Returns `false` at the end of
    /// the file.
    pub fn read(&mut self, frame: &mut Vec<u8>) -> io::Result<bool> {
        let mut line = String::new();
        if self.file.by_ref().take(1024).read_line(&mut line)? == 0 {
            return Ok(false);
        }
        frame.resize(self.header.frame_len(), 0);
        self.file.read_exact(frame)?;
        Ok(true)
    }
}

/// Writes frames.
pub struct Writer(BufWriter<File>);

impl Writer {
    /// Creates a file with the header of another file.
    pub fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(header.line.as_bytes())?;
        Ok(Self(file))
    }

    /// Writes a frame.
    pub fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.write_all(b"FRAME\n")?;
        self.0.write_all(frame)
    }

    /// Flushes all data to the file.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
