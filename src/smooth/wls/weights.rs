//! How strongly neighbouring pixels hold together.

use ndarray::{Array2, ArrayView2, Zip};
use rayon::prelude::*;

use crate::{
    nn::Threads,
    simd::{nearest, vectorise},
};

/// `(1 - d / (n sigma))^n` stands for the exponential; this is `n`.
pub(crate) const POWER: u8 = 16;
/// Weight 1 in a map.
pub(super) const ONE: f32 = 65535.0;

/// A plane that shows where edges are. Each value stands for `1 << shift` pixels across and down, `shift` 0 or 1.
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
    fn row(&self, y: usize) -> Option<&'a [f32]> {
        let row = y >> self.shift[1];
        (row < self.plane.nrows())
            .then(|| self.plane.index_axis_move(ndarray::Axis(0), row).to_slice())
            .flatten()
    }
}

/// A row on its way.
struct Scratch {
    steps: Vec<f32>,
    /// Steps of guides that stand for two pixels.
    coarse: Vec<f32>,
    belief: Vec<f32>,
}

// Plain Rust in the functions below, compiled once for each instruction set where they are called.
impl Scratch {
    fn new(width: usize) -> Self {
        Self {
            steps: vec![0.0; width],
            coarse: vec![0.0; width.div_ceil(2)],
            belief: vec![1.0; width],
        }
    }

    #[inline(always)]
    fn believe(&mut self, belief: Option<Guide<'_>>, y: usize) {
        let Some((row, shift)) = belief.and_then(|belief| Some((belief.row(y)?, belief.shift[0])))
        else {
            // That of another row is not this one's.
            self.belief.fill(1.0);
            return;
        };
        match shift {
            0 => self.belief.iter_mut().zip(row).for_each(|(to, from)| *to = *from),
            _ => in_pairs(&mut self.belief, row, |pair, from| pair.fill(from)),
        }
    }

    /// Steps from each pixel to the right. Those of a guide that stands for several pixels lie between its values.
    #[inline(always)]
    fn steps_across(&mut self, guides: &[Guide<'_>], y: usize) {
        self.add_up(guides, |guide| guide.row(y).map(|row| (&row[row.len().min(1)..], row)));
        self.spread(guides, |pair, step| {
            if let Some(last) = pair.last_mut() {
                *last += step;
            }
        });
    }

    /// Steps from each pixel downwards.
    #[inline(always)]
    fn steps_down(&mut self, guides: &[Guide<'_>], y: usize) {
        self.add_up(guides, |guide| {
            let crossed = (y + 1) >> guide.shift[1] != y >> guide.shift[1];
            if crossed { Some((guide.row(y + 1)?, guide.row(y)?)) } else { None }
        });
        self.spread(guides, |pair, step| pair.iter_mut().for_each(|to| *to += step));
    }

    /// Sums of the differences of two rows of each guide.
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

    /// Takes the steps of coarse guides to all pixels.
    #[inline(always)]
    fn spread(&mut self, guides: &[Guide<'_>], add: impl Fn(&mut [f32], f32)) {
        if guides.iter().any(|guide| guide.shift[0] > 0) {
            in_pairs(&mut self.steps, &self.coarse, add);
        }
    }
}

/// Calls `with` for each value of a coarse row and the two pixels that it stands for.
#[inline(always)]
fn in_pairs(fine: &mut [f32], coarse: &[f32], with: impl Fn(&mut [f32], f32)) {
    // Pairs of known length are worked on many at a time.
    let (pairs, rest) = fine.as_chunks_mut::<2>();
    pairs.iter_mut().zip(coarse).for_each(|(pair, value)| with(pair, *value));
    if let Some(value) = coarse.get(pairs.len()).filter(|_| !rest.is_empty()) {
        with(rest, *value);
    }
}

/// Weights of steps, as far as they are believed.
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
