// SPDX-License-Identifier: MIT OR Apache-2.0

//! Input and output of the smoothing network.
//!
//! [`GuideInput`] feeds a picture to a network of the signature [`SIGNATURE`]. [`GuideOutput`]
//! converts the predicted texture and edge logits to the guide and to per-cell maps (one cell is
//! 2x2 pixels).

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2};

use super::{
    SIGNATURE,
    temporal::{TemporalState, update_guide},
};
use crate::{
    frame::{
        Colour, Picture, Sample,
        convert::convert_row,
        luma::{luma_row, rgb_to_chroma, rgb_to_luma},
        unshuffle::{INPUT_SCALE, INPUT_ZERO, row_clamped, unshuffle_row, unshuffle_yuv420},
    },
    nn::{Output, RowSink, Source, split_rows},
    simd::vectorise,
};

/// Input channels with picture content: Y of 2x2 pixels, U, V.
const CHANNELS: usize = SIGNATURE.io.picture;
/// All input channels: those of the picture and the control map of the scale.
const INPUTS: usize = SIGNATURE.io.input_channels();
/// Output channels: texture of the picture channels, then the edge logit.
const OUTPUTS: usize = 7;

/// Edge logits that map to an edge confidence of 0 and of 1; the confidence is linear in between.
pub const EDGE_LOGIT_RANGE: [f32; 2] = [-4.0, 2.0];
/// Lower bound of the edge confidence: the part of a guide step that always counts.
pub const MIN_EDGE_CONFIDENCE: f32 = 0.1;

/// Picture as the input of a network of the signature [`SIGNATURE`].
pub(crate) struct GuideInput<'a, 'b, T> {
    /// Picture of any colour model; RGB is converted to YUV.
    pub picture: &'a Picture<'b, T>,
    /// Value of the control map, see [`scale_control`](super::scale_control).
    pub control: f32,
}

impl<T: Sample> Source for GuideInput<'_, '_, T> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let components = &self.picture.components;
        match self.picture.colour {
            Colour::Rgb => self.read_rgb(y, row),
            Colour::Yuv { shift_x: 1, shift_y: 1 } => {
                let luma = [0, 1].map(|dy| row_clamped(&components[0], 2 * y + dy));
                let chroma = [1, 2].map(|i| row_clamped(&components[i], y));
                vectorise(
                    #[inline(always)]
                    || unshuffle_yuv420::<T, INPUTS>(luma, Some(chroma), row.as_chunks_mut().0),
                );
            }
            _ => {
                for dy in 0..2 {
                    unshuffle_row(row_clamped(&components[0], 2 * y + dy), row, INPUTS, 2 * dy);
                }
                for (x, pixel) in row.chunks_exact_mut(INPUTS).enumerate() {
                    let chroma = cell_chroma(self.picture, x, y);
                    pixel[4..CHANNELS]
                        .iter_mut()
                        .zip(chroma)
                        .for_each(|(to, v)| *to = (v - INPUT_ZERO) / INPUT_SCALE);
                }
            }
        }
        row.chunks_exact_mut(INPUTS).for_each(|pixel| pixel[CHANNELS] = self.control);
    }
}

impl<T: Sample> GuideInput<'_, '_, T> {
    /// [`Source::read_row`] for RGB pictures.
    fn read_rgb(&self, y: usize, row: &mut [f32]) {
        let components = &self.picture.components;
        let last = components[0].ncols() - 1;
        let lines = [0, 1].map(|dy| [0, 1, 2].map(|c| row_clamped(&components[c], 2 * y + dy)));
        for (x, pixel) in row.chunks_exact_mut(INPUTS).enumerate() {
            let mut mean = [0.0; 3];
            for i in 0..4 {
                let x = (2 * x + i % 2).min(last);
                let rgb = [0, 1, 2].map(|c| lines[i / 2][c][x].code_value());
                pixel[i] = (rgb_to_luma(rgb) - INPUT_ZERO) / INPUT_SCALE;
                mean.iter_mut().zip(rgb).for_each(|(mean, v)| *mean += v / 4.0);
            }
            for (to, chroma) in pixel[4..CHANNELS].iter_mut().zip(rgb_to_chroma(mean)) {
                *to = (chroma - INPUT_ZERO) / INPUT_SCALE;
            }
        }
    }
}

/// Returns the mean U and V of the cell at `(x, y)` as 8-bit code values, 128 for grey. Replicates
/// the last row and column.
fn cell_chroma<T: Sample>(picture: &Picture<'_, T>, x: usize, y: usize) -> [f32; 2] {
    let mean = |i: usize| {
        let component = &picture.components[i];
        let [shift_x, shift_y] = picture.colour.subsampling(i);
        let sum: f32 = [(0, 0), (1, 0), (0, 1), (1, 1)]
            .map(|(dx, dy)| {
                let (x, y) = ((2 * x + dx) >> shift_x, (2 * y + dy) >> shift_y);
                component[[y.min(component.nrows() - 1), x.min(component.ncols() - 1)]].code_value()
            })
            .iter()
            .sum();
        sum / 4.0
    };
    match picture.colour {
        Colour::Gray => [INPUT_ZERO; 2],
        Colour::Yuv { .. } => [mean(1), mean(2)],
        Colour::Rgb => rgb_to_chroma([mean(0), mean(1), mean(2)]),
    }
}

/// Output of a network of the signature [`SIGNATURE`].
///
/// Computes the guide and all per-cell maps as each row of the prediction arrives, while the
/// picture rows are in cache.
pub(super) struct GuideOutput<'a, 'b, T> {
    /// Picture that the network runs on.
    pub picture: &'a Picture<'b, T>,
    /// Guide and luma at the picture's size: those of the previous picture, replaced with those of
    /// this one.
    pub temporal: &'a mut TemporalState,
    /// Largest weight of the previous guide in the temporal average, 0 to 1.
    pub max_temporal_weight: f32,
    /// Per-cell maps to fill.
    pub cells: &'a mut CellMaps,
}

/// Per-cell maps `[row, column]` (one cell is 2x2 pixels), in 8-bit code values unless noted.
#[derive(Debug, Default)]
pub(super) struct CellMaps {
    /// U and V minus the predicted texture.
    pub chroma: [Array2<f32>; 2],
    /// Edge confidence, [`MIN_EDGE_CONFIDENCE`] to 1.
    pub edge_confidence: Array2<f32>,
    /// Mean absolute difference of luma and guide.
    pub texture: Array2<f32>,
    /// Mean of the guide.
    pub guide: Array2<f32>,
}

impl CellMaps {
    /// Resizes the maps for a picture of `dim` (rows, columns).
    pub(super) fn resize(&mut self, dim: (usize, usize)) {
        let dim = (dim.0.div_ceil(2), dim.1.div_ceil(2));
        let Self { chroma: [u, v], edge_confidence, texture, guide } = self;
        for map in [u, v, edge_confidence, texture, guide] {
            if map.dim() != dim {
                *map = Array2::zeros(dim);
            }
        }
    }
}

impl<T: Sample> Output for GuideOutput<'_, '_, T> {
    fn split<'c>(&'c mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'c>> {
        let Self { picture, temporal, max_temporal_weight, cells } = self;
        let (picture, max_temporal_weight) = (*picture, *max_temporal_weight);
        let CellMaps { chroma: [u, v], edge_confidence, texture, guide } = &mut **cells;
        let width = temporal.guide.ncols();
        let mut cell_maps = [u, v, edge_confidence, texture, guide]
            .map(|map| split_rows(map, bands, 1).into_iter());
        let rows = split_rows(&mut temporal.guide, bands, 2)
            .into_iter()
            .zip(split_rows(&mut temporal.luma, bands, 2))
            .zip(bands);
        rows.map(|((guide, luma), band)| -> Box<dyn RowSink + 'c> {
            let [u, v, edge_confidence, texture, cell_guide] = cell_maps
                .each_mut()
                .map(|parts| parts.next().expect("every map has a part for every band"));
            let cells = CellRows { chroma: [u, v], edge_confidence, texture, guide: cell_guide };
            let scratch = [vec![0.0; width], vec![0.0; width]];
            Box::new(Band {
                first_row: band.start,
                picture,
                guide,
                luma,
                max_temporal_weight,
                cells,
                scratch,
            })
        })
        .collect()
    }
}

/// Rows of [`CellMaps`] that belong to one band.
struct CellRows<'a> {
    chroma: [ArrayViewMut2<'a, f32>; 2],
    edge_confidence: ArrayViewMut2<'a, f32>,
    texture: ArrayViewMut2<'a, f32>,
    guide: ArrayViewMut2<'a, f32>,
}

/// Sink of one band of the network's output.
struct Band<'a, 'b, T> {
    /// First row of the band, in rows of cells.
    first_row: usize,
    picture: &'a Picture<'b, T>,
    /// Rows of [`TemporalState::guide`].
    guide: ArrayViewMut2<'a, f32>,
    /// Rows of [`TemporalState::luma`].
    luma: ArrayViewMut2<'a, u16>,
    /// See [`GuideOutput::max_temporal_weight`].
    max_temporal_weight: f32,
    cells: CellRows<'a>,
    /// One row of luma and one of texture.
    scratch: [Vec<f32>; 2],
}

impl<T: Sample> RowSink for Band<'_, '_, T> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let band_row = y - self.first_row;
        if band_row < self.cells.edge_confidence.nrows() {
            vectorise(
                #[inline(always)]
                || {
                    self.write_guide(y, band_row, row);
                    self.write_cell_maps(y, band_row, row);
                },
            );
        }
    }
}

/// Reason why rows of the maps and of their bands are slices.
const CONTIGUOUS: &str = "rows of an owned array are contiguous";

impl<T: Sample> Band<'_, '_, T> {
    /// Fills two rows of guide and luma, and a row of the cells' means.
    #[inline(always)]
    fn write_guide(&mut self, y: usize, band_row: usize, row: &[f32]) {
        let Self { picture, guide, luma, max_temporal_weight, cells, .. } = self;
        let [current_luma, texture] = &mut self.scratch;
        let (mut means, mut differences) =
            (cells.guide.row_mut(band_row), cells.texture.row_mut(band_row));
        let means = means.as_slice_mut().expect(CONTIGUOUS);
        let differences = differences.as_slice_mut().expect(CONTIGUOUS);
        means.fill(0.0);
        differences.fill(0.0);
        for dy in 0..2 {
            // The last row of an odd height counts twice in its cells.
            let line = (2 * band_row + dy).min(guide.nrows() - 1);
            let (mut guide, mut luma) = (guide.row_mut(line), luma.row_mut(line));
            let guide = guide.as_slice_mut().expect(CONTIGUOUS);
            let luma = luma.as_slice_mut().expect(CONTIGUOUS);
            if line == 2 * band_row + dy {
                luma_row(picture, 2 * y + dy, current_luma);
                pixel_shuffle_pair(row, 2 * dy, texture);
                update_guide(current_luma, texture, guide, luma, *max_temporal_weight);
            }
            add_means(guide, means);
            current_luma
                .iter_mut()
                .zip(guide)
                .for_each(|(luma, guide)| *luma = (*luma - *guide).abs());
            add_means(current_luma, differences);
        }
    }

    /// Fills a row of the cells' chroma and edge confidence.
    #[inline(always)]
    fn write_cell_maps(&mut self, y: usize, band_row: usize, row: &[f32]) {
        let pixels = || row.as_chunks::<OUTPUTS>().0.iter();
        for (i, component) in self.cells.chroma.iter_mut().enumerate() {
            let mut to = component.row_mut(band_row);
            let to = to.as_slice_mut().expect(CONTIGUOUS);
            if self.picture.colour == (Colour::Yuv { shift_x: 1, shift_y: 1 }) {
                convert_row(self.picture.components[1 + i].row(y), to);
            } else {
                to.iter_mut()
                    .enumerate()
                    .for_each(|(x, to)| *to = cell_chroma(self.picture, x, y)[i]);
            }
            to.iter_mut().zip(pixels()).for_each(|(to, pixel)| *to -= INPUT_SCALE * pixel[4 + i]);
        }
        let [low, high] = EDGE_LOGIT_RANGE;
        let edge_confidence =
            pixels().map(|pixel| ((pixel[6] - low) / (high - low)).clamp(MIN_EDGE_CONFIDENCE, 1.0));
        let mut to = self.cells.edge_confidence.row_mut(band_row);
        to.iter_mut().zip(edge_confidence).for_each(|(to, confidence)| *to = confidence);
    }
}

/// Interleaves the output channels `first` and `first + 1` into a row of full width (pixel
/// shuffle).
#[inline(always)]
fn pixel_shuffle_pair(row: &[f32], first: usize, to: &mut [f32]) {
    let (pairs, rest) = to.as_chunks_mut::<2>();
    let mut pixels = row.as_chunks::<OUTPUTS>().0.iter();
    pairs
        .iter_mut()
        .zip(pixels.by_ref())
        .for_each(|(pair, pixel)| *pair = [pixel[first], pixel[first + 1]]);
    rest.iter_mut().zip(pixels).for_each(|(to, pixel)| *to = pixel[first]);
}

/// Adds half of the mean of each pair of neighbours to `to`; two rows make the mean of a cell.
#[inline(always)]
fn add_means(from: &[f32], to: &mut [f32]) {
    let (pairs, rest) = from.as_chunks::<2>();
    let mut to = to.iter_mut();
    pairs.iter().zip(to.by_ref()).for_each(|([a, b], to)| *to += 0.25 * (a + b));
    rest.iter().zip(to).for_each(|(last, to)| *to += 0.5 * last);
}
