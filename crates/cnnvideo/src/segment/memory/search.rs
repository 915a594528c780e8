// SPDX-License-Identifier: MIT OR Apache-2.0

//! Search for the template of a region in a picture.

use ndarray::{Array2, Axis, Zip};
use rayon::prelude::*;

use super::{coarse::SummedAreas, template::Template};
use crate::{nn::Threads, segment::WorkingImage, simd::vectorise};

/// Weights of luma and chroma in the difference of two colours. Shading changes luma most.
const WEIGHTS: [f32; 3] = [0.5, 1.0, 1.0];
/// Difference of colours, in code values, from which on cells count as entirely different.
const MAX_DIFFERENCE: f32 = 40.0;
/// Least share of the cells that must lie in the picture.
const MIN_VISIBLE: f32 = 0.7;
/// Cells of the picture for each cell of a template, along an axis: the step of the search is half
/// a cell.
const OVERSAMPLING: usize = 2;

/// Place of a template in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::segment) struct Match {
    /// Top left corner `[x, y]` of the template in pixels.
    pub at: [f32; 2],
    /// Size relative to the template.
    pub scale: f32,
    /// Agreement of the colours, from 0 to 1.
    pub score: f32,
}

/// A picture in which templates are searched.
pub(in crate::segment) struct SearchImage {
    pub(super) areas: SummedAreas<3>,
    size: [f32; 2],
    /// Share of each square that other regions take, if there are any.
    taken: Option<SummedAreas<1>>,
}

impl SearchImage {
    /// Prepares a picture. `taken` is the largest probability of the regions that are elsewhere.
    pub(in crate::segment) fn new(image: &WorkingImage, taken: Option<&Array2<f32>>) -> Self {
        let (height, width) = image.dim();
        Self {
            areas: SummedAreas::of_image(image),
            size: [width as f32, height as f32],
            taken: taken.map(|map| SummedAreas::of_map(map, 255.0)),
        }
    }

    /// Returns the agreement of a template with the picture at each place, in steps of half a cell.
    pub(super) fn scores(&self, template: &Template, scale: f32, threads: &Threads) -> Scores {
        let cell = template.cell * scale;
        let step = cell / OVERSAMPLING as f32;
        let grid = threads.enter(|| self.grid(cell, step));
        // Places start so far outside that the least share of the template is in the picture.
        let margin = |cells: usize| (cells as f32 * (1.0 - MIN_VISIBLE)) as usize * OVERSAMPLING;
        let margins = [margin(template.dim.0), margin(template.dim.1)];
        let (rows, columns) = grid[0].dim();
        let mut sums = Array2::from_elem((rows + margins[0], columns + margins[1]), [0.0f32; 2]);
        threads.enter(|| {
            sums.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(y, mut row)| {
                let row = row.as_slice_mut().expect("rows are contiguous");
                vectorise(
                    #[inline(always)]
                    || add_cells(&grid, template, (y, margins), row),
                );
            });
        });
        let least = MIN_VISIBLE * template.cells.len() as f32;
        let scores =
            sums.mapv(
                |[sum, count]| {
                    if count < least { 0.0 } else { 1.0 - sum / (count * MAX_DIFFERENCE) }
                },
            );
        let offset = margins.map(|margin| margin as f32 * step);
        Scores { scores, step, offset: [offset[1], offset[0]], scale }
    }

    /// Returns the mean colours of squares of side `cell` at each `step` pixels.
    fn grid(&self, cell: f32, step: f32) -> [Array2<f32>; 3] {
        let count = |axis: usize| (self.size[axis] / step).ceil().max(1.0) as usize;
        let dim = (count(1), count(0));
        let mut grid = [0; 3].map(|_| Array2::zeros(dim));
        let [luma, u, v] = &mut grid;
        Zip::indexed(luma).and(u).and(v).par_for_each(|(y, x), luma, u, v| {
            let at = [x as f32 * step, y as f32 * step];
            let taken = self.taken.as_ref().and_then(|taken| taken.mean(at, cell));
            // A square of another region, or outside of the picture, is like no cell.
            let is_free = taken.is_none_or(|[share]| share < 127.0);
            let mean = self.areas.mean(at, cell).filter(|_| is_free);
            [*luma, *u, *v] = mean.unwrap_or([f32::from(i16::MAX); 3]);
        });
        grid
    }
}

/// Adds the differences of all cells, and their number, for a row of places.
#[inline(always)]
fn add_cells(
    grid: &[Array2<f32>; 3],
    template: &Template,
    (y, margins): (usize, [usize; 2]),
    sums: &mut [[f32; 2]],
) {
    let (rows, columns) = grid[0].dim();
    for cell in &template.cells {
        let Some(row) = (y + OVERSAMPLING * cell.row).checked_sub(margins[0]) else { continue };
        if row >= rows {
            continue;
        }
        let ahead = OVERSAMPLING * cell.column;
        // The first place at which the cell is in the picture, and its column there.
        let (first, column) = (margins[1].saturating_sub(ahead), ahead.saturating_sub(margins[1]));
        if column >= columns || first >= sums.len() {
            continue;
        }
        let lines = [0, 1, 2].map(|i| {
            let start = row * columns + column;
            &grid[i].as_slice().expect("the grid is contiguous")[start..(row + 1) * columns]
        });
        let places = sums[first..].iter_mut().zip(lines[0]).zip(lines[1]).zip(lines[2]);
        for (((to, luma), u), v) in places {
            let difference = WEIGHTS[0] * (luma - cell.colour[0]).abs()
                + WEIGHTS[1] * (u - cell.colour[1]).abs()
                + WEIGHTS[2] * (v - cell.colour[2]).abs();
            to[0] += difference.min(MAX_DIFFERENCE);
            to[1] += 1.0;
        }
    }
}

/// Agreement of a template with a picture at each place.
pub(super) struct Scores {
    scores: Array2<f32>,
    /// Pixels from one place to the next.
    step: f32,
    /// Pixels `[x, y]` from the first place to the top left corner of the picture.
    offset: [f32; 2],
    scale: f32,
}

impl Scores {
    /// Returns the best place of those that `is_possible` accepts by their top left corner.
    pub(super) fn best(&self, is_possible: impl Fn([f32; 2]) -> bool) -> Match {
        let mut best = Match { at: [0.0; 2], scale: self.scale, score: 0.0 };
        for ((y, x), score) in self.scores.indexed_iter() {
            let at = [x as f32 * self.step - self.offset[0], y as f32 * self.step - self.offset[1]];
            if *score > best.score && is_possible(at) {
                best = Match { at, score: *score, ..best };
            }
        }
        best
    }
}
