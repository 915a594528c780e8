// SPDX-License-Identifier: MIT OR Apache-2.0

//! Geometric synchronisation: estimates scale, rotation and shift of a received picture from the
//! pilot.

use std::f64::consts::TAU;

use ndarray::Array2;
use rustfft::num_complex::Complex32;

use super::{
    geometry::{Geometry, wave_amplitude},
    pattern::{HOPS, Wave},
    plane::{Fft2, PLANE_HEIGHT, PLANE_WIDTH, bin},
};
use crate::frame::box_mean::box_mean;

/// Lowest and highest enlargement of the search.
const SCALES: (f64, f64) = (0.45, 2.25);
/// Ratio of successive enlargements.
const SCALE_STEP: f64 = 1.006;
/// Largest rotation of the search to each side, in degrees.
const MAX_ANGLE: f64 = 16.0;
/// Step of the rotation in degrees.
const ANGLE_STEP: f64 = 0.35;
/// Radius, in bins, of the neighbourhood with whose mean power a bin is compared.
const NEIGHBOURHOOD_RADIUS: usize = 12;
/// Limit of a bin's power relative to its neighbourhood.
const MAX_RELATIVE_POWER: f32 = 8.0;
/// Number of coarse geometries that are refined.
const CANDIDATES: usize = 48;
/// Number of refined geometries whose shift is estimated.
const SHIFT_CANDIDATES: usize = 5;
/// Least agreement of the waves' phases, in standard deviations without a watermark. The best shift
/// of a picture without a watermark reaches about 5.
const MIN_AGREEMENT: f64 = 5.0;
/// Range of frequencies, in cycles per canonical pixel of the received picture, in which waves are
/// evaluated.
const RECEIVED_BAND: (f64, f64) = (0.02, 0.42);
/// Number of waves with a peak that refinement of a geometry needs.
const MIN_PEAKS: usize = 5;

/// Geometries that a [`Decoder`](super::Decoder) searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Whole, upright pictures at any size, and the geometry of the last watermark found.
    WholeFrame,
    /// Also pictures that were cropped, enlarged, reduced or letterboxed.
    Scale,
    /// Also pictures that were rotated by up to 16 degrees.
    Full,
}

/// What the coarse search needs of a wave.
struct CoarseWave {
    /// Frequency in cycles per canonical pixel.
    x: f32,
    y: f32,
    /// Radial frequency.
    radius: f32,
    is_steady: bool,
}

impl CoarseWave {
    fn new(wave: &Wave) -> Self {
        let (x, y) = wave.frequency();
        Self { x, y, radius: x.hypot(y), is_steady: wave.is_steady() }
    }
}

/// Power spectrum by rows, frequency 0 in row 0 and column 0.
struct PowerSpectrum {
    /// Power relative to its neighbourhood.
    bins: Array2<f32>,
    /// `bins` averaged over 3x3 bins.
    smoothed: Array2<f32>,
    /// Mean power of the neighbourhood of each bin.
    neighbourhood: Array2<f32>,
}

impl PowerSpectrum {
    fn new(mut bins: Array2<f32>) -> Self {
        let (mut rows, mut neighbourhood) = (Array2::zeros(bins.dim()), Array2::zeros(bins.dim()));
        box_mean(&bins, NEIGHBOURHOOD_RADIUS, &mut rows, &mut neighbourhood);
        bins.zip_mut_with(&neighbourhood, |v, mean| {
            *v = (*v / mean.max(1e-9)).min(MAX_RELATIVE_POWER)
        });
        let mut smoothed = Array2::zeros(bins.dim());
        box_mean(&bins, 1, &mut rows, &mut smoothed);
        Self { bins, smoothed, neighbourhood }
    }
}

/// Estimates geometries from the pilot waves in residuals.
pub(super) struct Synchroniser {
    /// Sum of all residuals.
    total: Array2<f32>,
    /// Its spectrum.
    spectrum: Vec<Complex32>,
    /// Power of the sum of all residuals, in which steady waves add up.
    power_of_sum: PowerSpectrum,
    /// Sum of the power of all groups of residuals, for waves whose sign depends on the hop.
    sum_of_power: PowerSpectrum,
}

impl Synchroniser {
    /// Computes the power spectra; returns `None` without residuals.
    ///
    /// The spectrum for the waves that depend on the hop is needed for a search only.
    pub(super) fn new(residuals: &[&Array2<f32>], search: Search, fft: &mut Fft2) -> Option<Self> {
        let mut total = Array2::zeros(residuals.first()?.dim());
        residuals.iter().for_each(|residual| total += *residual);
        let mut spectrum = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
        add_folded(&total, &mut spectrum, |to, v| to.re += v);
        fft.forward(&mut spectrum);
        let mut power = Array2::zeros((PLANE_HEIGHT, PLANE_WIDTH));
        add_power(&spectrum, &mut power);
        let power_of_sum = PowerSpectrum::new(power);
        let residuals = if search == Search::WholeFrame { &[] } else { residuals };
        let sum_of_power = PowerSpectrum::new(summed_power(residuals, fft));
        Some(Self { total, spectrum, power_of_sum, sum_of_power })
    }

    /// Returns the agreement of the waves' phases with those of a whole picture, in standard
    /// deviations without a watermark. The picture is upright, or `mirrored` across and down.
    pub(super) fn agreement_of_whole_picture(&self, waves: &[Wave], mirrored: [bool; 2]) -> f64 {
        let (rows, columns) = self.total.dim();
        let (mut sum, mut count) = (0.0, 0);
        for wave in waves.iter().filter(|wave| wave.is_steady()) {
            let (mut x, mut y) = wave.cycles;
            // Mirrored samples have the spectrum of the negative frequency, shifted by their count.
            let mut shift = 0.0;
            if mirrored[0] {
                shift += f64::from(x) * (columns - 1) as f64 / PLANE_WIDTH as f64;
                x = -x;
            }
            if mirrored[1] {
                shift += f64::from(y) * (rows - 1) as f64 / PLANE_HEIGHT as f64;
                y = -y;
            }
            let noise_power = 0.5 * at_periodic(&self.power_of_sum.neighbourhood, x, y);
            let phase = wave.phase + (TAU * shift) as f32;
            let turned = self.spectrum[bin(x, y)] * Complex32::from_polar(1.0, -phase);
            sum += f64::from(turned.re / noise_power.max(1e-9).sqrt());
            count += 1;
        }
        sum / (0.5 * f64::from(count)).sqrt().max(1.0)
    }

    /// Returns the synchroniser of the transposed picture, for
    /// [`Self::agreement_of_whole_picture`].
    pub(super) fn transposed(&self, fft: &mut Fft2) -> Self {
        let total = self.total.t().as_standard_layout().into_owned();
        Self::new(&[&total], Search::WholeFrame, fft).expect("there is a residual")
    }

    /// Returns the geometries without shift at which the pilot waves stand out most, with the power
    /// of their peaks, the best first.
    pub(super) fn linear_candidates(&self, waves: &[Wave], search: Search) -> Vec<(f32, Geometry)> {
        let coarse: Vec<_> = waves.iter().map(CoarseWave::new).collect();
        let mut scores = Vec::new();
        let angles = if search == Search::Full { (MAX_ANGLE / ANGLE_STEP) as i32 } else { 0 };
        let scales = ((SCALES.1 / SCALES.0).ln() / SCALE_STEP.ln()) as i32;
        for i in 0..=scales {
            let scale = SCALES.0 * SCALE_STEP.powi(i);
            for j in -angles..=angles {
                let angle = f64::from(j) * ANGLE_STEP;
                scores.push((self.score(&coarse, scale, angle), scale, angle));
            }
        }
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut candidates: Vec<(f64, f64)> = Vec::new();
        for (_, scale, angle) in scores {
            let near =
                |(s, a): &(f64, f64)| (s / scale).ln().abs() < 0.015 && (a - angle).abs() < 1.0;
            if !candidates.iter().any(near) {
                candidates.push((scale, angle));
            }
            if candidates.len() == CANDIDATES {
                break;
            }
        }
        let refined = candidates
            .into_iter()
            .map(|(scale, angle)| self.refine(waves, self.similarity(scale, angle)));
        let mut refined: Vec<_> =
            refined.map(|geometry| (self.peak_power(waves, &geometry), geometry)).collect();
        refined.sort_by(|a, b| b.0.total_cmp(&a.0));
        refined.truncate(SHIFT_CANDIDATES);
        refined
    }

    /// Returns the geometry of an enlargement and a clockwise rotation about the centre, without
    /// shift.
    fn similarity(&self, scale: f64, degrees: f64) -> Geometry {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (height, width) = self.total.dim();
        Geometry {
            matrix: [[cos / scale, sin / scale], [-sin / scale, cos / scale]],
            centre: [width as f64 / 2.0, height as f64 / 2.0],
            origin: [0.0; 2],
        }
    }

    /// Returns the power spectrum in which a wave is evaluated.
    fn spectrum_for(&self, wave: &Wave) -> &PowerSpectrum {
        if wave.is_steady() { &self.power_of_sum } else { &self.sum_of_power }
    }

    /// Returns the position of a wave in the spectrum in bins, or `None` if its frequency is
    /// outside of [`RECEIVED_BAND`].
    fn bin_of(&self, wave: &Wave, geometry: &Geometry) -> Option<[f64; 2]> {
        let (x, y) = geometry.received_frequency(wave.frequency());
        let radius = x.hypot(y);
        (RECEIVED_BAND.0..RECEIVED_BAND.1)
            .contains(&radius)
            .then_some([x * PLANE_WIDTH as f64, y * PLANE_HEIGHT as f64])
    }

    /// Returns the coarse score of an enlargement and a clockwise rotation: power at the waves,
    /// normalised by their number. This is [`Self::bin_of`] and [`Self::similarity`] in short: it
    /// runs for many thousand geometries.
    fn score(&self, waves: &[CoarseWave], scale: f64, degrees: f64) -> f32 {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (sin, cos) = ((sin / scale) as f32, (cos / scale) as f32);
        let band = [RECEIVED_BAND.0, RECEIVED_BAND.1].map(|limit| (limit * scale) as f32);
        let spectra = [&self.sum_of_power, &self.power_of_sum]
            .map(|spectrum| spectrum.smoothed.as_slice().expect("own planes are contiguous"));
        let (mut sum, mut count) = (0.0, 0);
        for wave in waves {
            if wave.radius < band[0] || wave.radius >= band[1] {
                continue;
            }
            let x = (cos * wave.x - sin * wave.y) * PLANE_WIDTH as f32;
            let y = (sin * wave.x + cos * wave.y) * PLANE_HEIGHT as f32;
            // An offset instead of a rounding function, which is slow; both are far below it.
            let nearest = |v: f32, period: usize| (v + period as f32 + 0.5) as usize & (period - 1);
            let at = nearest(y, PLANE_HEIGHT) * PLANE_WIDTH + nearest(x, PLANE_WIDTH);
            sum += spectra[usize::from(wave.is_steady)][at] - 1.0;
            count += 1;
        }
        if count == 0 { 0.0 } else { sum / (count as f32).sqrt() }
    }

    /// Returns the summed power, above average, of the peaks at the waves of a refined geometry.
    fn peak_power(&self, waves: &[Wave], geometry: &Geometry) -> f32 {
        let bins = waves.iter().filter_map(|wave| Some((wave, self.bin_of(wave, geometry)?)));
        bins.map(|(wave, bin)| at_nearest(&self.spectrum_for(wave).bins, bin) - 1.0).sum()
    }

    /// Fits the matrix to the positions of the peaks near the waves, by least squares weighted with
    /// the height of the peaks.
    fn refine(&self, waves: &[Wave], mut geometry: Geometry) -> Geometry {
        for radius in [2, 2, 1] {
            let mut moments = [[0.0; 2]; 2];
            let mut cross = [[0.0; 2]; 2];
            let mut count = 0;
            for wave in waves {
                let Some(bin) = self.bin_of(wave, &geometry) else { continue };
                let Some((peak, height)) = peak(&self.spectrum_for(wave).bins, bin, radius) else {
                    continue;
                };
                let f = wave.frequency();
                let f = [f64::from(f.0), f64::from(f.1)];
                let received = [peak[0] / PLANE_WIDTH as f64, peak[1] / PLANE_HEIGHT as f64];
                for i in 0..2 {
                    for k in 0..2 {
                        moments[i][k] += height * f[i] * f[k];
                        cross[i][k] += height * f[i] * received[k];
                    }
                }
                count += 1;
            }
            let determinant = moments[0][0] * moments[1][1] - moments[0][1] * moments[1][0];
            if count < MIN_PEAKS || determinant.abs() < 1e-12 {
                break;
            }
            // A peak is at matrix^T f for the frequency f of its wave, so matrix = moments^-1
            // cross.
            let [[a, b], [c, d]] = moments;
            let inverse = [[d, -b], [-c, a]].map(|row| row.map(|v| v / determinant));
            geometry.matrix = std::array::from_fn(|i| {
                std::array::from_fn(|k| inverse[i][0] * cross[0][k] + inverse[i][1] * cross[1][k])
            });
        }
        geometry
    }

    /// Estimates the shift of a geometry from the phases of the steady waves.
    ///
    /// Returns the agreement of the phases, in standard deviations without a watermark, and the
    /// geometry with its shift; `None` if they do not agree.
    pub(super) fn estimate_shift(
        &self,
        waves: &[Wave],
        mut geometry: Geometry,
        fft: &mut Fft2,
    ) -> Option<(f64, Geometry)> {
        let steady = waves.iter().filter(|wave| wave.is_steady());
        // Amplitude of each wave over that of the noise, with the wave's phase subtracted.
        let received: Vec<_> = steady
            .filter_map(|wave| Some((wave, self.bin_of(wave, &geometry)?)))
            .map(|(wave, bin)| {
                let frequency = geometry.received_frequency(wave.frequency());
                let amplitude = wave_amplitude(&self.total, frequency, geometry.centre);
                // `PowerSpectrum` sums a frequency and its opposite, hence the half.
                let noise_power = 0.5 * at_nearest(&self.power_of_sum.neighbourhood, bin);
                let normalised = amplitude
                    * Complex32::from_polar(1.0 / noise_power.max(1e-9).sqrt(), -wave.phase);
                (wave, normalised)
            })
            .collect();
        let mut plane = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
        for (wave, value) in &received {
            let (x, y) = wave.cycles;
            plane[y.rem_euclid(PLANE_HEIGHT as i32) as usize * PLANE_WIDTH
                + x.rem_euclid(PLANE_WIDTH as i32) as usize] += value;
        }
        // The transform evaluates, for all integer shifts, the sum of the waves with their phases
        // corrected for the shift.
        fft.forward(&mut plane);
        let best = (0..plane.len())
            .max_by(|a, b| plane[*a].re.total_cmp(&plane[*b].re))
            .expect("the plane has samples");
        let sum = |shift: [f64; 2]| -> f64 {
            let agreements = received.iter().map(|(wave, value)| {
                let (fx, fy) = wave.frequency();
                let phase = -TAU * (f64::from(fx) * shift[0] + f64::from(fy) * shift[1]);
                f64::from((value * Complex32::from_polar(1.0, phase as f32)).re)
            });
            agreements.sum()
        };
        let mut shift = [(best / PLANE_HEIGHT) as f64, (best % PLANE_HEIGHT) as f64];
        let mut step = 0.5;
        while step > 0.01 {
            let current = sum(shift);
            let near = [[step, 0.0], [-step, 0.0], [0.0, step], [0.0, -step]];
            match near
                .map(|d| [shift[0] + d[0], shift[1] + d[1]])
                .into_iter()
                .find(|s| sum(*s) > current)
            {
                Some(better) => shift = better,
                None => step *= 0.5,
            }
        }
        geometry.origin = shift;
        let agreement = sum(shift) / (0.5 * received.len() as f64).sqrt().max(1.0);
        (agreement >= MIN_AGREEMENT).then_some((agreement, geometry))
    }
}

/// Returns the agreement of the residuals of a group with the pilot of each hop label, in standard
/// deviations without a watermark.
pub(super) fn label_scores(
    waves: &[Wave],
    residual_sum: &Array2<f32>,
    geometry: &Geometry,
) -> [f32; HOPS] {
    let (mut scores, mut power) = ([0.0; HOPS], 0.0);
    for wave in waves.iter().filter(|wave| !wave.is_steady()) {
        let (fx, fy) = wave.frequency();
        let at = f64::from(fx) * geometry.origin[0] + f64::from(fy) * geometry.origin[1];
        let expected_phase = wave.phase + (TAU * at) as f32;
        let received = geometry.received_frequency((fx, fy));
        let amplitude = wave_amplitude(residual_sum, received, geometry.centre);
        let agreement = (amplitude * Complex32::from_polar(1.0, -expected_phase)).re;
        scores.iter_mut().zip(wave.signs).for_each(|(score, sign)| *score += sign * agreement);
        power += 0.5 * amplitude.norm_sqr();
    }
    scores.map(|score| score / power.max(1e-12).sqrt())
}

/// Returns the label with the highest score.
pub(super) fn best_label(scores: &[f32; HOPS]) -> usize {
    (0..HOPS).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).expect("there is at least one label")
}

/// Returns the position of the highest bin within `radius` bins of `bin`, to a fraction of a bin,
/// and its height above the neighbourhood's mean; `None` if it does not stand out.
fn peak(power: &Array2<f32>, bin: [f64; 2], radius: i32) -> Option<([f64; 2], f64)> {
    let (x0, y0) = (bin[0].round() as i32, bin[1].round() as i32);
    let near =
        (-radius..=radius).flat_map(|dy| (-radius..=radius).map(move |dx| (x0 + dx, y0 + dy)));
    let (x, y) =
        near.max_by(|a, b| at_periodic(power, a.0, a.1).total_cmp(&at_periodic(power, b.0, b.1)))?;
    let height = at_periodic(power, x, y);
    if height < 2.5 {
        return None;
    }
    // Vertex of the parabola through three bins.
    let vertex = |before: f32, after: f32| {
        let curve = before - 2.0 * height + after;
        if curve < -1e-6 {
            f64::from((0.5 * (before - after) / curve).clamp(-0.5, 0.5))
        } else {
            0.0
        }
    };
    let dx = vertex(at_periodic(power, x - 1, y), at_periodic(power, x + 1, y));
    let dy = vertex(at_periodic(power, x, y - 1), at_periodic(power, x, y + 1));
    Some(([f64::from(x) + dx, f64::from(y) + dy], f64::from(height) - 1.0))
}

/// Returns the summed power spectrum of planes.
///
/// A plane that is larger than the canonical plane, as one of a portrait picture, is folded at its
/// period: that preserves the spectrum at the frequencies of the bins.
fn summed_power(planes: &[&Array2<f32>], fft: &mut Fft2) -> Array2<f32> {
    let mut power = Array2::<f32>::zeros((PLANE_HEIGHT, PLANE_WIDTH));
    let mut bins = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
    // One complex FFT transforms two real planes. Their summed power is symmetric, so it can be
    // read off the power at each frequency and its opposite.
    for pair in planes.chunks(2) {
        bins.fill(Complex32::default());
        for (i, plane) in pair.iter().enumerate() {
            add_folded(plane, &mut bins, |to, v| if i == 0 { to.re += v } else { to.im += v });
        }
        fft.forward(&mut bins);
        add_power(&bins, &mut power);
    }
    power
}

/// Adds a plane, folded at the period of the canonical plane, to the samples of `to` by `add`.
fn add_folded(plane: &Array2<f32>, to: &mut [Complex32], mut add: impl FnMut(&mut Complex32, f32)) {
    for (y, row) in plane.rows().into_iter().enumerate() {
        let to = &mut to[y % PLANE_HEIGHT * PLANE_WIDTH..][..PLANE_WIDTH];
        row.iter().enumerate().for_each(|(x, v)| add(&mut to[x % PLANE_WIDTH], *v));
    }
}

/// Adds the power of a spectrum at each frequency and its opposite.
fn add_power(spectrum: &[Complex32], power: &mut Array2<f32>) {
    for ((y, x), to) in power.indexed_iter_mut() {
        *to += spectrum[x * PLANE_HEIGHT + y].norm_sqr()
            + spectrum[bin(-(x as i32), -(y as i32))].norm_sqr();
    }
}

/// Returns the value of a periodic plane at the integer position nearest to `(x, y)`.
fn at_nearest(plane: &Array2<f32>, [x, y]: [f64; 2]) -> f32 {
    at_periodic(plane, x.round() as i32, y.round() as i32)
}

/// Returns the value at a position of a periodic plane.
fn at_periodic(plane: &Array2<f32>, x: i32, y: i32) -> f32 {
    // The periods are powers of two, so that masks replace divisions.
    plane[[y as usize & (PLANE_HEIGHT - 1), x as usize & (PLANE_WIDTH - 1)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the power at 40 and 9 cycles of a wave that fills the rows `rows` of a plane of
    /// `height` rows and `width` columns.
    fn power_of_wave(width: usize, height: usize, rows: std::ops::Range<usize>) -> f32 {
        let plane = Array2::from_shape_fn((height, width), |(y, x)| {
            let cycles =
                40.0 * x as f32 / PLANE_WIDTH as f32 + 9.0 * y as f32 / PLANE_HEIGHT as f32;
            if rows.contains(&y) { (TAU as f32 * cycles).cos() } else { 0.0 }
        });
        summed_power(&[&plane], &mut Fft2::new())[[9, 40]]
    }

    #[test]
    fn all_rows_of_a_portrait_picture_count() {
        let whole = power_of_wave(360, 640, 0..640);
        // Power grows with the square of the number of rows.
        let relative = |rows: std::ops::Range<usize>| power_of_wave(360, 640, rows) / whole;
        assert!((relative(0..512) - 0.64).abs() < 0.05, "{}", relative(0..512));
        assert!((relative(512..640) - 0.04).abs() < 0.02, "{}", relative(512..640));
    }
}
