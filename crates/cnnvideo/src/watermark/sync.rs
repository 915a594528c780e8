// SPDX-License-Identifier: MIT OR Apache-2.0

//! Geometric synchronisation: estimates scale, rotation and shift of a received picture from the
//! pilot.

use std::{f64::consts::TAU, sync::OnceLock};

use ndarray::Array2;
use rayon::prelude::*;
use rustfft::num_complex::Complex32;

use super::{
    geometry::{Geometry, wave_amplitude},
    pattern::{HOPS, Wave},
    plane::{Fft2, PLANE_HEIGHT, PLANE_WIDTH, bin, fold},
    polar::PolarMap,
    power::{PowerSpectrum, at_nearest, at_periodic, peak, summed_power, symmetric},
    search::{Linear, Search},
};

/// Range of frequencies, in cycles per canonical pixel of the received picture, in which waves are
/// evaluated.
pub(super) const RECEIVED_BAND: (f64, f64) = (0.02, 0.42);
/// Number of waves with a peak that refinement of a geometry needs.
const MIN_PEAKS: usize = 5;

/// Estimates geometries from the pilot waves in residuals.
pub(super) struct Synchroniser {
    /// Sum of all residuals.
    total: Array2<f32>,
    /// Its spectrum.
    spectrum: Vec<Complex32>,
    /// Power of the sum of all residuals, in which steady waves add up.
    pub(super) power_of_sum: PowerSpectrum,
    /// Sum of the power of all groups of residuals, for waves whose sign depends on the hop; for a
    /// search only.
    sum_of_power: Option<PowerSpectrum>,
    /// The power on a log-polar grid, created when it is needed.
    pub(super) polar: OnceLock<PolarMap>,
}

impl Synchroniser {
    /// Computes the power spectra; returns `None` without residuals.
    pub(super) fn new(residuals: &[&Array2<f32>], search: Search, fft: &mut Fft2) -> Option<Self> {
        let mut total = Array2::zeros(residuals.first()?.dim());
        residuals.iter().for_each(|residual| total += *residual);
        let mut spectrum = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
        fold(&total.view(), |at, v| spectrum[at].re += v);
        fft.forward(&mut spectrum);
        let of_sum = symmetric(&spectrum.iter().map(Complex32::norm_sqr).collect::<Vec<_>>());
        let searched = (search != Search::WholeFrame).then(|| summed_power(residuals, fft));
        let (power_of_sum, sum_of_power) =
            rayon::join(|| PowerSpectrum::new(of_sum), || searched.map(PowerSpectrum::new));
        Some(Self { total, spectrum, power_of_sum, sum_of_power, polar: OnceLock::new() })
    }

    /// Returns the sum of the power of all groups.
    ///
    /// # Panics
    ///
    /// Panics without a search, for which it is not computed.
    pub(super) fn sum_of_power(&self) -> &PowerSpectrum {
        self.sum_of_power.as_ref().expect("only searches use the power of groups")
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

    /// Returns the number of rows and columns of the pictures on the canonical raster.
    pub(super) fn dim(&self) -> (usize, usize) {
        self.total.dim()
    }

    /// Returns the geometry of a linear map about the centre of the picture, without shift.
    pub(super) fn about_centre(&self, matrix: Linear) -> Geometry {
        let (height, width) = self.dim();
        Geometry { matrix, centre: [width as f64 / 2.0, height as f64 / 2.0], origin: [0.0; 2] }
    }

    /// Returns the power spectrum in which a wave is evaluated.
    fn spectrum_for(&self, wave: &Wave) -> &PowerSpectrum {
        if wave.is_steady() { &self.power_of_sum } else { self.sum_of_power() }
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

    /// Returns the summed power, above average, of the peaks at the waves of a refined geometry.
    pub(super) fn peak_power(&self, waves: &[Wave], geometry: &Geometry) -> f32 {
        let bins = waves.iter().filter_map(|wave| Some((wave, self.bin_of(wave, geometry)?)));
        bins.map(|(wave, bin)| at_nearest(&self.spectrum_for(wave).bins, bin) - 1.0).sum()
    }

    /// Fits the matrix to the positions of the peaks near the waves, by least squares weighted with
    /// the height of the peaks.
    pub(super) fn refine(&self, waves: &[Wave], mut geometry: Geometry) -> Geometry {
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
    /// geometry with its shift.
    pub(super) fn estimate_shift(
        &self,
        waves: &[Wave],
        mut geometry: Geometry,
        fft: &mut Fft2,
    ) -> (f64, Geometry) {
        let steady = waves.par_iter().filter(|wave| wave.is_steady());
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
        (agreement, geometry)
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
