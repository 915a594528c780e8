// SPDX-License-Identifier: MIT OR Apache-2.0

//! Finds files that end too early, before any work is done on them.
//!
//! Demultiplexers end the stream where the file ends, without an error.

use std::io::{self, Read, Seek, SeekFrom};

use super::mp4::{self, MAX_BOXES};

/// ID of the EBML header that begins a Matroska file.
const EBML: u64 = 0x1a45_dfa3;
/// ID of the element that contains the rest of a Matroska file.
const SEGMENT: u64 = 0x1853_8067;

/// Returns whether a Matroska, WebM, MP4, QuickTime or AVI file of `length` bytes lacks its end.
/// Other files count as complete.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn is_truncated(file: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = [0; 12];
    let result = file.read_exact(&mut start).and_then(|()| {
        file.seek(SeekFrom::Start(0))?;
        if start[..4] == [0x1a, 0x45, 0xdf, 0xa3] {
            matroska(file, length)
        } else if start[4..8] == *b"ftyp" {
            boxes(file, length)
        } else if let [b'R', b'I', b'F', b'F', size @ .., _, _, _, _] = start {
            // AVI; further parts may follow the first one.
            Ok(u64::from(u32::from_le_bytes(size)).saturating_add(8) > length)
        } else {
            Ok(false)
        }
    });
    match result {
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
        other => other,
    }
}

/// Compares the size of the segment of a Matroska file with the length of the file.
fn matroska(file: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    let mut end = 0;
    for id in [EBML, SEGMENT] {
        file.seek(SeekFrom::Start(end))?;
        if variable_integer(file, true)?.0 != id {
            return Ok(false);
        }
        let (size, is_unknown) = variable_integer(file, false)?;
        if is_unknown {
            return Ok(false);
        }
        end = file.stream_position()?.saturating_add(size);
    }
    Ok(end > length)
}

/// Reads an integer of 1 to 8 bytes (RFC 8794). Returns it, and whether all its bits are set, which
/// means an unknown size.
fn variable_integer(file: &mut impl Read, with_marker: bool) -> io::Result<(u64, bool)> {
    let mut first = [0; 1];
    file.read_exact(&mut first)?;
    let bytes = first[0].leading_zeros() + 1;
    if bytes > 8 {
        return Ok((0, false));
    }
    let data = if with_marker { first[0] } else { first[0] & (0xff_u16 >> bytes) as u8 };
    let mut value = u64::from(data);
    for _ in 1..bytes {
        let mut next = [0; 1];
        file.read_exact(&mut next)?;
        value = value << 8 | u64::from(next[0]);
    }
    Ok((value, value == (1 << (7 * bytes)) - 1))
}

/// Follows the boxes of an MP4 file to its end.
fn boxes(file: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    let mut at = 0u64;
    for _ in 0..MAX_BOXES {
        // Some writers leave a few bytes of padding behind the last box.
        if at.saturating_add(8) > length {
            return Ok(at > length);
        }
        match mp4::read(file, at)? {
            Some(atom) if atom.end < u64::MAX => at = atom.end,
            // The last box reaches up to the end of the file, or there is something else.
            _ => return Ok(false),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn truncated(bytes: &[u8]) -> bool {
        is_truncated(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn matroska_files_end_with_their_segment() {
        let header = [0x1a, 0x45, 0xdf, 0xa3, 0x81, 0, 0x18, 0x53, 0x80, 0x67];
        let file = |size: &[u8], content: &[u8]| [&header, size, content].concat();
        assert!(!truncated(&file(&[0x85], b"12345")));
        assert!(!truncated(&file(&[0x40, 5], b"12345 and more")));
        assert!(truncated(&file(&[0x85], b"1234")));
        assert!(truncated(&file(&[0x01, 0, 0, 0, 0, 0, 1, 0], b"1234")));
        // The size of a stream that was not finished is unknown.
        assert!(!truncated(&file(&[0xff], b"1234")));
        assert!(!truncated(&file(&[0x01, 255, 255, 255, 255, 255, 255, 255], b"")));
        assert!(truncated(&header));
    }

    #[test]
    fn mp4_files_end_with_their_last_box() {
        let file = |size: u32, content: &[u8]| {
            [&12u32.to_be_bytes()[..], b"ftypmp42", &size.to_be_bytes(), b"mdat", content].concat()
        };
        assert!(!truncated(&file(12, b"1234")));
        assert!(!truncated(&file(12, b"1234pad")));
        assert!(!truncated(&file(0, b"1234")));
        assert!(truncated(&file(12, b"123")));
        let long = [&20u64.to_be_bytes()[..], b"1234"].concat();
        assert!(!truncated(&file(1, &long)));
        assert!(truncated(&file(1, &long[..11])));
        assert!(!truncated(&file(7, b"1234")));
        assert!(!truncated(b"some other file"));
    }

    #[test]
    fn avi_files_end_with_their_chunk() {
        assert!(!truncated(b"RIFF\x08\0\0\0AVI 1234"));
        assert!(truncated(b"RIFF\x09\0\0\0AVI 1234"));
    }
}
