//! Input and output of the smoothing network.
//!
//! [`Planes`] feeds a picture to a network of the signature [`SIGNATURE`]. [`Maps`] converts the
//! predicted texture and edge logits to the guide and to per-cell maps (one cell is 2x2 pixels).

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2};

use super::SIGNATURE;
use super::adapt::{CHANGE, Memory, STEPS};
use crate::{
    frame::{
        Colour, Picture, Sample,
        levels::levels,
        luma::{chroma_of, luma, luma_row},
        unshuffle::{CENTRE, SCALE, line, pairs, quads},
    },
    nn::{Output, RowSink, Source, parts},
    simd::{nearest, vectorise},
};

/// Input channels with picture content: Y of 2x2 pixels, U, V.
const CHANNELS: usize = SIGNATURE.io.picture;
/// All input channels: those of the picture and the control map of the scale.
const INPUTS: usize = SIGNATURE.io.inputs();
/// Output channels: texture of the picture channels, then the edge logit.
const OUTPUTS: usize = 7;

/// Edge logits that map to an edge confidence of 0 and of 1; the confidence is linear in between.
pub const BELIEVED: [f32; 2] = [-4.0, 2.0];
/// Lower bound of the edge confidence: the part of a guide step that always counts.
pub const LEAST_BELIEF: f32 = 0.1;

/// Picture as the input of a network of the signature [`SIGNATURE`].
pub(crate) struct Planes<'a, 'b, T> {
    /// Picture of any colour model; RGB is converted to YUV.
    pub picture: &'a Picture<'b, T>,
    /// Value of the control map, see [`control`](super::control).
    pub control: f32,
}

impl<T: Sample> Source for Planes<'_, '_, T> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let components = &self.picture.components;
        match self.picture.colour {
            Colour::Rgb => self.read_rgb(y, row),
            Colour::Yuv { shift_x: 1, shift_y: 1 } => {
                let luma = [0, 1].map(|dy| line(&components[0], 2 * y + dy));
                let chroma = [1, 2].map(|i| line(&components[i], y));
                vectorise(
                    #[inline(always)]
                    || quads::<T, INPUTS>(luma, Some(chroma), row.as_chunks_mut().0),
                );
            }
            _ => {
                for dy in 0..2 {
                    pairs(line(&components[0], 2 * y + dy), row, INPUTS, 2 * dy);
                }
                for (x, pixel) in row.chunks_exact_mut(INPUTS).enumerate() {
                    let chroma = chroma(self.picture, x, y);
                    pixel[4..CHANNELS]
                        .iter_mut()
                        .zip(chroma)
                        .for_each(|(to, v)| *to = (v - CENTRE) / SCALE);
                }
            }
        }
        row.chunks_exact_mut(INPUTS).for_each(|pixel| pixel[CHANNELS] = self.control);
    }
}

impl<T: Sample> Planes<'_, '_, T> {
    /// [`Source::read_row`] for RGB pictures.
    fn read_rgb(&self, y: usize, row: &mut [f32]) {
        let components = &self.picture.components;
        let last = components[0].ncols() - 1;
        let lines = [0, 1].map(|dy| [0, 1, 2].map(|c| line(&components[c], 2 * y + dy)));
        for (x, pixel) in row.chunks_exact_mut(INPUTS).enumerate() {
            let mut mean = [0.0; 3];
            for i in 0..4 {
                let x = (2 * x + i % 2).min(last);
                let rgb = [0, 1, 2].map(|c| lines[i / 2][c][x].level());
                pixel[i] = (luma(rgb) - CENTRE) / SCALE;
                mean.iter_mut().zip(rgb).for_each(|(mean, v)| *mean += v / 4.0);
            }
            for (to, chroma) in pixel[4..CHANNELS].iter_mut().zip(chroma_of(mean)) {
                *to = (chroma - CENTRE) / SCALE;
            }
        }
    }
}

/// Returns the mean U and V of the cell at `(x, y)` as 8-bit code values, 128 for grey. Replicates
/// the last row and column.
fn chroma<T: Sample>(picture: &Picture<'_, T>, x: usize, y: usize) -> [f32; 2] {
    let mean = |i: usize| {
        let component = &picture.components[i];
        let [shift_x, shift_y] = picture.colour.shifts(i);
        let sum: f32 = [(0, 0), (1, 0), (0, 1), (1, 1)]
            .map(|(dx, dy)| {
                let (x, y) = ((2 * x + dx) >> shift_x, (2 * y + dy) >> shift_y);
                component[[y.min(component.nrows() - 1), x.min(component.ncols() - 1)]].level()
            })
            .iter()
            .sum();
        sum / 4.0
    };
    match picture.colour {
        Colour::Gray => [CENTRE; 2],
        Colour::Yuv { .. } => [mean(1), mean(2)],
        Colour::Rgb => {
            let rgb = [mean(0), mean(1), mean(2)];
            chroma_of(rgb)
        }
    }
}

/// Output of a network of the signature [`SIGNATURE`].
///
/// Computes the guide and all per-cell maps as each row of the prediction arrives, while the
/// picture rows are in cache.
pub(super) struct Maps<'a, 'b, T> {
    /// Picture that the network runs on.
    pub picture: &'a Picture<'b, T>,
    /// Guide and luma at the picture's size: those of the previous picture, replaced with those of
    /// this one.
    pub memory: &'a mut Memory,
    /// Largest weight of the previous guide in the temporal average, 0 to 1.
    pub past: f32,
    /// Per-cell maps to fill.
    pub cells: &'a mut Cells,
}

/// Per-cell maps `[row, column]` (one cell is 2x2 pixels), in 8-bit code values unless noted.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// U and V minus the predicted texture.
    pub chroma: [Array2<f32>; 2],
    /// Edge confidence, [`LEAST_BELIEF`] to 1.
    pub edges: Array2<f32>,
    /// Mean absolute difference of luma and guide.
    pub texture: Array2<f32>,
    /// Mean of the guide.
    pub guide: Array2<f32>,
}

impl Cells {
    /// Resizes the maps for a picture of `dim` (rows, columns).
    pub fn prepare(&mut self, dim: (usize, usize)) {
        let dim = (dim.0.div_ceil(2), dim.1.div_ceil(2));
        let Self { chroma: [u, v], edges, texture, guide } = self;
        for map in [u, v, edges, texture, guide] {
            if map.dim() != dim {
                *map = Array2::zeros(dim);
            }
        }
    }
}

impl<T: Sample> Output for Maps<'_, '_, T> {
    fn split<'c>(&'c mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'c>> {
        let Self { picture, memory, past, cells } = self;
        let (picture, past) = (*picture, *past);
        let Cells { chroma: [u, v], edges, texture, guide } = &mut **cells;
        let width = memory.guide.ncols();
        let mut cells = [u, v, edges, texture, guide].map(|map| parts(map, bands, 1).into_iter());
        let rows = parts(&mut memory.guide, bands, 2)
            .into_iter()
            .zip(parts(&mut memory.luma, bands, 2))
            .zip(bands);
        rows.filter_map(|((guide, luma), band)| -> Option<Box<dyn RowSink + 'c>> {
            let [u, v, edges, texture, mean] = cells.each_mut().map(Iterator::next);
            let cells = Rows { chroma: [u?, v?], edges: edges?, texture: texture?, guide: mean? };
            let scratch = [vec![0.0; width], vec![0.0; width]];
            Some(Box::new(Band { first: band.start, picture, guide, luma, past, cells, scratch }))
        })
        .collect()
    }
}

/// Rows of [`Cells`] that belong to one band.
struct Rows<'a> {
    chroma: [ArrayViewMut2<'a, f32>; 2],
    edges: ArrayViewMut2<'a, f32>,
    texture: ArrayViewMut2<'a, f32>,
    guide: ArrayViewMut2<'a, f32>,
}

/// Sink of one band of the network's output.
struct Band<'a, 'b, T> {
    /// First row of the band, in rows of cells.
    first: usize,
    picture: &'a Picture<'b, T>,
    /// Rows of [`Memory::guide`].
    guide: ArrayViewMut2<'a, f32>,
    /// Rows of [`Memory::luma`].
    luma: ArrayViewMut2<'a, u16>,
    /// See [`Maps::past`].
    past: f32,
    cells: Rows<'a>,
    /// One row of luma and one of texture.
    scratch: [Vec<f32>; 2],
}

impl<T: Sample> RowSink for Band<'_, '_, T> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let own = y - self.first;
        if own < self.cells.edges.nrows() {
            vectorise(
                #[inline(always)]
                || {
                    self.write_luma(y, own, row);
                    self.write_chroma(y, own, row);
                },
            );
        }
    }
}

impl<T: Sample> Band<'_, '_, T> {
    /// Fills two rows of guide and luma, and a row of the cells' means.
    #[inline(always)]
    fn write_luma(&mut self, y: usize, own: usize, row: &[f32]) {
        let Self { picture, guide, luma, past, cells, scratch: [now, texture], .. } = self;
        let (mut means, mut differences) = (cells.guide.row_mut(own), cells.texture.row_mut(own));
        let (Some(means), Some(differences)) = (means.as_slice_mut(), differences.as_slice_mut())
        else {
            return;
        };
        means.fill(0.0);
        differences.fill(0.0);
        for dy in 0..2 {
            // The last row of an odd height counts twice in its cells.
            let line = (2 * own + dy).min(guide.nrows() - 1);
            let (mut guide, mut luma) = (guide.row_mut(line), luma.row_mut(line));
            let (Some(guide), Some(luma)) = (guide.as_slice_mut(), luma.as_slice_mut()) else {
                return;
            };
            if line == 2 * own + dy {
                luma_row(picture, 2 * y + dy, now);
                spread(row, 2 * dy, texture);
                follow(now, texture, guide, luma, *past);
            }
            add_means(guide, means);
            now.iter_mut().zip(guide).for_each(|(now, guide)| *now = (*now - *guide).abs());
            add_means(now, differences);
        }
    }

    /// Fills a row of the cells' chroma and edge confidence.
    #[inline(always)]
    fn write_chroma(&mut self, y: usize, own: usize, row: &[f32]) {
        let pixels = || row.as_chunks::<OUTPUTS>().0.iter();
        for (i, component) in self.cells.chroma.iter_mut().enumerate() {
            let mut to = component.row_mut(own);
            let Some(to) = to.as_slice_mut() else { continue };
            if self.picture.colour == (Colour::Yuv { shift_x: 1, shift_y: 1 }) {
                levels(self.picture.components[1 + i].row(y), to);
            } else {
                to.iter_mut().enumerate().for_each(|(x, to)| *to = chroma(self.picture, x, y)[i]);
            }
            to.iter_mut().zip(pixels()).for_each(|(to, pixel)| *to -= SCALE * pixel[4 + i]);
        }
        let [low, high] = BELIEVED;
        let edges =
            pixels().map(|pixel| ((pixel[6] - low) / (high - low)).clamp(LEAST_BELIEF, 1.0));
        self.cells.edges.row_mut(own).iter_mut().zip(edges).for_each(|(to, edge)| *to = edge);
    }
}

/// Interleaves the output channels `first` and `first + 1` into a row of full width (pixel
/// shuffle).
#[inline(always)]
fn spread(row: &[f32], first: usize, to: &mut [f32]) {
    let (pairs, rest) = to.as_chunks_mut::<2>();
    let mut pixels = row.as_chunks::<OUTPUTS>().0.iter();
    pairs
        .iter_mut()
        .zip(pixels.by_ref())
        .for_each(|(pair, pixel)| *pair = [pixel[first], pixel[first + 1]]);
    rest.iter_mut().zip(pixels).for_each(|(to, pixel)| *to = pixel[first]);
}

/// Computes a row of the guide: luma minus texture, averaged with the previous guide where luma is
/// unchanged. `luma` holds the previous row and receives this one. The weight of the previous guide
/// is `past` without change and falls to 0 at a change of [`CHANGE`].
#[inline(always)]
fn follow(now: &[f32], texture: &[f32], guide: &mut [f32], luma: &mut [u16], past: f32) {
    for (((now, texture), guide), luma) in now.iter().zip(texture).zip(guide).zip(luma) {
        let change = (now - f32::from(*luma) * (1.0 / STEPS)).abs();
        let calm = (1.0 - change * (1.0 / CHANGE)).max(0.0);
        let fresh = now - SCALE * texture;
        *guide = fresh + past * calm * calm * (*guide - fresh);
        *luma = nearest(now * STEPS, f32::from(u16::MAX)) as u16;
    }
}

/// Adds half of the mean of each pair of neighbours to `to`; two rows make the mean of a cell.
#[inline(always)]
fn add_means(from: &[f32], to: &mut [f32]) {
    let (pairs, rest) = from.as_chunks::<2>();
    let mut to = to.iter_mut();
    pairs.iter().zip(to.by_ref()).for_each(|([a, b], to)| *to += 0.25 * (a + b));
    rest.iter().zip(to).for_each(|(last, to)| *to += 0.5 * last);
}
