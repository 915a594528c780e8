// SPDX-License-Identifier: MIT OR Apache-2.0

//! Regions of interest of other elements (`GstVideoRegionOfInterestMeta`, as of face and object
//! detectors) as regions of the filters.

use std::sync::Arc;

use glib::{ParamSpec, ParamSpecString, prelude::*};
use gst::prelude::*;
use gst_video::VideoRegionOfInterestMeta;
use ndarray::{Array2, s};

/// Text for all types.
const ALL: &str = "*";

/// Types of the regions of interest that count, separated by commas; `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoiTypes(Arc<str>);

impl Default for RoiTypes {
    fn default() -> Self {
        Self(ALL.into())
    }
}

impl From<Option<String>> for RoiTypes {
    fn from(text: Option<String>) -> Self {
        Self(text.unwrap_or_default().into())
    }
}

impl RoiTypes {
    /// Name of the property.
    pub(crate) const PROPERTY: &'static str = "roi-types";

    /// Returns the specification of the property.
    pub(crate) fn property() -> ParamSpec {
        ParamSpecString::builder(Self::PROPERTY)
            .nick("Types of regions of interest")
            .blurb(
                "Types of GstVideoRegionOfInterestMeta that count as regions where a frame has no \
                 region mask, separated by commas, * = all, empty = none",
            )
            .default_value(ALL)
            .mutable_playing()
            .build()
    }

    /// Returns the value of the property.
    pub(crate) fn to_value(&self) -> glib::Value {
        self.0.to_value()
    }

    /// Returns the types.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(str::trim).filter(|name| !name.is_empty())
    }

    /// Returns labels `[row, column]` of a frame of `size` (width, height): 1 inside of the regions
    /// of interest that count, 0 outside. `None` if the frame has no such region and the types are
    /// not named: only a stream whose types are named is known to have a detector.
    pub(super) fn labels(
        &self,
        buffer: &gst::BufferRef,
        (width, height): (u32, u32),
    ) -> Option<Array2<u8>> {
        let all = self.names().any(|name| name == ALL);
        let counts = |kind: &str| all || self.names().any(|name| name == kind);
        let mut labels: Option<Array2<u8>> = None;
        let zeros = || Array2::zeros((height as usize, width as usize));
        for meta in buffer.iter_meta::<VideoRegionOfInterestMeta>() {
            if counts(meta.roi_type()) {
                let (x, y, w, h) = meta.rect();
                let rows = y.min(height) as usize..y.saturating_add(h).min(height) as usize;
                let columns = x.min(width) as usize..x.saturating_add(w).min(width) as usize;
                labels.get_or_insert_with(zeros).slice_mut(s![rows, columns]).fill(1);
            }
        }
        let is_named = !all && self.names().next().is_some();
        labels.or_else(|| is_named.then(zeros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(types: &str, regions: &[(&str, [u32; 4])]) -> Option<Vec<u8>> {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        for (kind, [x, y, w, h]) in regions {
            VideoRegionOfInterestMeta::add(buffer.make_mut(), kind, (*x, *y, *w, *h));
        }
        let labels = RoiTypes(types.into()).labels(&buffer, (4, 2));
        labels.map(|labels| labels.into_raw_vec_and_offset().0)
    }

    #[test]
    fn regions_of_the_types_are_labelled() {
        let regions = [("face", [1, 0, 2, 1]), ("car", [3, 1, 90, u32::MAX])];
        assert_eq!(labels("*", &regions), Some(vec![0, 1, 1, 0, 0, 0, 0, 1]));
        assert_eq!(labels(" car ,dog", &regions), Some(vec![0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(labels("face,*", &regions[1..]), Some(vec![0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(labels("", &regions), None);
        assert_eq!(labels(" , ", &regions), None);
    }

    #[test]
    fn frames_without_regions_are_outside_only_where_types_are_named() {
        assert_eq!(labels("*", &[]), None);
        assert_eq!(labels("face", &[]), Some(vec![0; 8]));
        assert_eq!(labels("face", &[("car", [0, 0, 4, 2])]), Some(vec![0; 8]));
        // Outside of the frame.
        let outside = ("face", [u32::MAX, 9, u32::MAX, 1]);
        assert_eq!(labels("*", &[outside]), Some(vec![0; 8]));
    }
}
