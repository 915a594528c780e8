// SPDX-License-Identifier: MIT OR Apache-2.0

//! Segments and tracks the regions of a video: the core of interactive segmentation.

mod recovery;
mod reprediction;
mod update;

use ndarray::{Array2, ArrayViewMut2};

use super::{
    Error, RegionStatus, SegmentNetworks, WorkingImage,
    edges::EdgeDetector,
    mask,
    memory::Memory,
    plain::PlainSurfaces,
    region::Region,
    region_predictor::RegionPredictor,
    region_tree::Partition,
    seeds::{MAX_LABEL, Seeds},
    track::Tracker,
};
use crate::{
    frame::{Picture, Sample},
    nn::Threads,
};

/// Number of frames after which the network predicts tracked regions again.
const REPREDICTION_INTERVAL: u32 = 6;

/// Regions that a picture has ended or brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionChanges {
    /// Labels of regions that are lost.
    pub lost: Vec<u8>,
    /// Labels of lost regions that are back.
    pub found: Vec<u8>,
}

/// Segments the pictures of a video into regions given by seeds, and tracks the regions.
///
/// Call [`Segmenter::next_picture`] for every picture and [`Segmenter::update_regions`] when the
/// seeds have changed; [`Segmenter::mask`] writes the result.
pub struct Segmenter {
    edge_detector: EdgeDetector,
    /// Segmentation network, if there is one.
    region_predictor: Option<RegionPredictor>,
    /// Current picture at the working resolution.
    image: WorkingImage,
    /// Probability of a structural edge at half the size of `image`.
    edges: Array2<f32>,
    partition: Partition,
    /// Whether `edges` and `partition` belong to the current `image`.
    partition_is_current: bool,
    /// Plain surfaces of the current picture, if they have been asked for.
    plain_surfaces: Option<PlainSurfaces>,
    /// Region of each label, that of label `n` at index `n - 1`.
    regions: Vec<Option<Region>>,
    /// What is kept of the region of each label. Without a region, the region is lost and looked
    /// for.
    memories: Vec<Option<Memory>>,
    /// Latest output of the segmentation network, at the size of `image`.
    log_odds: Array2<f32>,
    tracker: Tracker,
    /// Pictures since the latest [`Segmenter::update_regions`].
    tracked_frames: u32,
    /// Number of the current picture.
    frame: u64,
    threads: Threads,
}

impl Segmenter {
    /// Creates a segmenter that runs `networks` on `threads` threads (0 for one per core).
    ///
    /// # Errors
    /// Fails if the threads cannot be started.
    pub fn new(networks: &SegmentNetworks, threads: usize) -> Result<Self, Error> {
        let edge_detector = EdgeDetector::new(networks.edges.clone(), threads);
        let threads = Threads::new(threads)?;
        let region_predictor =
            networks.region.clone().map(|network| RegionPredictor::new(network, threads.clone()));
        Ok(Self {
            edge_detector,
            region_predictor,
            image: WorkingImage::default(),
            edges: Array2::zeros((0, 0)),
            partition: Partition::default(),
            partition_is_current: false,
            plain_surfaces: None,
            regions: vec![None; usize::from(MAX_LABEL)],
            memories: vec![None; usize::from(MAX_LABEL)],
            log_odds: Array2::zeros((0, 0)),
            tracker: Tracker::default(),
            tracked_frames: 0,
            frame: 0,
            threads,
        })
    }

    /// Processes the next picture: tracks the regions, moves the seeds with the motion, and looks
    /// for lost regions.
    ///
    /// A region is lost if it has become too small, if its confidence is below the threshold, if
    /// its colours are those of something else, or if the scene or the size of the picture has
    /// changed. Unless the size has changed, it is looked for from then on; when it is back, its
    /// seeds join `seeds` again. The caller removes the seeds of lost regions.
    ///
    /// # Errors
    /// Fails if the backend cannot run the segmentation network.
    pub fn next_picture<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        seeds: &mut Seeds,
    ) -> Result<RegionChanges, Error> {
        let threads = self.threads.clone();
        threads.enter(|| self.process(picture, seeds))
    }

    /// Does the work of [`Segmenter::next_picture`] on the threads.
    ///
    /// # Errors
    /// As there.
    fn process<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        seeds: &mut Seeds,
    ) -> Result<RegionChanges, Error> {
        let previous_dim = self.image.dim();
        self.image.fill(picture);
        self.partition_is_current = false;
        self.plain_surfaces = None;
        let same_scene = self.tracker.advance(&self.image, &mut self.regions, seeds, &self.threads);
        let same_size = self.image.dim() == previous_dim;
        let is_tracked = same_scene && same_size;
        let mut changes = RegionChanges::default();
        if !same_size {
            self.memories.fill(None);
        }
        for (label, at) in (1u8..).zip(0..self.regions.len()) {
            if self.regions[at].is_some() && (!is_tracked || self.is_lost(at)) {
                self.regions[at] = None;
                changes.lost.push(label);
            }
        }
        self.tracked_frames += 1;
        self.frame += 1;
        if is_tracked && self.tracked_frames.is_multiple_of(REPREDICTION_INTERVAL) {
            self.repredict(seeds)?;
        }
        if is_tracked {
            self.remember(seeds);
            changes.found.extend(self.recover(seeds)?);
        }
        Ok(changes)
    }

    /// Drops all regions and makes tracking start anew, as the next picture does not continue the
    /// previous one.
    pub fn reset(&mut self) {
        self.tracker.reset();
        self.clear_regions();
    }

    /// Returns the area and the confidence of each region.
    pub fn status(&self) -> impl Iterator<Item = RegionStatus> {
        (1u8..).zip(&self.regions).filter_map(|(label, region)| {
            let region = region.as_ref()?;
            Some(RegionStatus { label, area: region.area(), confidence: region.confidence })
        })
    }

    /// Returns the current picture at the working resolution.
    pub fn image(&self) -> &WorkingImage {
        &self.image
    }

    /// Drops all regions, and looks for lost ones no more.
    pub fn clear_regions(&mut self) {
        self.regions.fill(None);
        self.memories.fill(None);
    }

    /// Drops all regions that are not lost.
    pub fn clear_tracked_regions(&mut self) {
        for (region, memory) in self.regions.iter_mut().zip(&mut self.memories) {
            if region.take().is_some() {
                *memory = None;
            }
        }
    }

    /// Returns whether a region is lost and looked for.
    pub fn looks_for_regions(&self) -> bool {
        let mut both = self.regions.iter().zip(&self.memories);
        both.any(|(region, memory)| region.is_none() && memory.is_some())
    }

    /// Returns whether there is any region.
    pub fn has_regions(&self) -> bool {
        self.regions.iter().any(Option::is_some)
    }

    /// Fills `mask`, of any size, with the label of the most probable region at each pixel, 0
    /// outside of all regions. The picture is scaled to the size of `mask`.
    pub fn mask(&self, mask: ArrayViewMut2<'_, u8>) {
        let regions: Vec<_> = (1u8..)
            .zip(&self.regions)
            .filter_map(|(label, region)| Some((label, &region.as_ref()?.probability)))
            .collect();
        self.threads.enter(|| mask::fill_label_mask(&regions, mask));
    }
}
