//! How strongly neighbouring pixels hold together.

use ndarray::{Array2, ArrayView2, Zip};
use pulp::{Arch, WithSimd};
use rayon::prelude::*;

use crate::nn::Threads;

/// `(1 - d / (n sigma))^n` stands for the exponential; this is `n`.
pub(crate) const POWER: u8 = 16;
/// Weight 1 in a map.
pub(super) const ONE: f32 = 65535.0;

/// A plane that shows where edges are. Each value stands for `1 << shift` pixels across and down.
#[derive(Debug, Clone, Copy)]
pub struct Guide<'a> {
    pub plane: ArrayView2<'a, f32>,
    pub shift: [u32; 2],
}

/// Weights between each pixel and its right, and its lower, neighbour.
#[derive(Debug, Default)]
pub struct Weights {
    pub(super) across: Array2<u16>,
    pub(super) down: Array2<u16>,
}

impl Weights {
    /// Fills the maps for pictures of `dim` (rows, columns): `exp(-d / sigma)` nearly, `d` the sum over the guides of their
    /// steps times the `belief` that they are edges (1 without one), and 0 from 16 `sigma` on. Guides must lie row by row in memory without gaps and cover the picture;
    /// others count as flat.
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
        let arch = Arch::new();
        let slope = 1.0 / (f32::from(POWER) * sigma);
        threads.enter(|| {
            let rows = Zip::indexed(self.across.rows_mut()).and(self.down.rows_mut());
            rows.into_par_iter().for_each_init(
                || vec![0.0; dim.1],
                |steps, (y, across, down)| {
                    let (Some(across), Some(down)) = (across.into_slice(), down.into_slice()) else { return };
                    steps.fill(0.0);
                    for guide in guides {
                        if let Some(row) = guide.row(y) {
                            add_steps(steps, &row[1..], row, guide.shift[0], true);
                        }
                    }
                    if let Some((belief, row)) = belief.and_then(|b| Some((b, b.row(y)?))) {
                        multiply(steps, row, belief.shift[0]);
                    }
                    arch.dispatch(Convert { steps, weights: across, slope });
                    if let Some(last) = across.last_mut() {
                        *last = 0;
                    }
                    if y + 1 == dim.0 {
                        down.fill(0);
                        return;
                    }
                    steps.fill(0.0);
                    for guide in guides {
                        if let (Some(row), Some(next)) = (guide.row(y), guide.row(y + 1)) {
                            add_steps(steps, next, row, guide.shift[0], false);
                        }
                    }
                    if let Some((belief, row)) = belief.and_then(|b| Some((b, b.row(y)?))) {
                        multiply(steps, row, belief.shift[0]);
                    }
                    arch.dispatch(Convert { steps, weights: down, slope });
                },
            );
        });
    }
}

impl<'a> Guide<'a> {
    fn row(&self, y: usize) -> Option<&'a [f32]> {
        let row = y >> self.shift[1];
        (row < self.plane.nrows()).then(|| self.plane.index_axis_move(ndarray::Axis(0), row).to_slice()).flatten()
    }
}

/// Adds the differences of two rows of a guide; where they are one row and its right neighbours (`beside`), a step lies
/// between the values, else on all pixels of a value.
fn add_steps(steps: &mut [f32], a: &[f32], b: &[f32], shift: u32, beside: bool) {
    let pairs = a.iter().zip(b);
    match (shift, beside) {
        (0, _) => steps.iter_mut().zip(pairs).for_each(|(step, (a, b))| *step += (a - b).abs()),
        (_, true) => {
            let between = (1usize << shift) - 1;
            let steps = steps.iter_mut().skip(between).step_by(1 << shift);
            steps.zip(pairs).for_each(|(step, (a, b))| *step += (a - b).abs());
        }
        (_, false) => {
            for (group, (a, b)) in steps.chunks_mut(1 << shift).zip(pairs) {
                let d = (a - b).abs();
                group.iter_mut().for_each(|step| *step += d);
            }
        }
    }
}

/// Multiplies steps by values that stand for `1 << shift` of them.
fn multiply(steps: &mut [f32], factors: &[f32], shift: u32) {
    for (group, factor) in steps.chunks_mut(1 << shift).zip(factors) {
        group.iter_mut().for_each(|step| *step *= factor);
    }
}

struct Convert<'a> {
    steps: &'a [f32],
    weights: &'a mut [u16],
    slope: f32,
}

impl WithSimd for Convert<'_> {
    type Output = ();

    // Plain Rust, compiled once for each instruction set.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (weight, step) in self.weights.iter_mut().zip(self.steps) {
            let base = (1.0 - step * self.slope).max(0.0);
            let second = base * base;
            let fourth = second * second;
            let eighth = fourth * fourth;
            // The cast to a signed number is the one that vectors have.
            *weight = (eighth * eighth * ONE + 0.5) as i32 as u16;
        }
    }
}
