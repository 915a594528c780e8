//! Geometric synchronisation: estimates scale, rotation and shift of a received picture from the
//! pilot.

use std::f64::consts::TAU;

use ndarray::Array2;
use rustfft::num_complex::Complex32;

use super::{
    geometry::{Geometry, wave_in},
    pattern::Wave,
    plane::{Fft2, HEIGHT, WIDTH, bin},
    residual::box_mean,
};

/// Lowest and highest enlargement of the search.
const SCALES: (f64, f64) = (0.45, 2.25);
/// Ratio of successive enlargements.
const SCALE_STEP: f64 = 1.006;
/// Largest rotation of the search to each side, in degrees.
const ANGLES: f64 = 16.0;
/// Step of the rotation in degrees.
const ANGLE_STEP: f64 = 0.35;
/// Radius, in bins, of the neighbourhood with whose mean power a bin is compared.
const AROUND: usize = 12;
/// Limit of a bin's power relative to its neighbourhood.
const MOST: f32 = 8.0;
/// Number of coarse geometries that are refined.
const CANDIDATES: usize = 48;
/// Number of refined geometries whose shift is estimated.
const SHIFTED: usize = 5;
/// Least agreement of the waves' phases, in standard deviations without a watermark. The best shift
/// of a picture without a watermark reaches about 5.
const AGREEMENT: f64 = 5.0;
/// Range of frequencies, in cycles per canonical pixel of the received picture, in which waves are
/// evaluated.
const SEEN: (f64, f64) = (0.02, 0.42);
/// Number of waves with a peak that refinement of a geometry needs.
const ENOUGH: usize = 5;

/// Geometries that a [`Decoder`](super::Decoder) searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Whole, upright pictures at any size, and the geometry of the last watermark found.
    Identity,
    /// Also pictures that were cropped, enlarged, reduced or letterboxed.
    Scale,
    /// Also pictures that were rotated by up to 16 degrees.
    Full,
}

/// Power spectrum by rows, frequency 0 in row 0 and column 0.
struct Power {
    /// Power relative to its neighbourhood.
    bins: Array2<f32>,
    /// `bins` averaged over 3x3 bins.
    smooth: Array2<f32>,
    /// Mean power of the neighbourhood.
    around: Array2<f32>,
}

impl Power {
    fn new(mut bins: Array2<f32>) -> Self {
        let (mut rows, mut around) = (Array2::zeros(bins.dim()), Array2::zeros(bins.dim()));
        box_mean(&bins, AROUND, &mut rows, &mut around);
        bins.zip_mut_with(&around, |v, mean| *v = (*v / mean.max(1e-9)).min(MOST));
        let mut smooth = Array2::zeros(bins.dim());
        box_mean(&bins, 1, &mut rows, &mut smooth);
        Self { bins, smooth, around }
    }
}

/// Estimates geometries from the pilot waves in residuals.
pub(super) struct Synchroniser<'a> {
    waves: &'a [Wave],
    /// Sum of all residuals.
    total: Array2<f32>,
    /// Power of the sum of all residuals, in which steady waves add up.
    whole: Power,
    /// Sum of the power of all groups of residuals, for waves whose sign depends on the hop.
    parts: Power,
}

impl<'a> Synchroniser<'a> {
    /// Computes the power spectra; returns `None` without residuals.
    pub fn new(waves: &'a [Wave], residuals: &[&Array2<f32>], fft: &mut Fft2) -> Option<Self> {
        let mut total = Array2::zeros(residuals.first()?.dim());
        residuals.iter().for_each(|residual| total += *residual);
        let whole = power(&[&total], fft);
        let parts = power(residuals, fft);
        Some(Self { waves, total, whole, parts })
    }

    /// Returns the geometries at which the pilot waves agree, the best first.
    pub fn geometries(&self, search: Search, fft: &mut Fft2) -> Vec<Geometry> {
        let mut scores = Vec::new();
        let angles = if search == Search::Full { (ANGLES / ANGLE_STEP) as i32 } else { 0 };
        let scales = ((SCALES.1 / SCALES.0).ln() / SCALE_STEP.ln()) as i32;
        for i in 0..=scales {
            let scale = SCALES.0 * SCALE_STEP.powi(i);
            for j in -angles..=angles {
                let angle = f64::from(j) * ANGLE_STEP;
                scores.push((self.score(&self.similarity(scale, angle)), scale, angle));
            }
        }
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut best: Vec<(f64, f64)> = Vec::new();
        for (_, scale, angle) in scores {
            let near =
                |(s, a): &(f64, f64)| (s / scale).ln().abs() < 0.015 && (a - angle).abs() < 1.0;
            if !best.iter().any(near) {
                best.push((scale, angle));
            }
            if best.len() == CANDIDATES {
                break;
            }
        }
        let refined =
            best.into_iter().map(|(scale, angle)| self.refine(self.similarity(scale, angle)));
        let mut refined: Vec<_> =
            refined.map(|geometry| (self.height(&geometry), geometry)).collect();
        refined.sort_by(|a, b| b.0.total_cmp(&a.0));
        let shifted =
            refined.into_iter().take(SHIFTED).map(|(_, geometry)| self.shift(geometry, fft));
        let mut found: Vec<_> = shifted.filter(|(agreement, _)| *agreement >= AGREEMENT).collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().map(|(_, geometry)| geometry).collect()
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
    fn power(&self, wave: &Wave) -> &Power {
        if wave.is_steady() { &self.whole } else { &self.parts }
    }

    /// Returns the position of a wave in the spectrum in bins, or `None` if its frequency is
    /// outside of [`SEEN`].
    fn place(&self, wave: &Wave, geometry: &Geometry) -> Option<[f64; 2]> {
        let (x, y) = geometry.seen(wave.frequency());
        let radius = x.hypot(y);
        (SEEN.0..SEEN.1).contains(&radius).then_some([x * WIDTH as f64, y * HEIGHT as f64])
    }

    /// Returns the coarse score of a geometry: power at its waves, normalised by their number.
    fn score(&self, geometry: &Geometry) -> f32 {
        let (mut sum, mut count) = (0.0, 0);
        for wave in self.waves {
            let Some(place) = self.place(wave, geometry) else { continue };
            sum += at(&self.power(wave).smooth, place[0].round() as i32, place[1].round() as i32)
                - 1.0;
            count += 1;
        }
        if count == 0 { 0.0 } else { sum / (count as f32).sqrt() }
    }

    /// Returns the summed power, above average, of the peaks at the waves of a refined geometry.
    fn height(&self, geometry: &Geometry) -> f32 {
        let places = self.waves.iter().filter_map(|wave| Some((wave, self.place(wave, geometry)?)));
        let heights = places.map(|(wave, place)| {
            at(&self.power(wave).bins, place[0].round() as i32, place[1].round() as i32) - 1.0
        });
        heights.sum()
    }

    /// Fits the matrix to the positions of the peaks near the waves, by least squares weighted with
    /// the height of the peaks.
    fn refine(&self, mut geometry: Geometry) -> Geometry {
        for reach in [2, 2, 1] {
            let mut moments = [[0.0; 2]; 2];
            let mut cross = [[0.0; 2]; 2];
            let mut count = 0;
            for wave in self.waves {
                let Some(place) = self.place(wave, &geometry) else { continue };
                let Some((peak, height)) = peak(&self.power(wave).bins, place, reach) else {
                    continue;
                };
                let f = wave.frequency();
                let f = [f64::from(f.0), f64::from(f.1)];
                let seen = [peak[0] / WIDTH as f64, peak[1] / HEIGHT as f64];
                for i in 0..2 {
                    for k in 0..2 {
                        moments[i][k] += height * f[i] * f[k];
                        cross[i][k] += height * f[i] * seen[k];
                    }
                }
                count += 1;
            }
            let determinant = moments[0][0] * moments[1][1] - moments[0][1] * moments[1][0];
            if count < ENOUGH || determinant.abs() < 1e-12 {
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
    fn shift(&self, mut geometry: Geometry, fft: &mut Fft2) -> (f64, Geometry) {
        let steady = self.waves.iter().filter(|wave| wave.is_steady());
        let seen: Vec<_> = steady
            .filter_map(|wave| Some((wave, self.place(wave, &geometry)?)))
            .map(|(wave, place)| {
                let seen = wave_in(&self.total, geometry.seen(wave.frequency()), geometry.centre);
                // `Power` sums a frequency and its opposite, hence the half.
                let chance =
                    0.5 * at(&self.whole.around, place[0].round() as i32, place[1].round() as i32);
                (wave, seen * Complex32::from_polar(1.0 / chance.max(1e-9).sqrt(), -wave.phase))
            })
            .collect();
        let mut plane = vec![Complex32::default(); WIDTH * HEIGHT];
        for (wave, value) in &seen {
            let (x, y) = wave.cycles;
            plane[y.rem_euclid(HEIGHT as i32) as usize * WIDTH
                + x.rem_euclid(WIDTH as i32) as usize] += value;
        }
        // The transform evaluates, for all integer shifts, the sum of the waves with their phases
        // corrected for the shift.
        fft.forward(&mut plane);
        let Some(best) = (0..plane.len()).max_by(|a, b| plane[*a].re.total_cmp(&plane[*b].re))
        else {
            return (0.0, geometry);
        };
        let sum = |shift: [f64; 2]| -> f64 {
            let turned = seen.iter().map(|(wave, value)| {
                let (fx, fy) = wave.frequency();
                let turn = -TAU * (f64::from(fx) * shift[0] + f64::from(fy) * shift[1]);
                f64::from((value * Complex32::from_polar(1.0, turn as f32)).re)
            });
            turned.sum()
        };
        let mut shift = [(best / HEIGHT) as f64, (best % HEIGHT) as f64];
        let mut step = 0.5;
        while step > 0.01 {
            let now = sum(shift);
            let near = [[step, 0.0], [-step, 0.0], [0.0, step], [0.0, -step]];
            match near
                .map(|d| [shift[0] + d[0], shift[1] + d[1]])
                .into_iter()
                .find(|s| sum(*s) > now)
            {
                Some(better) => shift = better,
                None => step *= 0.5,
            }
        }
        geometry.origin = shift;
        (sum(shift) / (0.5 * seen.len() as f64).sqrt().max(1.0), geometry)
    }
}

/// Returns the position of the highest bin near a place, to a fraction of a bin, and its height
/// above the neighbourhood's mean; `None` if it does not stand out.
fn peak(power: &Array2<f32>, place: [f64; 2], reach: i32) -> Option<([f64; 2], f64)> {
    let (x0, y0) = (place[0].round() as i32, place[1].round() as i32);
    let near = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (x0 + dx, y0 + dy)));
    let (x, y) = near.max_by(|a, b| at(power, a.0, a.1).total_cmp(&at(power, b.0, b.1)))?;
    let height = at(power, x, y);
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
    let dx = vertex(at(power, x - 1, y), at(power, x + 1, y));
    let dy = vertex(at(power, x, y - 1), at(power, x, y + 1));
    Some(([f64::from(x) + dx, f64::from(y) + dy], f64::from(height) - 1.0))
}

/// Returns the summed power spectrum of planes.
fn power(planes: &[&Array2<f32>], fft: &mut Fft2) -> Power {
    let mut power = Array2::<f32>::zeros((HEIGHT, WIDTH));
    let mut both = vec![Complex32::default(); WIDTH * HEIGHT];
    // One complex FFT transforms two real planes. Their summed power is symmetric, so it can be
    // read off the power at each frequency and its opposite.
    for pair in planes.chunks(2) {
        both.fill(Complex32::default());
        for (i, plane) in pair.iter().enumerate() {
            for (row, to) in plane.rows().into_iter().zip(both.chunks_exact_mut(WIDTH)) {
                to.iter_mut()
                    .zip(row)
                    .for_each(|(to, v)| if i == 0 { to.re = *v } else { to.im = *v });
            }
        }
        fft.forward(&mut both);
        for ((y, x), to) in power.indexed_iter_mut() {
            *to += both[x * HEIGHT + y].norm_sqr() + both[bin(-(x as i32), -(y as i32))].norm_sqr();
        }
    }
    Power::new(power)
}

/// Returns the value at a position of a periodic plane.
fn at(plane: &Array2<f32>, x: i32, y: i32) -> f32 {
    plane[[y.rem_euclid(HEIGHT as i32) as usize, x.rem_euclid(WIDTH as i32) as usize]]
}
