use ndarray::Array2;

use super::{
    clue,
    refine::View,
    seeds::{Seed, Seeds, Shape},
};

/// Room around a region, as a share of its size, when the network looks closer.
const ROOM: f32 = 0.7;
/// A view of more than this share of a picture is one of all of it.
const WHOLE: f32 = 0.8;
/// Extreme points lie no farther than this from the sides of their bounds, in pixels.
const ON_SIDE: f32 = 1.5;
/// Points that a stroke is told by lie so many pixels apart.
const STROKE_STEP: f32 = 12.0;

/// Seeds as pixels of the image, seen from one region.
pub(super) struct Marks {
    pub inside: Vec<[f32; 2]>,
    pub outside: Vec<[f32; 2]>,
    /// Left, top, right and bottom pixel of a box, if that is the last word on this region.
    pub new_box: Option<[usize; 4]>,
    any_box: Option<[usize; 4]>,
    /// Pixels around seeds inside and outside that are certain too.
    radius: [f32; 2],
}

impl Marks {
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

    /// Bounds of four points that are all inside, when nothing else was said and each of them lies on one side of these: they may be the
    /// outermost of the region.
    pub fn extremes(&self) -> Option<[usize; 4]> {
        if self.inside.len() != 4 || !self.outside.is_empty() {
            return None;
        }
        let bounds =
            self.inside.iter().fold([f32::MAX, f32::MAX, 0.0, 0.0], |[x0, y0, x1, y1], [x, y]| {
                [x0.min(*x), y0.min(*y), x1.max(*x), y1.max(*y)]
            });
        // A corner lies on two sides, but can only stand for one.
        let on = |side: usize, point: usize| {
            (self.inside[point][side % 2] - bounds[side]).abs() <= ON_SIDE
        };
        let stands_for = |points: [usize; 4]| (0..4).all(|side| on(side, points[side]));
        let mut orders = (0..256usize).map(|code| [0, 2, 4, 6].map(|shift| code >> shift & 3));
        let found = orders.any(|points| (0..4).all(|i| points.contains(&i)) && stands_for(points));
        found.then(|| bounds.map(|v| v as usize))
    }

    pub fn outside_box(&self, [x, y]: [f32; 2]) -> bool {
        self.any_box.is_some_and(|[x0, y0, x1, y1]| {
            !(x0..=x1).contains(&(x as usize)) || !(y0..=y1).contains(&(y as usize))
        })
    }

    /// Points inside and outside, with those that bounds give.
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

    /// Forgets points that a region which was followed does not agree with: they have gone astray.
    pub fn keep(&mut self, probability: &Array2<f32>) {
        let at = |[x, y]: &[f32; 2]| probability[[*y as usize, *x as usize]] > 0.5;
        self.inside.retain(at);
        self.outside.retain(|point| !at(point));
    }

    /// What was clicked is as it was clicked.
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

    /// Where to look closer: around the region so far and the seeds. `None` for the whole picture.
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
        // Two on the lowest row.
        let bounds = extremes(&[[10.0, 80.0], [40.0, 20.0], [90.0, 45.0], [50.0, 80.0]]);
        assert_eq!(bounds, Some([10, 20, 90, 80]));
        // Clicks inside: one is the lowest and the rightmost, or there are more than four.
        assert_eq!(extremes(&[[40.0, 30.0], [45.0, 60.0], [10.0, 70.0], [80.0, 80.0]]), None);
        assert_eq!(
            extremes(&[[10.0, 50.0], [40.0, 20.0], [90.0, 45.0], [50.0, 80.0], [50.0, 50.0]]),
            None
        );
        assert_eq!(extremes(&[[10.0, 50.0]]), None);
    }
}
