// SPDX-License-Identifier: MIT OR Apache-2.0

//! Applies predicted gradients to a component.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Zip};
use rayon::prelude::*;

use super::{
    cells::{CELL, CONTIGUOUS, CellMaps},
    debander::Parameters,
    io::Prediction,
    upsample::upsample_row,
};
use crate::{
    frame::{
        Sample,
        box_mean::box_mean,
        convert::convert_row,
        dither::{pattern, row_phase},
    },
    nn::Threads,
    simd::vectorise,
};

/// Factor from the sigma of evenly distributed values to their range.
const RANGE_PER_SIGMA: f32 = 3.464_101_6;
/// Inverse of the change of a sample, in code values, from which it is dithered wholly.
const DITHER_SLOPE: f32 = 4.0;
/// Least share of corrections in a window, for the division by it.
const MIN_SHARE: f32 = 1e-3;

/// Memory of [`Self::apply`].
#[derive(Debug, Default)]
pub(super) struct RangeLimit {
    /// Mean corrections of cells times their shares, and mean shares.
    cells: [Array2<f32>; 2],
    /// Buffers of [`box_mean`].
    buffers: [Array2<f32>; 2],
}

impl RangeLimit {
    /// Subtracts the local mean from the corrections, over about `range` samples to each side. The
    /// corrections of a contour that is farther from the next one have such a mean, and most of
    /// them disappear; those of nearer contours alternate around 0.
    pub(super) fn apply(&mut self, prediction: &mut Prediction, range: f32) {
        let Prediction { corrections, shares } = prediction;
        let (rows, columns) = corrections.dim();
        let dim = (rows / 2, columns / 2);
        for map in self.cells.iter_mut().chain(&mut self.buffers) {
            if map.dim() != dim {
                *map = Array2::zeros(dim);
            }
        }
        let Self { cells: [weighted, weights], buffers: [rows, means] } = self;
        let rows_of_cells = weighted.axis_iter_mut(Axis(0)).into_par_iter();
        let rows_of_cells = rows_of_cells.zip(weights.axis_iter_mut(Axis(0))).enumerate();
        let blocks = [&*corrections, &*shares];
        rows_of_cells.for_each(|(y, (weighted, weights))| {
            let [corrections, shares] = blocks
                .map(|map| [2 * y, 2 * y + 1].map(|y| map.row(y).to_slice().expect(CONTIGUOUS)));
            let to = [weighted, weights].map(|row| row.into_slice().expect(CONTIGUOUS));
            vectorise(
                #[inline(always)]
                || sum_cells(corrections, shares, to),
            );
        });
        // Two passes of half the radius weight the centre most.
        let radius = (range / (2 * CELL) as f32).round().max(1.0) as usize;
        for map in [&mut *weighted, &mut *weights] {
            box_mean(map, radius, rows, means);
            box_mean(means, radius, rows, map);
        }
        Zip::from(&mut *weighted).and(&*weights).for_each(|mean, weight| {
            *mean /= weight.max(MIN_SHARE);
        });
        let offsets = &*weighted;
        let rows = corrections.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
        rows.for_each_init(
            || (Vec::new(), vec![0.0; columns]),
            |(line, values), (y, mut row)| {
                upsample_row(offsets, y, line, values);
                row.iter_mut().zip(&*values).for_each(|(correction, offset)| *correction -= offset);
            },
        );
    }
}

/// Sums the corrections of the four blocks of each cell, weighted by their shares, and the shares.
#[inline(always)]
fn sum_cells(corrections: [&[f32]; 2], shares: [&[f32]; 2], to: [&mut [f32]; 2]) {
    let [weighted, weights] = to;
    let corrections = corrections.map(|row| row.as_chunks::<2>().0);
    let shares = shares.map(|row| row.as_chunks::<2>().0);
    for (x, (weighted, weight)) in weighted.iter_mut().zip(weights).enumerate() {
        let [[a, b], [c, d]] = [corrections[0][x], corrections[1][x]];
        let [[i, j], [k, l]] = [shares[0][x], shares[1][x]];
        *weighted = a * i + b * j + (c * k + d * l);
        *weight = i + j + (k + l);
    }
}

/// Writes a component with the predicted gradients to `to`.
pub(super) fn apply<T: Sample, U: Sample>(
    from: &ArrayView2<'_, T>,
    to: &mut ArrayViewMut2<'_, U>,
    maps: &CellMaps,
    prediction: &mut Prediction,
    parameters: &Parameters,
    threads: &Threads,
) {
    let Prediction { corrections, shares } = prediction;
    // From here on, the corrections are the means of the gradient.
    *corrections += &maps.blocks;
    let (smooth, shares) = (&*corrections, &*shares);
    let rows = to.axis_iter_mut(Axis(0)).into_par_iter().zip(from.axis_iter(Axis(0)));
    threads.enter(|| {
        rows.enumerate().for_each_init(Line::default, |line, (y, (mut to, from))| {
            line.load(from.len());
            convert_row(from, &mut line.values);
            upsample_row(smooth, y, &mut line.scratch, &mut line.smooth);
            upsample_row(shares, y, &mut line.scratch, &mut line.shares);
            let amplitude = if U::HAS_FRACTION { 0.0 } else { RANGE_PER_SIGMA * parameters.grain };
            line.change(row_phase(y), parameters.threshold, amplitude);
            match to.as_slice_mut() {
                Some(to) => vectorise(
                    #[inline(always)]
                    || store(&line.values, to),
                ),
                None => to
                    .iter_mut()
                    .zip(&line.values)
                    .for_each(|(to, value)| *to = U::from_code_value(*value)),
            }
        });
    });
}

/// Stores code values as samples.
#[inline(always)]
fn store<U: Sample>(values: &[f32], to: &mut [U]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to = U::from_code_value(*value));
}

/// Memory for one row, reused from row to row.
#[derive(Default)]
struct Line {
    /// Code values.
    values: Vec<f32>,
    /// Code values of the gradient.
    smooth: Vec<f32>,
    /// Share of the gradient.
    shares: Vec<f32>,
    scratch: Vec<f32>,
}

impl Line {
    /// Resizes the memory.
    fn load(&mut self, count: usize) {
        for row in [&mut self.values, &mut self.smooth, &mut self.shares] {
            row.resize(count, 0.0);
        }
    }

    /// Moves the values towards the gradient by at most the threshold, and adds the dither pattern
    /// with a range of `amplitude` where they move.
    fn change(&mut self, row_phase: u32, threshold: f32, amplitude: f32) {
        let Self { values, smooth, shares, .. } = self;
        vectorise(
            #[inline(always)]
            || {
                let all = values.iter_mut().zip(&*smooth).zip(&*shares).zip(0u32..);
                for (((value, smooth), share), x) in all {
                    let change = (smooth - *value).max(-threshold).min(threshold);
                    // Flat areas and samples that already have their value stay as they are.
                    let amplitude = amplitude * (DITHER_SLOPE * change.abs()).min(1.0);
                    *value += share * (change + amplitude * pattern(x, row_phase));
                }
            },
        );
    }
}
