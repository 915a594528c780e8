//! The network that tells a region from seeds.

use std::{ops::Range, sync::Arc};

use ndarray::{Array2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::{Image, clue, image::bilinear};
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
        let session = self.sessions.for_frame(&*self.network, self.threads.count(), width, height)?;
        session.run(&self.crop, &mut Logits(&mut self.logits))?;
        if mirrored {
            self.crop.mirror();
            let mut other = Array2::zeros((height, width));
            session.run(&self.crop, &mut Logits(&mut other))?;
            for (mut row, other) in self.logits.rows_mut().into_iter().zip(other.rows()) {
                row.iter_mut().zip(other.iter().rev()).for_each(|(to, other)| *to = 0.5 * (*to + other));
            }
        }
        if log_odds.dim() != image.dim() {
            *log_odds = Array2::zeros(image.dim());
        }
        let logits = &self.logits;
        fill(log_odds, &self.threads, |y, x| {
            let (u, v) = ((x as f32 + 0.5 - view.x) / step[0] - 0.5, (y as f32 + 0.5 - view.y) / step[1] - 0.5);
            let seen = u > -1.0 && v > -1.0 && u < width as f32 && v < height as f32;
            if seen { bilinear(logits, u, v).clamp(-MOST, MOST) } else { UNSEEN }
        });
        Ok(())
    }
}

/// Fills a map, its rows side by side.
fn fill(map: &mut Array2<f32>, threads: &Threads, value: impl Fn(usize, usize) -> f32 + Sync) {
    threads.enter(|| {
        map.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut row)| {
            row.iter_mut().enumerate().for_each(|(x, to)| *to = value(y, x));
        });
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
        let sample = |map: &Array2<f32>, y: usize, x: usize| {
            let mut sum = 0.0;
            for j in 0..points[1] {
                let v = view.y + (y as f32 + (j as f32 + 0.5) / points[1] as f32) * step[1] - 0.5;
                for i in 0..points[0] {
                    let u = view.x + (x as f32 + (i as f32 + 0.5) / points[0] as f32) * step[0] - 0.5;
                    sum += bilinear(map, u, v);
                }
            }
            sum * share
        };
        let maps = self.planes.iter_mut().zip(image.planes()).chain([(&mut self.before, hints.before)]);
        for (to, from) in maps {
            if to.dim() != dim {
                *to = Array2::zeros(dim);
            }
            fill(to, threads, |y, x| sample(from, y, x));
        }
        let place = |seeds: &[[f32; 2]]| {
            seeds
                .iter()
                .map(|[x, y]| [(x + 0.5 - view.x) / step[0] - 0.5, (y + 0.5 - view.y) / step[1] - 0.5])
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
            row.chunks_exact_mut(channels).zip(&clues).for_each(|(pixel, clue)| pixel[channel] = *clue);
        }
    }
}

struct Logits<'a>(&'a mut Array2<f32>);

impl Output for Logits<'_> {
    fn split<'c>(&'c mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'c>> {
        let parts = parts(self.0, bands, 2).into_iter().zip(bands);
        parts.map(|(logits, band)| Box::new(Band { first: band.start, logits }) as Box<dyn RowSink>).collect()
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
