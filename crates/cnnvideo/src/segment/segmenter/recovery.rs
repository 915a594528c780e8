// SPDX-License-Identifier: MIT OR Apache-2.0

//! Regions that come back: after they were lost, or after a part of them was covered.

use ndarray::{Array2, Zip};

use super::{
    Segmenter,
    reprediction::{colour_evidence, iou},
};
use crate::segment::{
    Error, Seed, Seeds, Shape, logistic, logit,
    memory::{Memory, SearchImage, Sighting},
    plain::PlainSurfaces,
    region::Region,
    region_predictor::{Augmentation, CropRect, Guidance},
    region_seeds::{RegionSeeds, SeedPoints},
};

/// Frames from one snapshot of a region to the next.
const SNAPSHOT_INTERVAL: u32 = 6;
/// Frame, after that of a renewed prediction, in which snapshots are taken.
const SNAPSHOT_PHASE: u32 = 3;
/// Least confidence of a region of which a snapshot is taken.
const MIN_SNAPSHOT_CONFIDENCE: f32 = 0.5;
/// Frames from one comparison of a region's colours with those of the snapshots to the next.
const COLOUR_INTERVAL: u32 = 3;
/// Least similarity of the colours of a tracked region and of the snapshots. Regions that followed
/// their object had 0.8 to 0.97.
const MIN_SIMILARITY: f32 = 0.5;
/// Sizes, relative to the snapshot, at which regions are looked for in turns.
const SCALES: [f32; 6] = [0.87, 1.15, 0.76, 1.32, 0.66, 1.5];
/// Frames from one search for a tracked region, of which a part may be covered, to the next.
const PARTIAL_INTERVAL: u32 = 3;
/// Frames for which the network is not asked again after it has not recognised a region.
const ASKING_INTERVAL: u64 = 4;
/// How much the score of a sighting may lie below the least one if the network and the colours
/// agree better.
const UNSURE_SLACK: f32 = 0.2;
/// Least share of a partly covered region at the place where the whole region was sighted.
const MIN_COMMON: f32 = 0.6;
/// Least growth of a partly covered region that replaces it, unless it was found shortly before.
const MIN_GROWTH: f32 = 1.05;
/// Weight of the log-odds of the snapshot, relative to those of the network.
const SNAPSHOT_WEIGHT: f32 = 0.3;
/// Weight of the log-odds of the colours, relative to those of the network.
const COLOUR_WEIGHT: f32 = 0.4;

/// Least agreement of the network's prediction with the snapshot where it was sighted.
struct Agreement {
    /// Intersection over union.
    iou: f32,
    /// Similarity of the colours.
    similarity: f32,
}

/// For sightings with a good score.
const SURE: Agreement = Agreement { iou: 0.5, similarity: 0.75 };
/// For the others. Parts of the background that looked like an object had similarities up to 0.72,
/// the car of DAVIS car-shadow, seen from another side, 0.92.
const UNSURE: Agreement = Agreement { iou: 0.65, similarity: 0.82 };

impl Segmenter {
    /// Returns whether the tracked region at an index has become too small, unsure or another
    /// thing.
    pub(super) fn is_lost(&self, at: usize) -> bool {
        let Some(region) = &self.regions[at] else { return false };
        if region.is_lost() {
            return true;
        }
        let Some(memory) = &self.memories[at] else { return false };
        let compares = self.tracked_frames.is_multiple_of(COLOUR_INTERVAL);
        let similarity = || memory.similarity(&region.inside_colours(&self.image));
        memory.is_covered(region.area()) || compares && similarity() < MIN_SIMILARITY
    }

    /// Takes snapshots of the tracked regions that show well.
    pub(super) fn remember(&mut self, seeds: &Seeds) {
        if self.tracked_frames % SNAPSHOT_INTERVAL != SNAPSHOT_PHASE {
            return;
        }
        for ((label, region), memory) in (1u8..).zip(&self.regions).zip(&mut self.memories) {
            let (Some(region), Some(memory)) = (region, memory) else { continue };
            if memory.is_recovering(self.frame)
                || !memory.note_area(region.area())
                || region.confidence < MIN_SNAPSHOT_CONFIDENCE
            {
                continue;
            }
            let mut seeds = RegionSeeds::for_region(label, seeds, self.image.dim());
            seeds.drop_contradicting(&region.probability);
            memory.update(&self.image, region, seeds.points, &self.threads);
        }
    }

    /// Looks for a lost region or for a tracked one that may be partly covered: for one of them in
    /// each frame. Returns the label of a lost region that is back.
    ///
    /// # Errors
    /// Fails if the backend cannot run the segmentation network.
    pub(super) fn recover(&mut self, seeds: &mut Seeds) -> Result<Option<u8>, Error> {
        let Some(at) = self.next_wanted() else { return Ok(None) };
        let Some(mut memory) = self.memories[at].take() else { return Ok(None) };
        let found = self.look(at, &mut memory);
        self.memories[at] = Some(memory);
        let Some((region, points)) = found? else { return Ok(None) };
        if self.regions[at].replace(region).is_some() {
            return Ok(None);
        }
        let label = at as u8 + 1;
        let (height, width) = self.image.dim();
        for (label, points) in [(label, points.inside), (0, points.outside)] {
            for [x, y] in points {
                let share = [(x + 0.5) / width as f32, (y + 0.5) / height as f32];
                seeds.push(Seed { label, shape: Shape::Point(share) });
            }
        }
        Ok(Some(label))
    }

    /// Returns the index of the region to search for in this frame. Each frame searches for one of
    /// them, in rotation.
    fn next_wanted(&self) -> Option<usize> {
        let is_wanted = |at: &usize| {
            let Some(memory) = &self.memories[*at] else { return false };
            let Some(region) = &self.regions[*at] else { return true };
            let may_be_partial =
                memory.is_recovering(self.frame) || memory.is_diminished(region.area());
            may_be_partial && self.tracked_frames % PARTIAL_INTERVAL == 1
        };
        let wanted: Vec<usize> = (0..self.regions.len()).filter(is_wanted).collect();
        let turn = self.tracked_frames as usize % wanted.len().max(1);
        wanted.get(turn).copied()
    }

    /// Looks for the region at an index. Returns the region and its seeds if it shows.
    fn look(
        &mut self,
        at: usize,
        memory: &mut Memory,
    ) -> Result<Option<(Region, SeedPoints)>, Error> {
        if self.frame < memory.asks_from {
            return Ok(None);
        }
        let search = SearchImage::new(&self.image, self.taken_by_others(at).as_ref());
        let turn = SCALES[self.tracked_frames as usize % SCALES.len()];
        let first = memory.look(&search, [1.0, turn], &self.threads);
        let is_promising = first.score() >= memory.least_score() - UNSURE_SLACK;
        if !is_promising {
            return Ok(None);
        }
        let others = SCALES.into_iter().filter(|scale| *scale != turn);
        let rest = memory.look(&search, others, &self.threads);
        let sighting = if rest.score() > first.score() { rest } else { first };
        let was_lost = self.regions[at].is_none();
        // A tracked region is replaced if much of it is missing or if the sighting is a better one.
        if let Some(region) = &self.regions[at]
            && !memory.is_diminished(region.area())
            && !memory.shows_better(&sighting)
        {
            return Ok(None);
        }
        let found = self.confirm(at, memory, &sighting)?;
        match found {
            Some(_) => memory.note_found(&sighting, self.frame, was_lost),
            None => memory.asks_from = self.frame + ASKING_INTERVAL,
        }
        Ok(found)
    }

    /// Returns the largest probability of all regions but the one at an index, if there are any.
    fn taken_by_others(&self, at: usize) -> Option<Array2<f32>> {
        let others = self.regions.iter().enumerate().filter(|(other, _)| *other != at);
        let mut others = others.filter_map(|(_, region)| Some(&region.as_ref()?.probability));
        let mut taken = others.next()?.clone();
        others.for_each(|other| taken.zip_mut_with(other, |to, p| *to = to.max(*p)));
        Some(taken)
    }

    /// Asks the network, or the plain surfaces, whether a sighting is the region at an index.
    /// Returns the region and its seeds if so.
    fn confirm(
        &mut self,
        at: usize,
        memory: &Memory,
        sighting: &Sighting,
    ) -> Result<Option<(Region, SeedPoints)>, Error> {
        let mut found = Region {
            probability: memory.probability_at(sighting),
            colours: memory.latest_colours().clone(),
            confidence: sighting.score(),
            is_plain: memory.is_plain,
        };
        let points = memory.points_at(sighting);
        // The rest of a partly covered region is next to what shows of it. A region that was found
        // shortly before may be at the wrong place.
        let may_move = memory.is_recovering(self.frame) && memory.shows_better(sighting);
        let is_elsewhere = |region| common(region, &found) < MIN_COMMON;
        if !may_move && self.regions[at].as_ref().is_some_and(is_elsewhere) {
            return Ok(None);
        }
        let agrees = if memory.is_plain {
            let surfaces =
                self.plain_surfaces.get_or_insert_with(|| PlainSurfaces::find(&self.image));
            if !surfaces.is_empty() {
                surfaces.fit(&mut found.probability);
            }
            sighting.score() >= memory.least_score()
        } else {
            self.ask_network(memory, sighting, &points, &mut found)?
        };
        let area = self.regions[at].as_ref().map_or(0.0, Region::area);
        let is_back = agrees
            && !found.is_lost()
            && !memory.is_covered(found.area())
            && (memory.is_recovering(self.frame) || found.area() > MIN_GROWTH * area);
        Ok(is_back.then_some((found, points)))
    }

    /// Lets the network predict a region from its snapshot at the place of a sighting, and corrects
    /// the region. Returns whether the prediction agrees with the snapshot.
    fn ask_network(
        &mut self,
        memory: &Memory,
        sighting: &Sighting,
        points: &SeedPoints,
        region: &mut Region,
    ) -> Result<bool, Error> {
        let is_sure = sighting.score() >= memory.least_score();
        let Some(region_predictor) = &mut self.region_predictor else { return Ok(is_sure) };
        let mut points = points.clone();
        points.inside.extend(region.interior_point().map(|(y, x)| [x as f32, y as f32]));
        let crop = RegionSeeds::crop_around(&region.probability, &points.inside)
            .unwrap_or(CropRect::whole(self.image.dim()));
        let guidance = Guidance { points: &points, previous_mask: &region.probability };
        let (image, log_odds) = (&self.image, &mut self.log_odds);
        region_predictor.predict(image, crop, &guidance, Augmentation::None, log_odds)?;
        let predicted = Region { probability: log_odds.mapv(logistic), ..Region::default() };
        let least = if is_sure { SURE } else { UNSURE };
        if iou(&region.probability, log_odds) < least.iou
            || memory.similarity(&predicted.inside_colours(image)) < least.similarity
        {
            return Ok(false);
        }
        let colours = colour_evidence(image, memory, &region.probability, log_odds);
        Zip::from(&mut region.probability).and(&*log_odds).and(&colours).for_each(
            |p, log_odds, colour| {
                *p = logistic(log_odds + SNAPSHOT_WEIGHT * logit(*p) + COLOUR_WEIGHT * colour);
            },
        );
        Ok(true)
    }
}

/// Returns the share of a region that lies inside of another.
fn common(region: &Region, other: &Region) -> f32 {
    let pairs = region.probability.iter().zip(&other.probability);
    let (inside, both) = pairs
        .filter(|(p, _)| **p > 0.5)
        .fold((0.0f32, 0.0f32), |(n, m), (_, q)| (n + 1.0, m + f32::from(u8::from(*q > 0.5))));
    both / inside.max(1.0)
}
