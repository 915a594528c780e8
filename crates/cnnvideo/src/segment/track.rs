//! Tracks regions and seeds from frame to frame by motion compensation.

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

/// Mean absolute difference, in code values, between a picture and the motion-compensated previous
/// one, above which a scene cut is detected.
const CUT: f32 = 30.0;
/// Motion-compensated difference, in code values, at which a pixel contributes half to the
/// confidence of its region.
const MISFIT: f32 = 22.0;
/// Weight of the colour log-odds of pixels at the uncertain border of a region.
const COLOUR_WEIGHT: f32 = 0.05;
/// Largest magnitude of the colour log-odds; larger ones are clamped.
const MOST_COLOUR: f32 = 4.0;
/// Factor by which the colour histograms of a region decay in each frame.
const KEEP_COLOURS: f32 = 0.9;
/// Weight of the current frame in the exponential moving average of the confidence.
const FOLLOW: f32 = 0.5;
/// Radius, in pixels, around the target of a pixel's forward flow within which pixels count as
/// reached.
const SPREAD: f32 = 1.5;
/// Least match (0 to 1) of a region with the current frame at which its colour histograms are
/// updated.
const LEARN: f32 = 0.5;
/// Subsampling factor along each axis for statistics over a picture.
const SPARSE: usize = 3;
/// Largest motion of a region between two frames, in pixels, that tracking can follow.
const REACH: usize = 40;

/// Size and confidence of a tracked region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// Label of the region, 1 to [`MAX_LABEL`](super::MAX_LABEL).
    pub label: u8,
    /// Area as a share of the picture.
    pub area: f32,
    /// Confidence of the tracking, from 0 to 1.
    pub confidence: f32,
}

/// Confidence below which a region is lost.
pub const LOST: f32 = 0.3;
/// Area, as a share of the picture, below which a region is lost.
pub const LEAST_AREA: f32 = 2e-4;

/// Motion-compensates regions and seeds, and estimates the confidence of regions.
#[derive(Default)]
pub(super) struct Tracker {
    /// Luma pyramid of the previous picture.
    past: Pyramid,
    /// Luma pyramid of the current picture.
    present: Pyramid,
    /// Backward flow: from the current picture to the previous one.
    flow: Flow,
    /// Forward flow: from the previous picture to the current one.
    forward: Flow,
    /// Luma of the latest picture.
    luma: Array2<f32>,
    /// Whether the next picture continues the latest one.
    valid: bool,
}

impl Tracker {
    /// Makes tracking start anew at the next picture, which does not continue the previous one.
    pub fn forget(&mut self) {
        self.valid = false;
    }

    /// Moves regions and seeds to the next picture. Returns false, and moves nothing, if it detects
    /// a scene cut. Without regions it only stores the picture.
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

    /// Returns the motion-compensated luma of the previous picture at a pixel, 0 if the pixel comes
    /// from outside of it.
    fn moved(&self, y: usize, x: usize) -> f32 {
        let (height, width) = self.luma.dim();
        let [dx, dy] = self.flow.at(y, x);
        let (u, v) = (x as f32 + dx, y as f32 + dy);
        let inside = u >= -0.5 && v >= -0.5 && u <= width as f32 - 0.5 && v <= height as f32 - 0.5;
        if inside { bilinear(&self.luma, u, v) } else { 0.0 }
    }

    /// Returns the mean absolute difference, in code values, to the motion-compensated previous
    /// picture.
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

    /// Moves one region to the current picture and updates its confidence and colours.
    fn carry(&self, image: &Image, region: &mut Region) {
        let Some(window) = window_of(&region.probability) else {
            return region.probability.fill(0.0);
        };
        let (y0, x0) = (window.0.start, window.1.start);
        let mut now = Array2::zeros((window.0.len(), window.1.len()));
        warp(&region.probability, &self.flow, (y0, x0), &mut now);
        self.disbelieve(&region.probability, &mut now, (y0, x0));
        // Blurring makes the border uncertain, so that the colours can move it.
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

    /// Removes disoccluded pixels from the warped probability map `now`, whose top left pixel is
    /// `(y0, x0)`.
    ///
    /// A pixel that the forward flow of no pixel of the region reaches was hidden before, so it
    /// does not belong to the region, although the backward flow may lead into it.
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

    /// Updates the confidence of a region by how well it matches its colours and the
    /// motion-compensated previous picture, then updates its colour histograms.
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
        // A poor match may be another object, whose colours must not enter the histograms.
        if now < LEARN {
            return;
        }
        region.colours.fade(KEEP_COLOURS);
        let pixels = (SPARSE * SPARSE) as f32 * (1.0 - KEEP_COLOURS);
        for y in (0..luma.nrows()).step_by(SPARSE) {
            for x in (0..luma.ncols()).step_by(SPARSE) {
                let p = region.probability[[y, x]];
                // Pixels at the uncertain border may be on either side.
                if !(0.1..0.9).contains(&p) {
                    region.colours.add(p > 0.5, image.at(y, x), pixels);
                }
            }
        }
    }

    /// Moves seeds to the current picture by inverting the backward flow with a fixed-point
    /// iteration.
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

/// Returns the log-odds of a probability, which is clamped to 0.001 to 0.999.
pub(super) fn log_odds(p: f32) -> f32 {
    let p = p.clamp(1e-3, 1.0 - 1e-3);
    (p / (1.0 - p)).ln()
}

/// Returns the mean over the square of `2 * radius + 1` pixels around each pixel; beyond the border
/// the square is cut off.
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

/// Returns the smallest range that contains both.
fn hull(a: Range<usize>, b: Range<usize>) -> Range<usize> {
    a.start.min(b.start)..a.end.max(b.end)
}

/// Returns the bounding box of a region, extended by [`REACH`] for its motion; `None` if the region
/// is empty.
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
