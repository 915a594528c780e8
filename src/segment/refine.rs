//! The network that tells a region from seeds.

use std::{ops::Range, sync::Arc};

use ndarray::{Array2, ArrayViewMut1, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::{
    Image, clue,
    resample::{self, Place},
};
use crate::nn::{self, Domain, Network, Output, RowSink, Sessions, Source, Threads, parts};

/// Longer side of what the network sees, in pixels.
const SIDE: f32 = 320.0;
/// Sides are multiples of this: the network's coarsest level has a thirty-second of the pixels.
const STEP: usize = 32;
/// Log-odds where nothing was seen.
const UNSEEN: f32 = -6.0;
/// Log-odds are kept within.
const MOST: f32 = 12.0;

/// A rectangle of an [`Image`] in its pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

/// What is known of a region before the network looks.
pub(super) struct Hints<'a> {
    /// Seeds `[x, y]` in pixels of the image.
    pub inside: &'a [[f32; 2]],
    pub outside: &'a [[f32; 2]],
    /// Probability of the region so far.
    pub before: &'a Array2<f32>,
}

/// Runs the network on parts of pictures.
pub(super) struct Refiner {
    network: Arc<dyn Network>,
    threads: Threads,
    sessions: Sessions,
    crop: Crop,
    logits: Array2<f32>,
}

/// What the network sees.
#[derive(Default)]
struct Crop {
    planes: [Array2<f32>; 3],
    before: Array2<f32>,
    inside: Vec<[f32; 2]>,
    outside: Vec<[f32; 2]>,
}

impl Refiner {
    /// Runs `network`, one of the domain [`Domain::Region`].
    pub fn new(network: Arc<dyn Network>, threads: Threads) -> Self {
        let (crop, logits) = (Crop::default(), Array2::zeros((0, 0)));
        Self { network, threads, sessions: Sessions::default(), crop, logits }
    }

    /// Fills `log_odds`, of the image's size, with the log-odds of the region; `mirrored`, the mean of those of the view and its mirror
    /// image, which is another opinion.
    ///
    /// # Errors
    /// A backend that fails.
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
        // Where a pixel of the image lies along an axis of the logits, if it was seen.
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

/// Fills a map, its rows side by side; `row` gets a row's number, room for a line, and the row.
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
    fn fill(
        &mut self,
        image: &Image,
        view: View,
        dim: (usize, usize),
        step: [f32; 2],
        hints: &Hints<'_>,
        threads: &Threads,
    ) {
        // Shrinking takes the mean of several points.
        let points = step.map(|s| (s.round() as usize).clamp(1, 4));
        let share = 1.0 / (points[0] * points[1]) as f32;
        // The points of each pixel along an axis of the image.
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
    /// Turns left and right round.
    fn mirror(&mut self) {
        let last = self.before.ncols() as f32 - 1.0;
        self.planes.iter_mut().chain([&mut self.before]).for_each(|map| map.invert_axis(Axis(1)));
        self.inside.iter_mut().chain(&mut self.outside).for_each(|[x, _]| *x = last - *x);
    }
}

impl Source for Crop {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let channels = Domain::Region.inputs();
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

struct Logits<'a>(&'a mut Array2<f32>);

impl Output for Logits<'_> {
    fn split<'c>(&'c mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'c>> {
        let parts = parts(self.0, bands, 2).into_iter().zip(bands);
        parts
            .map(|(logits, band)| Box::new(Band { first: band.start, logits }) as Box<dyn RowSink>)
            .collect()
    }
}

struct Band<'a> {
    first: usize,
    logits: ArrayViewMut2<'a, f32>,
}

impl RowSink for Band<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        for dy in 0..2 {
            let mut to = self.logits.row_mut(2 * (y - self.first) + dy);
            for (x, to) in to.iter_mut().enumerate() {
                *to = row[Domain::Region.outputs() * (x / 2) + 2 * dy + x % 2];
            }
        }
    }
}
