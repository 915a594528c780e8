// SPDX-License-Identifier: MIT OR Apache-2.0

//! Code that the elements share: pixel formats, model properties, region masks, statistics, and the
//! implementation of elements that filter one frame at a time (`FrameFilter`).

mod analytics;
mod element;
mod frame_filter;
mod key;
mod model;
mod plane_memory;
mod properties;
mod region_mask;
mod roi;
mod timing;
mod video;

pub(crate) use element::{
    Continuity, FrameTimes, MAX_SIDE, describes_memory, is_discontinuity, lock, pad_templates,
    refuse_crop_meta, sync_controlled_properties,
};
pub(crate) use frame_filter::{
    FilterClass, FilterElement, FilterSettings, FrameFilter, FramePace, FrameProcessor,
    FrameSettings, RegionFactors, components_cover_planes,
};
pub(crate) use key::KeySettings;
pub(crate) use model::ModelSettings;
#[cfg(feature = "doc")]
pub(crate) use properties::mark_for_documentation;
pub use properties::{ModelPrecision, QualityPreset};
pub(crate) use properties::{controllable_float, get_value};
pub(crate) use region_mask::register as register_region_mask;
pub use region_mask::{REGION_MASK_META, RegionMask};
pub(crate) use roi::RoiTypes;
pub(crate) use timing::Timing;
pub(crate) use video::{
    FORMATS_8BIT, FORMATS_10BIT, SampleDepth, Scan, deeper, format_of, has_room_for_fields,
    is_interlaced, layout_of, listed_formats, map_frame, map_frame_mut, view_frame, view_frame_mut,
    view_scan, view_scan_mut, with_sample_pairs, with_samples,
};
