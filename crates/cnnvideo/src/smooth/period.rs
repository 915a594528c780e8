// SPDX-License-Identifier: MIT OR Apache-2.0

//! Period of a texture, from its power spectrum: [`texture_period`] of a texture alone,
//! [`PeriodMeter`] of the textures in pictures.

use std::{f32::consts::TAU, sync::Arc};

use ndarray::{Array2, ArrayView2, s};
use rustfft::{Fft, FftPlanner, num_complex::Complex32};

use crate::frame::{Picture, Sample, luma::luma_row};

/// Side of the windows whose spectra are measured, in pixels.
const WINDOW: usize = 128;
/// Lowest spatial frequency that counts, in waves by window. A Hann window spreads the mean of the
/// plane over the frequencies below.
const MIN_WAVES: f32 = 2.0;

/// Returns the period of a texture in pixels: the reciprocal of the spectral centroid, which is the
/// mean of the logarithm of the spatial frequency, weighted by the power.
///
/// For a grating it is the period of the grating. `None` if `texture` is smaller than 128x128
/// pixels or constant.
pub fn texture_period(texture: &ArrayView2<'_, f32>) -> Option<f32> {
    let mut spectrum = WindowSpectrum::new();
    let (mut power_sum, mut log_sum) = (0.0f64, 0.0f64);
    spectrum.visit(texture, |frequency, power| {
        power_sum += f64::from(power);
        log_sum += f64::from(power) * f64::from(frequency.ln());
    });
    (power_sum > 1e-6).then(|| (-log_sum / power_sum).exp() as f32)
}

/// Number of bands of the radial spectrum in an octave.
const BANDS_PER_OCTAVE: usize = 2;
/// Number of octaves from [`MIN_WAVES`] to half a wave by pixel.
const OCTAVES: usize = 5;
/// Ratio of a band to those an octave below and above it from which on it is texture.
const MIN_PROMINENCE: f32 = 3.0;
/// Least standard deviation, in 8-bit units, of a window with texture.
const MIN_CONTRAST: f32 = 2.0;
/// Share of the windows that must have texture.
const MIN_SHARE: f32 = 0.05;

/// Finds the dominant period of the textures in pictures.
///
/// In the power spectrum of a picture without texture, power falls with the square of the frequency
/// or faster. A window has texture where one band stands out of those an octave below and above.
/// Periods from 2 to 32 pixels are found.
pub struct PeriodMeter {
    spectrum: WindowSpectrum,
    /// Number of windows by the band that stands out, and the sum of the logarithms of their
    /// frequencies.
    bands: [(f32, f32); BANDS_PER_OCTAVE * OCTAVES],
    /// Number of all windows.
    windows: f32,
}

impl Default for PeriodMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl PeriodMeter {
    /// Creates a meter that has measured nothing.
    pub fn new() -> Self {
        Self {
            spectrum: WindowSpectrum::new(),
            bands: [(0.0, 0.0); BANDS_PER_OCTAVE * OCTAVES],
            windows: 0.0,
        }
    }

    /// Returns the number of windows of a picture, none if it is smaller than 128x128 pixels.
    pub fn windows<T: Sample>(picture: &Picture<'_, T>) -> usize {
        let (width, height) = picture.size();
        (width / WINDOW) * (height / WINDOW)
    }

    /// Adds all windows of a picture.
    pub fn add_picture<T: Sample>(&mut self, picture: &Picture<'_, T>) {
        (0..Self::windows(picture)).for_each(|number| self.add_window(picture, number));
    }

    /// Adds one window of a picture. Earlier windows count less the more follow; after a thousand
    /// they hardly count.
    ///
    /// # Panics
    /// If the picture has no window of this number.
    pub fn add_window<T: Sample>(&mut self, picture: &Picture<'_, T>, number: usize) {
        assert!(number < Self::windows(picture), "the picture has no window {number}");
        let columns = picture.size().0 / WINDOW;
        let (left, top) = (number % columns * WINDOW, number / columns * WINDOW);
        let mut row = vec![0.0; picture.size().0];
        let mut window = Array2::zeros((WINDOW, WINDOW));
        for (y, mut to) in window.rows_mut().into_iter().enumerate() {
            luma_row(picture, top + y, &mut row);
            to.iter_mut().zip(&row[left..]).for_each(|(to, v)| *to = *v);
        }
        self.add(&window.view());
    }

    fn add(&mut self, window: &ArrayView2<'_, f32>) {
        const KEPT: f32 = 0.995;
        for (count, sum) in &mut self.bands {
            *count *= KEPT;
            *sum *= KEPT;
        }
        self.windows = self.windows * KEPT + 1.0;
        if window.std(0.0) < MIN_CONTRAST {
            return;
        }
        if let Some((band, log_frequency)) = self.prominent_band(window) {
            let (count, sum) = &mut self.bands[band];
            *count += 1.0;
            *sum += log_frequency;
        }
    }

    /// Returns the period in pixels that most windows with texture have; `None` if few have any.
    pub fn dominant(&self) -> Option<f32> {
        // Neighbouring bands count together, as a texture can lie between two.
        let around = |band: usize| {
            let near = &self.bands[band.saturating_sub(1)..(band + 2).min(self.bands.len())];
            near.iter().fold((0.0, 0.0), |(n, sum), band| (n + band.0, sum + band.1))
        };
        let (count, sum) = (0..self.bands.len()).map(around).max_by(|a, b| a.0.total_cmp(&b.0))?;
        (count >= MIN_SHARE * self.windows.max(1.0)).then(|| (-sum / count).exp())
    }

    /// Returns the band whose power density, times the square of its frequency, stands out most,
    /// and the logarithm of the frequency in it in waves by pixel.
    fn prominent_band(&self, window: &ArrayView2<'_, f32>) -> Option<(usize, f32)> {
        #[derive(Default, Clone, Copy)]
        struct Band {
            power: f32,
            count: f32,
            log_sum: f32,
        }
        let mut bands = [Band::default(); BANDS_PER_OCTAVE * OCTAVES];
        for ((v, u), value) in self.spectrum.transform(window).indexed_iter() {
            let radius = waves(u).hypot(waves(v));
            let band = ((radius / MIN_WAVES).log2() * BANDS_PER_OCTAVE as f32).floor();
            if (0.0..bands.len() as f32).contains(&band) {
                let band = &mut bands[band as usize];
                let power = value.norm_sqr() * radius * radius;
                band.power += power;
                band.count += 1.0;
                band.log_sum += power * (radius / WINDOW as f32).ln();
            }
        }
        let densities = bands.map(|band| band.power / band.count.max(1.0));
        let prominence = |band: usize| {
            let above = densities.get(band + BANDS_PER_OCTAVE).copied().unwrap_or(0.0);
            densities[band] / densities[band - BANDS_PER_OCTAVE].max(above).max(1e-3)
        };
        let band = (BANDS_PER_OCTAVE..densities.len())
            .max_by(|a, b| prominence(*a).total_cmp(&prominence(*b)))?;
        let near = &bands[band - 1..(band + 2).min(bands.len())];
        let (power, sum) = near
            .iter()
            .fold((0.0, 0.0), |(power, sum), band| (power + band.power, sum + band.log_sum));
        (prominence(band) > MIN_PROMINENCE).then(|| (band, sum / power))
    }
}

/// Returns the number of waves in a window of a row or column of its spectrum.
fn waves(n: usize) -> f32 {
    n.min(WINDOW - n) as f32
}

/// Power spectra of windows of a plane.
struct WindowSpectrum {
    fft: Arc<dyn Fft<f32>>,
    /// Hann window.
    taper: Vec<f32>,
}

impl WindowSpectrum {
    fn new() -> Self {
        let taper = (0..WINDOW)
            .map(|i| 0.5 - 0.5 * (TAU * (i as f32 + 0.5) / WINDOW as f32).cos())
            .collect();
        Self { fft: FftPlanner::new().plan_fft_forward(WINDOW), taper }
    }

    /// Calls `visit` with the spatial frequency in waves by pixel and the power of each component
    /// of each window, from [`MIN_WAVES`] to half a wave by pixel.
    fn visit(&mut self, plane: &ArrayView2<'_, f32>, mut visit: impl FnMut(f32, f32)) {
        let starts = |size: usize| (0..=size.saturating_sub(WINDOW)).step_by(WINDOW / 2);
        let (height, width) = plane.dim();
        if height < WINDOW || width < WINDOW {
            return;
        }
        for (y, x) in starts(height).flat_map(|y| starts(width).map(move |x| (y, x))) {
            let spectrum = self.transform(&plane.slice(s![y..y + WINDOW, x..x + WINDOW]));
            for ((v, u), value) in spectrum.indexed_iter() {
                let radius = waves(u).hypot(waves(v));
                if (MIN_WAVES..=0.5 * WINDOW as f32).contains(&radius) {
                    visit(radius / WINDOW as f32, value.norm_sqr());
                }
            }
        }
    }

    /// Returns the transposed spectrum of a window, whose mean is subtracted first.
    fn transform(&self, window: &ArrayView2<'_, f32>) -> Array2<Complex32> {
        let mean = window.mean().expect("a window has pixels");
        let mut rows = Array2::from_shape_fn((WINDOW, WINDOW), |(y, x)| {
            Complex32::from((window[[y, x]] - mean) * self.taper[x] * self.taper[y])
        });
        for _ in 0..2 {
            self.fft.process(rows.as_slice_mut().expect("the array is contiguous"));
            rows = rows.reversed_axes().as_standard_layout().into_owned();
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grating(period: f32, angle: f32) -> Array2<f32> {
        let (sin, cos) = angle.sin_cos();
        Array2::from_shape_fn((200, 300), |(y, x)| {
            90.0 + 20.0 * (TAU * (x as f32 * cos + y as f32 * sin) / period).sin()
        })
    }

    #[test]
    fn period_of_gratings_is_theirs() {
        for period in [3.0, 5.5, 12.0, 24.0] {
            for angle in [0.0, 0.4, 1.2] {
                let measured = texture_period(&grating(period, angle).view()).unwrap();
                assert!((measured / period - 1.0).abs() < 0.05, "{period}: {measured}");
            }
        }
    }

    #[test]
    fn period_of_mixtures_lies_between() {
        let mixture = grating(4.0, 0.3) + grating(16.0, 1.0);
        let measured = texture_period(&mixture.view()).unwrap();
        assert!((measured / 8.0 - 1.0).abs() < 0.1, "{measured}");
    }

    #[test]
    fn dominant_period_is_that_of_the_texture_over_structure() {
        // Blurred edges, and texture in a third of the windows.
        let structure = |x: f32| 20.0 * ((x - 64.0) / 9.0).tanh() + 110.0;
        for period in [5.0f32, 9.0, 17.0] {
            let mut meter = PeriodMeter::new();
            for number in 0..12 {
                let amplitude = if number % 3 == 0 { 12.0 } else { 0.0 };
                let window = Array2::from_shape_fn((WINDOW, WINDOW), |(y, x)| {
                    let (x, y) = (x as f32, y as f32);
                    let wave = (TAU * (0.8 * x + 0.6 * y) / period).sin();
                    structure(x + 3.0 * number as f32) + amplitude * wave
                });
                meter.add(&window.view());
            }
            let measured = meter.dominant().unwrap();
            assert!((measured / period).log2().abs() < 0.2, "{period}: {measured}");
        }
    }

    #[test]
    fn pictures_without_texture_have_no_dominant_period() {
        let mut meter = PeriodMeter::new();
        assert_eq!(meter.dominant(), None);
        for number in 0..10 {
            let window = Array2::from_shape_fn((WINDOW, WINDOW), |(y, x)| {
                let edge = ((x as f32 + 0.3 * y as f32 - 70.0 - number as f32) / 2.0).tanh();
                128.0 + 50.0 * edge + 0.2 * y as f32
            });
            meter.add(&window.view());
        }
        assert_eq!(meter.dominant(), None);
    }

    #[test]
    fn planes_without_texture_have_no_period() {
        assert_eq!(texture_period(&Array2::from_elem((200, 200), 7.0).view()), None);
        assert_eq!(texture_period(&grating(4.0, 0.0).slice(s![..100, ..]).view()), None);
    }
}
