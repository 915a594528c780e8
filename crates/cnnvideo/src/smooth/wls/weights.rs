//! Edge weights between neighbouring pixels, computed from guides.
//!
//! Main types: [`Guide`], a plane whose steps are edges; [`Weights`], the weight maps of the
//! solver.

use ndarray::{Array2, ArrayView2, Zip};
use rayon::prelude::*;

use crate::{
    nn::Threads,
    simd::{nearest, vectorise},
};

/// `n` of `(1 - d / (n sigma))^n`, which approximates `exp(-d / sigma)`.
pub const POWER: u8 = 16;
/// Fixed-point value of a weight of 1.
pub(super) const ONE: f32 = 65535.0;

/// Guide plane, whose steps between neighbouring values mark edges.
#[derive(Debug, Clone, Copy)]
pub struct Guide<'a> {
    /// Values `[row, column]`, in the unit of `sigma`.
    pub plane: ArrayView2<'a, f32>,
    /// Subsampling, horizontal and vertical: a value covers `1 << shift` pixels. 0 or 1.
    pub shift: [u32; 2],
}

/// Edge weights between neighbouring pixels, `[row, column]`, in units of `1 / 65535`.
#[derive(Debug, Default)]
pub struct Weights {
    /// Weight between each pixel and its right neighbour.
    pub(super) across: Array2<u16>,
    /// Weight between each pixel and its lower neighbour.
    pub(super) down: Array2<u16>,
}

impl Weights {
    /// Computes the weights for pictures of `dim` (rows, columns).
    ///
    /// A weight is about `exp(-d / sigma)`, and 0 from `d = 16 sigma` on. `d` is the sum of the
    /// absolute steps of all guides, times the edge confidence `belief` (0 to 1; 1 if `None`). Rows
    /// of guides must be contiguous in memory and cover the picture; others count as flat.
    pub fn fill(
        &mut self,
        dim: (usize, usize),
        guides: &[Guide<'_>],
        belief: Option<Guide<'_>>,
        sigma: f32,
        threads: &Threads,
    ) {
        for map in [&mut self.across, &mut self.down] {
            if map.dim() != dim {
                *map = Array2::zeros(dim);
            }
        }
        let slope = 1.0 / (f32::from(POWER) * sigma);
        threads.enter(|| {
            let rows = Zip::indexed(self.across.rows_mut()).and(self.down.rows_mut());
            rows.into_par_iter().for_each_init(
                || Scratch::new(dim.1),
                |scratch, (y, across, down)| {
                    let (Some(across), Some(down)) = (across.into_slice(), down.into_slice())
                    else {
                        return;
                    };
                    vectorise(
                        #[inline(always)]
                        || {
                            scratch.believe(belief, y);
                            scratch.steps_across(guides, y);
                            convert(scratch, slope, across);
                            if y + 1 < dim.0 {
                                scratch.steps_down(guides, y);
                                convert(scratch, slope, down);
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
    /// Returns the row of the guide that covers row `y` of the picture.
    fn row(&self, y: usize) -> Option<&'a [f32]> {
        let row = y >> self.shift[1];
        (row < self.plane.nrows())
            .then(|| self.plane.index_axis_move(ndarray::Axis(0), row).to_slice())
            .flatten()
    }
}

/// Intermediate values of one row.
struct Scratch {
    /// Sum of the steps of all guides, per pixel.
    steps: Vec<f32>,
    /// Sum of the steps of horizontally subsampled guides, per guide value.
    coarse: Vec<f32>,
    /// Edge confidence, per pixel.
    belief: Vec<f32>,
}

// The functions below are portable Rust, inlined into a `vectorise` closure and so compiled for
// each instruction set.
impl Scratch {
    fn new(width: usize) -> Self {
        Self {
            steps: vec![0.0; width],
            coarse: vec![0.0; width.div_ceil(2)],
            belief: vec![1.0; width],
        }
    }

    /// Loads the edge confidence of row `y`.
    #[inline(always)]
    fn believe(&mut self, belief: Option<Guide<'_>>, y: usize) {
        let Some((row, shift)) = belief.and_then(|belief| Some((belief.row(y)?, belief.shift[0])))
        else {
            // Overwrites the confidence of the row that this scratch memory was used for before.
            self.belief.fill(1.0);
            return;
        };
        match shift {
            0 => self.belief.iter_mut().zip(row).for_each(|(to, from)| *to = *from),
            _ => in_pairs(&mut self.belief, row, |pair, from| pair.fill(from)),
        }
    }

    /// Computes the steps from each pixel to its right neighbour. A subsampled guide has its steps
    /// between the pixels that its values cover.
    #[inline(always)]
    fn steps_across(&mut self, guides: &[Guide<'_>], y: usize) {
        self.add_up(guides, |guide| guide.row(y).map(|row| (&row[row.len().min(1)..], row)));
        self.spread(guides, |pair, step| {
            if let Some(last) = pair.last_mut() {
                *last += step;
            }
        });
    }

    /// Computes the steps from each pixel to its lower neighbour.
    #[inline(always)]
    fn steps_down(&mut self, guides: &[Guide<'_>], y: usize) {
        self.add_up(guides, |guide| {
            let crossed = (y + 1) >> guide.shift[1] != y >> guide.shift[1];
            if crossed { Some((guide.row(y + 1)?, guide.row(y)?)) } else { None }
        });
        self.spread(guides, |pair, step| pair.iter_mut().for_each(|to| *to += step));
    }

    /// Sums the absolute differences of two rows over all guides.
    #[inline(always)]
    fn add_up<'a>(
        &mut self,
        guides: &[Guide<'a>],
        rows: impl Fn(&Guide<'a>) -> Option<(&'a [f32], &'a [f32])>,
    ) {
        self.steps.fill(0.0);
        self.coarse.fill(0.0);
        for guide in guides {
            let Some((a, b)) = rows(guide) else { continue };
            let sums = if guide.shift[0] == 0 { &mut self.steps } else { &mut self.coarse };
            sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += (a - b).abs());
        }
    }

    /// Adds the steps of horizontally subsampled guides to those of the pixels.
    #[inline(always)]
    fn spread(&mut self, guides: &[Guide<'_>], add: impl Fn(&mut [f32], f32)) {
        if guides.iter().any(|guide| guide.shift[0] > 0) {
            in_pairs(&mut self.steps, &self.coarse, add);
        }
    }
}

/// Calls `with` for each value of a subsampled row and the two pixels that it covers.
#[inline(always)]
fn in_pairs(fine: &mut [f32], coarse: &[f32], with: impl Fn(&mut [f32], f32)) {
    // Chunks of constant length are vectorised.
    let (pairs, rest) = fine.as_chunks_mut::<2>();
    pairs.iter_mut().zip(coarse).for_each(|(pair, value)| with(pair, *value));
    if let Some(value) = coarse.get(pairs.len()).filter(|_| !rest.is_empty()) {
        with(rest, *value);
    }
}

/// Computes the weights from steps and edge confidence.
#[inline(always)]
fn convert(scratch: &Scratch, slope: f32, weights: &mut [u16]) {
    for ((weight, step), belief) in weights.iter_mut().zip(&scratch.steps).zip(&scratch.belief) {
        let base = (1.0 - step * belief * slope).max(0.0);
        let second = base * base;
        let fourth = second * second;
        let eighth = fourth * fourth;
        *weight = nearest(eighth * eighth * ONE, ONE) as u16;
    }
}
