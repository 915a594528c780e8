//! What the elements share: pixel formats, properties of the model, times.

mod properties;
mod timing;
mod video;

#[cfg(feature = "doc")]
pub(crate) use properties::mark_for_documentation;
pub use properties::{ModelPrecision, Quality};
pub(crate) use timing::Timing;
pub(crate) use video::{FORMATS, format_of, is_interlaced, picture, picture_mut};
