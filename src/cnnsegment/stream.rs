// SPDX-License-Identifier: MIT OR Apache-2.0

//! State of a negotiated stream: the segmenter, the seeds and the events to post.

use std::collections::VecDeque;

use gst_video::{VideoFrameRef, VideoInfo};
use ndarray::Array2;

use super::commands::Command;
use crate::shared::{Continuity, view_frame};
use cnnvideo::{
    frame::Format,
    segment::{self, Seeds, Segmenter},
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
    /// Whether the region, which was lost, is back.
    pub found: bool,
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
        let is_idle = !self.segmenter.has_regions() && !self.segmenter.looks_for_regions();
        if commands.is_empty() && is_idle {
            // There is nothing to track. Tracking must start anew, as it has not received this
            // frame.
            self.segmenter.reset();
        } else {
            let picture = view_frame::<u8>(frame, self.format)?;
            let changes = self.segmenter.next_picture(&picture, &mut self.seeds)?;
            self.report_lost(&changes.lost, &mut events);
            self.report_found(&changes.found, &mut events);
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

    /// Executes commands in order, then updates the regions once for all of them: however many
    /// commands there are, the work for a frame is bounded.
    ///
    /// # Errors
    /// Fails if the backend cannot run a network.
    fn execute(&mut self, commands: VecDeque<Command>) -> Result<(), segment::Error> {
        if commands.is_empty() {
            return Ok(());
        }
        let mut added = 0;
        for command in commands {
            match command {
                Command::Add(seed) => added += usize::from(self.seeds.push(seed)),
                Command::Replace(parsed) => {
                    self.segmenter.clear_regions();
                    self.seeds.clear();
                    for seed in parsed.to_seeds(self.labels.ncols(), self.labels.nrows()) {
                        self.seeds.push(seed);
                    }
                }
                Command::Undo => {
                    // The masks of the regions contain the effect of the seed, so they are dropped
                    // and computed anew. Lost regions are still looked for.
                    self.segmenter.clear_tracked_regions();
                    self.seeds.undo();
                }
                Command::Clear => {
                    self.segmenter.clear_regions();
                    self.seeds.clear();
                }
            }
        }
        self.segmenter.update_changed_regions(&self.seeds, added)
    }

    /// Removes the seeds of lost regions and adds events about them. Without any region left, it
    /// removes the seeds of the background too.
    fn report_lost(&mut self, labels: &[u8], events: &mut Vec<RegionEvent>) {
        for label in labels {
            self.seeds.remove(*label);
            self.reported_confidence[usize::from(*label) - 1] = None;
            events.push(RegionEvent {
                label: *label,
                area: 0.0,
                confidence: 0.0,
                lost: true,
                found: false,
            });
        }
        if !labels.is_empty() && !self.segmenter.has_regions() {
            self.seeds.clear();
        }
    }

    /// Adds events about regions that are back.
    fn report_found(&mut self, labels: &[u8], events: &mut Vec<RegionEvent>) {
        let found = self.segmenter.status().filter(|status| labels.contains(&status.label));
        for segment::RegionStatus { label, area, confidence } in found {
            self.reported_confidence[usize::from(label) - 1] = Some(confidence);
            events.push(RegionEvent { label, area, confidence, lost: false, found: true });
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
                events.push(RegionEvent { label, area, confidence, lost: false, found: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use cnnvideo::{
        nn::{self, Device, IoSpec, Network, Output, Precision, Session, Size, Source},
        segment::{MAX_LABEL, Seed, SegmentNetworks, Shape},
    };
    use gst_video::{VideoFormat, VideoFrameExt};

    use super::*;

    /// Network that counts how often it runs.
    struct Counting {
        network: Arc<dyn Network>,
        runs: Arc<AtomicUsize>,
    }

    impl Network for Counting {
        fn task(&self) -> &str {
            self.network.task()
        }

        fn io(&self) -> IoSpec {
            self.network.io()
        }

        fn granularity(&self) -> usize {
            self.network.granularity()
        }

        fn backend(&self) -> String {
            self.network.backend()
        }

        fn session(&self, size: Size, threads: usize) -> Result<Box<dyn Session>, nn::Error> {
            let session = self.network.session(size, threads)?;
            Ok(Box::new(CountingSession { session, runs: self.runs.clone() }))
        }
    }

    struct CountingSession {
        session: Box<dyn Session>,
        runs: Arc<AtomicUsize>,
    }

    impl Session for CountingSession {
        fn size(&self) -> Size {
            self.session.size()
        }

        fn run(&mut self, source: &dyn Source, output: &mut dyn Output) -> Result<(), nn::Error> {
            self.runs.fetch_add(1, Ordering::Relaxed);
            self.session.run(source, output)
        }
    }

    /// Stream with frames of noise, and the number of runs of each network so far.
    struct Fixture {
        stream: SegmentStream,
        frame: gst::Buffer,
        edge_runs: Arc<AtomicUsize>,
        region_runs: Arc<AtomicUsize>,
    }

    impl Fixture {
        fn new() -> Self {
            gst::init().unwrap();
            let mut networks = SegmentNetworks::built_in(Device::Cpu, Precision::Auto).unwrap();
            let (edge_runs, region_runs) = (Arc::default(), Arc::default());
            let counting = |network, runs: &Arc<AtomicUsize>| -> Arc<dyn Network> {
                Arc::new(Counting { network, runs: runs.clone() })
            };
            networks.edges = counting(networks.edges, &edge_runs);
            networks.region = networks.region.map(|network| counting(network, &region_runs));
            let segmenter = Segmenter::new(&networks, 2).unwrap();
            let info = VideoInfo::builder(VideoFormat::Gray8, 96, 64).build().unwrap();
            let texture = (0..info.size()).map(|i| (i * i * 31 % 251) as u8).collect::<Vec<_>>();
            let stream = SegmentStream::new(info.clone(), info, Format::GRAY8, segmenter);
            Self { stream, frame: gst::Buffer::from_slice(texture), edge_runs, region_runs }
        }

        /// Processes a frame with commands. Returns how often it ran the edge network and the
        /// segmentation network.
        fn process(&mut self, commands: impl IntoIterator<Item = Command>) -> [usize; 2] {
            let frame = VideoFrameRef::from_buffer_ref_readable(
                &self.frame,
                &self.stream.input_info.clone(),
            )
            .unwrap();
            assert_eq!(frame.n_planes(), 1);
            let commands = commands.into_iter().collect();
            self.stream.process_frame(&frame, commands, false).unwrap();
            [&self.edge_runs, &self.region_runs].map(|runs| runs.swap(0, Ordering::Relaxed))
        }
    }

    fn click(label: u8, x: usize, y: usize) -> Command {
        let point = [(x % 97) as f32 / 97.0, (y % 89) as f32 / 89.0];
        Command::Add(Seed { label, shape: Shape::Point(point) })
    }

    fn scroll(label: u8, steps: i32) -> Command {
        Command::Add(Seed { label, shape: Shape::Grow(steps) })
    }

    /// Largest number of runs of the segmentation network for a new region: one on the whole
    /// picture, two on the crop.
    const RUNS_PER_REGION: usize = 3;

    #[test]
    fn a_burst_of_commands_is_bounded_work() {
        let mut fixture = Fixture::new();
        let regions = usize::from(MAX_LABEL);
        let clicks = (1..=MAX_LABEL).map(|label| click(label, 11 * usize::from(label), 44));
        // New regions, each with many clicks and scrolls in turns.
        let burst =
            |i: usize| [click(8, i, 3 * i), scroll(8, if i.is_multiple_of(2) { -1 } else { 1 })];
        let [edge_runs, runs] = fixture.process(clicks.chain((0..124).flat_map(burst)));
        assert!(edge_runs == 1 && runs <= RUNS_PER_REGION * regions, "{edge_runs}, {runs}");
        for i in 0..5 {
            let all_labels = (0..128)
                .flat_map(|j| [click(1 + j % MAX_LABEL, 7 * usize::from(j), i), scroll(8, 1)]);
            let [edge_runs, runs] = fixture.process(all_labels);
            assert!(edge_runs == 1 && runs <= RUNS_PER_REGION * regions, "{edge_runs}, {runs}");
        }
        let undo = (0..100).flat_map(|i| [Command::Undo, click(i % 9, usize::from(i), 9)]);
        let [_, runs] = fixture.process(undo);
        assert!(runs <= RUNS_PER_REGION * regions, "{runs}");
    }

    #[test]
    fn scrolls_alone_run_no_network_but_that_of_the_edges() {
        let mut fixture = Fixture::new();
        fixture.process([click(1, 48, 44)]);
        assert_eq!(fixture.process((0..200).map(|i| scroll(1, i % 3 - 1))), [1, 0]);
        // Invalid seeds are no work at all.
        let nan = Seed { label: 1, shape: Shape::Point([f32::NAN, 0.5]) };
        assert_eq!(fixture.process([Command::Add(nan), scroll(5, 1)]), [0, 0]);
    }

    #[test]
    fn clicks_elsewhere_leave_regions_alone() {
        let mut fixture = Fixture::new();
        fixture.process([click(1, 20, 20), scroll(1, -60)]);
        let [_, alone] = fixture.process([click(2, 80, 70), scroll(2, -60)]);
        let mut both = Fixture::new();
        let [_, together] =
            both.process([click(1, 20, 20), scroll(1, -60), click(2, 80, 70), scroll(2, -60)]);
        assert!(2 * alone == together, "{alone}, {together}");
        assert_eq!(fixture.stream.region_count(), 2);
    }
}
