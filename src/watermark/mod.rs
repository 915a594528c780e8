//! A keyed, blind watermark that carries 64 bits and survives what happens to video. Knows no GStreamer: [`Embedder`] hides
//! a [`Payload`], [`Collector`] gathers what pictures show of it and [`Decoder`] reads it.

pub mod code;
mod decode;
mod detect;
pub mod element;
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
#[cfg(feature = "torch")]
pub(crate) mod training;

pub use decode::{Decoder, Evidence, Report};
pub use detect::{Collector, Window};
pub use embed::{Embedder, HOP_FRAMES, Strength};
pub use key::{Key, KeyError};
pub use message::{NoPayload, Payload};
pub use sync::Search;
