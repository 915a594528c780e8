// SPDX-License-Identifier: MIT OR Apache-2.0

//! Edge weights between neighbouring pixels, computed from guides.
//!
//! Main types: [`Guide`], a plane whose steps are edges; [`EdgeWeights`], the weight maps of the
//! solver.

use ndarray::{Array2, ArrayView2, Axis, Zip};
use rayon::prelude::*;

use crate::{
    nn::Threads,
    simd::{round_clamped, vectorise},
};

/// `n` of `(1 - d / (n sigma))^n`, which approximates `exp(-d / sigma)`.
pub const EXP_ORDER: u8 = 16;
/// Fixed-point value of a weight of 1.
pub(super) const WEIGHT_ONE: f32 = 65535.0;

/// Guide plane, whose steps between neighbouring values mark edges.
#[derive(Debug, Clone, Copy)]
pub struct Guide<'a> {
    /// Values `[row, column]`, in the unit of `sigma`. Rows must be contiguous in memory.
    pub plane: ArrayView2<'a, f32>,
    /// Subsampling as powers of two, horizontal and vertical: a value covers `1 << subsampling`
    /// pixels. 0 or 1.
    pub subsampling: [u32; 2],
}

/// Guides of [`EdgeWeights::fill`].
#[derive(Debug, Clone, Copy)]
pub struct EdgeGuides<'a> {
    /// Guides whose steps add up.
    pub guides: &'a [Guide<'a>],
    /// Edge confidence, 0 to 1: the factor on the steps. `None` is 1 everywhere.
    pub confidence: Option<Guide<'a>>,
    /// Steps above it act as edges.
    pub sigma: f32,
}

/// Edge weights between neighbouring pixels, `[row, column]`, in units of `1 / 65535`.
#[derive(Debug, Default)]
pub struct EdgeWeights {
    /// Weight between each pixel and its right neighbour.
    pub(super) across: Array2<u16>,
    /// Weight between each pixel and its lower neighbour.
    pub(super) down: Array2<u16>,
}

impl EdgeWeights {
    /// Computes the weights for pictures of `dim` (rows, columns).
    ///
    /// A weight is about `exp(-d / sigma)`, and 0 from `d = 16 sigma` on. `d` is the sum of the
    /// absolute steps of all guides, times the edge confidence.
    ///
    /// # Panics
    /// If a guide or the edge confidence does not cover a picture of `dim`, or has rows that are
    /// not contiguous in memory.
    pub fn fill(
        &mut self,
        dim: (usize, usize),
        EdgeGuides { guides, confidence, sigma }: EdgeGuides<'_>,
        threads: &Threads,
    ) {
        let all = guides.iter().chain(&confidence);
        all.for_each(|guide| assert!(guide.covers(dim), "a guide is smaller than the picture"));
        for map in [&mut self.across, &mut self.down] {
            if map.dim() != dim {
                *map = Array2::zeros(dim);
            }
        }
        let slope = 1.0 / (f32::from(EXP_ORDER) * sigma);
        threads.enter(|| {
            let rows = Zip::indexed(self.across.rows_mut()).and(self.down.rows_mut());
            rows.into_par_iter().for_each_init(
                || WeightScratch::new(dim.1),
                |scratch, (y, across, down)| {
                    let [across, down] = [across, down]
                        .map(|row| row.into_slice().expect("rows of own maps are contiguous"));
                    vectorise(
                        #[inline(always)]
                        || {
                            scratch.load_confidence(confidence, y);
                            scratch.steps_across(guides, y);
                            weights_from_steps(scratch, slope, across);
                            if y + 1 < dim.0 {
                                scratch.steps_down(guides, y);
                                weights_from_steps(scratch, slope, down);
                            } else {
                                down.fill(0);
                            }
                        },
                    );
                    if let Some(last) = across.last_mut() {
                        *last = 0;
                    }
                },
            );
        });
    }
}

impl<'a> Guide<'a> {
    /// Returns whether the guide has a value for every pixel of a picture of `dim` (rows, columns).
    fn covers(&self, dim: (usize, usize)) -> bool {
        let [shift_x, shift_y] = self.subsampling;
        self.plane.nrows() << shift_y >= dim.0 && self.plane.ncols() << shift_x >= dim.1
    }

    /// Returns the row of the guide that covers row `y` of the picture.
    #[inline(always)]
    fn row(&self, y: usize) -> &'a [f32] {
        let row = self.plane.index_axis_move(Axis(0), y >> self.subsampling[1]);
        row.to_slice().expect("rows of guides are contiguous")
    }
}

/// Intermediate values of one row.
struct WeightScratch {
    /// Sum of the steps of all guides, per pixel.
    steps: Vec<f32>,
    /// Sum of the steps of horizontally subsampled guides, per guide value.
    subsampled_steps: Vec<f32>,
    /// Edge confidence, per pixel.
    confidence: Vec<f32>,
}

// The functions below are portable Rust, inlined into a `vectorise` closure and so compiled for
// each instruction set.
impl WeightScratch {
    fn new(width: usize) -> Self {
        Self {
            steps: vec![0.0; width],
            subsampled_steps: vec![0.0; width.div_ceil(2)],
            confidence: vec![1.0; width],
        }
    }

    /// Loads the edge confidence of row `y`.
    #[inline(always)]
    fn load_confidence(&mut self, confidence: Option<Guide<'_>>, y: usize) {
        // Without a map, the values of `new` stay.
        let Some(confidence) = confidence else { return };
        let row = confidence.row(y);
        match confidence.subsampling[0] {
            0 => self.confidence.iter_mut().zip(row).for_each(|(to, from)| *to = *from),
            _ => for_each_pair(&mut self.confidence, row, |pair, from| pair.fill(from)),
        }
    }

    /// Computes the steps from each pixel to its right neighbour. A subsampled guide has its steps
    /// between the pixels that its values cover.
    #[inline(always)]
    fn steps_across(&mut self, guides: &[Guide<'_>], y: usize) {
        self.sum_steps(guides, |guide| {
            let row = guide.row(y);
            Some((&row[row.len().min(1)..], row))
        });
        self.upsample_steps(guides, |pair, step| {
            if let Some(last) = pair.last_mut() {
                *last += step;
            }
        });
    }

    /// Computes the steps from each pixel to its lower neighbour.
    #[inline(always)]
    fn steps_down(&mut self, guides: &[Guide<'_>], y: usize) {
        self.sum_steps(guides, |guide| {
            let crossed = (y + 1) >> guide.subsampling[1] != y >> guide.subsampling[1];
            if crossed { Some((guide.row(y + 1), guide.row(y))) } else { None }
        });
        self.upsample_steps(guides, |pair, step| pair.iter_mut().for_each(|to| *to += step));
    }

    /// Sums the absolute differences of two rows over all guides. `rows` returns `None` for guides
    /// without a step.
    #[inline(always)]
    fn sum_steps<'a>(
        &mut self,
        guides: &[Guide<'a>],
        rows: impl Fn(&Guide<'a>) -> Option<(&'a [f32], &'a [f32])>,
    ) {
        self.steps.fill(0.0);
        self.subsampled_steps.fill(0.0);
        for guide in guides {
            let Some((a, b)) = rows(guide) else { continue };
            let sums = if guide.subsampling[0] == 0 {
                &mut self.steps
            } else {
                &mut self.subsampled_steps
            };
            sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += (a - b).abs());
        }
    }

    /// Adds the steps of horizontally subsampled guides to those of the pixels.
    #[inline(always)]
    fn upsample_steps(&mut self, guides: &[Guide<'_>], add: impl Fn(&mut [f32], f32)) {
        if guides.iter().any(|guide| guide.subsampling[0] > 0) {
            for_each_pair(&mut self.steps, &self.subsampled_steps, add);
        }
    }
}

/// Calls `with` for each value of a subsampled row and the two pixels that it covers.
#[inline(always)]
fn for_each_pair(pixels: &mut [f32], subsampled: &[f32], with: impl Fn(&mut [f32], f32)) {
    // Chunks of constant length are vectorised.
    let (pairs, rest) = pixels.as_chunks_mut::<2>();
    pairs.iter_mut().zip(subsampled).for_each(|(pair, value)| with(pair, *value));
    if let Some(value) = subsampled.get(pairs.len()).filter(|_| !rest.is_empty()) {
        with(rest, *value);
    }
}

/// Computes the weights from steps and edge confidence.
#[inline(always)]
fn weights_from_steps(scratch: &WeightScratch, slope: f32, weights: &mut [u16]) {
    for ((weight, step), confidence) in
        weights.iter_mut().zip(&scratch.steps).zip(&scratch.confidence)
    {
        let base = (1.0 - step * confidence * slope).max(0.0);
        let second = base * base;
        let fourth = second * second;
        let eighth = fourth * fourth;
        *weight = round_clamped(eighth * eighth * WEIGHT_ONE, WEIGHT_ONE) as u16;
    }
}
