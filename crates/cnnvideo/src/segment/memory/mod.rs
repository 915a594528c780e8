// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is kept of a region, so that it comes back after it was covered or has left the picture.

mod coarse;
mod search;
mod template;

use ndarray::Array2;

pub(super) use self::search::{Match, SearchImage};
use self::template::Template;
use super::{
    ColourModel, WorkingImage,
    image::bilinear,
    region::{Region, area_of},
    region_seeds::SeedPoints,
};
use crate::nn::Threads;

/// Score that a region is expected to reach when it shows again, before any was measured.
const DEFAULT_TYPICAL_SCORE: f32 = 0.9;
/// Weight of a new value in the moving average of the scores of the region.
const SCORE_UPDATE_WEIGHT: f32 = 0.5;
/// Factor by which the best score of the rest of the picture decays from snapshot to snapshot.
const DISTRACTOR_DECAY: f32 = 0.97;
/// Bounds of the score from which on a sighting may be the region.
const LEAST_SCORES: [f32; 2] = [0.6, 0.85];
/// Factor by which the area that counts as full decays from one note to the next, so that a region
/// that becomes smaller slowly still shows well.
const AREA_DECAY: f32 = 0.97;
/// Share of the full area below which a region does not show well.
const DIMINISHED: f32 = 0.8;
/// Share of the full area below which a region is covered.
const COVERED: f32 = 0.1;
/// Frames after a lost region was found in which better sightings replace it.
const RECOVERY_FRAMES: u64 = 24;
/// Least difference of the scores of a better sighting and of the best one before.
const MIN_SCORE_RISE: f32 = 0.01;
/// Largest number of seeds inside, and of seeds outside, that come back with a region.
const MAX_POINTS: usize = 16;

/// A region at a time when it showed well.
#[derive(Debug, Clone)]
struct Snapshot {
    template: Template,
    /// Probability map of the region.
    probability: Array2<f32>,
    /// Seeds of the region that it agreed with.
    points: SeedPoints,
}

/// What is kept of a region.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// The region when it was selected.
    first: Snapshot,
    /// The latest time it showed well.
    latest: Snapshot,
    /// Colours inside and outside at that time.
    colours: ColourModel,
    /// Colours inside and outside when the region was selected.
    first_colours: ColourModel,
    /// Whether the region consisted of plain surfaces.
    pub is_plain: bool,
    /// Area of the region when it shows well, as a share of the picture.
    full_area: f32,
    /// Score that the region usually reaches one snapshot later.
    typical_score: f32,
    /// Best score of the rest of the picture.
    distractor_score: f32,
    /// Number of the frame before which the network is not asked again.
    pub asks_from: u64,
    /// When the region was found again, if it was lost.
    recovery: Option<Recovery>,
}

/// When and how well a lost region was found.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    /// Number of the frame.
    frame: u64,
    /// Best score of a sighting in this frame and since.
    score: f32,
}

/// Place at which a region may show again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    place: Match,
    /// Whether it looks like the latest snapshot instead of the first one.
    is_latest: bool,
}

impl Sighting {
    /// Returns how well the picture agrees with the region there, from 0 to 1.
    pub(super) fn score(&self) -> f32 {
        self.place.score
    }
}

impl Snapshot {
    fn new(image: &SearchImage, region: &Region, points: SeedPoints) -> Option<Self> {
        let template = Template::new(&image.areas, &region.probability)?;
        Some(Self { template, probability: region.probability.clone(), points })
    }
}

impl Memory {
    /// Keeps a region that has just been selected; `None` if it is too small to be found again.
    /// `points` are its seeds.
    pub(super) fn new(image: &WorkingImage, region: &Region, points: SeedPoints) -> Option<Self> {
        let first = Snapshot::new(&SearchImage::new(image, None), region, points)?;
        Some(Self {
            latest: first.clone(),
            first,
            colours: region.colours.clone(),
            first_colours: region.colours.clone(),
            is_plain: region.is_plain,
            full_area: region.area(),
            typical_score: DEFAULT_TYPICAL_SCORE,
            distractor_score: 0.0,
            asks_from: 0,
            recovery: None,
        })
    }

    /// Notes the area of the tracked region, as a share of the picture. Returns whether the region
    /// shows well: whether it has not lost much of its area lately.
    pub(super) fn note_area(&mut self, area: f32) -> bool {
        self.full_area = area.max(AREA_DECAY * self.full_area);
        !self.is_diminished(area)
    }

    /// Returns whether a region of this area, as a share of the picture, is much smaller than when
    /// it showed well.
    pub(super) fn is_diminished(&self, area: f32) -> bool {
        area < DIMINISHED * self.full_area
    }

    /// Returns whether hardly anything is left of a region of this area, as a share of the picture.
    pub(super) fn is_covered(&self, area: f32) -> bool {
        area < COVERED * self.full_area
    }

    /// Keeps a tracked region that shows well. Measures first how well it and the rest of the
    /// picture agree with the previous snapshot, which tells what to expect when it comes back.
    pub(super) fn update(
        &mut self,
        image: &WorkingImage,
        region: &Region,
        points: SeedPoints,
        threads: &Threads,
    ) {
        let image = SearchImage::new(image, None);
        let Some(next) = Snapshot::new(&image, region, points) else { return };
        let scores = image.scores(&self.latest.template, 1.0, threads);
        let reach = 0.5 * self.latest.template.side();
        let is_near =
            |at: [f32; 2]| (0..2).all(|axis| (at[axis] - next.template.origin[axis]).abs() < reach);
        let own = scores.best(is_near).score;
        let other = scores.best(|at| !is_near(at)).score;
        self.typical_score += SCORE_UPDATE_WEIGHT * (own - self.typical_score);
        self.distractor_score = other.max(DISTRACTOR_DECAY * self.distractor_score);
        self.latest = next;
        self.colours = region.colours.clone();
        self.full_area = region.area();
        self.is_plain = region.is_plain;
    }

    /// Returns how similar the colours of a region are to those that the snapshots have, from 0 to
    /// 1.
    pub(super) fn similarity(&self, colours: &ColourModel) -> f32 {
        self.colours.similarity(colours).max(self.first_colours.similarity(colours))
    }

    /// Notes that the region shows at a sighting in the frame with the number `frame`; `was_lost`
    /// if there was no region before. From then on the whole snapshot, also its parts outside of
    /// the picture, counts as the full area.
    pub(super) fn note_found(&mut self, sighting: &Sighting, frame: u64, was_lost: bool) {
        let score = sighting.score();
        if was_lost {
            self.recovery = Some(Recovery { frame, score });
        } else if let Some(recovery) = &mut self.recovery {
            recovery.score = recovery.score.max(score);
        }
        let snapshot = area_of(&self.snapshot(sighting.is_latest).probability);
        self.full_area = snapshot * sighting.place.scale * sighting.place.scale;
    }

    /// Returns whether the region was found shortly before the frame with the number `frame`. It
    /// may then be partly covered still, or have pieces of what covers it.
    pub(super) fn is_recovering(&self, frame: u64) -> bool {
        self.recovery.is_some_and(|recovery| frame < recovery.frame + RECOVERY_FRAMES)
    }

    /// Returns whether the region shows better at a sighting than when it was found.
    pub(super) fn shows_better(&self, sighting: &Sighting) -> bool {
        self.recovery.is_none_or(|recovery| sighting.score() > recovery.score + MIN_SCORE_RISE)
    }

    /// Returns the log-odds that a pixel of a colour `[y, u, v]` is inside, by the colours of both
    /// snapshots.
    pub(super) fn colour_log_odds(&self, colour: [f32; 3]) -> f32 {
        0.5 * (self.first_colours.log_odds(colour) + self.colours.log_odds(colour))
    }

    /// Returns the score from which on a sighting may be the region.
    pub(super) fn least_score(&self) -> f32 {
        let between = 0.5 * (self.typical_score + self.distractor_score);
        between.clamp(LEAST_SCORES[0], LEAST_SCORES[1])
    }

    /// Returns the place of the picture that looks most like the region, at some sizes relative to
    /// the snapshots.
    pub(super) fn look(
        &self,
        search: &SearchImage,
        scales: impl IntoIterator<Item = f32>,
        threads: &Threads,
    ) -> Sighting {
        let mut best =
            Sighting { place: Match { at: [0.0; 2], scale: 1.0, score: 0.0 }, is_latest: true };
        for scale in scales {
            for is_latest in [true, false] {
                let template = &self.snapshot(is_latest).template;
                let place = search.scores(template, scale, threads).best(|_| true);
                if place.score > best.place.score {
                    best = Sighting { place, is_latest };
                }
            }
        }
        best
    }

    /// Returns the colours inside and outside when the region showed well last.
    pub(super) fn latest_colours(&self) -> &ColourModel {
        &self.colours
    }

    fn snapshot(&self, is_latest: bool) -> &Snapshot {
        if is_latest { &self.latest } else { &self.first }
    }

    /// Returns the probability map of the snapshot moved to the place of a sighting.
    pub(super) fn probability_at(&self, sighting: &Sighting) -> Array2<f32> {
        let Snapshot { template, probability, .. } = self.snapshot(sighting.is_latest);
        let Match { at, scale, .. } = sighting.place;
        let (height, width) = probability.dim();
        Array2::from_shape_fn((height, width), |(y, x)| {
            let u = (x as f32 - at[0]) / scale + template.origin[0];
            let v = (y as f32 - at[1]) / scale + template.origin[1];
            let within = u >= 0.0 && v >= 0.0 && u < width as f32 && v < height as f32;
            if within { bilinear(probability, u, v) } else { 0.0 }
        })
    }

    /// Returns the seeds of the snapshot moved to the place of a sighting, without those outside of
    /// the picture.
    pub(super) fn points_at(&self, sighting: &Sighting) -> SeedPoints {
        let Snapshot { template, probability, points } = self.snapshot(sighting.is_latest);
        let Match { at, scale, .. } = sighting.place;
        let (height, width) = probability.dim();
        let moved = |points: &[[f32; 2]]| {
            let moved = points.iter().map(|point| {
                [0, 1].map(|axis| (point[axis] - template.origin[axis]) * scale + at[axis])
            });
            let within = |[x, y]: &[f32; 2]| {
                *x >= 0.0 && *y >= 0.0 && *x <= width as f32 - 1.0 && *y <= height as f32 - 1.0
            };
            moved.filter(within).take(MAX_POINTS).collect()
        };
        SeedPoints { inside: moved(&points.inside), outside: moved(&points.outside) }
    }
}
