//! The canonical plane, on which watermark patterns are made and detected whatever the size of a
//! picture.
//!
//! A picture is scaled to the area of 640x360 pixels with its aspect ratio kept, so that scaling a
//! picture does not change its watermark. The plane is periodic: patterns repeat with its size.

use std::sync::Arc;

use ndarray::ArrayView2;
use rustfft::{Fft, FftPlanner, num_complex::Complex32};

use crate::frame::cubic;

/// Period of the patterns horizontally, a power of two for the FFT.
pub(super) const WIDTH: usize = 1024;
/// Period of the patterns vertically, a power of two for the FFT.
pub(super) const HEIGHT: usize = 512;
/// Square root of the canonical area in pixels.
const SIDE: f64 = 480.0;

/// Returns the number of canonical pixels per pixel of a picture.
pub(super) fn scale_of(width: usize, height: usize) -> f64 {
    SIDE / ((width * height) as f64).sqrt()
}

/// Two-dimensional FFT of planes stored by rows; spectra are stored by columns.
pub(super) struct Fft2 {
    /// Forward and inverse transform of a row.
    rows: [Arc<dyn Fft<f32>>; 2],
    /// Forward and inverse transform of a column.
    columns: [Arc<dyn Fft<f32>>; 2],
    /// The transposed plane.
    turned: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Fft2 {
    /// Plans the transforms.
    pub fn new() -> Self {
        let mut planner = FftPlanner::new();
        let mut both = |n| [planner.plan_fft_forward(n), planner.plan_fft_inverse(n)];
        let (rows, columns) = (both(WIDTH), both(HEIGHT));
        let need =
            rows.iter().chain(&columns).map(|f| f.get_inplace_scratch_len()).max().unwrap_or(0);
        let zero = Complex32::default();
        Self { rows, columns, turned: vec![zero; WIDTH * HEIGHT], scratch: vec![zero; need] }
    }

    /// Transforms `plane` in place to its spectrum.
    pub fn forward(&mut self, plane: &mut [Complex32]) {
        self.rows[0].process_with_scratch(plane, &mut self.scratch);
        transpose(plane, &mut self.turned, WIDTH);
        plane.copy_from_slice(&self.turned);
        self.columns[0].process_with_scratch(plane, &mut self.scratch);
    }

    /// Transforms a spectrum in place to its plane, multiplied by `WIDTH * HEIGHT`.
    pub fn inverse(&mut self, spectrum: &mut [Complex32]) {
        self.columns[1].process_with_scratch(spectrum, &mut self.scratch);
        transpose(spectrum, &mut self.turned, HEIGHT);
        spectrum.copy_from_slice(&self.turned);
        self.rows[1].process_with_scratch(spectrum, &mut self.scratch);
    }
}

/// Transposes rows of `width` values, in blocks for the cache.
fn transpose(from: &[Complex32], to: &mut [Complex32], width: usize) {
    const BLOCK: usize = 16;
    let height = from.len() / width;
    for y0 in (0..height).step_by(BLOCK) {
        for x0 in (0..width).step_by(BLOCK) {
            for y in y0..y0 + BLOCK {
                for x in x0..x0 + BLOCK {
                    to[x * height + y] = from[y * width + x];
                }
            }
        }
    }
}

/// Returns the signed horizontal and vertical frequency, in cycles per canonical pixel, of an index
/// of a spectrum.
pub(super) fn frequency(index: usize) -> (f32, f32) {
    let signed =
        |i: usize, n: usize| if i < n / 2 { i as f32 } else { i as f32 - n as f32 } / n as f32;
    (signed(index / HEIGHT, WIDTH), signed(index % HEIGHT, HEIGHT))
}

/// Returns the index in a spectrum of a frequency in cycles over the width and height of the plane.
pub(super) fn bin(cycles_x: i32, cycles_y: i32) -> usize {
    cycles_x.rem_euclid(WIDTH as i32) as usize * HEIGHT
        + cycles_y.rem_euclid(HEIGHT as i32) as usize
}

/// Resamples the periodic plane to a picture of `width` by `height` by Catmull-Rom interpolation.
///
/// `write` gets the index and the values of each row.
pub(super) fn enlarge(
    plane: &ArrayView2<'_, f32>,
    width: usize,
    height: usize,
    mut write: impl FnMut(usize, &[f32]),
) {
    let scale = scale_of(width, height);
    let place = |i: usize| {
        let at = (i as f64 + 0.5) * scale - 0.5;
        (at.floor() as i64 - 1, cubic((at - at.floor()) as f32))
    };
    let columns: Vec<_> = (0..width).map(place).collect();
    let (mut across, mut row) = (vec![0.0; WIDTH + 3], vec![0.0; width]);
    for y in 0..height {
        let (first, weights) = place(y);
        across.fill(0.0);
        for (k, weight) in weights.iter().enumerate() {
            let from = plane.row((first + k as i64).rem_euclid(HEIGHT as i64) as usize);
            across.iter_mut().zip(from).for_each(|(to, v)| *to += weight * v);
        }
        // The interpolation window of the last columns continues at the start of the plane.
        across.copy_within(..3, WIDTH);
        for (to, (first, weights)) in row.iter_mut().zip(&columns) {
            let first = first.rem_euclid(WIDTH as i64) as usize;
            *to = across[first..first + 4].iter().zip(weights).map(|(v, w)| v * w).sum();
        }
        write(y, &row);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::frame::reduce::Reduce;

    #[test]
    fn the_fft_finds_a_wave_and_goes_back() {
        let mut fft = Fft2::new();
        let wave = |i: usize| {
            let (x, y) = (i % WIDTH, i / WIDTH);
            let cycles = 40.0 * x as f32 / WIDTH as f32 - 9.0 * y as f32 / HEIGHT as f32;
            Complex32::new((std::f32::consts::TAU * cycles).cos(), 0.0)
        };
        let plane: Vec<_> = (0..WIDTH * HEIGHT).map(wave).collect();
        let mut spectrum = plane.clone();
        fft.forward(&mut spectrum);
        let peak = (0..spectrum.len())
            .max_by(|a, b| spectrum[*a].norm().total_cmp(&spectrum[*b].norm()))
            .unwrap();
        assert!([bin(40, -9), bin(-40, 9)].contains(&peak));
        let (fx, fy) = frequency(bin(40, -9));
        assert_eq!((fx, fy), (40.0 / WIDTH as f32, -9.0 / HEIGHT as f32));
        fft.inverse(&mut spectrum);
        let scale = 1.0 / (WIDTH * HEIGHT) as f32;
        assert!(spectrum.iter().zip(&plane).all(|(a, b)| (a * scale - b).norm() < 1e-4));
    }

    #[test]
    fn what_is_enlarged_is_found_again_at_any_size() {
        let wave = |x: f64, y: f64| {
            (std::f64::consts::TAU * (12.0 * x / WIDTH as f64 + 5.0 * y / HEIGHT as f64)).sin()
        };
        let plane =
            Array2::from_shape_fn((HEIGHT, WIDTH), |(y, x)| wave(x as f64, y as f64) as f32);
        for (width, height) in
            [(1920, 1080), (1280, 720), (854, 480), (320, 180), (241, 177), (600, 1066)]
        {
            let mut picture = Array2::zeros((height, width));
            enlarge(&plane.view(), width, height, |y, row| {
                picture.row_mut(y).iter_mut().zip(row).for_each(|(to, v)| *to = *v)
            });
            let mut canonical = Array2::zeros((0, 0));
            Reduce::default().run(
                (width, height),
                [scale_of(width, height); 2],
                &mut canonical,
                |y, to, weight| {
                    to.iter_mut().zip(picture.row(y)).for_each(|(to, v)| *to += weight * v)
                },
            );
            let (rows, columns) = canonical.dim();
            assert!((rows * columns) as f64 > 0.99 * SIDE * SIDE, "{rows}x{columns}");
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
