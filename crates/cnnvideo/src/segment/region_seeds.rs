// SPDX-License-Identifier: MIT OR Apache-2.0

//! Seeds converted to points and boxes in pixels, for one region.

use ndarray::Array2;

use super::{
    guidance::{self, BoxSeeds, PixelBox},
    region_predictor::CropRect,
    seeds::{Seed, Seeds, Shape},
};

/// Margin around a region in its crop, as a share of the longer side of the region, half of it on
/// each side.
const CROP_MARGIN: f32 = 0.7;
/// Share of the picture's area from which on a crop is not worthwhile and the whole picture is
/// used.
const MAX_CROP_SHARE: f32 = 0.8;
/// Largest distance of an extreme point from its side of the bounding box, in pixels.
const EXTREME_POINT_TOLERANCE: f32 = 1.5;
/// Largest distance between the points that a stroke is sampled at, in pixels.
const STROKE_SPACING: f32 = 12.0;

/// Points `[x, y]` in pixels of the working image.
#[derive(Debug, Clone, Default)]
pub(super) struct SeedPoints {
    /// Points inside of the region.
    pub inside: Vec<[f32; 2]>,
    /// Points outside of the region.
    pub outside: Vec<[f32; 2]>,
}

/// Seeds in pixels of the working image, from the point of view of one region: its own seeds are
/// inside, those of other regions and of the background are outside.
pub(super) struct RegionSeeds {
    /// Clicks, and points of the strokes.
    pub points: SeedPoints,
    /// The region's latest box, if it is newer than all other seeds of the region and of the
    /// background.
    pub current_box: Option<PixelBox>,
    /// The region's latest box, whatever its age.
    latest_box: Option<PixelBox>,
    /// Half-width, in pixels, of the square around inside points that is certainly inside too.
    inside_radius: f32,
    /// Half-width, in pixels, of the square around outside points that is certainly outside too.
    outside_radius: f32,
}

impl RegionSeeds {
    /// Converts the seeds for the region `label` of an image of size `(height, width)`.
    pub(super) fn for_region(label: u8, seeds: &Seeds, (height, width): (usize, usize)) -> Self {
        let mut result = Self {
            points: SeedPoints::default(),
            current_box: None,
            latest_box: None,
            inside_radius: 1.0,
            outside_radius: 1.0,
        };
        let to_pixels = |[x, y]: [f32; 2]| {
            [
                (x * width as f32 - 0.5).clamp(0.0, width as f32 - 1.0),
                (y * height as f32 - 0.5).clamp(0.0, height as f32 - 1.0),
            ]
        };
        for Seed { label: seed_label, shape } in seeds.iter() {
            let is_inside = *seed_label == label;
            let (points, certain_radius) = if is_inside {
                (&mut result.points.inside, &mut result.inside_radius)
            } else {
                (&mut result.points.outside, &mut result.outside_radius)
            };
            match shape {
                Shape::Point(point) => points.push(to_pixels(*point)),
                Shape::Stroke { points: vertices, radius } => {
                    *certain_radius = certain_radius.max(radius * width as f32);
                    let vertices: Vec<_> = vertices.iter().map(|p| to_pixels(*p)).collect();
                    points.extend(vertices.first());
                    for pair in vertices.windows(2) {
                        let ([x0, y0], [x1, y1]) = (pair[0], pair[1]);
                        let steps = ((x1 - x0).hypot(y1 - y0) / STROKE_SPACING).ceil().max(1.0);
                        points.extend((1..=steps as usize).map(|i| {
                            let t = i as f32 / steps;
                            [x0 + t * (x1 - x0), y0 + t * (y1 - y0)]
                        }));
                    }
                }
                Shape::Box { corner, opposite } => {
                    if is_inside {
                        let ([ax, ay], [bx, by]) = (to_pixels(*corner), to_pixels(*opposite));
                        let pixel = |v: f32| v.round() as usize;
                        result.latest_box = Some(PixelBox {
                            left: pixel(ax.min(bx)),
                            top: pixel(ay.min(by)),
                            right: pixel(ax.max(bx)),
                            bottom: pixel(ay.max(by)),
                        });
                    }
                }
                Shape::Grow(_) => {}
            }
        }
        let newest = seeds
            .iter()
            .filter(|seed| (seed.label == label || seed.label == 0) && seed.shape.has_position())
            .last();
        if matches!(newest, Some(Seed { shape: Shape::Box { .. }, .. })) {
            result.current_box = result.latest_box;
        }
        result
    }

    /// Returns the bounding box of extreme points (the leftmost, topmost, rightmost and bottommost
    /// point of the region).
    ///
    /// Four inside points count as extreme points if there are no outside points and each of them
    /// lies on a different side of their bounding box. Returns `None` otherwise.
    pub(super) fn extreme_point_bounds(&self) -> Option<PixelBox> {
        let SeedPoints { inside, outside } = &self.points;
        if inside.len() != 4 || !outside.is_empty() {
            return None;
        }
        let bounds =
            inside.iter().fold([f32::MAX, f32::MAX, 0.0, 0.0], |[x0, y0, x1, y1], [x, y]| {
                [x0.min(*x), y0.min(*y), x1.max(*x), y1.max(*y)]
            });
        // A point in a corner lies on two sides, but can be the extreme point of only one: tries
        // all assignments of the points to the sides.
        let on = |side: usize, point: usize| {
            (inside[point][side % 2] - bounds[side]).abs() <= EXTREME_POINT_TOLERANCE
        };
        let all_on_their_side = |points: [usize; 4]| (0..4).all(|side| on(side, points[side]));
        let mut assignments = (0..256usize).map(|code| [0, 2, 4, 6].map(|shift| code >> shift & 3));
        let found = assignments
            .any(|points| (0..4).all(|i| points.contains(&i)) && all_on_their_side(points));
        let [left, top, right, bottom] = bounds.map(|v| v as usize);
        found.then_some(PixelBox { left, top, right, bottom })
    }

    /// Returns whether the region has a box and the pixel `[x, y]` lies outside of it.
    pub(super) fn outside_box(&self, [x, y]: [f32; 2]) -> bool {
        self.latest_box.is_some_and(|bounds| !bounds.contains(x as usize, y as usize))
    }

    /// Returns the points, with those that a box implies ([`guidance::box_seeds`]); the centre of
    /// the box only if there are no other inside points. `dim` is the height and width of the
    /// image.
    pub(super) fn points_with_box(
        &self,
        bounds: Option<PixelBox>,
        dim: (usize, usize),
    ) -> SeedPoints {
        let mut points = self.points.clone();
        if let Some(bounds) = bounds {
            let BoxSeeds { centre, outside } = guidance::box_seeds(bounds, dim);
            if points.inside.is_empty() {
                points.inside.push(centre);
            }
            points.outside.extend(outside);
        }
        points
    }

    /// Drops the points that contradict the probability map of a tracked region, as tracking has
    /// moved them off their target.
    pub(super) fn drop_contradicting(&mut self, probability: &Array2<f32>) {
        let in_region = |[x, y]: &[f32; 2]| probability[[*y as usize, *x as usize]] > 0.5;
        self.points.inside.retain(in_region);
        self.points.outside.retain(|point| !in_region(point));
    }

    /// Sets the probability around inside points to 1 and around outside points to 0, so that the
    /// result always agrees with the seeds.
    pub(super) fn enforce(&self, probability: &mut Array2<f32>) {
        let (height, width) = probability.dim();
        for (points, radius, value) in [
            (&self.points.inside, self.inside_radius, 1.0f32),
            (&self.points.outside, self.outside_radius, 0.0),
        ] {
            let reach = radius as usize;
            for [x, y] in points {
                let (x, y) = (*x as usize, *y as usize);
                for v in y.saturating_sub(reach)..(y + reach + 1).min(height) {
                    for u in x.saturating_sub(reach)..(x + reach + 1).min(width) {
                        probability[[v, u]] = value;
                    }
                }
            }
        }
    }

    /// Returns the crop of the image around the region's current mask and its inside points; `None`
    /// if the region is smaller than 8 pixels or if the crop is about as large as the image.
    pub(super) fn crop(&self, probability: &Array2<f32>) -> Option<CropRect> {
        let (height, width) = probability.dim();
        let mut bounds = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        let mut include = |x: f32, y: f32| {
            bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
        };
        probability
            .indexed_iter()
            .filter(|(_, p)| **p > 0.5)
            .for_each(|((y, x), _)| include(x as f32, y as f32));
        self.points.inside.iter().for_each(|[x, y]| include(*x, *y));
        let [x0, y0, x1, y1] = bounds;
        if x1 - x0 < 8.0 || y1 - y0 < 8.0 {
            return None;
        }
        let margin = CROP_MARGIN * (x1 - x0).max(y1 - y0) / 2.0 + 4.0;
        let (x0, y0) = ((x0 - margin).max(0.0), (y0 - margin).max(0.0));
        let (x1, y1) = ((x1 + margin).min(width as f32), (y1 + margin).min(height as f32));
        let crop = CropRect { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
        (crop.width * crop.height < MAX_CROP_SHARE * (width * height) as f32).then_some(crop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_points_on_four_sides_are_extreme_points() {
        let extremes = |points: &[[f32; 2]]| {
            let mut seeds = Seeds::default();
            for point in points {
                seeds
                    .push(Seed { label: 1, shape: Shape::Point(point.map(|v| (v + 0.5) / 100.0)) });
            }
            RegionSeeds::for_region(1, &seeds, (100, 100)).extreme_point_bounds()
        };
        let expected = Some(PixelBox { left: 10, top: 20, right: 90, bottom: 80 });
        let bounds = extremes(&[[10.0, 50.0], [40.0, 20.0], [90.0, 45.0], [50.0, 80.0]]);
        assert_eq!(bounds, expected);
        // Two points on the bottom side.
        let bounds = extremes(&[[10.0, 80.0], [40.0, 20.0], [90.0, 45.0], [50.0, 80.0]]);
        assert_eq!(bounds, expected);
        // Ordinary clicks: one point is both the bottommost and the rightmost, or there are more
        // than four.
        assert_eq!(extremes(&[[40.0, 30.0], [45.0, 60.0], [10.0, 70.0], [80.0, 80.0]]), None);
        assert_eq!(
            extremes(&[[10.0, 50.0], [40.0, 20.0], [90.0, 45.0], [50.0, 80.0], [50.0, 50.0]]),
            None
        );
        assert_eq!(extremes(&[[10.0, 50.0]]), None);
    }
}
