// SPDX-License-Identifier: MIT OR Apache-2.0

//! Seeds converted to points and boxes in pixels, for one region.

use ndarray::{Array2, Axis};

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
/// Side of the cells, in pixels, of which each gets at most one point of all strokes, so that the
/// number of points is bounded. The guidance maps hardly change over this distance.
const STROKE_CELL: usize = 4;
/// Largest number of points between the vertices of a stroke, about; longer strokes have wider
/// spaces.
const MAX_STROKE_SAMPLES: f32 = 1024.0;

/// Points `[x, y]` in pixels of the working image.
#[derive(Debug, Clone, Default)]
pub(super) struct SeedPoints {
    /// Points inside of the region.
    pub inside: Vec<[f32; 2]>,
    /// Points outside of the region.
    pub outside: Vec<[f32; 2]>,
}

/// Bounding box of a region that its seeds give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ExpectedBox {
    /// The box.
    pub bounds: PixelBox,
    /// Whether the user drew the box; otherwise the inside points are extreme points.
    pub is_drawn: bool,
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
    /// Number of inside points that are older than the latest box.
    points_before_box: usize,
    /// Pixels of inside and of outside seeds.
    certain: [SeedPixels; 2],
}

impl RegionSeeds {
    /// Converts the seeds for the region `label` of an image of size `(height, width)`.
    pub(super) fn for_region(label: u8, seeds: &Seeds, (height, width): (usize, usize)) -> Self {
        let mut result = Self {
            points: SeedPoints::default(),
            current_box: None,
            latest_box: None,
            points_before_box: 0,
            certain: [0, 1].map(|_| SeedPixels::new((height, width))),
        };
        let to_pixels = |[x, y]: [f32; 2]| {
            [
                (x * width as f32 - 0.5).clamp(0.0, width as f32 - 1.0),
                (y * height as f32 - 0.5).clamp(0.0, height as f32 - 1.0),
            ]
        };
        for Seed { label: seed_label, shape } in seeds.iter() {
            let is_inside = *seed_label == label;
            let points =
                if is_inside { &mut result.points.inside } else { &mut result.points.outside };
            let certain = &mut result.certain[usize::from(!is_inside)];
            match shape {
                Shape::Point(point) => {
                    certain.add(to_pixels(*point));
                    points.push(to_pixels(*point));
                }
                Shape::Stroke { points: vertices, radius } => {
                    certain.reach = certain.reach.max((radius * width as f32) as usize);
                    let vertices: Vec<_> = vertices.iter().map(|p| to_pixels(*p)).collect();
                    points.extend(stroke_points(&vertices).filter(|point| certain.add(*point)));
                }
                Shape::Box { corner, opposite } if is_inside => {
                    result.points_before_box = points.len();
                    result.latest_box =
                        Some(PixelBox::between(to_pixels(*corner), to_pixels(*opposite)));
                }
                Shape::Box { .. } | Shape::Grow(_) => {}
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

    /// Returns the bounding box that the seeds give a region, `None` without one. `is_new` says
    /// that the region has no extent yet.
    ///
    /// The box that the user drew last bounds a region until there are newer seeds, and a new
    /// region until there is a newer inside point outside of the box. Otherwise extreme points
    /// bound a new region.
    pub(super) fn expected_box(&self, is_new: bool) -> Option<ExpectedBox> {
        let newer = &self.points.inside[self.points_before_box..];
        let contains_newer = |bounds: &PixelBox| {
            newer.iter().all(|[x, y]| bounds.contains(x.round() as usize, y.round() as usize))
        };
        let drawn_first = self.latest_box.filter(contains_newer).filter(|_| is_new);
        let drawn = self.current_box.or(drawn_first);
        let drawn = drawn.map(|bounds| ExpectedBox { bounds, is_drawn: true });
        let extreme = || self.extreme_point_bounds().filter(|_| is_new);
        drawn.or_else(|| extreme().map(|bounds| ExpectedBox { bounds, is_drawn: false }))
    }

    /// Returns the bounding box of extreme points (the leftmost, topmost, rightmost and bottommost
    /// point of the region).
    ///
    /// Four inside points count as extreme points if there are no outside points and each of them
    /// lies on a different side of their bounding box. Returns `None` otherwise.
    fn extreme_point_bounds(&self) -> Option<PixelBox> {
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
        for (certain, value) in self.certain.iter().zip([1.0, 0.0]) {
            probability.zip_mut_with(&certain.surroundings(), |p, is_certain| {
                if *is_certain {
                    *p = value;
                }
            });
        }
    }

    /// Returns the crop of the image around the region's current mask and its inside points; `None`
    /// if the region is smaller than 8 pixels or if the crop is about as large as the image.
    pub(super) fn crop(&self, probability: &Array2<f32>) -> Option<CropRect> {
        Self::crop_around(probability, &self.points.inside)
    }

    /// Returns what [`Self::crop`] returns, for points `[x, y]` inside of the region.
    pub(super) fn crop_around(probability: &Array2<f32>, inside: &[[f32; 2]]) -> Option<CropRect> {
        let (height, width) = probability.dim();
        let mut bounds = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        let mut include = |x: f32, y: f32| {
            bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
        };
        probability
            .indexed_iter()
            .filter(|(_, p)| **p > 0.5)
            .for_each(|((y, x), _)| include(x as f32, y as f32));
        inside.iter().for_each(|[x, y]| include(*x, *y));
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

/// Returns the points at which the network gets to see a stroke: its vertices and points between
/// them.
fn stroke_points(vertices: &[[f32; 2]]) -> impl Iterator<Item = [f32; 2]> {
    let segments = || vertices.windows(2).map(|pair| (pair[0], pair[1]));
    let length = |([x0, y0], [x1, y1]): ([f32; 2], [f32; 2])| (x1 - x0).hypot(y1 - y0);
    let whole_length: f32 = segments().map(length).sum();
    let spacing = STROKE_SPACING.max(whole_length / MAX_STROKE_SAMPLES);
    let between = segments().flat_map(move |(from, to)| {
        let steps = (length((from, to)) / spacing).ceil().max(1.0);
        (1..=steps as usize).map(move |i| {
            let t = i as f32 / steps;
            [from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1])]
        })
    });
    vertices.first().copied().into_iter().chain(between)
}

/// Pixels of the seeds of one side.
struct SeedPixels {
    is_seed: Array2<bool>,
    /// Whether a cell of [`STROKE_CELL`] has a seed.
    is_taken: Array2<bool>,
    /// Half-width, in pixels, of the square around each seed that is certainly on its side too.
    reach: usize,
}

impl SeedPixels {
    /// Creates the pixels of an image of size `(height, width)`, without seeds.
    fn new((height, width): (usize, usize)) -> Self {
        let cells = (height.div_ceil(STROKE_CELL), width.div_ceil(STROKE_CELL));
        let (is_seed, is_taken) = (Array2::default((height, width)), Array2::default(cells));
        Self { is_seed, is_taken, reach: 1 }
    }

    /// Adds a seed and returns whether it is the first one of its cell.
    fn add(&mut self, [x, y]: [f32; 2]) -> bool {
        let (x, y) = (x as usize, y as usize);
        self.is_seed[[y, x]] = true;
        !std::mem::replace(&mut self.is_taken[[y / STROKE_CELL, x / STROKE_CELL]], true)
    }

    /// Returns the pixels within reach of a seed.
    fn surroundings(&self) -> Array2<bool> {
        let mut result = self.is_seed.clone();
        for axis in [Axis(0), Axis(1)] {
            for mut line in result.lanes_mut(axis) {
                let seeds = line.to_vec();
                mark_after(&mut line.iter_mut().zip(&seeds), self.reach);
                mark_after(&mut line.iter_mut().zip(&seeds).rev(), self.reach);
            }
        }
        result
    }
}

/// Marks the pixels at most `reach` pixels after a seed. Each pixel comes with whether it is a
/// seed.
fn mark_after(pixels: &mut dyn Iterator<Item = (&mut bool, &bool)>, reach: usize) {
    let mut distance = usize::MAX;
    for (mark, is_seed) in pixels {
        distance = if *is_seed { 0 } else { distance.saturating_add(1) };
        *mark |= distance <= reach;
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

    fn region_seeds(shapes: &[(u8, Shape)]) -> RegionSeeds {
        let mut seeds = Seeds::default();
        for (label, shape) in shapes {
            assert!(seeds.push(Seed { label: *label, shape: shape.clone() }));
        }
        RegionSeeds::for_region(1, &seeds, (100, 100))
    }

    fn point(x: f32, y: f32) -> Shape {
        Shape::Point([(x + 0.5) / 100.0, (y + 0.5) / 100.0])
    }

    #[test]
    fn a_box_bounds_new_regions_whatever_comes_after_it() {
        let drawn = Shape::Box { corner: [0.205, 0.305], opposite: [0.605, 0.705] };
        let bounds = PixelBox { left: 20, top: 30, right: 60, bottom: 70 };
        let expected = Some(ExpectedBox { bounds, is_drawn: true });
        let alone = region_seeds(&[(1, point(90.0, 90.0)), (1, drawn.clone())]);
        assert_eq!((alone.expected_box(true), alone.expected_box(false)), (expected, expected));
        for later in [(0, point(5.0, 5.0)), (0, point(40.0, 40.0)), (1, point(25.0, 65.0))] {
            let seeds = region_seeds(&[(1, drawn.clone()), later.clone()]);
            assert_eq!(seeds.expected_box(true), expected, "{later:?}");
            assert_eq!(seeds.expected_box(false), None, "{later:?}");
        }
        // A point outside of the box widens the region.
        let seeds = region_seeds(&[(1, drawn), (1, point(80.0, 50.0))]);
        assert_eq!(seeds.expected_box(true), None);
    }

    #[test]
    fn strokes_have_a_bounded_number_of_points() {
        let zigzag: Vec<_> = (0..256).map(|i| [(i % 2) as f32, i as f32 / 255.0]).collect();
        let stroke = Shape::Stroke { points: zigzag, radius: 0.03 };
        let seeds = region_seeds(&vec![(1, stroke); 300]);
        assert!(seeds.points.inside.len() <= 25 * 25, "{}", seeds.points.inside.len());
    }

    #[test]
    fn seeds_and_their_surroundings_are_certain() {
        let line = Shape::Stroke { points: vec![[0.105, 0.505], [0.305, 0.505]], radius: 0.04 };
        let seeds = region_seeds(&[(1, line), (0, point(70.0, 20.0)), (2, point(0.0, 99.0))]);
        let mut probability = Array2::from_elem((100, 100), 0.6);
        seeds.enforce(&mut probability);
        for ((y, x), expected) in [
            ((46, 6), 1.0),
            ((54, 34), 1.0),
            ((45, 20), 0.6),
            ((50, 35), 0.6),
            ((19, 71), 0.0),
            ((18, 70), 0.6),
            ((99, 1), 0.0),
        ] {
            assert_eq!(probability[[y, x]], expected, "{x} {y}");
        }
    }
}
