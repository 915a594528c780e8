// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the segmentation network on a crop of the picture, with seed maps and the previous mask as
//! further inputs.

use std::sync::Arc;

use ndarray::{Array2, ArrayViewMut1, Axis};
use rayon::prelude::*;

use super::{
    SIGNATURE, WorkingImage, guidance,
    region_seeds::SeedPoints,
    resample::{self, Position},
};
use crate::nn::{self, Network, PlaneOutput, SessionCache, Source, Threads};

/// Longer side of the network input, in pixels.
const INPUT_SIDE: f32 = 320.0;
/// The sides of the network input are multiples of this, as the coarsest U-Net stage has 1/32 of
/// their length.
const SIDE_MULTIPLE: usize = 32;
/// Log-odds of pixels outside of the crop.
const OUTSIDE_CROP_LOG_ODDS: f32 = -6.0;
/// Largest magnitude of the log-odds; larger ones are clamped.
const MAX_LOG_ODDS: f32 = 12.0;

/// Crop rectangle of a [`WorkingImage`], in pixels of the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CropRect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl CropRect {
    /// Returns the rectangle that covers a whole image of size `(height, width)`.
    pub(super) fn whole((height, width): (usize, usize)) -> Self {
        Self { x: 0.0, y: 0.0, width: width as f32, height: height as f32 }
    }

    /// Returns the size `[x, y]`, in pixels of the image, of a pixel of the crop scaled to the size
    /// `(height, width)`.
    fn pixel_size(&self, (height, width): (usize, usize)) -> [f32; 2] {
        [self.width / width as f32, self.height / height as f32]
    }
}

/// Number of predictions that are averaged (test-time augmentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Augmentation {
    /// One prediction.
    None,
    /// Two predictions: of the crop and of the horizontally flipped crop.
    Flip,
}

/// Guidance for the network: the seeds and the previous mask of a region.
pub(super) struct Guidance<'a> {
    /// Seeds, in pixels of the image.
    pub points: &'a SeedPoints,
    /// Probability map of the region before this run, of the image's size.
    pub previous_mask: &'a Array2<f32>,
}

/// Runs the segmentation network on crops of a [`WorkingImage`].
pub(super) struct RegionPredictor {
    network: Arc<dyn Network>,
    threads: Threads,
    sessions: SessionCache,
    input: RegionInput,
    logits: Array2<f32>,
}

/// Network input: the crop scaled to the network's size, with its seeds in pixels of that size.
#[derive(Default)]
struct RegionInput {
    planes: [Array2<f32>; 3],
    previous_mask: Array2<f32>,
    points: SeedPoints,
}

impl RegionPredictor {
    /// Creates a predictor that runs `network`, a network of the signature [`SIGNATURE`].
    pub(super) fn new(network: Arc<dyn Network>, threads: Threads) -> Self {
        let (input, logits) = (RegionInput::default(), Array2::zeros((0, 0)));
        Self { network, threads, sessions: SessionCache::default(), input, logits }
    }

    /// Predicts the region from a crop and fills `log_odds`, resized to the size of the image, with
    /// the log-odds of each pixel. Pixels outside of the crop get [`OUTSIDE_CROP_LOG_ODDS`].
    ///
    /// # Errors
    /// Fails if the backend cannot run the network.
    pub(super) fn predict(
        &mut self,
        image: &WorkingImage,
        crop: CropRect,
        guidance: &Guidance<'_>,
        augmentation: Augmentation,
        log_odds: &mut Array2<f32>,
    ) -> Result<(), nn::Error> {
        let scale = INPUT_SIDE / crop.width.max(crop.height).max(1.0);
        let side = |length: f32| {
            ((length * scale / SIDE_MULTIPLE as f32).round() as usize).max(1) * SIDE_MULTIPLE
        };
        let (width, height) = (side(crop.width), side(crop.height));
        let step = crop.pixel_size((height, width));
        self.input.fill(image, crop, (height, width), guidance, &self.threads);
        if self.logits.dim() != (height, width) {
            self.logits = Array2::zeros((height, width));
        }
        let session =
            self.sessions.for_frame_size(&*self.network, self.threads.count(), width, height)?;
        session.run(&self.input, &mut PlaneOutput::new(&mut self.logits, 2, write_logits))?;
        if augmentation == Augmentation::Flip {
            self.input.flip();
            let mut flipped = Array2::zeros((height, width));
            session.run(&self.input, &mut PlaneOutput::new(&mut flipped, 2, write_logits))?;
            for (mut row, flipped) in self.logits.rows_mut().into_iter().zip(flipped.rows()) {
                row.iter_mut()
                    .zip(flipped.iter().rev())
                    .for_each(|(to, flipped)| *to = 0.5 * (*to + flipped));
            }
        }
        if log_odds.dim() != image.dim() {
            *log_odds = Array2::zeros(image.dim());
        }
        let logits = &self.logits;
        // Position of a pixel of the image along an axis of the logits, `None` outside of the crop.
        let position = |i: usize, first: f32, step: f32, length: usize| {
            let at = (i as f32 + 0.5 - first) / step - 0.5;
            (at > -1.0 && at < length as f32).then(|| resample::position(at, length))
        };
        let columns: Vec<_> =
            (0..log_odds.ncols()).map(|x| position(x, crop.x, step[0], width)).collect();
        fill_rows(log_odds, &self.threads, |y, line, row| {
            let Some(y) = position(y, crop.y, step[1], height) else {
                return row.fill(OUTSIDE_CROP_LOG_ODDS);
            };
            resample::interpolate_row(logits, y, line);
            for (to, x) in row.iter_mut().zip(&columns) {
                *to = x.map_or(OUTSIDE_CROP_LOG_ODDS, |x| {
                    resample::interpolate_at(line, x).clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS)
                });
            }
        });
        Ok(())
    }
}

/// Fills the rows of a map in parallel. `fill_row` receives the index of a row, a buffer for an
/// interpolated line, and the row to fill.
fn fill_rows(
    map: &mut Array2<f32>,
    threads: &Threads,
    fill_row: impl Fn(usize, &mut Vec<f32>, &mut ArrayViewMut1<'_, f32>) + Sync,
) {
    threads.enter(|| {
        let rows = map.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
        rows.for_each_init(Vec::new, |line, (y, mut to)| fill_row(y, line, &mut to));
    });
}

impl RegionInput {
    /// Scales a crop of `image` and of the previous mask to the size `dim` (height, width) and
    /// converts the seeds to pixels of the scaled crop.
    fn fill(
        &mut self,
        image: &WorkingImage,
        crop: CropRect,
        dim: (usize, usize),
        guidance: &Guidance<'_>,
        threads: &Threads,
    ) {
        let step = crop.pixel_size(dim);
        // Averages up to 4x4 interpolated points per pixel when downscaling, against aliasing.
        let points = step.map(|s| (s.round() as usize).clamp(1, 4));
        let weight = 1.0 / (points[0] * points[1]) as f32;
        // Positions along an axis of the image of the points of each input pixel.
        let positions = |count: usize, axis: usize, first: f32, length: usize| -> Vec<Position> {
            let step = step[axis] / points[axis] as f32;
            let position =
                |i: usize| resample::position(first + (i as f32 + 0.5) * step - 0.5, length);
            (0..count * points[axis]).map(position).collect()
        };
        let rows = positions(dim.0, 1, crop.y, image.dim().0);
        let columns = positions(dim.1, 0, crop.x, image.dim().1);
        let planes = self.planes.iter_mut().zip(image.planes());
        for (to, from) in planes.chain([(&mut self.previous_mask, guidance.previous_mask)]) {
            if to.dim() != dim {
                *to = Array2::zeros(dim);
            }
            fill_rows(to, threads, |y, line, row| {
                row.fill(0.0);
                for y in &rows[y * points[1]..(y + 1) * points[1]] {
                    resample::interpolate_row(from, *y, line);
                    for (to, columns) in row.iter_mut().zip(columns.chunks_exact(points[0])) {
                        let values = columns.iter().map(|x| resample::interpolate_at(line, *x));
                        *to += weight * values.sum::<f32>();
                    }
                }
            });
        }
        let to_crop = |seeds: &[[f32; 2]]| {
            seeds
                .iter()
                .map(|[x, y]| {
                    [(x + 0.5 - crop.x) / step[0] - 0.5, (y + 0.5 - crop.y) / step[1] - 0.5]
                })
                .collect()
        };
        let SeedPoints { inside, outside } = guidance.points;
        self.points = SeedPoints { inside: to_crop(inside), outside: to_crop(outside) };
    }

    /// Flips the input horizontally.
    fn flip(&mut self) {
        let last = self.previous_mask.ncols() as f32 - 1.0;
        let maps = self.planes.iter_mut().chain([&mut self.previous_mask]);
        maps.for_each(|map| map.invert_axis(Axis(1)));
        let SeedPoints { inside, outside } = &mut self.points;
        inside.iter_mut().chain(outside).for_each(|[x, _]| *x = last - *x);
    }
}

impl Source for RegionInput {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let channels = SIGNATURE.io.input_channels();
        let mut seed_map = vec![0.0; row.len() / channels];
        let mean = |map: &Array2<f32>, x: usize| {
            let at = |dy: usize, dx: usize| map[[2 * y + dy, 2 * x + dx]];
            0.25 * (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1))
        };
        for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
            for (i, to) in pixel.iter_mut().take(4).enumerate() {
                *to = (self.planes[0][[2 * y + i / 2, 2 * x + i % 2]] - 128.0) / 255.0;
            }
            pixel[4] = (mean(&self.planes[1], x) - 128.0) / 255.0;
            pixel[5] = (mean(&self.planes[2], x) - 128.0) / 255.0;
            pixel[8] = mean(&self.previous_mask, x);
        }
        for (channel, seeds) in [(6, &self.points.inside), (7, &self.points.outside)] {
            guidance::seed_map_row(seeds, y, &mut seed_map);
            row.chunks_exact_mut(channels)
                .zip(&seed_map)
                .for_each(|(pixel, value)| pixel[channel] = *value);
        }
    }
}

/// Stores the logits, four channels a cell, as 2x2 pixels: row `dy` of the cells.
fn write_logits(row: &[f32], dy: usize, mut logits: ArrayViewMut1<'_, f32>) {
    for (x, to) in logits.iter_mut().enumerate() {
        *to = row[SIGNATURE.io.output * (x / 2) + 2 * dy + x % 2];
    }
}
