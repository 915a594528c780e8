// SPDX-License-Identifier: MIT OR Apache-2.0

//! The edit list of the video track of MP4 and QuickTime files (ISO/IEC 14496-12, 8.6.6).
//!
//! It says which part of the track is shown. The muxer of GStreamer 1.22 makes it as long as the
//! decoding times, which end before the last frame is shown if frames are stored in another order
//! and their durations vary. Players would leave out that frame.

use std::{
    fs::OpenOptions,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::mp4::{Atom, Movie, bytes_at, children, find};

/// Makes the edit list of the first video track as long as its frames. Does nothing if there is no
/// edit list.
///
/// # Errors
/// The file cannot be read or written, or has no video track.
pub(crate) fn extend(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let movie = Movie::read(&mut file)?;
    let track = movie.video_track(&mut file)?;
    let Ok(edits) = find(&track, b"edts") else { return Ok(()) };
    let edits = find(&children(&mut file, edits.content, edits.end)?, b"elst")?;
    let Some(edit) = Edit::last(&mut file, edits)? else { return Ok(()) };

    let media = find(&track, b"mdia")?;
    let media = children(&mut file, media.content, media.end)?;
    let media_scale = time_scale(&mut file, find(&media, b"mdhd")?)?;
    let header = find(&movie.boxes, b"mvhd")?;
    let movie_scale = time_scale(&mut file, header)?;
    let end = presentation_end(&mut file, &media)?;
    let length = u128::from(end.saturating_sub(edit.start)) * u128::from(movie_scale);
    let length = u64::try_from(length.div_ceil(u128::from(media_scale.max(1)))).unwrap_or(0);
    let missing = length.saturating_sub(edit.duration.read(&mut file)?);
    if missing == 0 {
        return Ok(());
    }
    edit.duration.add(&mut file, missing)?;
    let track_header = find(&track, b"tkhd")?;
    let in_track = Duration::of(&mut file, track_header, 20)?;
    in_track.add(&mut file, missing)?;
    let (in_track, in_movie) = (in_track.read(&mut file)?, Duration::of(&mut file, header, 16)?);
    let shorter = in_track.saturating_sub(in_movie.read(&mut file)?);
    in_movie.add(&mut file, shorter)
}

/// A duration in a box.
#[derive(Debug, Clone, Copy)]
struct Duration {
    position: u64,
    /// Whether it has 8 bytes instead of 4.
    is_long: bool,
}

impl Duration {
    /// Returns the duration in a header, at the offset `short` in its version 0. Version 1 has two
    /// times of 8 instead of 4 bytes before it.
    fn of(file: &mut (impl Read + Seek), header: Atom, short: u64) -> io::Result<Self> {
        let is_long = is_version_1(file, header)?;
        Ok(Self { position: header.content + short + if is_long { 8 } else { 0 }, is_long })
    }

    fn read(self, file: &mut (impl Read + Seek)) -> io::Result<u64> {
        if self.is_long {
            bytes_at(file, self.position).map(u64::from_be_bytes)
        } else {
            bytes_at(file, self.position).map(|bytes| u32::from_be_bytes(bytes).into())
        }
    }

    /// Adds to the duration; leaves it alone if it does not have the bytes for it.
    fn add(self, file: &mut (impl Read + Write + Seek), more: u64) -> io::Result<()> {
        let sum = self.read(file)?.saturating_add(more);
        file.seek(SeekFrom::Start(self.position))?;
        match (self.is_long, u32::try_from(sum)) {
            (true, _) => file.write_all(&sum.to_be_bytes()),
            (false, Ok(sum)) => file.write_all(&sum.to_be_bytes()),
            (false, Err(_)) => Ok(()),
        }
    }
}

/// An entry of an edit list.
struct Edit {
    duration: Duration,
    /// First time of the track that is shown.
    start: u64,
}

impl Edit {
    /// Returns the last entry, `None` if it shows nothing of the track.
    fn last(file: &mut (impl Read + Seek), list: Atom) -> io::Result<Option<Self>> {
        let is_long = is_version_1(file, list)?;
        let count = u32::from_be_bytes(bytes_at(file, list.content + 4)?);
        let Some(before) = count.checked_sub(1) else { return Ok(None) };
        let (size, field) = if is_long { (20, 8) } else { (12, 4) };
        let position = list.content + 8 + u64::from(before) * size;
        let start = if is_long {
            i64::from_be_bytes(bytes_at(file, position + field)?)
        } else {
            i32::from_be_bytes(bytes_at(file, position + field)?).into()
        };
        let duration = Duration { position, is_long };
        Ok(u64::try_from(start).ok().map(|start| Self { duration, start }))
    }
}

fn is_version_1(file: &mut (impl Read + Seek), full_box: Atom) -> io::Result<bool> {
    Ok(bytes_at::<1>(file, full_box.content)? == [1])
}

/// Returns the time units of a second of `mvhd` or `mdhd`.
fn time_scale(file: &mut (impl Read + Seek), header: Atom) -> io::Result<u32> {
    let offset = if is_version_1(file, header)? { 20 } else { 12 };
    bytes_at(file, header.content + offset).map(u32::from_be_bytes)
}

/// Returns the end of the frame that is shown last, in time units of the track, from the boxes of
/// its media.
fn presentation_end(file: &mut (impl Read + Seek), media: &[Atom]) -> io::Result<u64> {
    let information = find(media, b"minf")?;
    let information = children(file, information.content, information.end)?;
    let tables = find(&information, b"stbl")?;
    let tables = children(file, tables.content, tables.end)?;
    let durations = runs(file, find(&tables, b"stts")?)?;
    let offsets = match find(&tables, b"ctts") {
        Ok(table) => runs(file, table)?,
        Err(_) => Vec::new(),
    };
    let each = |runs: Vec<[u32; 2]>| {
        runs.into_iter().flat_map(|[count, value]| std::iter::repeat_n(value, count as usize))
    };
    // Offsets may be negative in version 1 of their box, which differs from large positive ones by
    // the sign alone.
    let offsets = each(offsets).map(u32::cast_signed).chain(std::iter::repeat(0));
    let (mut time, mut end) = (0u64, 0u64);
    for (duration, offset) in each(durations).zip(offsets) {
        let next = time.saturating_add(duration.into());
        end = end.max(next.saturating_add_signed(offset.into()));
        time = next;
    }
    Ok(end)
}

/// Returns the runs of a table: how often a value comes, and the value.
fn runs(file: &mut (impl Read + Seek), table: Atom) -> io::Result<Vec<[u32; 2]>> {
    let count = u32::from_be_bytes(bytes_at(file, table.content + 4)?);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(table.content + 8))?;
    file.by_ref().take(u64::from(count) * 8).read_to_end(&mut bytes)?;
    let numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
    Ok(numbers.collect::<Vec<_>>().as_chunks::<2>().0.to_vec())
}
