//! Seeds converted to points and boxes in pixels, for one region.

use ndarray::Array2;

use super::{
    clue,
    refine::View,
    seeds::{Seed, Seeds, Shape},
};

/// Margin around a region in its crop, as a share of the longer side of the region, half of it on
/// each side.
const ROOM: f32 = 0.7;
/// Share of the picture's area from which on a crop is not worthwhile and the whole picture is
/// used.
const WHOLE: f32 = 0.8;
/// Largest distance of an extreme point from its side of the bounding box, in pixels.
const ON_SIDE: f32 = 1.5;
/// Largest distance between the points that a stroke is sampled at, in pixels.
const STROKE_STEP: f32 = 12.0;

/// Seeds in pixels of the working image, from the point of view of one region: its own seeds are
/// inside, those of other regions and of the background are outside.
pub(super) struct Marks {
    /// Points `[x, y]` inside of the region.
    pub inside: Vec<[f32; 2]>,
    /// Points `[x, y]` outside of the region.
    pub outside: Vec<[f32; 2]>,
    /// Left, top, right and bottom pixel of the region's latest box, if the box is newer than all
    /// other seeds of the region and of the background.
    pub new_box: Option<[usize; 4]>,
    /// The region's latest box, whatever its age.
    any_box: Option<[usize; 4]>,
    /// Half-width, in pixels, of the square around inside and outside points that is certain too.
    radius: [f32; 2],
}

impl Marks {
    /// Converts the seeds for the region `label` of an image of size `(height, width)`.
    pub fn of(label: u8, seeds: &Seeds, (height, width): (usize, usize)) -> Self {
        let mut marks = Self {
            inside: Vec::new(),
            outside: Vec::new(),
            new_box: None,
            any_box: None,
            radius: [1.0; 2],
        };
        let place = |[x, y]: [f32; 2]| {
            [
                (x * width as f32 - 0.5).clamp(0.0, width as f32 - 1.0),
                (y * height as f32 - 0.5).clamp(0.0, height as f32 - 1.0),
            ]
        };
        for Seed { label: of, shape } in seeds.iter() {
            let own = *of == label;
            let to = if own { &mut marks.inside } else { &mut marks.outside };
            match shape {
                Shape::Point(point) => to.push(place(*point)),
                Shape::Stroke { points, radius } => {
                    marks.radius[usize::from(!own)] =
                        marks.radius[usize::from(!own)].max(radius * width as f32);
                    let points: Vec<_> = points.iter().map(|p| place(*p)).collect();
                    to.extend(points.first());
                    for pair in points.windows(2) {
                        let ([x0, y0], [x1, y1]) = (pair[0], pair[1]);
                        let steps = ((x1 - x0).hypot(y1 - y0) / STROKE_STEP).ceil().max(1.0);
                        to.extend((1..=steps as usize).map(|i| {
                            let t = i as f32 / steps;
                            [x0 + t * (x1 - x0), y0 + t * (y1 - y0)]
                        }));
                    }
                }
                Shape::Box(a, b) => {
                    if own {
                        let ([ax, ay], [bx, by]) = (place(*a), place(*b));
                        let corner = |v: f32| v.round() as usize;
                        marks.any_box = Some([
                            corner(ax.min(bx)),
                            corner(ay.min(by)),
                            corner(ax.max(bx)),
                            corner(ay.max(by)),
                        ]);
                    }
                }
                Shape::Steps(_) => {}
            }
        }
        let last_own = seeds
            .iter()
            .filter(|seed| (seed.label == label || seed.label == 0) && seed.shape.points())
            .last();
        if matches!(last_own, Some(Seed { shape: Shape::Box(..), .. })) {
            marks.new_box = marks.any_box;
        }
        marks
    }

    /// Returns the bounding box `[left, top, right, bottom]` of extreme points (the leftmost,
    /// topmost, rightmost and bottommost point of the region).
    ///
    /// Four inside points count as extreme points if there are no outside points and each of them
    /// lies on a different side of their bounding box. Returns `None` otherwise.
    pub fn extremes(&self) -> Option<[usize; 4]> {
        if self.inside.len() != 4 || !self.outside.is_empty() {
            return None;
        }
        let bounds =
            self.inside.iter().fold([f32::MAX, f32::MAX, 0.0, 0.0], |[x0, y0, x1, y1], [x, y]| {
                [x0.min(*x), y0.min(*y), x1.max(*x), y1.max(*y)]
            });
        // A point in a corner lies on two sides, but can be the extreme point of only one: tries
        // all assignments of the points to the sides.
        let on = |side: usize, point: usize| {
            (self.inside[point][side % 2] - bounds[side]).abs() <= ON_SIDE
        };
        let stands_for = |points: [usize; 4]| (0..4).all(|side| on(side, points[side]));
        let mut orders = (0..256usize).map(|code| [0, 2, 4, 6].map(|shift| code >> shift & 3));
        let found = orders.any(|points| (0..4).all(|i| points.contains(&i)) && stands_for(points));
        found.then(|| bounds.map(|v| v as usize))
    }

    /// Returns whether the region has a box and the pixel `[x, y]` lies outside of it.
    pub fn outside_box(&self, [x, y]: [f32; 2]) -> bool {
        self.any_box.is_some_and(|[x0, y0, x1, y1]| {
            !(x0..=x1).contains(&(x as usize)) || !(y0..=y1).contains(&(y as usize))
        })
    }

    /// Returns the inside and outside points, with those that a box implies ([`clue::bounds`]); the
    /// centre of the box only if there are no other inside points. `dim` is the height and width of
    /// the image.
    pub fn points_with(
        &self,
        bounds: Option<[usize; 4]>,
        dim: (usize, usize),
    ) -> (Vec<[f32; 2]>, Vec<[f32; 2]>) {
        let (mut inside, mut outside) = (self.inside.clone(), self.outside.clone());
        if let Some(bounds) = bounds {
            let (middle, around) = clue::bounds(bounds, dim);
            if inside.is_empty() {
                inside.push(middle);
            }
            outside.extend(around);
        }
        (inside, outside)
    }

    /// Drops the points that contradict the probability map of a tracked region, as tracking has
    /// moved them off their target.
    pub fn keep(&mut self, probability: &Array2<f32>) {
        let at = |[x, y]: &[f32; 2]| probability[[*y as usize, *x as usize]] > 0.5;
        self.inside.retain(at);
        self.outside.retain(|point| !at(point));
    }

    /// Sets the probability around inside points to 1 and around outside points to 0, so that the
    /// result always agrees with the seeds.
    pub fn enforce(&self, probability: &mut Array2<f32>) {
        let (height, width) = probability.dim();
        for (seeds, radius, value) in
            [(&self.inside, self.radius[0], 1.0f32), (&self.outside, self.radius[1], 0.0)]
        {
            let reach = radius as usize;
            for [x, y] in seeds {
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
    pub fn view(&self, probability: &Array2<f32>) -> Option<View> {
        let (height, width) = probability.dim();
        let mut bounds = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        let mut take = |x: f32, y: f32| {
            bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
        };
        probability
            .indexed_iter()
            .filter(|(_, p)| **p > 0.5)
            .for_each(|((y, x), _)| take(x as f32, y as f32));
        self.inside.iter().for_each(|[x, y]| take(*x, *y));
        let [x0, y0, x1, y1] = bounds;
        if x1 - x0 < 8.0 || y1 - y0 < 8.0 {
            return None;
        }
        let room = ROOM * (x1 - x0).max(y1 - y0) / 2.0 + 4.0;
        let (x0, y0) = ((x0 - room).max(0.0), (y0 - room).max(0.0));
        let (x1, y1) = ((x1 + room).min(width as f32), (y1 + room).min(height as f32));
        let view = View { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
        (view.width * view.height < WHOLE * (width * height) as f32).then_some(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_points_on_four_sides_are_extremes() {
        let extremes = |points: &[[f32; 2]]| {
            let mut seeds = Seeds::default();
            for point in points {
                seeds.add(Seed { label: 1, shape: Shape::Point(point.map(|v| (v + 0.5) / 100.0)) });
            }
            Marks::of(1, &seeds, (100, 100)).extremes()
        };
        let bounds = extremes(&[[10.0, 50.0], [40.0, 20.0], [90.0, 45.0], [50.0, 80.0]]);
        assert_eq!(bounds, Some([10, 20, 90, 80]));
        // Two points on the bottom side.
        let bounds = extremes(&[[10.0, 80.0], [40.0, 20.0], [90.0, 45.0], [50.0, 80.0]]);
        assert_eq!(bounds, Some([10, 20, 90, 80]));
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
