// SPDX-License-Identifier: MIT OR Apache-2.0

//! Accumulates the residuals of received pictures for detection: [`Collector`] and [`Window`].

use std::{collections::VecDeque, sync::Arc};

use ndarray::Array2;

use super::{describe::BlurredLuma, plane::canonical_scale, residual::ResidualFilter};
use crate::frame::{Picture, Sample, luma::luma_row, resample::Resampler};

/// Frames of a group, whose residuals are summed: a quarter of [`HOP_FRAMES`](super::HOP_FRAMES),
/// so that most groups belong to a single hop.
pub(super) const GROUP_FRAMES: u32 = 6;
/// Steps per unit of stored residuals, whose magnitude is 3 at most.
pub(super) const RESIDUAL_STEPS: f32 = 40.0;

/// Sum of the residuals of successive pictures.
#[derive(Debug, Clone)]
pub(super) struct ResidualGroup {
    /// Sum of the residuals on the canonical raster, rows by columns.
    pub residual_sum: Array2<f32>,
    /// The pictures of the sum.
    pub pictures: Vec<ReceivedPicture>,
}

/// What the detector keeps of a picture.
#[derive(Debug, Clone)]
pub(super) struct ReceivedPicture {
    /// The residual on the canonical raster, by rows, in steps of 1 / [`RESIDUAL_STEPS`].
    pub residual: Vec<i8>,
    /// Luma for the description.
    pub luma: BlurredLuma,
}

impl ResidualGroup {
    /// Returns the number of pictures in the sum.
    pub(super) fn frames(&self) -> u32 {
        self.pictures.len() as u32
    }
}

/// Residuals of the most recent pictures, input of a [`Decoder`](super::Decoder). Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Groups in the order of the stream.
    pub(super) groups: Vec<Arc<ResidualGroup>>,
    /// Width and height of the pictures in pixels.
    pub(super) size: (usize, usize),
}

impl Window {
    /// Returns the number of pictures in the window.
    pub fn frames(&self) -> u32 {
        self.groups.iter().map(|group| group.frames()).sum()
    }
}

/// Accumulates residuals of the pictures of one stream. It does not depend on a key.
#[derive(Debug)]
pub struct Collector {
    /// Number of most recent pictures to keep.
    window_frames: u32,
    /// Width and height of the pictures in pixels.
    size: (usize, usize),
    resampler: Resampler,
    residual_filter: ResidualFilter,
    /// The current picture at canonical size, then its residual.
    canonical: Array2<f32>,
    /// Complete groups, the oldest first.
    groups: VecDeque<Arc<ResidualGroup>>,
    /// Group that is still being filled.
    partial_group: Option<ResidualGroup>,
}

impl Collector {
    /// Creates a collector that keeps the residuals of the last `window_frames` pictures.
    pub fn new(window_frames: u32) -> Self {
        Self {
            window_frames: window_frames.max(1),
            size: (0, 0),
            resampler: Resampler::default(),
            residual_filter: ResidualFilter::default(),
            canonical: Array2::zeros((0, 0)),
            groups: VecDeque::new(),
            partial_group: None,
        }
    }

    /// Discards the residuals of all pictures.
    pub fn reset(&mut self) {
        self.groups.clear();
        self.partial_group = None;
    }

    /// Adds a picture. A picture of a different size discards all previous ones.
    pub fn push<T: Sample>(&mut self, picture: &Picture<'_, T>) {
        let size = picture.size();
        if self.size != size {
            self.reset();
            self.size = size;
        }
        let scale = [canonical_scale(size.0, size.1); 2];
        self.resampler.resample(size, scale, &mut self.canonical, 1, |y, row| {
            luma_row(picture, y, row);
        });
        let luma = BlurredLuma::of_canonical(&self.canonical);
        self.residual_filter.run(&mut self.canonical);
        let residual = self.canonical.iter().map(|v| (v * RESIDUAL_STEPS).round() as i8);
        let picture = ReceivedPicture { residual: residual.collect(), luma };
        let group = self.partial_group.get_or_insert_with(|| ResidualGroup {
            residual_sum: Array2::zeros(self.canonical.dim()),
            pictures: Vec::new(),
        });
        group.residual_sum += &self.canonical;
        group.pictures.push(picture);
        let group_frames = GROUP_FRAMES.min(self.window_frames);
        if let Some(group) = self.partial_group.take_if(|group| group.frames() >= group_frames) {
            self.groups.push_back(Arc::new(group));
        }
        let frames = |groups: &VecDeque<Arc<ResidualGroup>>| {
            groups.iter().map(|group| group.frames()).sum::<u32>()
        };
        while self.groups.len() > 1 && frames(&self.groups) > self.window_frames {
            self.groups.pop_front();
        }
    }

    /// Returns the residuals of the most recent pictures.
    pub fn window(&self) -> Window {
        let mut groups: Vec<_> = self.groups.iter().cloned().collect();
        groups.extend(self.partial_group.clone().map(Arc::new));
        Window { groups, size: self.size }
    }
}
