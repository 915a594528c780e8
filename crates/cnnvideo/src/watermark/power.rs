// SPDX-License-Identifier: MIT OR Apache-2.0

//! Power spectra of residuals, in which the pilot waves are peaks.

use ndarray::Array2;
use rustfft::num_complex::Complex32;

use super::plane::{Fft2, PLANE_HEIGHT, PLANE_WIDTH, bin, fold, transpose};
use crate::frame::box_mean::box_mean;

/// Radius, in bins, of the neighbourhood with whose mean power a bin is compared.
const NEIGHBOURHOOD_RADIUS: usize = 12;
/// Limit of a bin's power relative to its neighbourhood.
const MAX_RELATIVE_POWER: f32 = 8.0;
/// Limit of the relative power in [`PowerSpectrum::pooled`].
const MAX_POOLED_POWER: f32 = 20.0;
/// Width and height of the spectrum at a low resolution.
pub(super) const POOLED_WIDTH: usize = PLANE_WIDTH / 8;
pub(super) const POOLED_HEIGHT: usize = PLANE_HEIGHT / 4;

/// Power spectrum by rows, frequency 0 in row 0 and column 0.
pub(super) struct PowerSpectrum {
    /// Power relative to its neighbourhood.
    pub bins: Array2<f32>,
    /// `bins` averaged over 3x3 bins.
    pub smoothed: Array2<f32>,
    /// Maximum of the relative power over 16x8 bins, at every eighth column and fourth row.
    pub pooled: Array2<f32>,
    /// Mean power of the neighbourhood of each bin.
    pub neighbourhood: Array2<f32>,
}

impl PowerSpectrum {
    pub(super) fn new(mut bins: Array2<f32>) -> Self {
        let (mut rows, mut neighbourhood) = (Array2::zeros(bins.dim()), Array2::zeros(bins.dim()));
        box_mean(&bins, NEIGHBOURHOOD_RADIUS, &mut rows, &mut neighbourhood);
        bins.zip_mut_with(&neighbourhood, |v, mean| *v /= mean.max(1e-9));
        let pooled = pool(&bins);
        bins.mapv_inplace(|v| v.min(MAX_RELATIVE_POWER));
        let mut smoothed = Array2::zeros(bins.dim());
        box_mean(&bins, 1, &mut rows, &mut smoothed);
        Self { bins, smoothed, pooled, neighbourhood }
    }
}

/// Returns [`PowerSpectrum::pooled`] of the relative power.
fn pool(bins: &Array2<f32>) -> Array2<f32> {
    let [down, across] = [PLANE_HEIGHT / POOLED_HEIGHT, PLANE_WIDTH / POOLED_WIDTH];
    let mut blocks = Array2::<f32>::zeros((POOLED_HEIGHT, POOLED_WIDTH));
    for (y, row) in bins.rows().into_iter().enumerate() {
        let row = row.to_slice().expect("own planes are contiguous");
        for (to, bins) in blocks.row_mut(y / down).iter_mut().zip(row.chunks_exact(across)) {
            *to = bins.iter().fold(*to, |max, v| max.max(v.min(MAX_POOLED_POWER)));
        }
    }
    // Blocks before and after a frequency, so that it is in the middle.
    Array2::from_shape_fn(blocks.dim(), |(y, x)| {
        let (above, left) = (y.wrapping_sub(1) % POOLED_HEIGHT, x.wrapping_sub(1) % POOLED_WIDTH);
        let both = |y: usize| blocks[[y, left]].max(blocks[[y, x]]);
        both(above).max(both(y))
    })
}

/// Returns the position of the highest bin within `radius` bins of `bin`, to a fraction of a bin,
/// and its height above the neighbourhood's mean; `None` if it does not stand out.
pub(super) fn peak(power: &Array2<f32>, bin: [f64; 2], radius: i32) -> Option<([f64; 2], f64)> {
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
pub(super) fn summed_power(planes: &[&Array2<f32>], fft: &mut Fft2) -> Array2<f32> {
    let mut power = vec![0.0; PLANE_WIDTH * PLANE_HEIGHT];
    let mut bins = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
    // One complex FFT transforms two real planes. Their summed power is symmetric, so it can be
    // read off the power at each frequency and its opposite.
    for pair in planes.chunks(2) {
        bins.fill(Complex32::default());
        for (i, plane) in pair.iter().enumerate() {
            fold(&plane.view(), |at, v| if i == 0 { bins[at].re += v } else { bins[at].im += v });
        }
        fft.forward(&mut bins);
        power.iter_mut().zip(&bins).for_each(|(to, v)| *to += v.norm_sqr());
    }
    symmetric(&power)
}

/// Returns, by rows, the sum of a power spectrum by columns at each frequency and its opposite.
pub(super) fn symmetric(power: &[f32]) -> Array2<f32> {
    let mut both = vec![0.0; power.len()];
    for (x, to) in both.chunks_exact_mut(PLANE_HEIGHT).enumerate() {
        let x = x as i32;
        for (y, to) in (0..).zip(to) {
            *to = power[bin(x, y)] + power[bin(-x, -y)];
        }
    }
    let mut rows = Array2::zeros((PLANE_HEIGHT, PLANE_WIDTH));
    transpose(&both, rows.as_slice_mut().expect("own planes are contiguous"), PLANE_HEIGHT);
    rows
}

/// Returns the value of a periodic plane at the integer position nearest to `(x, y)`.
pub(super) fn at_nearest(plane: &Array2<f32>, [x, y]: [f64; 2]) -> f32 {
    at_periodic(plane, x.round() as i32, y.round() as i32)
}

/// Returns the value at a position of a periodic plane.
pub(super) fn at_periodic(plane: &Array2<f32>, x: i32, y: i32) -> f32 {
    // The periods are powers of two, so that masks replace divisions.
    plane[[y as usize & (PLANE_HEIGHT - 1), x as usize & (PLANE_WIDTH - 1)]]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

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
