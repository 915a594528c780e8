// SPDX-License-Identifier: MIT OR Apache-2.0

//! The canonical plane, on which watermark patterns are made and detected whatever the size of a
//! picture.
//!
//! A picture is scaled to the area of 640x360 pixels with its aspect ratio kept, so that scaling a
//! picture does not change its watermark. The plane is periodic: patterns repeat with its size.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use rustfft::{Fft, FftPlanner, num_complex::Complex32};

use crate::frame::interpolate::catmull_rom_weights;

/// Period of the patterns horizontally, a power of two for the FFT.
pub(super) const PLANE_WIDTH: usize = 1024;
/// Period of the patterns vertically, a power of two for the FFT.
pub(super) const PLANE_HEIGHT: usize = 512;
/// Square root of the canonical area in pixels.
const CANONICAL_SIDE: f64 = 480.0;

/// Returns the number of canonical pixels per pixel of a picture.
pub(super) fn canonical_scale(width: usize, height: usize) -> f64 {
    CANONICAL_SIDE / ((width * height) as f64).sqrt()
}

/// Two-dimensional FFT of planes stored by rows; spectra are stored by columns.
#[derive(Clone)]
pub(super) struct Fft2 {
    /// Forward and inverse transform of a row.
    rows: [Arc<dyn Fft<f32>>; 2],
    /// Forward and inverse transform of a column.
    columns: [Arc<dyn Fft<f32>>; 2],
    /// Buffer for the transposed plane.
    transposed: Vec<Complex32>,
}

impl Fft2 {
    /// Plans the transforms.
    pub(super) fn new() -> Self {
        let mut planner = FftPlanner::new();
        let mut both = |n| [planner.plan_fft_forward(n), planner.plan_fft_inverse(n)];
        let (rows, columns) = (both(PLANE_WIDTH), both(PLANE_HEIGHT));
        let transposed = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
        Self { rows, columns, transposed }
    }

    /// Replaces `plane` by its spectrum.
    pub(super) fn forward(&mut self, plane: &mut Vec<Complex32>) {
        transform_lines(&*self.rows[0], plane);
        self.transpose(plane, PLANE_WIDTH);
        transform_lines(&*self.columns[0], plane);
    }

    /// Replaces a spectrum by its plane, multiplied by `PLANE_WIDTH * PLANE_HEIGHT`.
    pub(super) fn inverse(&mut self, spectrum: &mut Vec<Complex32>) {
        transform_lines(&*self.columns[1], spectrum);
        self.transpose(spectrum, PLANE_HEIGHT);
        transform_lines(&*self.rows[1], spectrum);
    }

    /// Transposes rows of `width` values.
    fn transpose(&mut self, plane: &mut Vec<Complex32>, width: usize) {
        transpose(plane, &mut self.transposed, width);
        std::mem::swap(plane, &mut self.transposed);
    }
}

/// Transforms the rows or columns of a plane, on several threads.
fn transform_lines(fft: &dyn Fft<f32>, plane: &mut [Complex32]) {
    const LINES: usize = 32;
    let scratch = || vec![Complex32::default(); fft.get_inplace_scratch_len()];
    plane
        .par_chunks_exact_mut(LINES * fft.len())
        .for_each_init(scratch, |scratch, lines| fft.process_with_scratch(lines, scratch));
}

/// Transposes rows of `width` values, in blocks for the cache.
pub(super) fn transpose<T: Copy + Send + Sync>(from: &[T], to: &mut [T], width: usize) {
    const BLOCK: usize = 16;
    let height = from.len() / width;
    to.par_chunks_exact_mut(BLOCK * height).enumerate().for_each(|(i, to)| {
        for y0 in (0..height).step_by(BLOCK) {
            for (x, to) in to.chunks_exact_mut(height).enumerate() {
                for (y, to) in (y0..).zip(&mut to[y0..y0 + BLOCK]) {
                    *to = from[y * width + i * BLOCK + x];
                }
            }
        }
    });
}

/// Returns the signed horizontal and vertical frequency, in cycles per canonical pixel, of an index
/// of a spectrum.
pub(super) fn frequency(index: usize) -> (f32, f32) {
    let signed =
        |i: usize, n: usize| if i < n / 2 { i as f32 } else { i as f32 - n as f32 } / n as f32;
    (signed(index / PLANE_HEIGHT, PLANE_WIDTH), signed(index % PLANE_HEIGHT, PLANE_HEIGHT))
}

/// Returns the index in a spectrum of a frequency in cycles over the width and height of the plane.
pub(super) fn bin(cycles_x: i32, cycles_y: i32) -> usize {
    cycles_x.rem_euclid(PLANE_WIDTH as i32) as usize * PLANE_HEIGHT
        + cycles_y.rem_euclid(PLANE_HEIGHT as i32) as usize
}

/// Folds a picture, which may be larger than the plane, at the period of the plane.
///
/// `write` gets the index of a sample of the plane and the value to add there.
pub(super) fn fold(picture: &ArrayView2<'_, f32>, mut write: impl FnMut(usize, f32)) {
    for (y, row) in picture.rows().into_iter().enumerate() {
        let to = y % PLANE_HEIGHT * PLANE_WIDTH;
        row.iter().enumerate().for_each(|(x, v)| write(to + x % PLANE_WIDTH, *v));
    }
}

/// Resamples the periodic plane to a picture of `width` by `height` by Catmull-Rom interpolation;
/// stores each value as `convert` returns it.
pub(super) fn resample_plane<T: Clone + Default>(
    plane: &ArrayView2<'_, f32>,
    width: usize,
    height: usize,
    convert: impl Fn(f32) -> T,
) -> Array2<T> {
    let scale = canonical_scale(width, height);
    // First of the four samples of the interpolation window, and their weights.
    let window = |i: usize| {
        let position = (i as f64 + 0.5) * scale - 0.5;
        let weights = catmull_rom_weights((position - position.floor()) as f32);
        (position.floor() as i64 - 1, weights)
    };
    let columns: Vec<_> = (0..width).map(window).collect();
    let mut interpolated_row = vec![0.0; PLANE_WIDTH + 3];
    let mut picture = Array2::default((height, width));
    for (y, picture_row) in picture.rows_mut().into_iter().enumerate() {
        let (first, weights) = window(y);
        interpolated_row.fill(0.0);
        for (k, weight) in weights.iter().enumerate() {
            let from = plane.row((first + k as i64).rem_euclid(PLANE_HEIGHT as i64) as usize);
            interpolated_row.iter_mut().zip(from).for_each(|(to, v)| *to += weight * v);
        }
        // The interpolation window of the last columns continues at the start of the plane.
        interpolated_row.copy_within(..3, PLANE_WIDTH);
        for (to, (first, weights)) in picture_row.into_iter().zip(&columns) {
            let first = first.rem_euclid(PLANE_WIDTH as i64) as usize;
            let samples = &interpolated_row[first..first + 4];
            *to = convert(samples.iter().zip(weights).map(|(v, w)| v * w).sum());
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::resample::Resampler;

    #[test]
    fn fft_transforms_a_wave_and_back() {
        let mut fft = Fft2::new();
        let wave = |i: usize| {
            let (x, y) = (i % PLANE_WIDTH, i / PLANE_WIDTH);
            let cycles =
                40.0 * x as f32 / PLANE_WIDTH as f32 - 9.0 * y as f32 / PLANE_HEIGHT as f32;
            Complex32::new((std::f32::consts::TAU * cycles).cos(), 0.0)
        };
        let plane: Vec<_> = (0..PLANE_WIDTH * PLANE_HEIGHT).map(wave).collect();
        let mut spectrum = plane.clone();
        fft.forward(&mut spectrum);
        let peak = (0..spectrum.len())
            .max_by(|a, b| spectrum[*a].norm().total_cmp(&spectrum[*b].norm()))
            .unwrap();
        assert!([bin(40, -9), bin(-40, 9)].contains(&peak));
        let (fx, fy) = frequency(bin(40, -9));
        assert_eq!((fx, fy), (40.0 / PLANE_WIDTH as f32, -9.0 / PLANE_HEIGHT as f32));
        fft.inverse(&mut spectrum);
        let scale = 1.0 / (PLANE_WIDTH * PLANE_HEIGHT) as f32;
        assert!(spectrum.iter().zip(&plane).all(|(a, b)| (a * scale - b).norm() < 1e-4));
    }

    #[test]
    fn resampled_plane_reduces_to_itself_at_any_size() {
        let wave = |x: f64, y: f64| {
            (std::f64::consts::TAU
                * (12.0 * x / PLANE_WIDTH as f64 + 5.0 * y / PLANE_HEIGHT as f64))
                .sin()
        };
        let plane = Array2::from_shape_fn((PLANE_HEIGHT, PLANE_WIDTH), |(y, x)| {
            wave(x as f64, y as f64) as f32
        });
        for (width, height) in
            [(1920, 1080), (1280, 720), (854, 480), (320, 180), (241, 177), (600, 1066)]
        {
            let picture = resample_plane(&plane.view(), width, height, |v| v);
            let mut canonical = Array2::zeros((0, 0));
            Resampler::default().resample(
                (width, height),
                [canonical_scale(width, height); 2],
                &mut canonical,
                1,
                |y, row| row.iter_mut().zip(picture.row(y)).for_each(|(to, v)| *to = *v),
            );
            let (rows, columns) = canonical.dim();
            assert!(
                (rows * columns) as f64 > 0.99 * CANONICAL_SIDE * CANONICAL_SIDE,
                "{rows}x{columns}"
            );
            for ((y, x), v) in
                canonical.slice(ndarray::s![2..rows - 2, 2..columns - 2]).indexed_iter()
            {
                let expected = wave((x + 2) as f64, (y + 2) as f64) as f32;
                assert!(
                    (v - expected).abs() < 0.03,
                    "{width}x{height} at {x},{y}: {v}, not {expected}"
                );
            }
        }
    }
}
