// SPDX-License-Identifier: MIT OR Apache-2.0

//! State of a negotiated stream: the segmenter, the seeds and the events to post.

use std::collections::VecDeque;

use gst_video::{VideoFrameRef, VideoInfo};
use ndarray::Array2;

use super::commands::Command;
use crate::shared::{Continuity, view_frame};
use cnnvideo::{
    frame::Format,
    segment::{self, Seed, Seeds, Segmenter, Shape},
};

/// Change of a region's confidence above which the element posts a message.
const MIN_CONFIDENCE_CHANGE: f32 = 0.15;

/// State of a stream with fixed caps; new caps replace it.
pub(super) struct SegmentStream {
    /// Video info of the sink pad.
    pub input_info: VideoInfo,
    /// Video info of the source pad.
    pub output_info: VideoInfo,
    /// Memory layout of input frames.
    pub format: Format,
    /// Detects long gaps between frames.
    pub continuity: Continuity,
    /// Segments and tracks the regions.
    segmenter: Segmenter,
    /// Current seeds, moved with the video.
    seeds: Seeds,
    /// Label of each pixel of the latest frame, 0 outside of regions.
    pub labels: Array2<u8>,
    /// Confidence in the latest message about each label, that of label `n` at index `n - 1`.
    reported_confidence: [Option<f32>; segment::MAX_LABEL as usize],
}

/// Event of a region that the element posts a message about.
pub(super) struct RegionEvent {
    /// Label of the region.
    pub label: u8,
    /// Area as a share of the frame, 0 if lost.
    pub area: f32,
    /// Confidence of the tracking from 0 to 1, 0 if lost.
    pub confidence: f32,
    /// Whether the region has been lost.
    pub lost: bool,
}

impl SegmentStream {
    /// Creates the state for a negotiated stream whose input frames have the layout `format`.
    pub(super) fn new(
        input_info: VideoInfo,
        output_info: VideoInfo,
        format: Format,
        segmenter: Segmenter,
    ) -> Self {
        let labels = Array2::zeros((input_info.height() as usize, input_info.width() as usize));
        Self {
            input_info,
            output_info,
            format,
            continuity: Continuity::default(),
            segmenter,
            seeds: Seeds::default(),
            labels,
            reported_confidence: Default::default(),
        }
    }

    /// Tracks the regions into a new frame, executes the commands, and fills `labels`. Returns the
    /// events to post. With `is_discontinuity`, the frame does not continue the previous one, so
    /// all regions are lost.
    ///
    /// # Errors
    /// Fails if the frame has an unexpected layout or a network cannot be run.
    pub(super) fn process_frame(
        &mut self,
        frame: &VideoFrameRef<&gst::BufferRef>,
        commands: VecDeque<Command>,
        is_discontinuity: bool,
    ) -> Result<Vec<RegionEvent>, segment::Error> {
        let mut events = Vec::new();
        if is_discontinuity {
            let labels: Vec<_> = self.segmenter.status().map(|status| status.label).collect();
            self.segmenter.reset();
            self.report_lost(&labels, &mut events);
        }
        if commands.is_empty() && !self.segmenter.has_regions() {
            // There is nothing to track. Tracking must start anew, as it has not received this
            // frame.
            self.segmenter.reset();
        } else {
            let picture = view_frame::<u8>(frame, self.format)?;
            let lost = self.segmenter.next_picture(&picture, &mut self.seeds)?;
            self.report_lost(&lost, &mut events);
            let seeds_changed = !commands.is_empty();
            self.execute(commands)?;
            self.report_status(seeds_changed, &mut events);
        }
        if self.segmenter.has_regions() {
            self.segmenter.mask(self.labels.view_mut());
        } else {
            self.labels.fill(0);
        }
        Ok(events)
    }

    /// Returns the number of regions.
    pub(super) fn region_count(&self) -> usize {
        self.segmenter.status().count()
    }

    /// Returns the number of seeds of all regions and of the background.
    pub(super) fn seed_count(&self) -> usize {
        self.seeds.len()
    }

    /// Executes commands in order and updates the regions.
    ///
    /// # Errors
    /// Fails if the backend cannot run a network.
    fn execute(&mut self, commands: VecDeque<Command>) -> Result<(), segment::Error> {
        let mut up_to_date = true;
        for command in commands {
            if let Command::Add(Seed { label, shape: Shape::Grow(steps) }) = command {
                // Growth starts from the region that the seeds before it give.
                if !std::mem::replace(&mut up_to_date, true) {
                    self.segmenter.update_regions(&self.seeds)?;
                }
                if self.seeds.push(Seed { label, shape: Shape::Grow(steps) }) {
                    self.segmenter.grow(label, &self.seeds, steps)?;
                }
                continue;
            }
            self.apply_to_seeds(command);
            up_to_date = false;
        }
        if up_to_date { Ok(()) } else { self.segmenter.update_regions(&self.seeds) }
    }

    /// Applies a command to the seeds.
    fn apply_to_seeds(&mut self, command: Command) {
        match command {
            Command::Add(seed) => {
                self.seeds.push(seed);
            }
            Command::Replace(parsed) => {
                self.seeds.clear();
                self.segmenter.clear_regions();
                for seed in parsed.to_seeds(self.labels.ncols(), self.labels.nrows()) {
                    self.seeds.push(seed);
                }
            }
            Command::Undo => {
                // The masks of the regions contain the effect of the seed, so they are dropped and
                // computed anew.
                self.seeds.undo();
                self.segmenter.clear_regions();
            }
            Command::Clear => {
                self.seeds.clear();
                self.segmenter.clear_regions();
            }
        }
    }

    /// Removes the seeds of lost regions and adds events about them. Without any region left, it
    /// removes the seeds of the background too.
    fn report_lost(&mut self, labels: &[u8], events: &mut Vec<RegionEvent>) {
        for label in labels {
            self.seeds.remove(*label);
            self.reported_confidence[usize::from(*label) - 1] = None;
            events.push(RegionEvent { label: *label, area: 0.0, confidence: 0.0, lost: true });
        }
        if !labels.is_empty() && !self.segmenter.has_regions() {
            self.seeds.clear();
        }
    }

    /// Adds events about current regions: about all of them if `seeds_changed`, otherwise about
    /// those whose confidence has changed noticeably.
    fn report_status(&mut self, seeds_changed: bool, events: &mut Vec<RegionEvent>) {
        for segment::RegionStatus { label, area, confidence } in self.segmenter.status() {
            let reported = &mut self.reported_confidence[usize::from(label) - 1];
            let has_changed = reported
                .is_none_or(|reported| (reported - confidence).abs() > MIN_CONFIDENCE_CHANGE);
            if seeds_changed || has_changed {
                *reported = Some(confidence);
                events.push(RegionEvent { label, area, confidence, lost: false });
            }
        }
    }
}
