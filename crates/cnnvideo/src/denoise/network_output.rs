// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures as the output of denoising networks ([`NetworkOutput`]): subtracts the predicted noise
//! and blends the result into the picture.

use std::{iter::repeat_n, ops::Range};

use ndarray::{ArrayViewMut2, Axis};

use super::{
    ColourDomain, RGB, YUV420,
    chroma_detail::{CellShape, Detail},
    flat_runs::FlatRuns,
    is_yuv420,
    rounding::Rounding,
    temporal::FusedPicture,
    weak_noise::{CellVariances, ComponentNoise, WeakNoise},
};
use crate::{
    frame::{
        Colour, Picture, PictureMut, Regions, Sample,
        convert::convert_row,
        unshuffle::{INPUT_SCALE, row_clamped},
    },
    nn::{Output, RowSink},
    simd::vectorise,
};

/// Reason why rows of the fused picture can be viewed as slices.
const CONTIGUOUS: &str = "rows of the fused picture are contiguous";

/// Weights of the denoised result in the output picture.
#[derive(Clone, Copy)]
pub(super) struct BlendWeights<'a> {
    /// Noise of the first component.
    pub first: ComponentNoise,
    /// Noise of the other components.
    pub others: ComponentNoise,
    /// Strength set by the user; values above 1 count as 1.
    pub strength: f32,
    /// Factors on the strength by region.
    pub regions: Option<Regions<'a>>,
    /// Whether 8-bit output is dithered.
    pub dither: bool,
}

/// Output picture that receives the prediction of a network. Every sample of its components is
/// written.
pub(super) struct NetworkOutput<'a, 'b, 'f, T, U> {
    /// The picture before temporal fusion, which the result is blended with.
    input: &'a Picture<'b, T>,
    picture: PictureMut<'a, U>,
    weights: BlendWeights<'a>,
    /// Noise sigma of the detail of both chroma components; see
    /// [`AssumedNoise`](super::AssumedNoise).
    chroma_detail: [f32; 2],
    /// The temporally fused picture that was the network's input; `None` if it was `input`.
    fused: Option<&'a FusedPicture<'f>>,
}

impl<'a, 'b, 'f, T: Sample, U: Sample> NetworkOutput<'a, 'b, 'f, T, U> {
    /// Creates the output for a network that runs on `input`. The predicted noise is subtracted
    /// from `input`, and the result is blended with it by `weights` and stored in `picture`.
    pub(super) fn new(
        input: &'a Picture<'b, T>,
        picture: PictureMut<'a, U>,
        weights: BlendWeights<'a>,
        chroma_detail: [f32; 2],
    ) -> Self {
        Self { input, picture, weights, chroma_detail, fused: None }
    }

    /// Sets the fused picture that the network runs on, from which the predicted noise is
    /// subtracted. The result is still blended with the picture before fusion.
    pub(super) fn with_fused(self, fused: &'a FusedPicture<'f>) -> Self {
        Self { fused: Some(fused), ..self }
    }
}

impl<T: Sample, U: Sample> Output for NetworkOutput<'_, '_, '_, T, U> {
    fn split<'s>(&'s mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 's>> {
        let Self { input, chroma_detail, fused, .. } = *self;
        let regions = self.weights.regions.as_ref().map(Regions::reborrow);
        let weights = BlendWeights { regions, ..self.weights };
        let colour = self.picture.colour;
        let parts = bands.iter().zip(split_rows(&mut self.picture, bands));
        parts
            .map(|(band, components)| {
                Box::new(OutputBand {
                    first_row: band.start,
                    domain: ColourDomain::of(colour),
                    colour,
                    input,
                    components,
                    weights,
                    chroma_detail,
                    fused,
                    noise: Vec::new(),
                    weak_noise: WeakNoise::default(),
                    values: Vec::new(),
                    rounding: Rounding::default(),
                    flat_runs: FlatRuns::default(),
                    detail: Detail::default(),
                }) as Box<dyn RowSink + 's>
            })
            .collect()
    }
}

/// Splits the components of a picture by bands of rows of the network's output.
fn split_rows<'b, T>(
    picture: &'b mut PictureMut<'_, T>,
    bands: &[Range<usize>],
) -> Vec<Vec<ArrayViewMut2<'b, T>>> {
    let colour = picture.colour;
    let mut rest: Vec<_> = picture.components.iter_mut().map(|c| c.view_mut()).collect();
    let mut parts = Vec::with_capacity(bands.len());
    for band in bands {
        let mut components = Vec::with_capacity(rest.len());
        let mut after = Vec::with_capacity(rest.len());
        for (i, component) in rest.into_iter().enumerate() {
            let rows_per_row = CellShape::new(colour.subsampling(i)).rows;
            let rows = (band.len() * rows_per_row).min(component.len_of(Axis(0)));
            let (own, others) = component.split_at(Axis(0), rows);
            components.push(own);
            after.push(others);
        }
        rest = after;
        parts.push(components);
    }
    parts
}

/// Writer of one band of the output picture.
struct OutputBand<'a, 'b, 'f, T, U> {
    /// First row of the network's output in this band.
    first_row: usize,
    domain: ColourDomain,
    colour: Colour,
    /// The whole picture before temporal fusion.
    input: &'a Picture<'b, T>,
    /// The band's rows of the output picture.
    components: Vec<ArrayViewMut2<'a, U>>,
    weights: BlendWeights<'a>,
    /// See [`NetworkOutput::chroma_detail`].
    chroma_detail: [f32; 2],
    /// The whole fused picture.
    fused: Option<&'a FusedPicture<'f>>,
    /// Predicted noise of one row of a component, in network units.
    noise: Vec<f32>,
    weak_noise: WeakNoise,
    /// Code values of one row of the result.
    values: Vec<f32>,
    rounding: Rounding,
    flat_runs: FlatRuns,
    detail: Detail,
}

impl<T: Sample, U: Sample> RowSink for OutputBand<'_, '_, '_, T, U> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let channels = self.domain.signature().io.output;
        let band_row = y - self.first_row;
        for i in 0..self.components.len() {
            if i > 0 && self.domain == ColourDomain::Yuv420 {
                if is_yuv420(self.colour) {
                    self.noise.clear();
                    self.noise.extend(row.chunks_exact(channels).map(|pixel| pixel[3 + i]));
                    self.write_component_row(i, y, band_row);
                } else {
                    self.write_chroma_cells(i, y, row);
                }
                continue;
            }
            for dy in 0..2 {
                let channel = 4 * i + 2 * dy;
                match self.domain {
                    ColourDomain::Rgb => {
                        copy_channel_pair::<{ RGB.io.output }>(row, channel, &mut self.noise)
                    }
                    ColourDomain::Yuv420 => {
                        copy_channel_pair::<{ YUV420.io.output }>(row, channel, &mut self.noise)
                    }
                }
                self.write_component_row(i, 2 * y + dy, 2 * band_row + dy);
            }
        }
    }
}

/// Copies the channels `channel` and `channel + 1` of each pixel to `to`.
fn copy_channel_pair<const N: usize>(row: &[f32], channel: usize, to: &mut Vec<f32>) {
    let pixels = row.as_chunks::<N>().0;
    to.resize(2 * pixels.len(), 0.0);
    // `channel` never exceeds `N - 2`; this lets the compiler drop the bounds checks in the loop.
    let channel = channel.min(N - 2);
    let pairs = to.as_chunks_mut::<2>().0;
    vectorise(
        #[inline(always)]
        || {
            pairs
                .iter_mut()
                .zip(pixels)
                .for_each(|(pair, pixel)| *pair = [pixel[channel], pixel[channel + 1]])
        },
    );
}

impl<T: Sample, U: Sample> OutputBand<'_, '_, '_, T, U> {
    /// Writes row `y` of cells of a chroma component that has more samples than the network has
    /// pixels: subtracts the predicted noise of the cell means and the noise part of the detail.
    fn write_chroma_cells(&mut self, component: usize, y: usize, row: &[f32]) {
        let cell = CellShape::new(self.colour.subsampling(component));
        let (picture_row, band_row) = (cell.rows * y, cell.rows * (y - self.first_row));
        // The network's output is padded to its granularity and may have more rows than the
        // picture.
        if band_row >= self.components[component].nrows() {
            return;
        }
        for dy in 0..cell.rows {
            match self.fused {
                Some(fused) => {
                    let row = row_clamped(&fused.picture.components[component], picture_row + dy);
                    self.detail.set_row(dy, row.iter().map(|sample| sample.code_value()));
                }
                None => {
                    let row = row_clamped(&self.input.components[component], picture_row + dy);
                    self.detail.set_row(dy, row.iter().map(|sample| sample.code_value()));
                }
            }
        }
        let variance =
            self.fused.map(|fused| fused.variance.row(y.min(fused.variance.nrows() - 1)));
        self.detail.reduce_to_noise(cell, self.chroma_detail[component - 1], variance);
        for dy in 0..cell.rows {
            self.noise.clear();
            let means = row
                .chunks_exact(YUV420.io.output)
                .flat_map(|pixel| repeat_n(pixel[3 + component], cell.columns));
            let noise = self.detail.rows[dy].iter().zip(means);
            self.noise.extend(noise.map(|(detail, mean)| mean + detail / INPUT_SCALE));
            self.write_component_row(component, picture_row + dy, band_row + dy);
        }
    }

    /// Reduces the predicted noise of a row of a component where it is weak.
    fn reduce_noise(&mut self, component: usize, picture_row: usize) {
        let BlendWeights { first, others, .. } = self.weights;
        let of_component = if component == 0 { first } else { others };
        let [shift_x, shift_y] = self.colour.subsampling(component);
        let input = &self.input.components[component];
        let (noise, weak_noise) = (&mut self.noise, &mut self.weak_noise);
        noise.truncate(input.ncols());
        let Some(fused) = self.fused else {
            return weak_noise.reduce(noise, of_component, input, picture_row, None);
        };
        let rows = fused.variance.nrows();
        let variances = fused.variance.row(((picture_row << shift_y) / 2).min(rows - 1));
        let variances = CellVariances {
            of_cells: variances.to_slice().expect(CONTIGUOUS),
            samples_per_cell: 2 >> shift_x,
        };
        let input = &fused.picture.components[component];
        weak_noise.reduce(noise, of_component, input, picture_row, Some(variances));
    }

    /// Writes row `band_row` of this band's component, which is row `picture_row` of the picture:
    /// subtracts the noise, blends the result with the input and keeps flat runs of the input. Does
    /// nothing if the band has no such row.
    fn write_component_row(&mut self, component: usize, picture_row: usize, band_row: usize) {
        if band_row >= self.components[component].len_of(Axis(0)) {
            return;
        }
        self.reduce_noise(component, picture_row);
        self.blend_values(component, picture_row);
        let to = self.components[component].row_mut(band_row);
        self.rounding.store(&self.values, picture_row, self.weights.dither, to);
        let input = &self.input.components[component];
        let flat = self.flat_runs.of_row(input, picture_row);
        if !flat.contains(&true) {
            return;
        }
        let to = self.components[component].row_mut(band_row);
        for ((to, from), flat) in to.into_iter().zip(input.row(picture_row)).zip(flat) {
            if *flat {
                *to = U::from_code_value(from.code_value());
            }
        }
    }

    /// Fills `values` with a row of the result: subtracts the noise, then blends with the input.
    fn blend_values(&mut self, component: usize, picture_row: usize) {
        let BlendWeights { strength, regions, .. } = self.weights;
        let [shift_x, shift_y] = self.colour.subsampling(component);
        let own = self.input.components[component].row(picture_row);
        self.values.resize(own.len(), 0.0);
        convert_row(own, &mut self.values);
        let (values, noise) = (&mut self.values[..], &self.noise[..]);
        debug_assert!(noise.len() >= values.len(), "the network predicts every sample of a row");
        let weight = strength.min(1.0);
        let fused = self.fused.map(|fused| fused.picture.components[component].row(picture_row));
        let fused = fused.as_ref().map(|fused| fused.to_slice().expect(CONTIGUOUS));
        match (regions, fused) {
            (Some(regions), fused) => {
                let factors = regions.row(picture_row << shift_y, shift_x);
                for (x, ((value, noise), factor)) in
                    values.iter_mut().zip(noise).zip(factors).enumerate()
                {
                    let weight = (strength * factor).clamp(0.0, 1.0);
                    // With weight 0 the sample stays bit-exact.
                    if weight > 0.0 {
                        let base = fused.map_or(*value, |fused| fused[x].code_value());
                        *value += weight * (base - INPUT_SCALE * noise - *value);
                    }
                }
            }
            (None, None) => vectorise(
                #[inline(always)]
                || {
                    let scale = weight * INPUT_SCALE;
                    values.iter_mut().zip(noise).for_each(|(value, noise)| *value -= scale * noise)
                },
            ),
            (None, Some(fused)) => vectorise(
                #[inline(always)]
                || {
                    for ((value, noise), fused) in values.iter_mut().zip(noise).zip(fused) {
                        *value += weight * (fused.code_value() - INPUT_SCALE * noise - *value);
                    }
                },
            ),
        }
    }
}
