//! Conversion between pictures and network tensors.
//!
//! [`Planes`] feeds a picture to a network: pixel-unshuffled to half size, with control maps.
//! [`PlanesMut`] subtracts the predicted noise from the pixels of the output picture.

use std::{iter::repeat_n, ops::Range};

use ndarray::{Array2, ArrayViewMut2, Axis};

use super::{
    ColourDomain,
    chroma::{Detail, Means},
    temporal::Fused,
};
use crate::{
    frame::{
        Colour, Fixed, Picture, PictureMut, Regions, Sample,
        unshuffle::{CENTRE, SCALE, line, pairs, quads},
    },
    nn::{Output, RowSink, Source},
    simd::{nearest, vectorise},
};

/// Values of the control maps, already scaled by [`super::CONTROL_PER_LEVEL`].
pub(super) struct Controls {
    /// For luma, or for R, G and B, indexed by brightness: the rounded luma, or mean of R, G and B.
    pub main: [f32; 256],
    /// For chroma, the same at every brightness.
    pub chroma: f32,
}

/// A picture as the input of a network. Beyond the right and lower border the last pixels are
/// repeated.
pub(super) struct Planes<'a, 'b, T> {
    picture: &'a Picture<'b, T>,
    domain: ColourDomain,
    controls: &'a Controls,
    /// Share of the noise variance that remains after temporal fusion, one value per 2x2 pixels.
    variance: Option<&'a Array2<f32>>,
    /// Regions, and the strength that their factors multiply.
    regions: Option<(Regions<'a>, f32)>,
}

impl<'a, 'b, T: Sample> Planes<'a, 'b, T> {
    /// Creates the input. `variance` is the share of the noise variance that remains after temporal
    /// fusion, one value per 2x2 pixels; the control maps are scaled by its square root.
    pub fn new(
        picture: &'a Picture<'b, T>,
        domain: ColourDomain,
        controls: &'a Controls,
        variance: Option<&'a Array2<f32>>,
    ) -> Self {
        Self { picture, domain, controls, variance, regions: None }
    }

    /// Adds regions. `controls` account for `strength` above 1 without regions; inside a region,
    /// the control maps are rescaled for `strength` times the region's factor (see [`more`]).
    pub fn with_regions(self, regions: Option<Regions<'a>>, strength: f32) -> Self {
        Self { regions: regions.map(|regions| (regions, strength)), ..self }
    }
}

/// Returns the factor on the control maps for a region's strength factor: from `strength` to
/// `strength * factor`, where values below 1 count as 1.
#[inline(always)]
fn more(strength: f32, factor: f32) -> f32 {
    (strength * factor).max(1.0) / strength.max(1.0)
}

/// Input channels for RGB, including the control map.
const RGB: usize = super::RGB.io.inputs();
/// Input channels for YUV 4:2:0, including the control maps.
const YUV420: usize = super::YUV420.io.inputs();

impl<T: Sample> Source for Planes<'_, '_, T> {
    fn most(&self) -> f32 {
        let levels = self
            .controls
            .main
            .iter()
            .chain(&[self.controls.chroma])
            .fold(0.0, |most: f32, v| most.max(*v));
        levels
            * self
                .regions
                .as_ref()
                .map_or(1.0, |(regions, strength)| more(*strength, regions.most()))
    }

    fn read_row(&self, y: usize, row: &mut [f32]) {
        vectorise(
            #[inline(always)]
            || match self.domain {
                ColourDomain::Rgb => {
                    self.read_rgb(y, row);
                    self.control::<RGB, 12>(y, row.as_chunks_mut().0);
                }
                ColourDomain::Yuv420 => {
                    let components = &self.picture.components;
                    let luma = [0, 1].map(|dy| line(&components[0], 2 * y + dy));
                    let chroma = match &components[1..] {
                        [u, v] if rows_are_halved(self.picture.colour, 1) => {
                            Some([u, v].map(|plane| line(plane, y)))
                        }
                        _ => None,
                    };
                    let (pixels, _) = row.as_chunks_mut();
                    quads(luma, chroma, pixels);
                    if chroma.is_none() {
                        self.finer_chroma(y, pixels);
                    }
                    self.control::<YUV420, 4>(y, pixels);
                }
            },
        );
    }
}

impl<T: Sample> Planes<'_, '_, T> {
    #[inline(always)]
    fn read_rgb(&self, y: usize, row: &mut [f32]) {
        for (i, component) in self.picture.components.iter().enumerate() {
            for dy in 0..2 {
                pairs(line(component, 2 * y + dy), row, RGB, 4 * i + 2 * dy);
            }
        }
    }

    /// Fills the chroma channels of row `y` with cell means, for chroma with more samples than the
    /// network has pixels.
    #[inline(always)]
    fn finer_chroma(&self, y: usize, pixels: &mut [[f32; YUV420]]) {
        for (i, component) in self.picture.components.iter().enumerate().skip(1) {
            let means = Means::new(component, self.picture.colour.shifts(i));
            let (mut count, mut last) = (0, 0.0);
            means.row(y, |x, mean| {
                (count, last) = (x + 1, (mean - CENTRE) * (1.0 / SCALE));
                if let Some(pixel) = pixels.get_mut(x) {
                    pixel[3 + i] = last;
                }
            });
            pixels.iter_mut().skip(count).for_each(|pixel| pixel[3 + i] = last);
        }
    }

    /// Fills the control channels of a row. The first `MAIN` channels of each pixel give its
    /// brightness.
    #[inline(always)]
    fn control<const N: usize, const MAIN: usize>(&self, y: usize, row: &mut [[f32; N]]) {
        let first = self.domain.signature().io.output;
        for pixel in &mut *row {
            let brightness = pixel[..MAIN].iter().sum::<f32>() * (SCALE / MAIN as f32) + CENTRE;
            pixel[first] = self.controls.main[nearest(brightness, 255.0) as usize];
            if let Some(chroma) = pixel.get_mut(first + 1) {
                *chroma = self.controls.chroma;
            }
        }
        if let Some((regions, strength)) = &self.regions {
            for (pixel, factor) in row.iter_mut().zip(regions.row(2 * y, 1)) {
                let more = more(*strength, factor);
                pixel[first..].iter_mut().for_each(|level| *level *= more);
            }
        }
        if let Some(variance) = self.variance {
            let variance = variance.view();
            let shares = line(&variance, y);
            let shares = shares.iter().chain(std::iter::repeat(&shares[shares.len() - 1]));
            for (pixel, share) in row.iter_mut().zip(shares) {
                let share = share.sqrt();
                pixel[first..].iter_mut().for_each(|level| *level *= share);
            }
        }
    }
}

/// Output picture that receives the prediction of a network.
pub(super) struct PlanesMut<'a, 's, T> {
    picture: PictureMut<'a, T>,
    domain: ColourDomain,
    shares: Shares<'a>,
    /// The temporally fused picture that was the network's input; `None` if it was the picture
    /// itself.
    seen: Option<&'a Fused<'s>>,
}

/// Share of the denoised result that is blended into the output picture.
#[derive(Clone, Copy)]
pub(super) struct Shares<'a> {
    /// Share before strength and regions: of the first component, and of the others.
    pub components: [f32; 2],
    /// Strength set by the user; shares are limited to 1.
    pub strength: f32,
    /// Noise sigma of the detail of each component that has more samples than the network
    /// processes, in 8-bit units.
    pub details: [f32; 3],
    /// Factors on the strength by region.
    pub regions: Option<Regions<'a>>,
}

impl<'a, 's, T: Sample> PlanesMut<'a, 's, T> {
    /// Creates the output. The predicted noise is subtracted from the fused picture `seen`, or from
    /// `picture` itself if `seen` is `None`. The result is blended into `picture` by `shares`.
    pub fn new(
        picture: PictureMut<'a, T>,
        domain: ColourDomain,
        shares: Shares<'a>,
        seen: Option<&'a Fused<'s>>,
    ) -> Self {
        Self { picture, domain, shares, seen }
    }
}

impl<T: Sample> Output for PlanesMut<'_, '_, T> {
    fn split<'b>(&'b mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'b>> {
        let (colour, domain, seen) = (self.picture.colour, self.domain, self.seen);
        let shares =
            Shares { regions: self.shares.regions.as_ref().map(Regions::reborrow), ..self.shares };
        let parts = bands.iter().zip(split_rows(&mut self.picture, bands));
        parts
            .map(|(band, components)| {
                Box::new(Band {
                    first: band.start,
                    domain,
                    colour,
                    components,
                    shares,
                    seen,
                    noise: Vec::new(),
                    detail: Detail::default(),
                }) as Box<dyn RowSink + 'b>
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
            let per_row = if rows_are_halved(colour, i) { 1 } else { 2 };
            let rows = (band.len() * per_row).min(component.len_of(Axis(0)));
            let (own, others) = component.split_at(Axis(0), rows);
            components.push(own);
            after.push(others);
        }
        rest = after;
        parts.push(components);
    }
    parts
}

/// Returns whether a component has half as many rows as luma.
fn rows_are_halved(colour: Colour, component: usize) -> bool {
    component > 0 && matches!(colour, Colour::Yuv { shift_y: 1, .. })
}

/// Writer of one band of the output picture.
struct Band<'a, 's, T> {
    /// First row of the network's output in this band.
    first: usize,
    domain: ColourDomain,
    colour: Colour,
    components: Vec<ArrayViewMut2<'a, T>>,
    shares: Shares<'a>,
    seen: Option<&'a Fused<'s>>,
    /// Predicted noise of one row of a component, in network units.
    noise: Vec<f32>,
    detail: Detail,
}

impl<T: Sample> RowSink for Band<'_, '_, T> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        let channels = self.domain.signature().io.output;
        let pixels = || row.chunks_exact(channels);
        for i in 0..self.components.len() {
            let own = y - self.first;
            if rows_are_halved(self.colour, i) {
                self.noise.clear();
                self.noise.extend(pixels().map(|pixel| pixel[3 + i]));
                self.subtract(i, y, own);
                continue;
            }
            if i > 0 && self.domain == ColourDomain::Yuv420 {
                self.finer(i, y, row);
                continue;
            }
            for dy in 0..2 {
                let at = 4 * i + 2 * dy;
                match self.domain {
                    ColourDomain::Rgb => {
                        take_pairs::<{ super::RGB.io.output }>(row, at, &mut self.noise)
                    }
                    _ => take_pairs::<{ super::YUV420.io.output }>(row, at, &mut self.noise),
                }
                self.subtract(i, 2 * y + dy, 2 * own + dy);
            }
        }
    }
}

/// Copies channels `at` and `at + 1` of each pixel to `to`.
fn take_pairs<const N: usize>(row: &[f32], at: usize, to: &mut Vec<f32>) {
    let pixels = row.as_chunks::<N>().0;
    to.resize(2 * pixels.len(), 0.0);
    // `at` never exceeds `N - 2`; this lets the compiler drop the bounds checks in the loop.
    let at = at.min(N - 2);
    let pairs = to.as_chunks_mut::<2>().0;
    vectorise(
        #[inline(always)]
        || {
            pairs
                .iter_mut()
                .zip(pixels)
                .for_each(|(pair, pixel)| *pair = [pixel[at], pixel[at + 1]])
        },
    );
}

impl<T: Sample> Band<'_, '_, T> {
    /// Denoises row `y` of cells of a chroma component that has more samples than the network has
    /// pixels: subtracts the predicted noise of the cell means and the noise part of the detail.
    fn finer(&mut self, component: usize, y: usize, row: &[f32]) {
        let [shift_x, shift_y] = self.colour.shifts(component);
        let [down, across] = [2 >> shift_y, 2 >> shift_x];
        let (whole, own) = (down * y, down * (y - self.first));
        let samples = &self.components[component];
        // The network's output is padded to its granularity and may have more rows than the
        // picture.
        let Some(last) = samples.nrows().checked_sub(1) else { return };
        for dy in 0..down {
            match self.seen {
                Some(seen) => {
                    let seen = &seen.picture.components[component];
                    self.detail.take(
                        dy,
                        seen.row((whole + dy).min(seen.nrows() - 1)).iter().map(|v| v.level()),
                    );
                }
                None => self.detail.take(
                    dy,
                    samples.row((own + dy).min(last)).iter().map(|sample| sample.level()),
                ),
            }
        }
        let left = self.seen.map(|seen| seen.variance.row(y.min(seen.variance.nrows() - 1)));
        self.detail.keep_noise([down, across], self.shares.details[component], left);
        for dy in 0..down {
            self.noise.clear();
            let means = row
                .chunks_exact(super::YUV420.io.output)
                .flat_map(|pixel| repeat_n(pixel[3 + component], across));
            self.noise.extend(
                self.detail.rows[dy].iter().zip(means).map(|(detail, mean)| mean + detail / SCALE),
            );
            self.subtract(component, whole + dy, own + dy);
        }
    }

    /// Subtracts the noise from row `own` of this band's component, which is row `whole` of the
    /// picture. Does nothing if the band has no such row.
    fn subtract(&mut self, component: usize, whole: usize, own: usize) {
        let Shares { components: shares, strength, regions, .. } = self.shares;
        let share = shares[component.min(1)];
        let [shift_x, shift_y] = self.colour.shifts(component);
        let samples = &mut self.components[component];
        if own >= samples.len_of(Axis(0)) {
            return;
        }
        let mut row = samples.index_axis_mut(Axis(0), own);
        let seen =
            self.seen.map(|seen| seen.picture.components[component].index_axis(Axis(0), whole));
        if let Some(regions) = regions {
            let factors = regions.row(whole << shift_y, shift_x);
            for (x, ((to, noise), factor)) in
                row.iter_mut().zip(&self.noise).zip(factors).enumerate()
            {
                let share = share * (strength * factor).clamp(0.0, 1.0);
                // With share 0 the sample stays bit-exact: no rounding through `from_level`.
                if share > 0.0 {
                    let seen = seen.map_or(to.level(), |seen| seen[x].level());
                    *to = T::from_level(to.level() + share * (seen - SCALE * noise - to.level()));
                }
            }
            return;
        }
        let share = share * strength.min(1.0);
        let scale = share * SCALE;
        let single = |to: &mut T, noise: &f32| *to = T::from_level(to.level() - scale * noise);
        let fused = |to: &mut T, noise: &f32, seen: &Fixed| {
            *to = T::from_level(to.level() + share * (seen.level() - SCALE * noise - to.level()));
        };
        let noise = &self.noise;
        // Contiguous rows are vectorised.
        match (seen, row.as_slice_mut()) {
            (None, Some(row)) => vectorise(
                #[inline(always)]
                || row.iter_mut().zip(noise).for_each(|(to, noise)| single(to, noise)),
            ),
            (None, None) => row.iter_mut().zip(noise).for_each(|(to, noise)| single(to, noise)),
            (Some(seen), Some(row)) if seen.is_standard_layout() => {
                let seen = seen.to_slice().unwrap_or_default();
                vectorise(
                    #[inline(always)]
                    || {
                        row.iter_mut()
                            .zip(noise)
                            .zip(seen)
                            .for_each(|((to, noise), seen)| fused(to, noise, seen))
                    },
                );
            }
            (Some(seen), _) => {
                row.iter_mut()
                    .zip(noise)
                    .zip(seen)
                    .for_each(|((to, noise), seen)| fused(to, noise, seen));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_control_maps_is_beyond_the_most() {
        let luma = Array2::from_shape_fn((12, 18), |(y, x)| (13 * y + 9 * x) as u8);
        let chroma = Array2::from_elem((6, 9), 128u8);
        let colour = Colour::Yuv { shift_x: 1, shift_y: 1 };
        let picture =
            Picture { colour, components: vec![luma.view(), chroma.view(), chroma.view()] };
        let labels = Array2::from_shape_fn((12, 18), |(y, _)| u8::from(y < 6));
        let regions = Regions { labels: labels.view(), foreground: 3.0, background: 0.5 };
        let variance = Array2::from_elem((6, 9), 0.5);
        for (chroma, main) in [(0.02, 0.3), (0.4, 0.1)] {
            let controls =
                Controls { main: std::array::from_fn(|level| main * level as f32 / 255.0), chroma };
            for variance in [None, Some(&variance)] {
                for (regions, factor) in [(None, 1.0), (Some(regions), 1.8)] {
                    let regions = regions.as_ref().map(Regions::reborrow);
                    let planes = Planes::new(&picture, ColourDomain::Yuv420, &controls, variance)
                        .with_regions(regions, 0.6);
                    let mut highest = 0.0f32;
                    for y in 0..6 {
                        let mut row = [0.0; 9 * YUV420];
                        planes.read_row(y, &mut row);
                        let controls =
                            row.as_chunks::<YUV420>().0.iter().flat_map(|pixel| &pixel[6..]);
                        highest = controls.fold(highest, |highest, v| highest.max(*v));
                    }
                    let expected = chroma.max(main) * factor;
                    assert!(
                        (planes.most() - expected).abs() < 1e-6,
                        "{} for {expected}",
                        planes.most()
                    );
                    assert!(
                        (0.5 * expected..=expected + 1e-6).contains(&highest),
                        "{highest} of {expected}"
                    );
                }
            }
        }
    }
}
