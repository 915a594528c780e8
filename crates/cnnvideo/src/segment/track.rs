// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tracks regions and seeds from frame to frame by motion compensation.

use std::ops::Range;

use ndarray::{Array2, Zip, s};
use rayon::prelude::*;

use super::{
    Seeds, Side, WorkingImage,
    flow::{Flow, FlowWindow, LumaPyramid, compensated_value, motion_compensate},
    logistic, logit,
    motion::{AffineMotion, PicturePair},
    region::Region,
};
use crate::nn::Threads;

/// Mean absolute difference, in code values, between a picture and the motion-compensated previous
/// one, above which a scene cut is detected.
const SCENE_CUT_DIFFERENCE: f32 = 30.0;
/// Motion-compensated difference, in code values, at which a pixel contributes half to the
/// confidence of its region.
const HALF_CONFIDENCE_DIFFERENCE: f32 = 22.0;
/// Least probability, and least difference from 1, of a pixel at the uncertain border of a region.
pub(super) const MIN_UNCERTAIN: f32 = 0.02;
/// Probability above which the flow of a pixel counts as that of the region.
const MIN_CERTAIN: f32 = 0.7;
/// Distances, in pixels, between the pixels to whose flow the motion of the background and that of
/// a region are fitted.
const BACKGROUND_SAMPLE_DISTANCE: usize = 8;
const REGION_SAMPLE_DISTANCE: usize = 4;
/// Weight of the colour log-odds of pixels at the uncertain border of a region.
const COLOUR_WEIGHT: f32 = 0.05;
/// Largest magnitude of the colour log-odds; larger ones are clamped.
const MAX_COLOUR_LOG_ODDS: f32 = 4.0;
/// Factor by which the colour histograms of a region decay in each frame.
const COLOUR_DECAY: f32 = 0.9;
/// Weight of the current frame in the exponential moving average of the confidence.
const CONFIDENCE_UPDATE_WEIGHT: f32 = 0.5;
/// Radius, in pixels, around the target of a pixel's forward flow within which pixels count as
/// reached.
const REACHED_RADIUS: f32 = 1.5;
/// Least match (0 to 1) of a region with the current frame at which its colour histograms are
/// updated.
const MIN_MATCH_FOR_COLOURS: f32 = 0.5;
/// Subsampling factor along each axis for statistics over a picture.
const SUBSAMPLING: usize = 3;
/// Largest motion of a region between two frames, in pixels, that tracking can follow.
const MAX_MOTION: usize = 40;

/// Motion-compensates regions and seeds, and estimates the confidence of regions.
#[derive(Default)]
pub(super) struct Tracker {
    /// Luma pyramid of the previous picture.
    previous_pyramid: LumaPyramid,
    /// Luma pyramid of the current picture.
    current_pyramid: LumaPyramid,
    /// Backward flow: from the current picture to the previous one.
    backward_flow: Flow,
    /// Forward flow: from the previous picture to the current one.
    forward_flow: Flow,
    /// Luma of the latest picture.
    luma: Array2<f32>,
    /// Whether the next picture continues the latest one.
    continues: bool,
}

impl Tracker {
    /// Makes tracking start anew at the next picture, which does not continue the previous one.
    pub(super) fn reset(&mut self) {
        self.continues = false;
    }

    /// Moves regions and seeds to the next picture. Returns false, and moves nothing, if it detects
    /// a scene cut. Without regions it only stores the picture.
    pub(super) fn advance(
        &mut self,
        image: &WorkingImage,
        regions: &mut [Option<Region>],
        seeds: &mut Seeds,
        threads: &Threads,
    ) -> bool {
        let luma = &image.planes()[0];
        std::mem::swap(&mut self.previous_pyramid, &mut self.current_pyramid);
        self.current_pyramid.build(luma, threads);
        let follows = std::mem::replace(&mut self.continues, true) && self.luma.dim() == luma.dim();
        let mut same_scene = true;
        if follows && regions.iter().any(Option::is_some) {
            let (backward, forward) = (&mut self.backward_flow, &mut self.forward_flow);
            let (current, previous) = (&self.current_pyramid, &self.previous_pyramid);
            let windows =
                regions.iter().flatten().filter_map(|region| window_of(&region.probability));
            // Empty if all regions are: flow at reduced accuracy then suffices.
            let window = windows.reduce(enclosing_window).unwrap_or_default();
            threads.enter(|| {
                rayon::join(
                    || backward.estimate(current, previous, &window, threads),
                    || forward.estimate(previous, current, &window, threads),
                )
            });
            same_scene = self.mean_difference(luma) <= SCENE_CUT_DIFFERENCE;
            if same_scene {
                let background = self.background_motion(regions);
                let regions = regions.iter_mut().flatten();
                threads.enter(|| {
                    regions.for_each(|region| self.move_region(image, region, background.as_ref()));
                });
                let (height, width) = luma.dim();
                self.move_seeds(seeds, width, height);
            }
        }
        self.luma.clone_from(luma);
        same_scene
    }

    /// Returns the motion-compensated luma of the previous picture at a pixel, 0 if the pixel comes
    /// from outside of it.
    fn compensated_luma(&self, y: usize, x: usize) -> f32 {
        compensated_value(&self.luma, &self.backward_flow, y, x)
    }

    /// Returns the mean absolute difference, in code values, to the motion-compensated previous
    /// picture.
    fn mean_difference(&self, luma: &Array2<f32>) -> f32 {
        let rows: Vec<f32> = (0..luma.nrows())
            .into_par_iter()
            .step_by(SUBSAMPLING)
            .map(|y| {
                let columns = (0..luma.ncols()).step_by(SUBSAMPLING);
                columns.map(|x| (luma[[y, x]] - self.compensated_luma(y, x)).abs()).sum()
            })
            .collect();
        let count = rows.len() * luma.ncols().div_ceil(SUBSAMPLING);
        // Added up in order, so that the threads do not change the result.
        rows.iter().sum::<f32>() / count.max(1) as f32
    }

    /// Returns the motion of what is outside of all regions; `None` if that is too little.
    fn background_motion(&self, regions: &[Option<Region>]) -> Option<AffineMotion> {
        let is_background = |at: (usize, usize)| {
            regions.iter().flatten().all(|region| region.probability[at] <= MIN_UNCERTAIN)
        };
        AffineMotion::fit(
            &self.backward_flow,
            self.luma.dim(),
            BACKGROUND_SAMPLE_DISTANCE,
            is_background,
        )
    }

    /// Returns the log-odds that pixels move with a region and not with the background, by which
    /// the uncertain border of the region is corrected: the flow is blurred there. `None` if one of
    /// the motions is unknown. `moved` is the motion-compensated probability of the region from the
    /// pixel `origin` `(y, x)` on.
    fn motion_evidence(
        &self,
        luma: &Array2<f32>,
        region: &Region,
        background: Option<&AffineMotion>,
        moved: &Array2<f32>,
        origin: (usize, usize),
    ) -> Option<Array2<f32>> {
        let background = background?;
        let is_region = |at: (usize, usize)| region.probability[at] > MIN_CERTAIN;
        let motion = AffineMotion::fit(
            &self.backward_flow,
            self.luma.dim(),
            REGION_SAMPLE_DISTANCE,
            is_region,
        )?;
        let pair = PicturePair { current: luma, previous: &self.luma, flow: &self.backward_flow };
        Some(pair.motion_evidence(&motion, background, moved, origin))
    }

    /// Moves one region to the current picture and updates its confidence and colours.
    fn move_region(
        &self,
        image: &WorkingImage,
        region: &mut Region,
        background: Option<&AffineMotion>,
    ) {
        let Some(window) = window_of(&region.probability) else {
            return region.probability.fill(0.0);
        };
        let (y0, x0) = (window.rows.start, window.columns.start);
        let mut warped = motion_compensate(&region.probability, &self.backward_flow, &window);
        self.remove_disoccluded(&region.probability, &mut warped, &window);
        // Blurring makes the border uncertain, so that colours and motion can move it.
        let mut blurred = box_filter(&warped, 1);
        let luma = &image.planes()[0];
        let evidence = self.motion_evidence(luma, region, background, &blurred, (y0, x0));
        let colours = &region.colours;
        Zip::indexed(blurred.rows_mut()).par_for_each(|y, mut row| {
            for (x, p) in row.iter_mut().enumerate() {
                if (MIN_UNCERTAIN..1.0 - MIN_UNCERTAIN).contains(p) {
                    let motion = evidence.as_ref().map_or(0.0, |evidence| evidence[[y, x]]);
                    let colour = colours
                        .log_odds(image.at(y0 + y, x0 + x))
                        .clamp(-MAX_COLOUR_LOG_ODDS, MAX_COLOUR_LOG_ODDS);
                    *p = logistic(logit(*p) + COLOUR_WEIGHT * colour + motion);
                }
            }
        });
        region.probability.fill(0.0);
        region.probability.slice_mut(s![window.rows, window.columns]).assign(&blurred);
        self.update_confidence(image, region);
    }

    /// Removes disoccluded pixels from `warped`, the part inside of `window` of the
    /// motion-compensated probability map `previous`.
    ///
    /// A pixel that the forward flow of no pixel of the region reaches was hidden before, so it
    /// does not belong to the region, although the backward flow may lead into it.
    fn remove_disoccluded(
        &self,
        previous: &Array2<f32>,
        warped: &mut Array2<f32>,
        window: &FlowWindow,
    ) {
        let (y0, x0) = (window.rows.start, window.columns.start);
        let (rows, columns) = warped.dim();
        let mut reached = Array2::from_elem(warped.dim(), false);
        // The window surrounds the whole region.
        for y in window.rows.clone() {
            for x in window.columns.clone() {
                if previous[[y, x]] <= 0.3 {
                    continue;
                }
                let [dx, dy] = self.forward_flow.displacement(y, x);
                let (v, u) = (y as f32 + dy - y0 as f32, x as f32 + dx - x0 as f32);
                let span = |at: f32, length: usize| {
                    let first = (at - REACHED_RADIUS).ceil().max(0.0) as usize;
                    let last = (at + REACHED_RADIUS).floor();
                    first..((last + 1.0).max(0.0) as usize).min(length)
                };
                for v in span(v, rows) {
                    for u in span(u, columns) {
                        reached[[v, u]] = true;
                    }
                }
            }
        }
        Zip::from(warped).and(&reached).for_each(|p, reached| {
            if !reached {
                *p = 0.0;
            }
        });
    }

    /// Updates the confidence of a region by how well it matches its colours and the
    /// motion-compensated previous picture, then updates its colour histograms.
    fn update_confidence(&self, image: &WorkingImage, region: &mut Region) {
        let luma = &image.planes()[0];
        let (mut count, mut sum) = (0.0f32, 0.0f32);
        for y in (0..luma.nrows()).step_by(SUBSAMPLING) {
            for x in (0..luma.ncols()).step_by(SUBSAMPLING) {
                let p = region.probability[[y, x]];
                let colour = image.at(y, x);
                if p > 0.5 {
                    let difference =
                        (luma[[y, x]] - self.compensated_luma(y, x)) / HALF_CONFIDENCE_DIFFERENCE;
                    count += 1.0;
                    sum += logistic(region.colours.log_odds(colour) + 1.0)
                        / (1.0 + difference * difference);
                }
            }
        }
        let mean_match = if count > 0.0 { sum / count } else { 0.0 };
        region.confidence += CONFIDENCE_UPDATE_WEIGHT * (mean_match - region.confidence);
        // A poor match may be another object, whose colours must not enter the histograms.
        if mean_match < MIN_MATCH_FOR_COLOURS {
            return;
        }
        region.colours.decay(COLOUR_DECAY);
        let pixels = (SUBSAMPLING * SUBSAMPLING) as f32 * (1.0 - COLOUR_DECAY);
        for y in (0..luma.nrows()).step_by(SUBSAMPLING) {
            for x in (0..luma.ncols()).step_by(SUBSAMPLING) {
                let p = region.probability[[y, x]];
                // Pixels at the uncertain border may be on either side.
                if !(0.1..0.9).contains(&p) {
                    let side = if p > 0.5 { Side::Inside } else { Side::Outside };
                    region.colours.add(side, image.at(y, x), pixels);
                }
            }
        }
    }

    /// Moves seeds to the current picture by inverting the backward flow with a fixed-point
    /// iteration.
    fn move_seeds(&self, seeds: &mut Seeds, width: usize, height: usize) {
        let size = [width as f32, height as f32];
        seeds.move_points(|point| {
            let at = [point[0] * size[0] - 0.5, point[1] * size[1] - 0.5];
            let mut target = at;
            for _ in 0..3 {
                let pixel = [0, 1].map(|i| target[i].clamp(0.0, size[i] - 1.0) as usize);
                let d = self.backward_flow.displacement(pixel[1], pixel[0]);
                target = [at[0] - d[0], at[1] - d[1]];
            }
            let inside = (0..2).all(|i| target[i] >= 0.0 && target[i] <= size[i] - 1.0);
            inside.then(|| [(target[0] + 0.5) / size[0], (target[1] + 0.5) / size[1]])
        });
    }
}

/// Returns the mean over the square of `2 * radius + 1` pixels around each pixel; beyond the border
/// the square is cut off.
pub(super) fn box_filter(map: &Array2<f32>, radius: usize) -> Array2<f32> {
    let (height, width) = map.dim();
    let mut horizontal = Array2::zeros(map.dim());
    Zip::from(horizontal.rows_mut()).and(map.rows()).par_for_each(|mut to, from| {
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
    let mut result = Array2::zeros(map.dim());
    let mut sums = vec![0.0f32; width];
    for row in horizontal.rows().into_iter().take(radius) {
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
    for (y, mut to) in result.rows_mut().into_iter().enumerate() {
        if y + radius < height {
            sums.iter_mut().zip(horizontal.row(y + radius)).for_each(|(sum, v)| *sum += v);
        }
        if y > radius {
            sums.iter_mut().zip(horizontal.row(y - radius - 1)).for_each(|(sum, v)| *sum -= v);
        }
        let weight = 1.0 / ((y + radius + 1).min(height) - y.saturating_sub(radius)) as f32;
        to.iter_mut().zip(&sums).for_each(|(to, sum)| *to = sum * weight);
    }
    result
}

/// Returns the smallest window that contains both.
fn enclosing_window(a: FlowWindow, b: FlowWindow) -> FlowWindow {
    let enclosing = |a: Range<usize>, b: Range<usize>| a.start.min(b.start)..a.end.max(b.end);
    FlowWindow { rows: enclosing(a.rows, b.rows), columns: enclosing(a.columns, b.columns) }
}

/// Returns the bounding box of a region, extended by [`MAX_MOTION`] for its motion; `None` if the
/// region is empty.
fn window_of(probability: &Array2<f32>) -> Option<FlowWindow> {
    let (height, width) = probability.dim();
    let touches_region = |p: &f32| *p > MIN_UNCERTAIN;
    let mut rows = vec![false; height];
    let mut columns = vec![false; width];
    // Row by row, as columns are far apart in memory.
    for (row_touches, row) in rows.iter_mut().zip(probability.rows()) {
        *row_touches = row.iter().any(touches_region);
        if *row_touches {
            columns.iter_mut().zip(row).for_each(|(to, p)| *to |= touches_region(p));
        }
    }
    let extended_range = |touches: &[bool]| {
        let first = touches.iter().position(|touches| *touches)?;
        let last = touches.iter().rposition(|touches| *touches)?;
        Some(first.saturating_sub(MAX_MOTION)..(last + MAX_MOTION + 1).min(touches.len()))
    };
    let (rows, columns) = (extended_range(&rows)?, extended_range(&columns)?);
    Some(FlowWindow { rows, columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_filter_matches_direct_mean() {
        let map = Array2::from_shape_fn((9, 13), |(y, x)| ((x * 5 + y * 3) % 7) as f32);
        let mean = box_filter(&map, 2);
        for ((y, x), mean) in mean.indexed_iter() {
            let part = map.slice(ndarray::s![
                y.saturating_sub(2)..(y + 3).min(9),
                x.saturating_sub(2)..(x + 3).min(13)
            ]);
            assert!((mean - part.mean().unwrap()).abs() < 1e-4);
        }
    }
}
