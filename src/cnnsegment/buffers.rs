// SPDX-License-Identifier: MIT OR Apache-2.0

//! Metas of buffers: what the element answers to allocation queries, and which metas it copies to
//! the buffers that it outputs.

use gst::meta::{MetaAPI, MetaTag};
use gst_video::{VideoCropMeta, VideoMeta, video_meta::tags};

use super::SegmentOutput;
use crate::shared::refuse_crop_meta;

/// Adapts the answer to an allocation query that upstream gets. In place, it is the answer of
/// downstream, which receives the buffers of upstream; otherwise the element reads the buffers
/// itself.
pub(super) fn adapt_allocation(query: &mut gst::query::Allocation, output: SegmentOutput) {
    refuse_crop_meta(query);
    if !output.in_place() && query.find_allocation_meta::<VideoMeta>().is_none() {
        query.add_allocation_meta::<VideoMeta>(None);
    }
}

/// Returns whether the element copies a meta with tags to a new buffer. The output has the size and
/// the orientation of the input; with alpha also its colours.
pub(super) fn keeps_meta(meta: &gst::MetaRef<'_, gst::Meta>, output: SegmentOutput) -> bool {
    let mut kept = vec![
        tags::Video::TAG_NAME.as_str(),
        tags::Size::TAG_NAME.as_str(),
        tags::Orientation::TAG_NAME.as_str(),
    ];
    if output == SegmentOutput::Alpha {
        kept.push(tags::Colorspace::TAG_NAME.as_str());
    }
    // The frame is output cropped.
    meta.api() != VideoCropMeta::meta_api() && meta.tags_contain_only(&kept)
}
