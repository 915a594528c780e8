// SPDX-License-Identifier: MIT OR Apache-2.0

//! `variants.json`: what the folder of the variants holds.

use std::{fs, path::Path};

use cnnvideo::watermark::{Key, Patterns};
use serde::{Deserialize, Serialize};

use crate::error::{Result, failed};

/// Name of the file in the folder.
pub(super) const MANIFEST: &str = "variants.json";
/// Name of the playlist of each variant in its folder.
pub(super) const PLAYLIST: &str = "index.m3u8";
/// Version of the format.
const FORMAT: u32 = 1;
/// Largest number of segments: a day of segments of a second.
pub(super) const MAX_SEGMENTS: usize = 86_400;

/// Description of the variants of a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// Number of the video in the payloads.
    pub(super) asset: u32,
    /// Number of segments.
    pub(super) segments: usize,
    /// Frames of each segment but the last one.
    pub(super) frames_per_segment: u32,
    /// Number of receivers who mix their copies that the patterns allow for.
    pub(super) colluders: u32,
}

impl Manifest {
    pub(super) fn new(
        asset: u32,
        segments: usize,
        frames_per_segment: u32,
        colluders: u32,
    ) -> Self {
        Self { format: FORMAT, asset, segments, frames_per_segment, colluders }
    }

    /// Returns the content of the file.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers can be written as JSON") + "\n"
    }

    /// Reads the file in a folder.
    ///
    /// # Errors
    /// It cannot be read or was not written by this version of the program.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let shown = path.display();
        let text = fs::read_to_string(&path).map_err(|err| {
            failed!("cannot read {shown}: {err}; cnnvideo watermark variants writes such folders")
        })?;
        let manifest: Self = serde_json::from_str(&text)
            .map_err(|err| failed!("{shown} does not describe variants: {err}"))?;
        if manifest.format != FORMAT {
            return Err(failed!("{shown} is for another version of cnnvideo: make it again"));
        }
        if !(1..=MAX_SEGMENTS).contains(&manifest.segments) {
            return Err(failed!("{shown} must have 1 to {MAX_SEGMENTS} segments: make it again"));
        }
        Ok(manifest)
    }

    /// Returns the patterns of the receivers.
    pub(super) fn patterns<'a>(&self, key: &'a Key) -> Patterns<'a> {
        Patterns::new(key, self.asset, self.segments, self.colluders)
    }
}
