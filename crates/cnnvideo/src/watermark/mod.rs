// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keyed, blind video watermark with a payload of 64 bits, independent of GStreamer.
//!
//! [`Embedder`] adds the watermark of a [`Payload`] to pictures. [`Collector`] accumulates the
//! residuals of received pictures in a [`Window`], and [`Decoder`] recovers the geometry and the
//! payload from it. Marks of [`Version::Two`] depend on the picture, those of [`Version::One`] do
//! not; [`Security`] selects one.

mod candidates;
mod collect;
mod convolutional_code;
mod decode;
mod demodulate;
mod describe;
mod embed;
mod geometry;
mod hops;
mod key;
mod mask;
mod mask_network;
mod message;
mod orientation;
mod pattern;
mod payload;
mod plane;
mod polar;
mod power;
mod report;
mod residual;
mod search;
mod secret;
mod spectra;
mod sync;
mod tile_weights;
mod tiles;
pub mod training;
mod transforms;
mod variants;
mod version;
mod version1;
mod version2;

pub use candidates::{MAX_CANDIDATES, ParseCandidatesError, parse_candidates};
pub use collect::{Collector, Window};
pub use decode::{Decoder, DecoderOptions};
pub use embed::{Embedder, HOP_FRAMES, Security, Strength};
pub use key::{KEY_LEN, Key, KeyError};
pub use orientation::Orientation;
pub use payload::{ParsePayloadError, Payload};
pub use report::{Evidence, Report};
pub use search::Search;
pub use variants::{Accusation, Observed, Patterns, SegmentMark, Variant};
pub use version::Version;
