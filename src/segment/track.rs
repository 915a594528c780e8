//! Regions that follow the video.

use std::ops::Range;

use ndarray::{Array2, Zip, s};

use super::{
    Image, Seeds,
    flow::{Flow, Pyramid, Window, warp},
    image::bilinear,
    logistic,
    segmenter::Region,
};
use crate::nn::Threads;

/// Mean difference, in levels, between a picture and the one before, brought to it: beyond, the scene has changed.
const CUT: f32 = 30.0;
/// Difference, in levels, at which a pixel of a region is believed by half to show what it showed.
const MISFIT: f32 = 22.0;
/// Log-odds of colour are believed so much where a border is uncertain, and up to this much.
const COLOUR_WEIGHT: f32 = 0.05;
const MOST_COLOUR: f32 = 4.0;
/// Share of what is known of the colours that each picture leaves.
const KEEP_COLOURS: f32 = 0.9;
/// Share of confidence that a new picture brings.
const FOLLOW: f32 = 0.5;
/// Pixels around where a pixel of a region went that are reached too.
const SPREAD: f32 = 1.5;
/// A picture that a region fits less well than this teaches nothing.
const LEARN: f32 = 0.5;
/// Of every so many pixels along each axis one is looked at, where that is enough.
const SPARSE: usize = 3;
/// Pixels that a region may move from one picture to the next, and still be followed.
const REACH: usize = 40;

/// How sure a region is, and how large.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    pub label: u8,
    /// Share of the picture.
    pub area: f32,
    /// From 0 to 1.
    pub confidence: f32,
}

/// Below this confidence, or this share of the picture, a region is lost.
pub const LOST: f32 = 0.3;
pub const LEAST_AREA: f32 = 2e-4;

/// What is kept of the picture before.
#[derive(Default)]
pub(super) struct Tracker {
    past: Pyramid,
    present: Pyramid,
    /// Where the present was in the past, and the other way round.
    flow: Flow,
    forward: Flow,
    luma: Array2<f32>,
    valid: bool,
}

impl Tracker {
    /// The next picture does not continue the last.
    pub fn forget(&mut self) {
        self.valid = false;
    }

    /// Moves regions and seeds to a new picture. Returns false where the scene has changed.
    pub fn follow(
        &mut self,
        image: &Image,
        regions: &mut [Option<Region>],
        seeds: &mut Seeds,
        threads: &Threads,
    ) -> bool {
        let luma = &image.planes()[0];
        std::mem::swap(&mut self.past, &mut self.present);
        self.present.build(luma);
        let follows = std::mem::replace(&mut self.valid, true) && self.luma.dim() == luma.dim();
        let mut same_scene = true;
        if follows && regions.iter().any(Option::is_some) {
            let (flow, forward, present, past) =
                (&mut self.flow, &mut self.forward, &self.present, &self.past);
            let windows =
                regions.iter().flatten().filter_map(|region| window_of(&region.probability));
            let window =
                windows.reduce(|a, b| (hull(a.0, b.0), hull(a.1, b.1))).unwrap_or_default();
            threads.enter(|| {
                rayon::join(
                    || flow.search(present, past, &window, threads),
                    || forward.search(past, present, &window, threads),
                )
            });
            same_scene = self.mean_difference(luma) <= CUT;
            if same_scene {
                threads.enter(|| {
                    regions.iter_mut().flatten().for_each(|region| self.carry(image, region))
                });
                let (height, width) = luma.dim();
                self.follow_seeds(seeds, width, height);
            }
        }
        self.luma.clone_from(luma);
        same_scene
    }

    /// The picture before, as it would look now, at a pixel; black where it came from outside.
    fn moved(&self, y: usize, x: usize) -> f32 {
        let (height, width) = self.luma.dim();
        let [dx, dy] = self.flow.at(y, x);
        let (u, v) = (x as f32 + dx, y as f32 + dy);
        let inside = u >= -0.5 && v >= -0.5 && u <= width as f32 - 0.5 && v <= height as f32 - 0.5;
        if inside { bilinear(&self.luma, u, v) } else { 0.0 }
    }

    /// Between a picture and the one before, brought to it, in levels.
    fn mean_difference(&self, luma: &Array2<f32>) -> f32 {
        let (mut sum, mut count) = (0.0, 0.0);
        for y in (0..luma.nrows()).step_by(SPARSE) {
            for x in (0..luma.ncols()).step_by(SPARSE) {
                sum += (luma[[y, x]] - self.moved(y, x)).abs();
                count += 1.0;
            }
        }
        sum / f32::max(count, 1.0)
    }

    fn carry(&self, image: &Image, region: &mut Region) {
        let Some(window) = window_of(&region.probability) else {
            return region.probability.fill(0.0);
        };
        let (y0, x0) = (window.0.start, window.1.start);
        let mut now = Array2::zeros((window.0.len(), window.1.len()));
        warp(&region.probability, &self.flow, (y0, x0), &mut now);
        self.disbelieve(&region.probability, &mut now, (y0, x0));
        // Uncertain along the border, so that colours can move it.
        let mut soft = box_mean(&now, 1);
        let colours = &region.colours;
        Zip::indexed(soft.rows_mut()).par_for_each(|y, mut row| {
            for (x, p) in row.iter_mut().enumerate() {
                if (0.02..0.98).contains(p) {
                    let colour =
                        colours.log_odds(image.at(y0 + y, x0 + x)).clamp(-MOST_COLOUR, MOST_COLOUR);
                    *p = logistic(log_odds(*p) + COLOUR_WEIGHT * colour);
                }
            }
        });
        region.probability.fill(0.0);
        region.probability.slice_mut(s![window.0, window.1]).assign(&soft);
        self.judge(image, region);
    }

    /// What no pixel of the region moved to was hidden before: it is not the region's, whatever the flow back says.
    fn disbelieve(&self, before: &Array2<f32>, now: &mut Array2<f32>, (y0, x0): (usize, usize)) {
        let (height, width) = before.dim();
        let (rows, columns) = now.dim();
        let mut reached = Array2::from_elem(now.dim(), false);
        for y in 0..height {
            for x in 0..width {
                if before[[y, x]] <= 0.3 {
                    continue;
                }
                let [dx, dy] = self.forward.at(y, x);
                let (v, u) = (y as f32 + dy - y0 as f32, x as f32 + dx - x0 as f32);
                let span = |at: f32, length: usize| {
                    let (first, last) =
                        ((at - SPREAD).ceil().max(0.0) as usize, (at + SPREAD).floor());
                    first..((last + 1.0).max(0.0) as usize).min(length)
                };
                for v in span(v, rows) {
                    for u in span(u, columns) {
                        reached[[v, u]] = true;
                    }
                }
            }
        }
        Zip::from(now).and(&reached).for_each(|p, reached| {
            if !reached {
                *p = 0.0;
            }
        });
    }

    /// How far a region still looks as it did, and what its colours are now.
    fn judge(&self, image: &Image, region: &mut Region) {
        let luma = &image.planes()[0];
        let (mut inside, mut fits) = (0.0f32, 0.0f32);
        for y in (0..luma.nrows()).step_by(SPARSE) {
            for x in (0..luma.ncols()).step_by(SPARSE) {
                let p = region.probability[[y, x]];
                let colour = image.at(y, x);
                if p > 0.5 {
                    let misfit = (luma[[y, x]] - self.moved(y, x)) / MISFIT;
                    inside += 1.0;
                    fits +=
                        logistic(region.colours.log_odds(colour) + 1.0) / (1.0 + misfit * misfit);
                }
            }
        }
        let now = if inside > 0.0 { fits / inside } else { 0.0 };
        region.confidence += FOLLOW * (now - region.confidence);
        // What may be something else is not learnt from.
        if now < LEARN {
            return;
        }
        region.colours.fade(KEEP_COLOURS);
        let pixels = (SPARSE * SPARSE) as f32 * (1.0 - KEEP_COLOURS);
        for y in (0..luma.nrows()).step_by(SPARSE) {
            for x in (0..luma.ncols()).step_by(SPARSE) {
                let p = region.probability[[y, x]];
                // Only what is certain is learnt from.
                if !(0.1..0.9).contains(&p) {
                    region.colours.add(p > 0.5, image.at(y, x), pixels);
                }
            }
        }
    }

    /// The flow tells where the present was in the past; seeds go the other way, which for small motion is its reverse.
    fn follow_seeds(&self, seeds: &mut Seeds, width: usize, height: usize) {
        let size = [width as f32, height as f32];
        seeds.follow(|point| {
            let at = [point[0] * size[0] - 0.5, point[1] * size[1] - 0.5];
            let mut there = at;
            for _ in 0..3 {
                let pixel = [0, 1].map(|i| there[i].clamp(0.0, size[i] - 1.0) as usize);
                let d = self.flow.at(pixel[1], pixel[0]);
                there = [at[0] - d[0], at[1] - d[1]];
            }
            let inside = (0..2).all(|i| there[i] >= 0.0 && there[i] <= size[i] - 1.0);
            inside.then(|| [(there[0] + 0.5) / size[0], (there[1] + 0.5) / size[1]])
        });
    }
}

pub(super) fn log_odds(p: f32) -> f32 {
    let p = p.clamp(1e-3, 1.0 - 1e-3);
    (p / (1.0 - p)).ln()
}

/// Mean over squares of `2 radius + 1` pixels, less at the border.
fn box_mean(map: &Array2<f32>, radius: usize) -> Array2<f32> {
    let (height, width) = map.dim();
    let mut across = Array2::zeros(map.dim());
    Zip::from(across.rows_mut()).and(map.rows()).par_for_each(|mut to, from| {
        let mut sum: f32 = from.iter().take(radius).sum();
        for x in 0..width {
            if x + radius < width {
                sum += from[x + radius];
            }
            if x > radius {
                sum -= from[x - radius - 1];
            }
            let count = (x + radius + 1).min(width) - x.saturating_sub(radius);
            to[x] = sum / count as f32;
        }
    });
    let mut both = Array2::zeros(map.dim());
    let mut sums = vec![0.0f32; width];
    for row in across.rows().into_iter().take(radius) {
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
    for (y, mut to) in both.rows_mut().into_iter().enumerate() {
        if y + radius < height {
            sums.iter_mut().zip(across.row(y + radius)).for_each(|(sum, v)| *sum += v);
        }
        if y > radius {
            sums.iter_mut().zip(across.row(y - radius - 1)).for_each(|(sum, v)| *sum -= v);
        }
        let share = 1.0 / ((y + radius + 1).min(height) - y.saturating_sub(radius)) as f32;
        to.iter_mut().zip(&sums).for_each(|(to, sum)| *to = sum * share);
    }
    both
}

/// From the first of both to the last.
fn hull(a: Range<usize>, b: Range<usize>) -> Range<usize> {
    a.start.min(b.start)..a.end.max(b.end)
}

/// Rows and columns around a region, as far as it may have moved; `None` where nothing is left of it.
fn window_of(probability: &Array2<f32>) -> Option<Window> {
    let (height, width) = probability.dim();
    let shows = |line: ndarray::ArrayView1<'_, f32>| line.iter().any(|p| *p > 0.02);
    let span = |lines: &mut dyn Iterator<Item = bool>, length: usize| {
        let shown: Vec<bool> = lines.collect();
        let first = shown.iter().position(|shown| *shown)?;
        let last = shown.iter().rposition(|shown| *shown)?;
        Some(first.saturating_sub(REACH)..(last + REACH + 1).min(length))
    };
    let rows = span(&mut probability.rows().into_iter().map(shows), height)?;
    let part = probability.slice(s![rows.clone(), ..]);
    let columns = span(&mut part.columns().into_iter().map(shows), width)?;
    Some((rows, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_squares() {
        let map = Array2::from_shape_fn((9, 13), |(y, x)| ((x * 5 + y * 3) % 7) as f32);
        let mean = box_mean(&map, 2);
        for ((y, x), mean) in mean.indexed_iter() {
            let part = map.slice(ndarray::s![
                y.saturating_sub(2)..(y + 3).min(9),
                x.saturating_sub(2)..(x + 3).min(13)
            ]);
            assert!((mean - part.mean().unwrap()).abs() < 1e-4);
        }
    }
}
