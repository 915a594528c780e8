//! Runs the segmentation network on a crop of the picture, with seed maps and the previous mask as
//! further inputs.

use std::{ops::Range, sync::Arc};

use ndarray::{Array2, ArrayViewMut1, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::{
    Image, SIGNATURE, clue,
    resample::{self, Place},
};
use crate::nn::{self, Network, Output, RowSink, Sessions, Source, Threads, parts};

/// Longer side of the network input, in pixels.
const SIDE: f32 = 320.0;
/// The sides of the network input are multiples of this, as the coarsest U-Net stage has 1/32 of
/// their length.
const STEP: usize = 32;
/// Log-odds of pixels outside of the crop.
const UNSEEN: f32 = -6.0;
/// Largest magnitude of the log-odds; larger ones are clamped.
const MOST: f32 = 12.0;

/// Crop rectangle of an [`Image`], in pixels of the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// Guidance for the network: the seeds and the previous mask of a region.
pub(super) struct Hints<'a> {
    /// Inside seeds `[x, y]`, in pixels of the image.
    pub inside: &'a [[f32; 2]],
    /// Outside seeds `[x, y]`, in pixels of the image.
    pub outside: &'a [[f32; 2]],
    /// Probability map of the region before this run, of the image's size.
    pub before: &'a Array2<f32>,
}

/// Runs the segmentation network on crops of an [`Image`].
pub(super) struct Refiner {
    network: Arc<dyn Network>,
    threads: Threads,
    sessions: Sessions,
    crop: Crop,
    logits: Array2<f32>,
}

/// Network input: the crop scaled to the network's size, with its seeds in pixels of that size.
#[derive(Default)]
struct Crop {
    planes: [Array2<f32>; 3],
    before: Array2<f32>,
    inside: Vec<[f32; 2]>,
    outside: Vec<[f32; 2]>,
}

impl Refiner {
    /// Creates a refiner that runs `network`, a network of the signature [`SIGNATURE`].
    pub fn new(network: Arc<dyn Network>, threads: Threads) -> Self {
        let (crop, logits) = (Crop::default(), Array2::zeros((0, 0)));
        Self { network, threads, sessions: Sessions::default(), crop, logits }
    }

    /// Predicts the region from the crop `view` and fills `log_odds`, resized to the size of the
    /// image, with the log-odds of each pixel. Pixels outside of the crop get [`UNSEEN`].
    ///
    /// With `mirrored`, the network also runs on the horizontally flipped crop and the two results
    /// are averaged (test-time augmentation).
    ///
    /// # Errors
    /// Fails if the backend cannot run the network.
    pub fn run(
        &mut self,
        image: &Image,
        view: View,
        hints: &Hints<'_>,
        mirrored: bool,
        log_odds: &mut Array2<f32>,
    ) -> Result<(), nn::Error> {
        let scale = SIDE / view.width.max(view.height).max(1.0);
        let side = |length: f32| ((length * scale / STEP as f32).round() as usize).max(1) * STEP;
        let (width, height) = (side(view.width), side(view.height));
        let step = [view.width / width as f32, view.height / height as f32];
        self.crop.fill(image, view, (height, width), step, hints, &self.threads);
        if self.logits.dim() != (height, width) {
            self.logits = Array2::zeros((height, width));
        }
        let session =
            self.sessions.for_frame(&*self.network, self.threads.count(), width, height)?;
        session.run(&self.crop, &mut Logits(&mut self.logits))?;
        if mirrored {
            self.crop.mirror();
            let mut other = Array2::zeros((height, width));
            session.run(&self.crop, &mut Logits(&mut other))?;
            for (mut row, other) in self.logits.rows_mut().into_iter().zip(other.rows()) {
                row.iter_mut()
                    .zip(other.iter().rev())
                    .for_each(|(to, other)| *to = 0.5 * (*to + other));
            }
        }
        if log_odds.dim() != image.dim() {
            *log_odds = Array2::zeros(image.dim());
        }
        let logits = &self.logits;
        // Position of a pixel of the image along an axis of the logits, `None` outside of the crop.
        let place = |i: usize, first: f32, step: f32, length: usize| {
            let at = (i as f32 + 0.5 - first) / step - 0.5;
            (at > -1.0 && at < length as f32).then(|| resample::place(at, length))
        };
        let columns: Vec<_> =
            (0..log_odds.ncols()).map(|x| place(x, view.x, step[0], width)).collect();
        fill(log_odds, &self.threads, |y, line, row| {
            let Some(y) = place(y, view.y, step[1], height) else { return row.fill(UNSEEN) };
            resample::line(logits, y, line);
            for (to, x) in row.iter_mut().zip(&columns) {
                *to = x.map_or(UNSEEN, |x| resample::at(line, x).clamp(-MOST, MOST));
            }
        });
        Ok(())
    }
}

/// Fills the rows of a map in parallel. `row` receives the index of a row, a buffer for an
/// interpolated line, and the row to fill.
fn fill(
    map: &mut Array2<f32>,
    threads: &Threads,
    row: impl Fn(usize, &mut Vec<f32>, &mut ArrayViewMut1<'_, f32>) + Sync,
) {
    threads.enter(|| {
        let rows = map.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
        rows.for_each_init(Vec::new, |line, (y, mut to)| row(y, line, &mut to));
    });
}

impl Crop {
    /// Scales the crop `view` of `image` and of the previous mask to the size `dim` (height, width)
    /// and converts the seeds. `step` is the size `[x, y]` of an input pixel in pixels of the
    /// image.
    fn fill(
        &mut self,
        image: &Image,
        view: View,
        dim: (usize, usize),
        step: [f32; 2],
        hints: &Hints<'_>,
        threads: &Threads,
    ) {
        // Averages up to 4x4 interpolated points per pixel when downscaling, against aliasing.
        let points = step.map(|s| (s.round() as usize).clamp(1, 4));
        let share = 1.0 / (points[0] * points[1]) as f32;
        // Positions along an axis of the image of the points of each input pixel.
        let places = |count: usize, axis: usize, first: f32, length: usize| -> Vec<Place> {
            let step = step[axis] / points[axis] as f32;
            let place = |i: usize| resample::place(first + (i as f32 + 0.5) * step - 0.5, length);
            (0..count * points[axis]).map(place).collect()
        };
        let rows = places(dim.0, 1, view.y, image.dim().0);
        let columns = places(dim.1, 0, view.x, image.dim().1);
        let maps =
            self.planes.iter_mut().zip(image.planes()).chain([(&mut self.before, hints.before)]);
        for (to, from) in maps {
            if to.dim() != dim {
                *to = Array2::zeros(dim);
            }
            fill(to, threads, |y, line, row| {
                row.fill(0.0);
                for y in &rows[y * points[1]..(y + 1) * points[1]] {
                    resample::line(from, *y, line);
                    for (to, columns) in row.iter_mut().zip(columns.chunks_exact(points[0])) {
                        *to += share * columns.iter().map(|x| resample::at(line, *x)).sum::<f32>();
                    }
                }
            });
        }
        let place = |seeds: &[[f32; 2]]| {
            seeds
                .iter()
                .map(|[x, y]| {
                    [(x + 0.5 - view.x) / step[0] - 0.5, (y + 0.5 - view.y) / step[1] - 0.5]
                })
                .collect()
        };
        self.inside = place(hints.inside);
        self.outside = place(hints.outside);
    }
}

impl Crop {
    /// Flips the input horizontally.
    fn mirror(&mut self) {
        let last = self.before.ncols() as f32 - 1.0;
        self.planes.iter_mut().chain([&mut self.before]).for_each(|map| map.invert_axis(Axis(1)));
        self.inside.iter_mut().chain(&mut self.outside).for_each(|[x, _]| *x = last - *x);
    }
}

impl Source for Crop {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let channels = SIGNATURE.io.inputs();
        let mut clues = vec![0.0; row.len() / channels];
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
            pixel[8] = mean(&self.before, x);
        }
        for (channel, seeds) in [(6, &self.inside), (7, &self.outside)] {
            clue::row(seeds, y, &mut clues);
            row.chunks_exact_mut(channels)
                .zip(&clues)
                .for_each(|(pixel, clue)| pixel[channel] = *clue);
        }
    }
}

/// Output of the network: stores the logits, four channels a cell, as 2x2 pixels.
struct Logits<'a>(&'a mut Array2<f32>);

impl Output for Logits<'_> {
    fn split<'c>(&'c mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'c>> {
        let parts = parts(self.0, bands, 2).into_iter().zip(bands);
        parts
            .map(|(logits, band)| Box::new(Band { first: band.start, logits }) as Box<dyn RowSink>)
            .collect()
    }
}

/// Rows of the logits that one thread writes. `first` is the first row of 2x2 cells among them.
struct Band<'a> {
    first: usize,
    logits: ArrayViewMut2<'a, f32>,
}

impl RowSink for Band<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        for dy in 0..2 {
            let mut to = self.logits.row_mut(2 * (y - self.first) + dy);
            for (x, to) in to.iter_mut().enumerate() {
                *to = row[SIGNATURE.io.output * (x / 2) + 2 * dy + x % 2];
            }
        }
    }
}
