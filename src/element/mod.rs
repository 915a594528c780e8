//! What the elements share: pixel formats, properties of the model, times.

mod filter;
mod model;
mod properties;
mod region_mask;
mod timing;
mod video;

pub(crate) use filter::{MIN_INTERLACED_HEIGHT, ends_a_scene, follow_controls, live, lock, pad_templates};
pub(crate) use model::{ModelSettings, value_of};
#[cfg(feature = "doc")]
pub(crate) use properties::mark_for_documentation;
pub use properties::{ModelPrecision, Quality};
pub use region_mask::{REGION_MASK_META, RegionMask};
pub(crate) use region_mask::{is_region_mask, register as register_region_mask};
pub(crate) use timing::Timing;
pub(crate) use video::{FORMATS, format_of, is_interlaced, picture, picture_mut};
