// SPDX-License-Identifier: MIT OR Apache-2.0

//! Writes the frames of a stream.

use std::io::{self, BufWriter, Write};

use super::Header;

/// Writes a stream.
#[derive(Debug)]
pub struct Writer<W: Write> {
    stream: BufWriter<W>,
}

impl<W: Write> Writer<W> {
    /// Writes the header of a stream.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn new(stream: W, header: &Header) -> io::Result<Self> {
        let mut stream = BufWriter::new(stream);
        writeln!(stream, "{header}")?;
        Ok(Self { stream })
    }

    /// Begins a frame, whose rows follow by [`Self::write_row`].
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn begin_frame(&mut self) -> io::Result<()> {
        self.stream.write_all(b"FRAME\n")
    }

    /// Writes rows of a plane. The planes follow each other: Y, U, V.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn write_row(&mut self, row: &[u8]) -> io::Result<()> {
        self.stream.write_all(row)
    }

    /// Passes everything on, so that no error is lost.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::y4m::Reader;

    #[test]
    fn what_is_written_can_be_read() {
        let header = Header::parse(b"YUV4MPEG2 W2 H1 F25:1 C420p10").unwrap();
        let mut stream = Vec::new();
        let mut writer = Writer::new(&mut stream, &header).unwrap();
        for frame in [[1u8; 8], [2; 8]] {
            writer.begin_frame().unwrap();
            frame.chunks(4).for_each(|row| writer.write_row(row).unwrap());
        }
        writer.flush().unwrap();
        drop(writer);
        let mut reader = Reader::new(&stream[..]).unwrap();
        assert_eq!(reader.header(), &header);
        let mut frame = [0; 8];
        assert!(reader.read(&mut frame).unwrap() && frame == [1; 8]);
        assert!(reader.read(&mut frame).unwrap() && frame == [2; 8]);
        assert!(!reader.read(&mut frame).unwrap());
    }
}
