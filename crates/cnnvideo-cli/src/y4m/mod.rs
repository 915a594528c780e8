// SPDX-License-Identifier: MIT OR Apache-2.0

//! YUV4MPEG2 (y4m), the format in which programs pass raw video through pipes.
//!
//! 8 and 10 bits, 4:2:0, 4:2:2, 4:4:4 and grey, of any size. [`Reader`] is strict: it refuses what
//! it does not know, checks sizes before it allocates memory, and tells which frame is incomplete.
//!
//! The format is described in the manual page yuv4mpeg(5) of mjpegtools; ffmpeg's extensions for
//! more than 8 bits and for grey are included.

mod header;
mod reader;
mod writer;

pub use header::{Chroma, Header, Interlacing, MAX_SIDE};
pub use reader::Reader;
pub use writer::Writer;

/// First bytes of every stream.
pub const MAGIC: &[u8; 10] = b"YUV4MPEG2 ";

/// Errors of reading a stream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream is not YUV4MPEG2, or of a kind that is not supported.
    #[error("{0}")]
    Header(String),
    /// A frame begins with something else.
    #[error("frame {frame} does not begin with FRAME: the stream is damaged")]
    Frame {
        /// Number of the frame, from 0.
        frame: u64,
    },
    /// The stream ends within a frame.
    #[error("the stream ends within frame {frame}: it is truncated")]
    Truncated {
        /// Number of the frame, from 0.
        frame: u64,
    },
    /// The system reports an error.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
