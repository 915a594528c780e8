// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decision which plain surfaces belong to a region.

use ndarray::{Array2, Zip};

use super::{PlainSurfaces, mixture::Mixture};
use crate::segment::{
    distance::squared_distances_to,
    guidance::PixelBox,
    logistic,
    region_seeds::{ExpectedBox, RegionSeeds},
};

/// Log-odds of the pixels that are decided.
pub(super) const LOG_ODDS: f32 = 6.0;
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
        let certain = |is_inside: bool| logistic(if is_inside { LOG_ODDS } else { -LOG_ODDS });
        let belonged = (!is_new).then(|| self.surfaces.are_inside(probability));
        // Probability of the pixels of each surface, if it is the same for all of them.
        let uniform: Vec<Option<f32>> = (0..self.sides.len())
            .map(|surface| match self.sides[surface] {
                _ if !self.surfaces.bounded[surface] => None,
                Side::Inside => Some(certain(true)),
                Side::Outside => Some(certain(false)),
                Side::Unknown => {
                    Some(certain(belonged.as_ref().is_some_and(|inside| inside[surface])))
                }
                Side::Divided => None,
            })
            .collect();
        let divided = self.divided();
        Zip::indexed(&mut *probability).and(&self.surfaces.labels).for_each(|at, p, label| {
            match self.surfaces.bounded_index(*label) {
                Some(surface) => {
                    *p = uniform[surface].unwrap_or_else(|| logistic(divided[at]));
                }
                None if self.is_complete && is_new => *p = certain(false),
                None => {}
            }
        });
        for Mixture { at, other, share } in &self.surfaces.mixtures {
            let [own, other] =
                [self.surfaces.labels[*at], *other].map(|label| uniform[label as usize - 1]);
            if let (Some(own), Some(other)) = (own, other) {
                probability[*at] = own + share * (other - own);
            }
        }
    }

    /// Returns the log-odds of pixels of surfaces with seeds of both kinds, empty without such a
    /// surface: the nearer seed decides, as there is nothing else to go by.
    fn divided(&self) -> Array2<f32> {
        if !self.sides.contains(&Side::Divided) {
            return Array2::zeros((0, 0));
        }
        let is_here = |point: &&[f32; 2]| {
            self.surfaces.at(**point).is_some_and(|surface| self.sides[surface] == Side::Divided)
        };
        let to_nearest = |points: &[[f32; 2]]| {
            let points = points.iter().filter(is_here).map(|[x, y]| (*y as usize, *x as usize));
            squared_distances_to(points, self.surfaces.labels.dim()).mapv_into(f32::sqrt)
        };
        let mut result = to_nearest(&self.seeds.points.outside);
        result.zip_mut_with(&to_nearest(&self.seeds.points.inside), |outside, inside| {
            *outside = LOG_ODDS * (*outside - inside) / (*outside + inside).max(1.0);
        });
        result
    }
}
