// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is known about the file of a finished chunk: a small JSON file beside it.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::plan::{ChunkPlan, digits};
use crate::{
    error::{Result, failed},
    output::write_whole,
};

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Hash of the plan.
    pub(crate) plan: String,
    /// Number of the chunk.
    pub(crate) chunk: usize,
    /// Number of its frames.
    pub(crate) frames: u64,
    /// Timestamp of its first frame in nanoseconds.
    pub(crate) first_pts: u64,
    /// Timestamp of its last frame in nanoseconds.
    pub(crate) last_pts: u64,
    /// Size of the file in bytes.
    pub(crate) size: u64,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
    /// Caps of the encoded video.
    pub(crate) caps: String,
    /// For each packet in the order of the file, the number of its frame in the chunk.
    pub(crate) order: Vec<u32>,
}

/// Why the file of a chunk cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file or its record does not exist.
    Missing,
    /// It was made for another plan.
    OtherPlan,
    /// It was changed after it was made.
    Damaged,
}

impl Fault {
    /// Returns what is the matter, in words.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::OtherPlan => "of another plan",
            Self::Damaged => "damaged",
        }
    }
}

impl Record {
    /// Returns the path of the record of a chunk's file.
    pub(crate) fn path(file: &Path) -> PathBuf {
        file.with_extension("json")
    }

    /// Describes the file of a chunk.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn of(
        plan: &ChunkPlan,
        number: usize,
        file: &Path,
        caps: String,
        order: Vec<u32>,
    ) -> Result<Self> {
        let chunk = plan.chunk(number)?;
        let (size, sha256) =
            hash(file).map_err(|err| failed!("cannot read {}: {err}", file.display()))?;
        Ok(Self {
            plan: plan.hash(),
            chunk: number,
            frames: chunk.frames,
            first_pts: chunk.first_pts,
            last_pts: chunk.last_pts,
            size,
            sha256,
            caps,
            order,
        })
    }

    /// Writes the record of a chunk's file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let path = Self::path(file);
        let text = serde_json::to_string(self).map_err(|err| failed!("{err}"))?;
        write_whole(&path, |temporary| {
            fs::write(temporary, text + "\n")
                .map_err(|err| failed!("cannot write {}: {err}", path.display()))
        })
    }

    /// Reads the record of a chunk's file and checks the file against it and the plan.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn verify(
        plan: &ChunkPlan,
        number: usize,
        file: &Path,
    ) -> std::result::Result<Self, Fault> {
        let text = fs::read(Self::path(file)).map_err(|_| Fault::Missing)?;
        let record: Self = serde_json::from_slice(&text).map_err(|_| Fault::Damaged)?;
        let chunk = plan.chunks.get(number).ok_or(Fault::OtherPlan)?;
        if record.plan != plan.hash() || record.chunk != number {
            return Err(Fault::OtherPlan);
        }
        let mut sorted = record.order.clone();
        sorted.sort_unstable();
        let is_right = record.frames == chunk.frames
            && record.first_pts == chunk.first_pts
            && record.last_pts == chunk.last_pts
            && sorted.iter().copied().map(u64::from).eq(0..chunk.frames);
        let hash = hash(file).map_err(|_| Fault::Missing)?;
        match is_right && hash == (record.size, record.sha256.clone()) {
            true => Ok(record),
            false => Err(Fault::Damaged),
        }
    }
}

/// Returns the size and the SHA-256 of a file.
fn hash(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => return Ok((size, digits(&hash.finalize()))),
            length => {
                hash.update(&part[..length]);
                size += length as u64;
            }
        }
    }
}
