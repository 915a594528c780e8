// SPDX-License-Identifier: MIT OR Apache-2.0

//! The boxes of MP4 and QuickTime files (ISO/IEC 14496-12).

use std::{
    fs::OpenOptions,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Largest number of sibling boxes that are read, so that a damaged file cannot take for ever.
pub(super) const MAX_BOXES: usize = 100_000;

/// A box of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Atom {
    /// Type of the box.
    pub(crate) kind: [u8; 4],
    /// Position of its content.
    pub(crate) content: u64,
    /// Position of its end, `u64::MAX` if it reaches up to the end of the file.
    pub(crate) end: u64,
}

/// Reads the head of the box at a position. Returns `None` if there is no valid one.
///
/// # Errors
/// The file cannot be read there.
pub(crate) fn read(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<Atom>> {
    file.seek(SeekFrom::Start(at))?;
    let mut head = [0; 8];
    file.read_exact(&mut head)?;
    let [a, b, c, d, kind @ ..] = head;
    let (size, length) = match u32::from_be_bytes([a, b, c, d]) {
        1 => {
            file.read_exact(&mut head)?;
            (u64::from_be_bytes(head), 16)
        }
        // The last box of the file.
        0 => return Ok(Some(Atom { kind, content: at + 8, end: u64::MAX })),
        size => (u64::from(size), 8),
    };
    let end = at.saturating_add(size);
    Ok((size >= length).then_some(Atom { kind, content: at + length, end }))
}

/// Returns the boxes between two positions.
pub(super) fn children(
    file: &mut (impl Read + Seek),
    start: u64,
    end: u64,
) -> io::Result<Vec<Atom>> {
    let mut atoms = Vec::new();
    let mut at = start;
    while at.saturating_add(8) <= end && atoms.len() < MAX_BOXES {
        let Some(atom) = read(file, at)? else { break };
        at = atom.end;
        atoms.push(atom);
    }
    Ok(atoms)
}

/// Returns the first box of a type.
pub(super) fn find(atoms: &[Atom], kind: &[u8; 4]) -> io::Result<Atom> {
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "the MP4 file lacks a box");
    atoms.iter().find(|atom| &atom.kind == kind).copied().ok_or_else(missing)
}

/// The box `moov` of a file.
pub(super) struct Movie {
    /// Boxes in it.
    pub(super) boxes: Vec<Atom>,
}

impl Movie {
    /// Finds the box.
    ///
    /// # Errors
    /// The file cannot be read, or has no such box.
    pub(super) fn read(file: &mut (impl Read + Seek)) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        let movie = find(&children(file, 0, length)?, b"moov")?;
        Ok(Self { boxes: children(file, movie.content, movie.end.min(length))? })
    }

    /// Returns the boxes of the first video track.
    ///
    /// # Errors
    /// The file cannot be read, or has no video track.
    pub(super) fn video_track(&self, file: &mut (impl Read + Seek)) -> io::Result<Vec<Atom>> {
        for track in self.boxes.iter().filter(|atom| atom.kind == *b"trak") {
            let parts = children(file, track.content, track.end)?;
            let media = find(&parts, b"mdia")?;
            let handler = find(&children(file, media.content, media.end)?, b"hdlr")?;
            // Behind version, flags and the component type.
            if bytes_at::<4>(file, handler.content + 8)? == *b"vide" {
                return Ok(parts);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the MP4 file has no video track"))
    }
}

/// Writes how to rotate the picture into the header of the first video track: a value of
/// GStreamer's tag `image-orientation`. Muxers of GStreamer 1.22 do not.
///
/// # Errors
/// The file cannot be read or written, or has no video track.
pub(crate) fn set_orientation(path: &Path, orientation: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let track = Movie::read(&mut file)?.video_track(&mut file)?;
    write_matrix(&mut file, find(&track, b"tkhd")?, orientation)
}

/// Returns the bytes at a position.
pub(super) fn bytes_at<const N: usize>(
    file: &mut (impl Read + Seek),
    at: u64,
) -> io::Result<[u8; N]> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes the matrix of a track header.
fn write_matrix(
    file: &mut (impl Read + Write + Seek),
    header: Atom,
    orientation: &str,
) -> io::Result<()> {
    // Times and duration have 8 bytes each in version 1.
    let is_long = bytes_at::<1>(file, header.content)? == [1];
    let at = header.content + if is_long { 52 } else { 40 };
    let size = bytes_at::<8>(file, at + 36)?;
    let [width, height] =
        [0, 4].map(|i| i32::from_be_bytes([size[i], size[i + 1], size[i + 2], size[i + 3]]));
    let Some(matrix) = matrix(orientation, width, height) else {
        let text = format!("the orientation {orientation} is unknown");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    };
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&matrix.map(i32::to_be_bytes).concat())
}

/// Returns the matrix that turns a picture of this size (16.16 fixed point) back to its place.
fn matrix(orientation: &str, width: i32, height: i32) -> Option<[i32; 9]> {
    const ONE: i32 = 1 << 16;
    let ([a, b, c, d], [x, y]) = match orientation {
        "rotate-0" => ([1, 0, 0, 1], [0, 0]),
        "rotate-90" => ([0, 1, -1, 0], [height, 0]),
        "rotate-180" => ([-1, 0, 0, -1], [width, height]),
        "rotate-270" => ([0, -1, 1, 0], [0, width]),
        "flip-rotate-0" => ([-1, 0, 0, 1], [width, 0]),
        "flip-rotate-90" => ([0, -1, -1, 0], [height, width]),
        "flip-rotate-180" => ([1, 0, 0, -1], [0, height]),
        "flip-rotate-270" => ([0, 1, 1, 0], [0, 0]),
        _ => return None,
    };
    Some([a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, x, y, 1 << 30])
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn heads_are_read() {
        let file =
            |size: u32, rest: &[u8]| Cursor::new([&size.to_be_bytes()[..], b"moov", rest].concat());
        let moov = |content, end| Some(Atom { kind: *b"moov", content, end });
        assert_eq!(read(&mut file(12, b""), 0).unwrap(), moov(8, 12));
        assert_eq!(read(&mut file(0, b""), 0).unwrap(), moov(8, u64::MAX));
        assert_eq!(read(&mut file(1, &20u64.to_be_bytes()), 0).unwrap(), moov(16, 20));
        assert_eq!(read(&mut file(1, &15u64.to_be_bytes()), 0).unwrap(), None);
        assert_eq!(read(&mut file(7, b""), 0).unwrap(), None);
        assert!(read(&mut file(1, b""), 0).is_err());
    }

    #[test]
    fn matrices_keep_the_picture_in_its_frame() {
        let (width, height) = (640, 480);
        for orientation in [
            "rotate-90",
            "rotate-180",
            "rotate-270",
            "flip-rotate-0",
            "flip-rotate-90",
            "flip-rotate-180",
            "flip-rotate-270",
        ] {
            let [a, b, _, c, d, _, x, y, _] = matrix(orientation, width, height).unwrap();
            let [a, b, c, d] = [a, b, c, d].map(|v| v >> 16);
            let corner = |px: i32, py: i32| [px * a + py * c + x, px * b + py * d + y];
            let corners =
                [corner(0, 0), corner(width, 0), corner(0, height), corner(width, height)];
            let low = |i: usize| corners.iter().map(|corner| corner[i]).min();
            assert_eq!([low(0), low(1)], [Some(0), Some(0)], "{orientation}");
        }
        assert!(matrix("upright", 1, 1).is_none());
    }
}
