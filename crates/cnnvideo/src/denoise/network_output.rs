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
    temporal::FusedPicture,
};
use crate::{
    frame::{
        Colour, FixedSample, Picture, PictureMut, Regions, Sample,
        unshuffle::{INPUT_SCALE, row_clamped},
    },
    nn::{Output, RowSink},
    simd::vectorise,
};

/// Range of the sigma of the remaining noise, in 8-bit units, over which the predicted noise is
/// faded in. The networks' own error is one to two code values, so noise weaker than the first
/// value is left alone; noise stronger than the second is removed wholly.
const FADE_IN_SIGMA: [f32; 2] = [0.6, 1.6];

/// Returns the share of the predicted noise that is subtracted where noise of `sigma` remains.
#[inline(always)]
fn fade_in(sigma: f32) -> f32 {
    let [start, end] = FADE_IN_SIGMA;
    ((sigma - start) / (end - start)).clamp(0.0, 1.0)
}

/// Range of estimated sigmas, in 8-bit units, over which estimates are trusted more and more. Fine
/// texture without noise can be estimated as weak noise.
const TRUSTED_SIGMA: [f32; 2] = [0.5, 2.2];

/// Noise of a component, and how far its estimate is trusted.
#[derive(Clone, Copy)]
pub(super) struct ComponentNoise {
    /// Noise sigma before fusion, in 8-bit units.
    sigma: f32,
    /// Trust in the sigma, 0 to 1.
    trust: f32,
}

impl ComponentNoise {
    /// Creates the noise of a component; `is_set` if the user has set its sigma.
    pub(super) fn new(sigma: f32, is_set: bool) -> Self {
        let [start, end] = TRUSTED_SIGMA;
        let trust = ((sigma - start) / (end - start)).clamp(0.0, 1.0);
        Self { sigma, trust: if is_set { 1.0 } else { trust } }
    }

    /// Returns the share of the predicted noise that is subtracted where the share `variance` of
    /// the noise variance remains.
    #[inline(always)]
    fn subtracted_share(self, variance: f32) -> f32 {
        self.trust * fade_in(self.sigma * variance.sqrt())
    }
}

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
}

/// Output picture that receives the prediction of a network. Every sample of its components is
/// written.
pub(super) struct NetworkOutput<'a, 'b, 'f, T> {
    /// The picture before temporal fusion, which the result is blended with.
    input: &'a Picture<'b, T>,
    picture: PictureMut<'a, T>,
    weights: BlendWeights<'a>,
    /// Noise sigma of the detail of each component that has more samples than the network
    /// processes, in 8-bit units.
    detail_sigmas: [f32; 3],
    /// The temporally fused picture that was the network's input; `None` if it was `input`.
    fused: Option<&'a FusedPicture<'f>>,
}

impl<'a, 'b, 'f, T: Sample> NetworkOutput<'a, 'b, 'f, T> {
    /// Creates the output for a network that runs on `input`. The predicted noise is subtracted
    /// from `input`, and the result is blended with it by `weights` and stored in `picture`.
    pub(super) fn new(
        input: &'a Picture<'b, T>,
        picture: PictureMut<'a, T>,
        weights: BlendWeights<'a>,
        detail_sigmas: [f32; 3],
    ) -> Self {
        Self { input, picture, weights, detail_sigmas, fused: None }
    }

    /// Sets the fused picture that the network runs on, from which the predicted noise is
    /// subtracted. The result is still blended with the picture before fusion.
    pub(super) fn with_fused(self, fused: &'a FusedPicture<'f>) -> Self {
        Self { fused: Some(fused), ..self }
    }
}

impl<T: Sample> Output for NetworkOutput<'_, '_, '_, T> {
    fn split<'s>(&'s mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 's>> {
        let Self { input, detail_sigmas, fused, .. } = *self;
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
                    detail_sigmas,
                    fused,
                    noise: Vec::new(),
                    shares: Vec::new(),
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
struct OutputBand<'a, 'b, 'f, T> {
    /// First row of the network's output in this band.
    first_row: usize,
    domain: ColourDomain,
    colour: Colour,
    /// The whole picture before temporal fusion.
    input: &'a Picture<'b, T>,
    /// The band's rows of the output picture.
    components: Vec<ArrayViewMut2<'a, T>>,
    weights: BlendWeights<'a>,
    /// See [`NetworkOutput::detail_sigmas`].
    detail_sigmas: [f32; 3],
    /// The whole fused picture.
    fused: Option<&'a FusedPicture<'f>>,
    /// Predicted noise of one row of a component, in network units.
    noise: Vec<f32>,
    /// Share of the predicted noise that is subtracted in each cell of one row.
    shares: Vec<f32>,
    flat_runs: FlatRuns,
    detail: Detail,
}

impl<T: Sample> RowSink for OutputBand<'_, '_, '_, T> {
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

impl<T: Sample> OutputBand<'_, '_, '_, T> {
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
        self.detail.reduce_to_noise(cell, self.detail_sigmas[component], variance);
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

    /// Multiplies the predicted noise of a row of a component by the share that is subtracted; see
    /// [`fade_in`].
    fn fade_noise(&mut self, component: usize, picture_row: usize) {
        let BlendWeights { first, others, .. } = self.weights;
        let of_component = if component == 0 { first } else { others };
        let [shift_x, shift_y] = self.colour.subsampling(component);
        let Some(fused) = self.fused else {
            let share = of_component.subtracted_share(1.0);
            if share < 1.0 {
                self.noise.iter_mut().for_each(|noise| *noise *= share);
            }
            return;
        };
        let rows = fused.variance.nrows();
        let variances = fused.variance.row(((picture_row << shift_y) / 2).min(rows - 1));
        let variances = variances.to_slice().expect("rows of own maps are contiguous");
        let (noise, shares) = (&mut self.noise, &mut self.shares);
        shares.resize(variances.len(), 0.0);
        vectorise(
            #[inline(always)]
            || {
                for (share, variance) in shares.iter_mut().zip(variances) {
                    *share = of_component.subtracted_share(*variance);
                }
                if shift_x == 0 {
                    for (noise, share) in noise.chunks_mut(2).zip(&*shares) {
                        noise.iter_mut().for_each(|noise| *noise *= share);
                    }
                } else {
                    noise.iter_mut().zip(&*shares).for_each(|(noise, share)| *noise *= share);
                }
            },
        );
    }

    /// Writes row `band_row` of this band's component, which is row `picture_row` of the picture:
    /// subtracts the noise, blends the result with the input and keeps flat runs of the input. Does
    /// nothing if the band has no such row.
    fn write_component_row(&mut self, component: usize, picture_row: usize, band_row: usize) {
        if band_row >= self.components[component].len_of(Axis(0)) {
            return;
        }
        self.fade_noise(component, picture_row);
        self.blend_row(component, picture_row, band_row);
        let input = &self.input.components[component];
        let flat = self.flat_runs.of_row(input, picture_row);
        if !flat.contains(&true) {
            return;
        }
        let to = self.components[component].row_mut(band_row);
        for ((to, from), flat) in to.into_iter().zip(input.row(picture_row)).zip(flat) {
            if *flat {
                *to = *from;
            }
        }
    }

    /// Subtracts the noise from a row and blends the result with the input.
    fn blend_row(&mut self, component: usize, picture_row: usize, band_row: usize) {
        let BlendWeights { strength, regions, .. } = self.weights;
        let [shift_x, shift_y] = self.colour.subsampling(component);
        let samples = &mut self.components[component];
        let mut to = samples.index_axis_mut(Axis(0), band_row);
        let from = self.input.components[component].index_axis(Axis(0), picture_row);
        let fused = self
            .fused
            .map(|fused| fused.picture.components[component].index_axis(Axis(0), picture_row));
        let noise = &self.noise;
        debug_assert!(noise.len() >= to.len(), "the network predicts every sample of a row");
        if let Some(regions) = regions {
            let factors = regions.row(picture_row << shift_y, shift_x);
            let samples = to.iter_mut().zip(from).zip(noise).zip(factors).enumerate();
            for (x, (((to, from), noise), factor)) in samples {
                let weight = (strength * factor).clamp(0.0, 1.0);
                // With weight 0 the sample stays bit-exact: no rounding through `from_code_value`.
                *to = if weight > 0.0 {
                    let own = from.code_value();
                    let fused = fused.map_or(own, |fused| fused[x].code_value());
                    T::from_code_value(own + weight * (fused - INPUT_SCALE * noise - own))
                } else {
                    *from
                };
            }
            return;
        }
        let weight = strength.min(1.0);
        let scale = weight * INPUT_SCALE;
        let subtract_noise =
            |from: &T, noise: &f32| T::from_code_value(from.code_value() - scale * noise);
        let blend_fused = |from: &T, noise: &f32, fused: &FixedSample| {
            let own = from.code_value();
            T::from_code_value(own + weight * (fused.code_value() - INPUT_SCALE * noise - own))
        };
        // Contiguous rows are vectorised.
        match (fused, from.to_slice(), to.as_slice_mut()) {
            (None, Some(from), Some(to)) => vectorise(
                #[inline(always)]
                || {
                    to.iter_mut()
                        .zip(from)
                        .zip(noise)
                        .for_each(|((to, from), noise)| *to = subtract_noise(from, noise))
                },
            ),
            (None, ..) => {
                to.iter_mut()
                    .zip(from)
                    .zip(noise)
                    .for_each(|((to, from), noise)| *to = subtract_noise(from, noise));
            }
            (Some(fused), Some(from), Some(to)) => {
                let fused = fused.to_slice().expect("rows of the fused picture are contiguous");
                vectorise(
                    #[inline(always)]
                    || {
                        to.iter_mut().zip(from).zip(noise).zip(fused).for_each(
                            |(((to, from), noise), fused)| *to = blend_fused(from, noise, fused),
                        )
                    },
                );
            }
            (Some(fused), ..) => {
                to.iter_mut()
                    .zip(from)
                    .zip(noise)
                    .zip(fused)
                    .for_each(|(((to, from), noise), fused)| *to = blend_fused(from, noise, fused));
            }
        }
    }
}
