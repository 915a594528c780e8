// SPDX-License-Identifier: MIT OR Apache-2.0

//! Period of a texture, from its power spectrum.

use std::{f32::consts::TAU, sync::Arc};

use ndarray::{Array2, ArrayView2, s};
use rustfft::{Fft, FftPlanner, num_complex::Complex32};

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
                let waves = |n: usize| n.min(WINDOW - n) as f32;
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
    fn planes_without_texture_have_no_period() {
        assert_eq!(texture_period(&Array2::from_elem((200, 200), 7.0).view()), None);
        assert_eq!(texture_period(&grating(4.0, 0.0).slice(s![..100, ..]).view()), None);
    }
}
