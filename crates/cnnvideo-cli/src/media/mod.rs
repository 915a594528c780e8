// SPDX-License-Identifier: MIT OR Apache-2.0

//! Video files: what is in them, and their streams as pads of GStreamer.

pub(crate) mod decode;
pub(crate) mod demux;
pub(crate) mod edit_list;
pub(crate) mod frames;
pub(crate) mod location;
pub(crate) mod mp4;
pub(crate) mod probe;
pub(crate) mod truncated;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    error::{Result, failed},
    output::is_standard,
    y4m::MAGIC,
};

/// Where the video comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// YUV4MPEG2 from the standard input.
    Standard,
    /// A YUV4MPEG2 file.
    Y4m(PathBuf),
    /// A file that GStreamer demultiplexes; or its http(s) URL.
    File(PathBuf),
}

impl Input {
    /// Checks that an input can be read, and finds out its kind.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular file, is empty or truncated.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        if is_standard(path) {
            return Ok(Self::Standard);
        }
        if location::is_url(path) {
            return Ok(Self::File(path.to_owned()));
        }
        let shown = path.display();
        let metadata = path.metadata().map_err(|err| failed!("cannot read {shown}: {err}"))?;
        if !metadata.is_file() {
            return Err(failed!("{shown} is not a regular file: use - to read y4m from a pipe"));
        }
        let mut start = [0; MAGIC.len()];
        let mut file = File::open(path).map_err(|err| failed!("cannot read {shown}: {err}"))?;
        match file.read_exact(&mut start) {
            Ok(()) if start == *MAGIC => return Ok(Self::Y4m(path.to_owned())),
            Ok(()) => (),
            Err(err) if err.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(failed!("{shown} is not a video: it has {} bytes", metadata.len()));
            }
            Err(err) => return Err(failed!("cannot read {shown}: {err}")),
        }
        if truncated::is_truncated(&mut file, metadata.len())
            .map_err(|err| failed!("cannot read {shown}: {err}"))?
        {
            return Err(failed!(
                "{shown} is truncated: its end is missing; copy or download it again, or repair \
                 it (ffmpeg -i IN -c copy OUT) to process what there is"
            ));
        }
        Ok(Self::File(path.to_owned()))
    }

    /// Returns the name for messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Standard => "the standard input".to_owned(),
            Self::Y4m(path) | Self::File(path) => path.display().to_string(),
        }
    }

    /// Returns the path of the file, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Standard => None,
            Self::Y4m(path) | Self::File(path) => Some(path),
        }
    }
}
