// SPDX-License-Identifier: MIT OR Apache-2.0

//! Share of the predicted noise that is subtracted ([`WeakNoise`]).
//!
//! The networks err by one to two code values, so they do not help against weaker noise: it is left
//! alone in texture. Where the denoised picture is smooth, a local Wiener filter (Lee, "Digital
//! image enhancement and noise filtering by use of local statistics", IEEE Transactions on Pattern
//! Analysis and Machine Intelligence 2(2), 1980) removes it.

use std::ops::Range;

use ndarray::ArrayView2;

use super::local_windows::{CHUNK, Line, REACH, Windows};
use crate::{
    frame::{Sample, convert::convert_row, unshuffle::INPUT_SCALE},
    simd::vectorise,
};

/// Range of the sigma of the remaining noise, in 8-bit units, over which the predicted noise is
/// faded in in texture. Noise weaker than the first value is left alone; noise stronger than the
/// second is removed wholly.
const FADE_IN_SIGMA: [f32; 2] = [0.6, 1.6];
/// Range of estimated sigmas, in 8-bit units, over which estimates are trusted more and more. Fine
/// texture without noise can be estimated as weak noise.
const TRUSTED_SIGMA: [f32; 2] = [0.5, 2.2];
/// The same in smooth areas, where removing too much does little harm.
const TRUSTED_SIGMA_IN_SMOOTH: [f32; 2] = [0.3, 0.8];
/// Range of the sigma of the remaining noise over which the network replaces the local filter.
const FADE_OUT_SIGMA: [f32; 2] = [0.9, 1.6];
/// Range of the largest difference to a sample's neighbourhood, in 8-bit code values, over which
/// its area counts less and less as smooth.
const SMOOTH_STEP: [f32; 2] = [1.5, 3.5];
/// Ratio of the local variance to that of the noise that can occur by chance.
const VARIANCE_TOLERANCE: f32 = 1.6;
/// Distance of the rows of the window.
const ROW_REACH: usize = 4;

/// Returns the position of a value in a range, 0 up to its start and 1 from its end on.
#[inline(always)]
fn position(value: f32, [start, end]: [f32; 2]) -> f32 {
    ((value - start) / (end - start)).clamp(0.0, 1.0)
}

/// Noise of a component, and how far its estimate is trusted.
#[derive(Clone, Copy)]
pub(super) struct ComponentNoise {
    /// Noise sigma before fusion, in 8-bit units.
    sigma: f32,
    /// Trust in the sigma, 0 to 1.
    trust: f32,
    /// Trust in the sigma in smooth areas, 0 to 1.
    trust_in_smooth: f32,
}

impl ComponentNoise {
    /// Creates the noise of a component; `is_set` if the user has set its sigma.
    pub(super) fn new(sigma: f32, is_set: bool) -> Self {
        let trust = |range| if is_set { 1.0 } else { position(sigma, range) };
        Self { sigma, trust: trust(TRUSTED_SIGMA), trust_in_smooth: trust(TRUSTED_SIGMA_IN_SMOOTH) }
    }

    /// Returns whether the noise is so weak that nothing is subtracted.
    pub(super) fn is_none(&self) -> bool {
        self.sigma == 0.0 || (self.trust == 0.0 && self.trust_in_smooth == 0.0)
    }

    /// Returns whether all predicted noise of the cells is subtracted.
    #[inline(always)]
    fn is_strong(self, variances: CellVariances<'_>) -> bool {
        let strong = FADE_IN_SIGMA[1].max(FADE_OUT_SIGMA[1]);
        let least = variances.of_cells.iter().fold(f32::INFINITY, |least, v| least.min(*v));
        self.trust >= 1.0 && self.sigma * self.sigma * least >= strong * strong
    }

    /// Returns the share of the predicted noise that is subtracted in texture where the share
    /// `variance` of the noise variance remains.
    #[inline(always)]
    fn share_in_texture(self, variance: f32) -> f32 {
        self.trust * position(self.sigma * variance.sqrt(), FADE_IN_SIGMA)
    }
}

/// Variance of the remaining noise in the cells of a row, relative to that of a single picture.
#[derive(Clone, Copy)]
pub(super) struct CellVariances<'a> {
    /// One value for each cell.
    pub of_cells: &'a [f32],
    /// Number of samples of the component in a row of a cell.
    pub samples_per_cell: usize,
}

impl CellVariances<'_> {
    /// Returns the variances of the cells of some samples, the first of which begins a cell.
    #[inline(always)]
    fn of_samples(&self, samples: Range<usize>) -> Self {
        let cells = samples.start / self.samples_per_cell
            ..samples.end.div_ceil(self.samples_per_cell).min(self.of_cells.len());
        Self { of_cells: &self.of_cells[cells], samples_per_cell: self.samples_per_cell }
    }
}

/// Reduces the predicted noise of rows where it is weak. The memory is reused from row to row.
#[derive(Debug, Default)]
pub(super) struct WeakNoise {
    /// Code values of the row, and of the rows above and below with which it is compared.
    rows: [Vec<f32>; 3],
}

impl WeakNoise {
    /// Replaces the predicted noise of row `y` of a component by what is to be subtracted.
    /// `component` is what the network has run on; `variances` are `None` if it is not fused.
    pub(super) fn reduce<T: Sample>(
        &mut self,
        noise: &mut [f32],
        of_component: ComponentNoise,
        component: &ArrayView2<'_, T>,
        y: usize,
        variances: Option<CellVariances<'_>>,
    ) {
        let uniform = CellVariances { of_cells: &[1.0], samples_per_cell: noise.len().max(1) };
        let variances = variances.unwrap_or(uniform);
        if of_component.is_strong(variances) {
            return;
        }
        let has_filter = of_component.trust_in_smooth > 0.0 && noise.len() > 2 * REACH;
        if has_filter {
            self.convert_rows(component, y);
        }
        let rows = &self.rows;
        vectorise(
            #[inline(always)]
            || {
                for (i, noise) in noise.chunks_mut(CHUNK).enumerate() {
                    let start = i * CHUNK;
                    let variances = variances.of_samples(start..start + noise.len());
                    if of_component.is_strong(variances) {
                        continue;
                    }
                    let line = |row: &Vec<f32>| {
                        *row[start..].first_chunk().expect("rows hold a margin for all chunks")
                    };
                    let rows = has_filter.then(|| rows.each_ref().map(line));
                    reduce_chunk(noise, of_component, variances, rows);
                }
            },
        );
    }

    /// Converts row `y` of a component and the rows with which it is compared. The first and last
    /// samples are repeated beyond the border.
    fn convert_rows<T: Sample>(&mut self, component: &ArrayView2<'_, T>, y: usize) {
        let (height, width) = component.dim();
        let y = y.min(height - 1);
        let rows = [y, y.saturating_sub(ROW_REACH), (y + ROW_REACH).min(height - 1)];
        for (values, row) in self.rows.iter_mut().zip(rows) {
            values.resize(width.next_multiple_of(CHUNK) + 2 * REACH, 0.0);
            convert_row(component.row(row), &mut values[REACH..REACH + width]);
            let [first, last] = [values[REACH], values[REACH + width - 1]];
            values[..REACH].fill(first);
            values[REACH + width..].fill(last);
        }
    }
}

/// Reduces the noise of up to [`CHUNK`] samples to its shares in texture, and replaces it by that
/// of the local filter in smooth areas. `rows` start [`REACH`] samples before; without them, all
/// counts as texture.
#[inline(always)]
fn reduce_chunk(
    noise: &mut [f32],
    of_component: ComponentNoise,
    CellVariances { of_cells, samples_per_cell }: CellVariances<'_>,
    rows: Option<[Line; 3]>,
) {
    let (mut shares, mut variances) = ([0.0; CHUNK], [0.0; CHUNK]);
    let (shares, variances) = (&mut shares[..noise.len()], &mut variances[..noise.len()]);
    let share = |variance: f32| of_component.share_in_texture(variance);
    for_each_cell(shares, of_cells, samples_per_cell, share);
    let scale = of_component.sigma * of_component.sigma;
    for_each_cell(variances, of_cells, samples_per_cell, |variance| scale * variance);
    match rows {
        Some(rows) => filter_chunk(noise, shares, variances, rows, of_component.trust_in_smooth),
        None => noise.iter_mut().zip(shares).for_each(|(noise, share)| *noise *= *share),
    }
}

/// Fills the samples of each cell with a function of its variance.
#[inline(always)]
fn for_each_cell(
    samples: &mut [f32],
    variances: &[f32],
    samples_per_cell: usize,
    value: impl Fn(f32) -> f32,
) {
    if samples_per_cell == 2 {
        // The last cell of an odd width has one sample.
        let (pairs, last) = samples.as_chunks_mut::<2>();
        pairs.iter_mut().zip(variances).for_each(|(pair, variance)| *pair = [value(*variance); 2]);
        let variance = variances.get(pairs.len());
        last.iter_mut().zip(variance).for_each(|(sample, variance)| *sample = value(*variance));
    } else {
        let cells = samples.chunks_mut(samples_per_cell).zip(variances);
        cells.for_each(|(samples, variance)| samples.fill(value(*variance)));
    }
}

/// Version of [`reduce_chunk`] with the local filter.
#[inline(always)]
fn filter_chunk(noise: &mut [f32], shares: &[f32], variances: &[f32], rows: [Line; 3], trust: f32) {
    let windows = Windows::new(&rows);
    let statistics = windows.means.iter().zip(&windows.variances).zip(&windows.unevenness);
    let samples = noise.iter_mut().zip(shares).zip(variances).zip(&rows[0][REACH..]);
    for ((((noise, share), variance), own), ((mean, local_variance), unevenness)) in
        samples.zip(statistics)
    {
        let denoised = own - INPUT_SCALE * *noise;
        let smoothness = 1.0 - position((denoised - mean).abs().max(*unevenness), SMOOTH_STEP);
        let weight = trust * smoothness * (1.0 - position(variance.sqrt(), FADE_OUT_SIGMA));
        // The Wiener filter.
        let expected = VARIANCE_TOLERANCE * variance;
        let of_noise = (expected / local_variance.max(1e-6)).min(1.0);
        let of_filter = of_noise * (own - mean) * (1.0 / INPUT_SCALE);
        *noise = (1.0 - weight) * share * *noise + weight * of_filter;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Returns the root mean square error that is left of noise of `sigma` in a picture, if the
    /// network predicts no noise at all.
    fn error(clean: &Array2<f32>, sigma: f32) -> f32 {
        let mut rng = StdRng::seed_from_u64(5);
        let noisy = clean.mapv(|value| {
            let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
            value + sigma * noise
        });
        let mut squares = 0.0;
        let mut weak_noise = WeakNoise::default();
        for (y, row) in noisy.rows().into_iter().enumerate() {
            let mut noise = vec![0.0; row.len()];
            let of_component = ComponentNoise::new(sigma, false);
            weak_noise.reduce(&mut noise, of_component, &noisy.view(), y, None);
            let result = row.iter().zip(&noise).map(|(value, noise)| value - INPUT_SCALE * noise);
            squares += result.zip(clean.row(y)).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        }
        (squares / clean.len() as f32).sqrt()
    }

    #[test]
    fn weak_noise_disappears_from_smooth_areas() {
        let slope = |y: usize, x: usize| 60.0 + x as f32 / 40.0 + y as f32 / 60.0;
        let gradient = Array2::from_shape_fn((60, 90), |(y, x)| slope(y, x));
        assert!(error(&gradient, 0.8) < 0.3);
        assert!(error(&gradient, 0.4) < 0.38, "a sigma below the trusted ones");
        // Noise of this sigma is left to the network.
        assert!(error(&gradient, 1.7) > 1.5);
    }

    #[test]
    fn texture_and_edges_stay() {
        let checks = |y: usize, x: usize| (y / 3 + x / 3).is_multiple_of(2);
        let lines = |y: usize, _: usize| y % 9 < 2;
        let edge = |y: usize, x: usize| 2 * x + y > 100;
        for is_dark in [&checks as &dyn Fn(usize, usize) -> bool, &lines, &edge] {
            let clean =
                Array2::from_shape_fn((60, 90), |(y, x)| if is_dark(y, x) { 80.0 } else { 92.0 });
            let left = error(&clean, 0.8);
            assert!(left < 0.85, "{left}");
        }
    }

    #[test]
    fn narrow_pictures_are_left_alone() {
        for dim in [(1, 1), (3, 9), (40, 16)] {
            let left = error(&Array2::from_elem(dim, 77.0), 0.8);
            assert!(left < 2.0, "{dim:?}: {left}");
        }
    }
}
