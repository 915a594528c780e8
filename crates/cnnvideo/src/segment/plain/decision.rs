// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decision which plain surfaces belong to a region.

use ndarray::{Array2, Zip};

use super::{LOG_ODDS, PlainSurfaces};
use crate::segment::{
    distance::squared_distances_to,
    guidance::PixelBox,
    logistic,
    region_seeds::{ExpectedBox, RegionSeeds, SeedPoints},
};

/// Least share of a surface in the box of a region from which on it belongs to the region. Users
/// may cut off a little of what they draw a box around.
const MIN_SHARE_IN_BOX: f32 = 0.8;
/// Largest share of a box without plain surfaces at which surfaces alone make up the region.
const MAX_OTHER_SHARE_IN_BOX: f32 = 0.1;

/// What the seeds say about a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// It has no seed.
    Unknown,
    /// It has inside seeds only, or lies in the box.
    Inside,
    /// It has outside seeds only, or does not lie in the box.
    Outside,
    /// It has seeds of both kinds.
    Divided,
}

/// Decision which plain surfaces belong to a region.
pub(in crate::segment) struct Decision<'a> {
    surfaces: &'a PlainSurfaces,
    seeds: &'a RegionSeeds,
    /// Side of each surface.
    sides: Vec<Side>,
    /// Whether the region consists of surfaces only, as all of its seeds lie on surfaces.
    is_complete: bool,
}

impl<'a> Decision<'a> {
    /// Decides by the seeds of a region and by its bounding box, if the seeds give one.
    pub(in crate::segment) fn new(
        surfaces: &'a PlainSurfaces,
        seeds: &'a RegionSeeds,
        expected_box: Option<ExpectedBox>,
    ) -> Self {
        let sides = vec![Side::Unknown; surfaces.areas.len()];
        let mut decision = Self { surfaces, seeds, sides, is_complete: !surfaces.is_empty() };
        if let Some(ExpectedBox { bounds, .. }) = expected_box {
            decision.decide_by_box(bounds);
        }
        // Extreme points lie on the border of the region, so that their box says more.
        if expected_box.is_none_or(|expected| expected.is_drawn) {
            decision.decide_by_inside_points();
        }
        decision.decide_by_outside_points();
        let any_inside =
            decision.sides.iter().any(|side| matches!(side, Side::Inside | Side::Divided));
        if expected_box.is_some() && !any_inside {
            // The box does not fit to any surface.
            decision.sides.fill(Side::Unknown);
        }
        decision.is_complete &= any_inside;
        decision
    }

    /// Returns whether the region consists of surfaces only, so that no network is needed.
    pub(in crate::segment) fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn decide_by_box(&mut self, bounds: PixelBox) {
        let mut in_box = vec![0u32; self.sides.len()];
        let mut others = 0u32;
        for (x, y) in bounds.pixels() {
            match self.surfaces.bounded_index(self.surfaces.labels[[y, x]]) {
                Some(surface) => in_box[surface] += 1,
                None => others += 1,
            }
        }
        for (surface, side) in self.sides.iter_mut().enumerate() {
            let least = MIN_SHARE_IN_BOX * self.surfaces.areas[surface] as f32;
            *side = if in_box[surface] as f32 >= least { Side::Inside } else { Side::Outside };
        }
        let pixels = in_box.iter().sum::<u32>() + others;
        self.is_complete &= others as f32 <= MAX_OTHER_SHARE_IN_BOX * pixels as f32;
    }

    fn decide_by_inside_points(&mut self) {
        for point in &self.seeds.points.inside {
            match self.surfaces.at(*point) {
                Some(surface) => self.sides[surface] = Side::Inside,
                None => self.is_complete = false,
            }
        }
    }

    fn decide_by_outside_points(&mut self) {
        let on = |point: &[f32; 2]| self.surfaces.at(*point);
        let mut has_inside = vec![false; self.sides.len()];
        for surface in self.seeds.points.inside.iter().filter_map(on) {
            has_inside[surface] = true;
        }
        for surface in self.seeds.points.outside.iter().filter_map(on) {
            let is_divided = has_inside[surface];
            self.sides[surface] = if is_divided { Side::Divided } else { Side::Outside };
        }
    }

    /// Stores the probability of the pixels that are decided. `is_new` says that the region has no
    /// extent yet that surfaces without seeds could belong to.
    pub(in crate::segment) fn apply(&self, probability: &mut Array2<f32>, is_new: bool) {
        let belonged = if is_new {
            vec![0.0; self.sides.len()]
        } else {
            self.surfaces.shares_inside(probability)
        };
        if self.is_complete && is_new {
            probability.fill(logistic(-LOG_ODDS));
        }
        self.surfaces.store(probability, |surface| match self.sides[surface] {
            Side::Inside => Some(true),
            Side::Outside => Some(false),
            Side::Unknown => Some(belonged[surface] > 0.5),
            Side::Divided => None,
        });
        self.store_divided(probability);
    }

    /// Stores the probability of the pixels of surfaces with seeds of both kinds: the nearer seed
    /// decides, as there is nothing else to go by.
    fn store_divided(&self, probability: &mut Array2<f32>) {
        if !self.sides.contains(&Side::Divided) {
            return;
        }
        let is_divided = |surface: usize| self.sides[surface] == Side::Divided;
        let distances_to = |points: &[[f32; 2]]| {
            let points =
                points.iter().filter(|point| self.surfaces.at(**point).is_some_and(is_divided));
            let pixels = points.map(|[x, y]| (*y as usize, *x as usize));
            squared_distances_to(pixels, probability.dim()).mapv_into(f32::sqrt)
        };
        let SeedPoints { inside, outside } = &self.seeds.points;
        let (inside, outside) = (distances_to(inside), distances_to(outside));
        Zip::from(probability).and(&self.surfaces.labels).and(&inside).and(&outside).for_each(
            |p, label, inside, outside| {
                if self.surfaces.bounded_index(*label).is_some_and(is_divided) {
                    *p = logistic(LOG_ODDS * (outside - inside) / (outside + inside).max(1.0));
                }
            },
        );
    }
}
