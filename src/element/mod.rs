//! What the elements share: pixel formats, properties of the model, times.

mod properties;
mod timing;
mod video;

pub use properties::{ModelPrecision, Quality};
pub(crate) use timing::Timing;
pub(crate) use video::{FORMATS, format_of, is_interlaced, picture, picture_mut};
