// SPDX-License-Identifier: MIT OR Apache-2.0

//! Filter for the carriers: whitens residuals by their own spectrum and keeps the carriers' band.

use std::sync::OnceLock;

use ndarray::Array2;
use rayon::prelude::*;
use rustfft::num_complex::Complex32;

use super::{
    geometry::Geometry,
    pattern::{Wave, carrier_amplitude},
    plane::{Fft2, PLANE_HEIGHT, PLANE_WIDTH, bin, frequency},
};
use crate::frame::box_mean::box_mean;

/// Radius, in bins of the spectrum, over which the noise power is averaged for whitening.
const WHITENING_RADIUS: usize = 6;
/// Bins around each pilot wave, to each side, that are excluded from the carriers' spectrum.
const PILOT_NOTCH_RADIUS: i32 = 2;

/// Upper frequency limits, in cycles per canonical pixel, at which decoding is tried in this order.
/// Strong blur and compression destroy high frequencies or even invert their sign.
pub(super) const CUTOFF_FREQUENCIES: [f32; 2] = [0.5, 0.16];

/// Spectra of planes, and the filter for the carriers.
pub(super) struct Spectra {
    /// Number of planes.
    count: usize,
    /// Spectra of two planes each, as real and imaginary part, stored by columns.
    pairs: Vec<Vec<Complex32>>,
    /// Gain per bin, stored like the spectra: band of the carriers over the local noise power.
    gains: Array2<f32>,
}

impl Spectra {
    /// Computes the spectra of received planes, resampled to the canonical plane, without the bins
    /// of the waves `notched`.
    pub(super) fn new(
        planes: &[&Array2<f32>],
        geometry: &Geometry,
        notched: &[Wave],
        fft: &Fft2,
    ) -> Self {
        // One complex FFT transforms two real planes.
        let transform = |fft: &mut Fft2, pair: &[&Array2<f32>]| {
            let mut bins = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
            for (i, plane) in pair.iter().enumerate() {
                geometry.resample_to_plane(&plane.view(), |at, v| {
                    if i == 0 { bins[at].re += v } else { bins[at].im += v }
                });
            }
            fft.forward(&mut bins);
            notched.iter().for_each(|wave| notch(&mut bins, wave));
            bins
        };
        let pairs = planes.par_chunks(2).with_min_len(pairs_per_thread(planes.len()));
        let pairs: Vec<_> = pairs.map_init(|| fft.clone(), transform).collect();
        let mut power = Array2::<f32>::zeros((PLANE_WIDTH, PLANE_HEIGHT));
        for bins in &pairs {
            power.iter_mut().zip(bins).for_each(|(to, v)| *to += v.norm_sqr());
        }
        let mut rows = Array2::zeros(power.dim());
        let mut gains = Array2::zeros(power.dim());
        box_mean(&power, WHITENING_RADIUS, &mut rows, &mut gains);
        let floor = gains.iter().sum::<f32>() / gains.len() as f32 * 1e-3;
        for (gain, (_, amplitude)) in gains.iter_mut().zip(band()) {
            *gain = amplitude / (*gain + floor).max(1e-9);
        }
        Self { count: planes.len(), pairs, gains }
    }

    /// Returns the samples of all planes, filtered for the carriers up to the frequency `cutoff`.
    pub(super) fn filtered(&self, cutoff: f32, fft: &Fft2) -> Vec<Vec<f32>> {
        let gains = self.gains.iter().zip(band());
        let gains: Vec<_> =
            gains.map(|(gain, (radius, _))| if *radius < cutoff { *gain } else { 0.0 }).collect();
        let filter = |fft: &mut Fft2, bins: &Vec<Complex32>| {
            let mut plane: Vec<_> = bins.iter().zip(&gains).map(|(v, gain)| v * gain).collect();
            fft.inverse(&mut plane);
            let real = plane.iter().map(|v| v.re).collect();
            [real, plane.iter().map(|v| v.im).collect()]
        };
        let pairs = self.pairs.par_iter().with_min_len(pairs_per_thread(self.count));
        let planes = pairs.map_init(|| fft.clone(), filter);
        let mut planes: Vec<Vec<f32>> = planes.flatten_iter().collect();
        planes.truncate(self.count);
        planes
    }
}

/// Returns the number of pairs of `planes` planes that a thread transforms: few threads share the
/// work, because each needs a buffer.
fn pairs_per_thread(planes: usize) -> usize {
    planes.div_ceil(2).div_ceil(rayon::current_num_threads())
}

/// Returns radial frequency and amplitude of the carriers in each bin, computed once.
fn band() -> &'static [(f32, f32)] {
    static BAND: OnceLock<Vec<(f32, f32)>> = OnceLock::new();
    BAND.get_or_init(|| {
        let frequencies = (0..PLANE_WIDTH * PLANE_HEIGHT).map(frequency);
        frequencies.map(|(x, y)| (x.hypot(y), carrier_amplitude(x, y))).collect()
    })
}

/// Clears the bins around a wave.
fn notch(bins: &mut [Complex32], wave: &Wave) {
    for dy in -PILOT_NOTCH_RADIUS..=PILOT_NOTCH_RADIUS {
        for dx in -PILOT_NOTCH_RADIUS..=PILOT_NOTCH_RADIUS {
            let (x, y) = (wave.cycles.0 + dx, wave.cycles.1 + dy);
            bins[bin(x, y)] = Complex32::default();
            bins[bin(-x, -y)] = Complex32::default();
        }
    }
}
