// SPDX-License-Identifier: MIT OR Apache-2.0

//! Colours of a region in coarse cells, by which it is found again.

use std::ops::Range;

use ndarray::Array2;

use super::coarse::SummedAreas;

/// Number of cells along the longer side of a region.
const CELLS: f32 = 14.0;
/// Least side of a cell in pixels; smaller regions have fewer cells.
const MIN_CELL: f32 = 4.0;
/// Least share of a cell inside of the region at which it counts as a cell of the region.
const MIN_CELL_SHARE: f32 = 0.75;
/// Least number of cells of a template.
const MIN_CELLS: usize = 6;

/// Cell of a region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// Row, from the top of the bounding box.
    pub row: usize,
    /// Column, from the left of the bounding box.
    pub column: usize,
    /// Mean colour `[y, u, v]` in 8-bit code values.
    pub colour: [f32; 3],
}

/// Colours of a region in square cells.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// Side of a cell in pixels.
    pub cell: f32,
    /// Top left corner `[x, y]` of the cells in the picture, in pixels.
    pub origin: [f32; 2],
    /// Cells inside of the region.
    pub cells: Vec<Cell>,
    /// Number of rows and columns of cells.
    pub dim: (usize, usize),
}

impl Template {
    /// Returns the template of a region in a picture with the summed areas `colours`; `None` if the
    /// region is too small or too thin.
    pub(super) fn new(colours: &SummedAreas<3>, probability: &Array2<f32>) -> Option<Self> {
        let (rows, columns) = bounds(probability)?;
        let cell = (rows.len().max(columns.len()) as f32 / CELLS).max(MIN_CELL);
        let count = |range: &Range<usize>| ((range.len() as f32 / cell).ceil() as usize).max(1);
        let dim = (count(&rows), count(&columns));
        let origin = [columns.start as f32, rows.start as f32];
        let areas = SummedAreas::of_map(probability, 255.0);
        let mut cells = Vec::new();
        for row in 0..dim.0 {
            for column in 0..dim.1 {
                let at = [origin[0] + column as f32 * cell, origin[1] + row as f32 * cell];
                let Some([share]) = areas.mean(at, cell) else { continue };
                let Some(colour) = colours.mean(at, cell) else { continue };
                if share > 255.0 * MIN_CELL_SHARE {
                    cells.push(Cell { row, column, colour });
                }
            }
        }
        (cells.len() >= MIN_CELLS).then_some(Self { cell, origin, cells, dim })
    }

    /// Returns the longer side in pixels.
    pub(super) fn side(&self) -> f32 {
        self.cell * self.dim.0.max(self.dim.1) as f32
    }
}

/// Returns the rows and columns of the bounding box of a region; `None` if it is empty.
fn bounds(probability: &Array2<f32>) -> Option<(Range<usize>, Range<usize>)> {
    let inside = probability.indexed_iter().filter(|(_, p)| **p > 0.5).map(|(at, _)| at);
    inside.fold(None, |bounds: Option<(Range<usize>, Range<usize>)>, (y, x)| {
        let (rows, columns) = bounds.unwrap_or((y..y + 1, x..x + 1));
        let extended = |range: Range<usize>, at: usize| range.start.min(at)..range.end.max(at + 1);
        Some((extended(rows, y), extended(columns, x)))
    })
}
