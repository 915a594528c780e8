//! Code that the elements share: pixel formats, model properties, region masks, timing, and the
//! state of a filter that processes one frame at a time (`Pictures`).

mod filter;
mod key;
mod model;
mod pictures;
mod properties;
mod region_mask;
mod timing;
mod video;

pub(crate) use filter::{ends_a_scene, follow_controls, live, lock, pad_templates};
pub(crate) use key::KeySettings;
pub(crate) use model::{ModelSettings, value_of};
pub(crate) use pictures::{Pictures, Process, Request};
#[cfg(feature = "doc")]
pub(crate) use properties::mark_for_documentation;
pub use properties::{ModelPrecision, Quality};
pub use region_mask::{REGION_MASK_META, RegionMask};
pub(crate) use region_mask::{is_region_mask, register as register_region_mask};
pub(crate) use timing::Timing;
pub(crate) use video::{
    DEEP_FORMATS, Depth, FORMATS, format_of, is_interlaced, layout_of, picture, picture_mut,
    with_samples,
};
