//! Pictures as the network that tells texture from structure sees them, and what it makes of them.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2};

use crate::{
    frame::{
        Colour, Picture, Sample,
        levels::levels,
        luma::{chroma_of, luma, luma_row},
        unshuffle::{CENTRE, SCALE, line, pairs, singles},
    },
    nn::{Domain, Output, RowSink, Source, parts},
};

const CHANNELS: usize = 6;

/// Log-odds of an edge that are not, and that are wholly, believed; and what is left of a step that is not.
pub(crate) const BELIEVED: [f32; 2] = [-4.0, 2.0];
pub(crate) const LEAST_BELIEF: f32 = 0.1;

/// A picture as the input of a network of the domain [`Domain::Guide`].
pub(crate) struct Planes<'a, 'b, T> {
    pub picture: &'a Picture<'b, T>,
    pub control: f32,
}

impl<T: Sample> Source for Planes<'_, '_, T> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let channels = Domain::Guide.inputs();
        let components = &self.picture.components;
        match self.picture.colour {
            Colour::Rgb => self.read_rgb(y, row),
            colour => {
                for dy in 0..2 {
                    pairs(line(&components[0], 2 * y + dy), row, channels, 2 * dy);
                }
                if colour == (Colour::Yuv { shift_x: 1, shift_y: 1 }) {
                    singles(line(&components[1], y), row, channels, 4);
                    singles(line(&components[2], y), row, channels, 5);
                } else {
                    for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                        let chroma = chroma(self.picture, x, y);
                        pixel[4..CHANNELS].iter_mut().zip(chroma).for_each(|(to, v)| *to = (v - CENTRE) / SCALE);
                    }
                }
            }
        }
        row.chunks_exact_mut(channels).for_each(|pixel| pixel[CHANNELS] = self.control);
    }
}

impl<T: Sample> Planes<'_, '_, T> {
    fn read_rgb(&self, y: usize, row: &mut [f32]) {
        let components = &self.picture.components;
        let last = components[0].ncols() - 1;
        let lines = [0, 1].map(|dy| [0, 1, 2].map(|c| line(&components[c], 2 * y + dy)));
        for (x, pixel) in row.chunks_exact_mut(Domain::Guide.inputs()).enumerate() {
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

/// Mean chroma of the 2x2 pixels at `(2 x, 2 y)`, as levels around 128.
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

/// Takes what a network of the domain [`Domain::Guide`] makes.
pub(super) struct Maps<'a, 'b, T> {
    pub picture: &'a Picture<'b, T>,
    /// Luma without texture, at the picture's size.
    pub guide: &'a mut Array2<f32>,
    /// Chroma without texture, for 2x2 pixels.
    pub chroma: &'a mut [Array2<f32>; 2],
    /// How far to believe that there is an edge of structure, up to 1, for 2x2 pixels.
    pub edges: &'a mut Array2<f32>,
}

impl<T: Sample> Output for Maps<'_, '_, T> {
    fn split<'c>(&'c mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'c>> {
        let Self { picture, guide, chroma: [u, v], edges } = self;
        let rows = parts(guide, bands, 2).into_iter().zip(parts(u, bands, 1)).zip(parts(v, bands, 1));
        let rows = rows.zip(parts(edges, bands, 1)).zip(bands);
        rows.map(|((((guide, u), v), edges), band)| -> Box<dyn RowSink + 'c> {
            Box::new(Band { first: band.start, picture, guide, chroma: [u, v], edges })
        })
        .collect()
    }
}

struct Band<'a, 'b, T> {
    first: usize,
    picture: &'a Picture<'b, T>,
    guide: ArrayViewMut2<'a, f32>,
    chroma: [ArrayViewMut2<'a, f32>; 2],
    edges: ArrayViewMut2<'a, f32>,
}

impl<T: Sample> RowSink for Band<'_, '_, T> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let channels = Domain::Guide.outputs();
        let own = y - self.first;
        for dy in 0..2 {
            if 2 * own + dy >= self.guide.nrows() {
                break;
            }
            let mut guide = self.guide.row_mut(2 * own + dy);
            let Some(guide) = guide.as_slice_mut() else { continue };
            luma_row(self.picture, 2 * y + dy, guide);
            for (pair, pixel) in guide.chunks_mut(2).zip(row.chunks_exact(channels)) {
                for (value, texture) in pair.iter_mut().zip(&pixel[2 * dy..]) {
                    *value -= SCALE * texture;
                }
            }
        }
        if own < self.edges.nrows() {
            for (i, component) in self.chroma.iter_mut().enumerate() {
                let mut to = component.row_mut(own);
                let Some(to) = to.as_slice_mut() else { continue };
                if self.picture.colour == (Colour::Yuv { shift_x: 1, shift_y: 1 }) {
                    levels(self.picture.components[1 + i].row(y), to);
                } else {
                    to.iter_mut().enumerate().for_each(|(x, to)| *to = chroma(self.picture, x, y)[i]);
                }
                to.iter_mut().zip(row.chunks_exact(channels)).for_each(|(to, pixel)| *to -= SCALE * pixel[4 + i]);
            }
            let [low, high] = BELIEVED;
            let edges = row.chunks_exact(channels).map(|pixel| (pixel[6] - low) / (high - low));
            let edges = edges.map(|belief| belief.clamp(LEAST_BELIEF, 1.0));
            self.edges.row_mut(own).iter_mut().zip(edges).for_each(|(to, edge)| *to = edge);
        }
    }
}
