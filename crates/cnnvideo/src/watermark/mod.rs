//! Keyed, blind video watermark with a payload of 64 bits, independent of GStreamer.
//!
//! [`Embedder`] adds the watermark of a [`Payload`] to pictures. [`Collector`] accumulates the
//! residuals of received pictures in a [`Window`], and [`Decoder`] recovers the geometry and the
//! payload from it.

pub mod code;
mod decode;
mod detect;
mod embed;
mod geometry;
mod key;
mod mask;
mod message;
mod pattern;
mod plane;
mod residual;
mod sync;
mod texture;
pub mod training;

pub use decode::{Decoder, Evidence, Report};
pub use detect::{Collector, Window};
pub use embed::{Embedder, HOP_FRAMES, Strength};
pub use key::{Key, KeyError};
pub use message::{NoPayload, Payload};
pub use sync::Search;
